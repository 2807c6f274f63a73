"""Arrays that lie on disk and are mapped: memory holds only what is looked at. No torch, no model."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from auditor.atomic import writing
from auditor.canonical import canonical_json, parse_json

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]

PIECE = 1 << 22
"""bytes of an array that are hashed or written at once"""
FORMATS = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool"},
    **{
        f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
}
"""names of formats in safetensors files, and in NumPy"""


class OnDisk:
    """Rows written in any order, inside `with`, to a file without a name.

    The file goes with the block and with what was mapped in it, however the process ends.
    """

    def __init__(self, shape: tuple[int, ...], folder: Path | None) -> None:
        """`shape`: of the float32 array; `folder`: None is the system's place for temporary files."""
        self.shape, self._folder = shape, folder or Path(tempfile.gettempdir())
        with writing(self._folder):
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115, it lives as long as this does
            self._file.truncate(4 * int(np.prod(shape)))

    def __enter__(self) -> OnDisk:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._file.close()

    def put(self, first: int, rows: Array) -> None:
        """Write `rows` [n, d], counted along all axes but the last, from row `first` on.

        Raises IncompleteRun when the disk is full. (A mapping written to would end the process instead.)
        """
        data = np.ascontiguousarray(rows, dtype=np.float32)
        with writing(self._folder):
            self._file.seek(4 * first * self.shape[-1])
            left = data.reshape(-1).view(np.uint8).data
            while left:
                left = left[self._file.write(left) :]

    def mapped(self) -> Array:
        """The whole array, read-only, of `shape`."""
        if 0 in self.shape:
            return np.empty(self.shape, np.float32)
        return np.memmap(self._file, np.float32, "r", shape=self.shape)


def release(array: Array) -> None:
    """Take the pages of a mapped array out of this process; what is looked at later is read again."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        base.madvise(mmap.MADV_DONTNEED)


def copied(array: Array) -> Array:
    """A copy in memory of a part of a mapped array, all of which is released."""
    found = np.array(array)
    release(array)
    return found


def pieces(array: Array) -> Iterator[memoryview]:
    """The bytes of an array in C order, a piece at a time."""
    flat = np.asarray(array, order="C").reshape(-1)
    step = PIECE // flat.itemsize
    for start in range(0, flat.size, step):
        yield flat[start : start + step].view(np.uint8).data
        release(flat)


def save(file: BinaryIO, tensors: Mapping[str, Array], note: str) -> None:
    """Write a safetensors file with a note in its header; the library would first copy every array, twice."""
    names = {numpy: short for short, numpy in FORMATS.items()}
    header: dict[str, Any] = {"__metadata__": {"note": note}}
    ordered = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # keeps every array aligned
    end = 0
    for name in ordered:
        start, end = end, end + tensors[name].nbytes
        form = names[tensors[name].dtype.name]
        header[name] = {"dtype": form, "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    told = canonical_json(header)
    told += b" " * (-len(told) % 8)
    file.write(len(told).to_bytes(8, "little") + told)
    for name in ordered:
        for piece in pieces(tensors[name]):
            file.write(piece)


def load(path: Path) -> tuple[Tensors, str]:
    """The arrays of a file that `save` wrote, mapped, and its note.

    Raises ValueError, KeyError or TypeError if it is broken.
    """
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(min(start, os.fstat(file.fileno()).st_size) - 8))
        whole = np.memmap(file, np.uint8, "r")
    note = header.pop("__metadata__")["note"]
    found: Tensors = {}
    for name, about in header.items():
        first, end = (start + offset for offset in about["data_offsets"])
        found[name] = whole[first:end].view(FORMATS[about["dtype"]]).reshape(about["shape"])
    return found, note
