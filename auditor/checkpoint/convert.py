"""GGUF to a safetensors folder, in a process of its own. This side never opens the file's contents.

The result is a checkpoint of its own: what was quantised stays as coarse as it was, and where it came from is
written beside it. That statement is for the reader of a report; it proves nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from auditor import errors
from auditor.bundle import canonical_json, sha256_file, write_atomic
from auditor.checkpoint.admit import PROVENANCE, admit
from auditor.errors import AuditorError, ConfigError, OutputError, UnsafeCheckpoint, UnsupportedModel

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "SYSTEMROOT", "TMPDIR", "TEMP")
"""all that the process inherits; no token, no home, no proxy"""
SECONDS = 900
SECONDS_PER_MIB = 2
BASE_MEMORY = 12 * 2**30
"""bytes of address space: the libraries alone map several GiB"""
OUT_OF_MEMORY = ("MemoryError", "alloc", "failed to map segment")
"""in the last words of Python, torch and the loader of shared libraries"""
MEMORY_PER_BYTE = 32
"""a weight of 3 bits becomes one of 32, twice for a moment"""


def convert_gguf(file: Path, out: Path, *, seconds: float | None = None) -> None:
    """Convert one GGUF file into the new folder `out`, which appears whole or not at all.

    `seconds` limits the time the process may take (default by size). Raises ConfigError for a missing file,
    OutputError for a folder that holds something, UnsafeCheckpoint for a broken file or one that exceeds the
    limits, UnsupportedModel for an architecture that transformers cannot convert.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{out}: exists and is not an empty folder; name a new one")
    size = file.stat().st_size
    limit = seconds or SECONDS + SECONDS_PER_MIB * size / 2**20
    origin = {"source_file": file.name, "source_sha256": sha256_file(file), **_tools()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
            whole = Path(beside) / out.name
            said = _run_worker(file, whole, limit, BASE_MEMORY + MEMORY_PER_BYTE * size)
            write_atomic(whole / PROVENANCE, canonical_json({**origin, **said}) + b"\n")
            admit(whole)
            whole.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error})") from error


def _tools() -> dict[str, str]:
    return {"converted_by": "auditor convert"} | {
        f"{name}_version": version(name) for name in ("checkpoint-auditor", "transformers", "gguf", "torch")
    }


def _run_worker(file: Path, out: Path, seconds: float, memory: int) -> dict[str, str]:
    """Start the process, wait, and turn its end into a result or an error."""
    with tempfile.TemporaryDirectory(prefix="auditor-convert-") as home:
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-P", "-m", "auditor.checkpoint.convert_worker"]
        try:
            done = subprocess.run(
                [*command, str(file.resolve()), str(out.resolve()), str(memory)],
                env={**inherited, **offline, "HOME": home, "HF_HOME": home},
                cwd=home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnsafeCheckpoint(
                f"{file.name}: converting took more than {seconds:,.0f} s and was stopped"
            ) from error
    if done.returncode == 0:
        return _last_json(done.stdout)
    raise _failure(file.name, done)


def _failure(name: str, done: subprocess.CompletedProcess[bytes]) -> AuditorError:
    """What the process refused, or what stopped it."""
    said = _last_json(done.stdout)
    if said:
        kind = getattr(errors, said["error"], UnsafeCheckpoint)
        refused: AuditorError = kind(said["message"])
        return refused
    if done.returncode < 0:
        return UnsafeCheckpoint(f"{name}: the converting process was ended by signal {-done.returncode}")
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
    shown = "".join(c if c.isprintable() else "?" for c in last[0])[:300]
    if any(sign in shown for sign in OUT_OF_MEMORY):
        return UnsafeCheckpoint(f"{name}: converting needs more memory than such a file should ({shown})")
    return UnsupportedModel(f"{name}: transformers could not convert it: {shown}")


def _last_json(output: bytes) -> dict[str, str]:
    """The last line of the process, if it is one of ours."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
