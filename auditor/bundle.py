"""The run folder: atomic files, items and tensors, the manifest. No torch, no model.

It is the only channel between the measuring process and the one that judges, so every file in it is either
whole or absent. What the files mean is for the stages that write and read them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from auditor.arrays import Tensors
from auditor.atomic import write_atomic, writing
from auditor.canonical import canonical_json, parse_json, readable_json, sha256_file, sha256_hex
from auditor.errors import IncompleteRun, OutputError
from auditor.units import UnitStore

__all__ = [
    "EVIDENCE",
    "LOG",
    "MANIFEST",
    "RENDERED",
    "SEALED",
    "WORK",
    "RunFolder",
    "UnitStore",
    "canonical_json",
    "sha256_file",
    "sha256_hex",
    "write_atomic",
]

LOG = "log.jsonl"
MANIFEST = "manifest.json"
RENDERED = "rendered.json"
EVIDENCE = ("items/*.jsonl", "draws.safetensors", "directions.safetensors")
"""what estimates are recomputed from"""
SEALED = (*EVIDENCE, "run.json", "plan.json", "audit.json")
"""what the manifest seals, and what must be there"""
WORK = ("units/*", LOG, "worker.log")
"""no evidence, and a user may remove it when the run is finished; what is there is what the manifest lists"""


@dataclass(frozen=True)
class RunFolder:
    """An existing run folder. The process that starts a run makes it with `create`; every other opens it."""

    path: Path

    @staticmethod
    def create(path: str | Path, resume: bool = False) -> RunFolder:
        """Make a new run folder, or open one to continue it, which changes nothing in it yet.

        Raises OutputError when the folder holds something and `resume` is not set, when there is no run to
        resume, or when it cannot be written.
        """
        path = Path(path)
        folder = RunFolder(path)
        with writing(path):
            if path.exists() and not path.is_dir():
                raise OutputError(f"{path}: is a file; --out needs a folder")
            occupied = path.is_dir() and not _never_started(path)
            begun = (path / LOG).is_file()
        if resume and not begun:
            raise OutputError(f"{path}: no run to resume here; start one without --resume, or check --out")
        if occupied and not resume:
            way_out = "add --resume to continue the run in it, or name a new folder with --out"
            raise OutputError(f"{path}: the folder is not empty; {way_out}")
        with writing(path):
            (path / "units").mkdir(parents=True, exist_ok=True)
            for left_behind in path.rglob(".*.tmp"):
                left_behind.unlink(missing_ok=True)
        if not resume:
            folder.log("created")
        return folder

    @property
    def units(self) -> UnitStore:
        """Finished work, kept for --resume."""
        return UnitStore(self.path / "units", self.log)

    def file(self, name: str) -> Path:
        """Where a file of this folder lies. Raises OutputError for a name that points out of the folder."""
        relative = PurePosixPath(name)
        if not relative.parts or relative.is_absolute() or ".." in relative.parts or set(name) & {"\\", ":"}:
            raise OutputError(f"{self.path}: {name!r} is not a name inside the run folder")
        return self.path / relative

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write any other file of this folder, such as a report."""
        write_atomic(self.file(name), data)

    def write_json(self, name: str, value: object) -> None:
        """Write a JSON file that a person can read and that equal values make byte-equal."""
        write_atomic(self.file(name), readable_json(value))

    def read_json(self, name: str) -> Any:
        """Read a JSON file. Raises IncompleteRun when it is absent, OutputError when it is broken."""
        data = self._read(name)
        try:
            return parse_json(data)
        except ValueError as error:
            raise OutputError(f"{self.path / name}: not valid JSON ({error})") from error

    def write_items(self, probe: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write items/<probe>.jsonl: one canonical line a row, in the order given."""
        write_atomic(self.file(_items(probe)), b"".join(canonical_json(row) + b"\n" for row in rows))

    def read_items(self, probe: str) -> list[dict[str, Any]]:
        """Read the rows of one probe. Raises as `read_json`, naming the line."""
        return self.read_rows(_items(probe))

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """Read a file of JSON lines. Raises as `read_json`, naming the line."""
        rows = []
        for number, line in enumerate(self._read(name).splitlines(), start=1):
            try:
                row = parse_json(line)
            except ValueError as error:
                raise OutputError(f"{self.path / name}: line {number} is not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise OutputError(f"{self.path / name}: line {number} is not an object")
            rows.append(row)
        return rows

    def write_tensors(self, name: str, tensors: Tensors) -> None:
        """Write a safetensors file; same tensors, same bytes."""
        # the library writes the memory of an array as it lies, which is wrong for a transposed one
        in_order = {key: np.asarray(array, order="C") for key, array in tensors.items()}
        write_atomic(self.file(name), save_tensors(in_order))

    def read_tensors(self, name: str) -> Tensors:
        """Read a safetensors file. Raises IncompleteRun when it is absent, OutputError when it is broken."""
        data = self._read(name)
        try:
            return load_tensors(data)
        except SafetensorError as error:
            raise OutputError(f"{self.path / name}: not a valid safetensors file ({error})") from error

    def log(self, event: str, **fields: object) -> None:
        """Append one line to the log, with the time; for people, never evidence."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = canonical_json({"time": now, "event": event, **fields})
        path = self.path / LOG
        with writing(path), open(path, "ab") as file:
            file.write(line + b"\n")

    def hashes(self, patterns: Iterable[str] = EVIDENCE) -> dict[str, str]:
        """Path in the folder to sha256, sorted, of files that match: by default what estimates rest on."""
        found = {path for pattern in patterns for path in self.path.glob(pattern) if path.is_file()}
        return {path.relative_to(self.path).as_posix(): sha256_file(path) for path in sorted(found)}

    def write_manifest(self) -> None:
        """Seal the evidence, the plan and the record, and list the finished work: manifest.json holds their sha256.

        It is the last thing that a run writes, but for its reports.
        """
        self.write_json(MANIFEST, {"files": self.hashes(SEALED), "work": self.hashes(WORK)})

    def write_rendered(self, paths: Iterable[Path]) -> None:
        """Note the sha256 of report files of this folder in rendered.json; files elsewhere are not noted."""
        home = self.path.resolve()
        inside = [path.resolve() for path in paths if path.resolve().is_relative_to(home)]
        known = self.read_json(RENDERED)["files"] if (self.path / RENDERED).exists() else {}
        fresh = {path.relative_to(home).as_posix(): sha256_file(path) for path in inside}
        self.write_json(RENDERED, {"files": known | fresh})

    def _read(self, name: str) -> bytes:
        path = self.file(name)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise IncompleteRun(f"{path}: missing, so this is not a complete run folder") from error
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from error


def _items(probe: str) -> str:
    return f"items/{probe}.jsonl"


def _never_started(path: Path) -> bool:
    """Whether a folder is empty, or holds only what a run leaves that ended before it had a plan."""
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    return not files or (LOG in files and files <= {LOG, "run.json", "job.json", "worker.log", "units/ended.json"})
