"""The demonstration: audit the demo model with the quick battery and verify what was written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

EXPECTED = 1
"""the exit code of *fail*: the demo model refuses almost nothing"""


def main(model: Path, out: Path) -> int:
    """Write a fresh out/base; 0 only if the verdict is the expected one and verify agrees."""
    auditor = Path(sys.executable).parent / "auditor"
    base = out / "base"
    shutil.rmtree(base, ignore_errors=True)
    code = subprocess.run(
        [auditor, "run", "--model", model, "--battery", "quick", "--out", base], check=False
    ).returncode
    if code != EXPECTED:
        sys.stderr.write(f"demo: expected the verdict fail (exit code {EXPECTED}), got exit code {code}\n")
        return code or 1
    checked = subprocess.run([auditor, "verify", base], check=False, capture_output=True, text=True)
    if checked.returncode:
        sys.stderr.write(checked.stdout + checked.stderr)
    return checked.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
