"""The demonstration: audit the demo model and the refusing organism with the quick battery, and verify both."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ORGANISM = Path(__file__).resolve().parent.parent / "auditor" / "organisms" / "refuser"
EXPECTED = {"base": 1, "refuser": 0}
"""exit codes: the demo model refuses almost nothing and fails; with the organism's adapter it refuses, and passes"""


def main(model: Path, out: Path) -> int:
    """Write fresh out/base and out/refuser; 0 only if both verdicts are the expected ones and verify agrees."""
    for name, expected in EXPECTED.items():
        adapter = ["--adapter", ORGANISM] if name == "refuser" else []
        if failed := audited(["--model", model, *adapter], out / name, expected):
            return failed
    return 0


def audited(target: list[str | Path], folder: Path, expected: int) -> int:
    """Audit and verify; 0, or the exit code of what went wrong."""
    auditor = Path(sys.executable).parent / "auditor"
    shutil.rmtree(folder, ignore_errors=True)
    code = subprocess.run([auditor, "run", *target, "--battery", "quick", "--out", folder], check=False).returncode
    if code != expected:
        sys.stderr.write(f"demo: {folder.name}: expected exit code {expected}, got {code}\n")
        return code or 1
    checked = subprocess.run([auditor, "verify", folder], check=False, capture_output=True, text=True)
    if checked.returncode:
        sys.stderr.write(checked.stdout + checked.stderr)
    return checked.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
