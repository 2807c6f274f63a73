"""Do the counts, lengths and offsets of a GGUF file stay inside the file? Read before any library reads it.

The library's reader believes the file: an array that claims 2**60 entries keeps it busy until memory ends.
The format is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little
endian.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from auditor.checkpoint.strict_json import quoted
from auditor.errors import UnsafeCheckpoint

MAX_ENTRIES = 100_000
"""key-value pairs, and tensors"""
MAX_NAME = 2**16
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""value type of the format to the bytes of one value"""
STRING, ARRAY = 8, 9


def check_gguf(path: Path) -> Counter[str]:
    """Walk the whole header; storage type (Q4_1, F32, ...) to the number of weights stored in it.

    Raises UnsafeCheckpoint that says what does not fit.
    """
    if path.stat().st_size < 24:
        raise UnsafeCheckpoint(f"{path.name}: is too short for a GGUF file")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Walk(path.name, data).run()


@dataclass
class _Walk:
    """A position in the file that cannot leave it."""

    name: str
    data: mmap.mmap
    at: int = 0
    alignment: int = 32

    def run(self) -> Counter[str]:
        if self.take(4) != b"GGUF":
            self.refuse("is not what its name says: it does not begin as a GGUF file")
        version, tensors, pairs = struct.unpack("<IQQ", self.take(20))
        if version not in (2, 3):
            self.refuse(f"has format version {version}; 2 and 3 are read")
        if max(tensors, pairs) > MAX_ENTRIES:
            self.refuse(f"claims {tensors:,} tensors and {pairs:,} settings, more than {MAX_ENTRIES:,}")
        for _ in range(pairs):
            self.setting()
        entries = [self.tensor() for _ in range(tensors)]
        start = -(-self.at // self.alignment) * self.alignment
        stored: Counter[str] = Counter()
        for name, kind, count, size, offset in entries:
            if start + offset + size > len(self.data):
                self.refuse(
                    f"is truncated: tensor {quoted(name)} ends at byte {start + offset + size:,}, "
                    f"the file has {len(self.data):,}"
                )
            stored[kind] += count
        if len({name for name, *_ in entries}) < len(entries):
            self.refuse("describes a tensor twice")
        return stored

    def setting(self) -> None:
        """One key with its value; only the alignment matters here."""
        key = self.string()
        kind = self.u32()
        if key == b"general.alignment" and kind == 4:
            self.alignment = self.u32()
            if not 0 < self.alignment <= 2**20:
                self.refuse("claims an impossible alignment")
        elif kind == ARRAY:
            item, length = self.u32(), self.u64()
            if item == STRING and 8 * length <= len(self.data) - self.at:
                for _ in range(length):
                    self.string(most=len(self.data))
            elif item in SCALAR_BYTES:
                self.take(SCALAR_BYTES[item] * length)
            else:
                self.refuse(f"setting {quoted(key)} is an array that does not fit the file")
        elif kind == STRING:
            self.string(most=len(self.data))
        elif kind in SCALAR_BYTES:
            self.take(SCALAR_BYTES[kind])
        else:
            self.refuse(f"setting {quoted(key)} has an unknown type")

    def tensor(self) -> tuple[bytes, str, int, int, int]:
        """Name, storage type, number of weights, bytes and offset of one tensor."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        name, dimensions = self.string(), self.u32()
        if dimensions > 8:
            self.refuse(f"tensor {quoted(name)} has {dimensions} dimensions")
        count = math.prod(self.u64() for _ in range(dimensions))
        kind, offset = self.u32(), self.u64()
        if kind not in {known.value for known in GGML_QUANT_SIZES}:
            self.refuse(f"tensor {quoted(name)} has an unknown storage type {kind}")
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        if count % block:
            self.refuse(f"tensor {quoted(name)} does not fill its blocks of {block}")
        return name, GGMLQuantizationType(kind).name, count, count // block * size, offset

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def u64(self) -> int:
        return int(struct.unpack("<Q", self.take(8))[0])

    def string(self, most: int = MAX_NAME) -> bytes:
        length = self.u64()
        if length > most:
            self.refuse(f"claims a name of {length:,} bytes")
        return self.take(length)

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            self.refuse(f"is truncated: its header goes on behind its last byte ({len(self.data):,})")
        self.at += size
        return self.data[self.at - size : self.at]

    def refuse(self, fault: str) -> None:
        raise UnsafeCheckpoint(f"{self.name}: {fault}")
