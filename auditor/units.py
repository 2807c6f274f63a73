"""Finished units of work, kept for --resume: each in one file that carries its key and its own sha256. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from auditor.arrays import load, pieces, save
from auditor.atomic import replacing, write_atomic
from auditor.canonical import canonical_json, parse_json, sha256_hex

T = TypeVar("T")


@dataclass(frozen=True)
class UnitStore:
    """Finished units of work, each in one file named by what went into it."""

    path: Path
    note: Callable[..., None]
    """called with an event and its fields when a stored unit had to be made again"""

    def once(self, kind: str, key: Mapping[str, Any], compute: Callable[[], T]) -> T:
        """Return the stored value of a unit, or compute and store it.

        The value is JSON or a dict of arrays. It always comes back as it was stored (tuples as lists, arrays mapped
        from the file), so a resumed run goes on with the very same value. Whatever `compute` raises leaves no file
        behind.
        """
        name = f"{kind}-{sha256_hex(canonical_json(key))[:24]}"
        for path in (self.path / f"{name}.json", self.path / f"{name}.safetensors"):
            if path.exists():
                try:
                    value: T = _opened(path, key)
                except (ValueError, KeyError, TypeError) as error:
                    self.note("unit_made_again", file=path.name, reason=str(error))
                else:
                    return value
        path = _stored(self.path / name, key, compute())
        stored: T = _opened(path, key)
        return stored


def _stored(stem: Path, key: Mapping[str, Any], value: Any) -> Path:
    """Write a unit; returns its file."""
    seal = {"key": key, "sha256": _digest(key, value)}
    if not _is_tensors(value):
        path = stem.with_name(f"{stem.name}.json")
        write_atomic(path, canonical_json({**seal, "value": value}) + b"\n")
        return path
    path = stem.with_name(f"{stem.name}.safetensors")
    with replacing(path) as file:
        save(file, value, canonical_json(seal).decode())
    return path


def _opened(path: Path, key: Mapping[str, Any]) -> Any:
    """Value of a unit file. Raises ValueError, KeyError or TypeError when not whole."""
    if path.suffix == ".json":
        seal = parse_json(path.read_bytes())
        value = seal["value"]
    else:
        value, note = load(path)
        seal = parse_json(note.encode())
    if seal["sha256"] != _digest(key, value):
        raise ValueError("its contents do not match its sha256")
    return value


def _is_tensors(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, np.ndarray) for v in value.values())


def _digest(key: Mapping[str, Any], value: Any) -> str:
    """sha256 of a unit. Arrays are hashed where they lie, because they may be large."""
    if not _is_tensors(value):
        return sha256_hex(canonical_json([key, value]))
    digest = hashlib.sha256(canonical_json(key))
    for name in sorted(value):
        digest.update(canonical_json([name, str(value[name].dtype), value[name].shape]))
        for piece in pieces(value[name]):
            digest.update(piece)
    return digest.hexdigest()
