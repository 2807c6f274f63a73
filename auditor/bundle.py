"""The run folder: atomic files, finished units for --resume, the manifest. No torch, no model.

It is the only channel between the measuring process and the one that judges, so every file in it is either
whole or absent. What the files mean is for the stages that write and read them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from auditor.canonical import canonical_json, parse_json, readable_json, sha256_file, sha256_hex
from auditor.errors import IncompleteRun, OutputError

__all__ = [
    "EVIDENCE",
    "SEALED",
    "RunFolder",
    "UnitStore",
    "canonical_json",
    "sha256_file",
    "sha256_hex",
    "write_atomic",
]

Tensors = dict[str, np.ndarray[Any, Any]]
T = TypeVar("T")

LOG = "log.jsonl"
EVIDENCE = ("items/*.jsonl", "draws.safetensors", "directions.safetensors")
"""what estimates are recomputed from"""
SEALED = (*EVIDENCE, "run.json", "plan.json", "audit.json")
"""what the manifest seals"""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, whatever happens in between.

    Raises IncompleteRun when the disk is full and OutputError when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class RunFolder:
    """An existing run folder. The process that starts a run makes it with `create`; every other opens it."""

    path: Path

    @staticmethod
    def create(path: str | Path, resume: bool = False) -> RunFolder:
        """Make a new run folder, or continue one.

        Raises OutputError when the folder holds something and `resume` is not set, when there is no run to
        resume, or when it cannot be written.
        """
        path = Path(path)
        folder = RunFolder(path)
        with _writing(path):
            if path.exists() and not path.is_dir():
                raise OutputError(f"{path}: is a file; --out needs a folder")
            occupied = path.is_dir() and not _never_started(path)
            begun = (path / LOG).is_file()
        if resume and not begun:
            raise OutputError(f"{path}: no run to resume here; start one without --resume, or check --out")
        if occupied and not resume:
            way_out = "add --resume to continue the run in it, or name a new folder with --out"
            raise OutputError(f"{path}: the folder is not empty; {way_out}")
        with _writing(path):
            (path / "units").mkdir(parents=True, exist_ok=True)
            for left_behind in path.rglob(".*.tmp"):
                left_behind.unlink(missing_ok=True)
        folder.log("resumed" if resume else "created")
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
        write_atomic(self.file(name), _pack(tensors))

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
        with _writing(path), open(path, "ab") as file:
            file.write(line + b"\n")

    def hashes(self, patterns: Iterable[str] = EVIDENCE) -> dict[str, str]:
        """Path in the folder to sha256, sorted, of files that match: by default what estimates rest on."""
        found = {path for pattern in patterns for path in self.path.glob(pattern) if path.is_file()}
        return {path.relative_to(self.path).as_posix(): sha256_file(path) for path in sorted(found)}

    def write_manifest(self) -> None:
        """Seal the evidence, the plan and the record: manifest.json holds their sha256."""
        self.write_json("manifest.json", {"files": self.hashes(SEALED)})

    def write_rendered(self, paths: Iterable[Path]) -> None:
        """Note the sha256 of report files of this folder in rendered.json; files elsewhere are not noted."""
        home = self.path.resolve()
        inside = [path.resolve() for path in paths if path.resolve().is_relative_to(home)]
        known = self.read_json("rendered.json")["files"] if (self.path / "rendered.json").exists() else {}
        fresh = {path.relative_to(home).as_posix(): sha256_file(path) for path in inside}
        self.write_json("rendered.json", {"files": known | fresh})

    def _read(self, name: str) -> bytes:
        path = self.file(name)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise IncompleteRun(f"{path}: missing, so this is not a complete run folder") from error
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class UnitStore:
    """Finished units of work, each in one file named by what went into it."""

    path: Path
    note: Callable[..., None]
    """called with an event and its fields when a stored unit had to be made again"""

    def once(self, kind: str, key: Mapping[str, Any], compute: Callable[[], T]) -> T:
        """Return the stored value of a unit, or compute and store it.

        The value is JSON or a dict of arrays. It always comes back as it was stored (tuples as lists), so a
        resumed run goes on with the very same value. Whatever `compute` raises leaves no file behind.
        """
        name = f"{kind}-{sha256_hex(canonical_json(key))[:24]}"
        for path in (self.path / f"{name}.json", self.path / f"{name}.safetensors"):
            if path.exists():
                try:
                    value: T = _open_unit(path.read_bytes(), key, path.suffix)
                except (ValueError, KeyError, TypeError, SafetensorError) as error:
                    self.note("unit_made_again", file=path.name, reason=str(error))
                else:
                    return value
        computed = compute()
        suffix = ".safetensors" if _is_tensors(computed) else ".json"
        data = _seal_unit(computed, key, suffix)
        write_atomic(self.path / f"{name}{suffix}", data)
        stored: T = _open_unit(data, key, suffix)
        return stored


def _items(probe: str) -> str:
    return f"items/{probe}.jsonl"


def _never_started(path: Path) -> bool:
    """Whether a folder is empty, or holds only what a run leaves that ended before it had a plan."""
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    return not files or (LOG in files and files <= {LOG, "run.json", "job.json", "worker.log", "units/ended.json"})


def _is_tensors(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, np.ndarray) for v in value.values())


def _seal_unit(value: Any, key: Mapping[str, Any], suffix: str) -> bytes:
    """Bytes of a unit file, which carries its key and its own sha256."""
    seal = {"key": key, "sha256": _digest(key, value)}
    if suffix == ".json":
        return canonical_json({**seal, "value": value}) + b"\n"
    # one metadata entry only: safetensors does not keep the order of several
    return _pack(value, {"unit": canonical_json(seal).decode()})


def _open_unit(data: bytes, key: Mapping[str, Any], suffix: str) -> Any:
    """Value of a unit file. Raises ValueError, KeyError, TypeError or SafetensorError when not whole."""
    if suffix == ".json":
        seal = parse_json(data)
        value = seal["value"]
    else:
        value = load_tensors(data)
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        seal = parse_json(header["__metadata__"]["unit"].encode())
    if seal["sha256"] != _digest(key, value):
        raise ValueError("its contents do not match its sha256")
    return value


def _digest(key: Mapping[str, Any], value: Any) -> str:
    """sha256 of a unit. Arrays are hashed where they lie, because they may be large."""
    if not _is_tensors(value):
        return sha256_hex(canonical_json([key, value]))
    digest = hashlib.sha256(canonical_json(key))
    for name in sorted(value):
        array = _in_order(value[name])
        digest.update(canonical_json([name, str(array.dtype), array.shape]))
        digest.update(array.data)
    return digest.hexdigest()


def _pack(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    packed: bytes = save_tensors({name: _in_order(array) for name, array in tensors.items()}, metadata)
    return packed


def _in_order(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # safetensors writes the memory of an array as it lies, which is wrong for a transposed one
    return np.asarray(array, order="C")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system says about writing into what the user can do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise IncompleteRun(
                f"{path}: disk full ({error.strerror}); finished units are kept: free space and run again with --resume"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        raise OutputError(f"{path}: {error.strerror or error}; name another folder with --out") from error
