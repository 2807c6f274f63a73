"""Which safetensors files hold the weights, and do their headers tell the truth? No tensor is loaded.

The header format is that of https://github.com/huggingface/safetensors (README, "Format"): eight bytes of
length, a JSON object, then the tensors one after the other without gaps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from auditor.checkpoint.files import MAGIC, MAX_HEADER, ReadFile
from auditor.checkpoint.strict_json import parse_object, quoted
from auditor.errors import ConfigError, UnsafeCheckpoint

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_TENSORS = 500_000
MAX_DIMENSIONS = 16
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}
"""bits of one element, by the dtype name of the format"""


@dataclass(frozen=True)
class Tensor:
    """One entry of a header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """byte offset behind the header"""
    end: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Weights:
    """The files that will be loaded, and what their headers say."""

    files: tuple[str, ...]
    tensors: frozenset[str]
    """their names"""
    dimensions: frozenset[int]
    """every length that some tensor has along some axis"""
    parameters: int
    """number of elements, all tensors together"""
    dtypes: dict[str, int]
    """dtype name to number of elements"""
    index: str = ""
    """name of the index file, when there are shards"""
    notes: tuple[str, ...] = ()


def find_weights(files: Mapping[str, ReadFile]) -> Weights:
    """Pick the weight files as the library does, and check them.

    Raises UnsafeCheckpoint when they are broken or only pickled, ConfigError when there are none.
    """
    if SINGLE in files:
        return summarise({SINGLE: read_header(files[SINGLE])}, files)
    if INDEX in files:
        return replace(summarise(_read_shards(files), files), index=INDEX)
    raise _no_weights(files)


def summarise(headers: Mapping[str, Mapping[str, Tensor]], files: Iterable[str]) -> Weights:
    """Count what the headers describe; other safetensors files of the folder become a note."""
    dtypes: Counter[str] = Counter()
    for header in headers.values():
        for tensor in header.values():
            dtypes[tensor.dtype] += tensor.count
    unused = [name for name in files if name.endswith(".safetensors") and name not in headers]
    return Weights(
        files=tuple(sorted(headers)),
        tensors=frozenset(name for header in headers.values() for name in header),
        dimensions=frozenset(size for header in headers.values() for t in header.values() for size in t.shape),
        parameters=dtypes.total(),
        dtypes=dict(sorted(dtypes.items())),
        notes=tuple(f"{name} is not part of the model and is not loaded" for name in unused[:3]),
    )


def read_header(file: ReadFile) -> dict[str, Tensor]:
    """Check one safetensors file against its own size; tensor name to entry.

    Raises UnsafeCheckpoint when the file is cut short, holds more than it describes, or describes bytes
    twice.
    """
    length = int.from_bytes(file.kept[:8], "little")
    _check_frame(file, length)
    header = parse_object(file.kept[8 : 8 + length], f"{file.path} (header)")
    _check_metadata(file.path, header.pop("__metadata__", {}))
    if len(header) > MAX_TENSORS:
        raise UnsafeCheckpoint(f"{file.path}: describes {len(header):,} tensors, more than {MAX_TENSORS:,}")
    tensors = {name: _entry(f"{file.path}: tensor {quoted(name)}", entry) for name, entry in header.items()}
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != position:
            fault = "overlaps another tensor" if tensor.begin < position else "leaves a gap before it"
            raise UnsafeCheckpoint(f"{file.path}: tensor {quoted(name)} {fault}")
        position = tensor.end
    actual = file.size - 8 - length
    if position != actual:
        fault = "is truncated" if position > actual else "holds more than its header describes"
        raise UnsafeCheckpoint(
            f"{file.path}: {fault}: expected {8 + length + position:,} bytes, found {file.size:,}. Fetch the file again"
        )
    return tensors


def _check_frame(file: ReadFile, length: int) -> None:
    for magic, kind in MAGIC.items():
        # a header of 640 bytes begins with the same two bytes as a pickle, but then has a brace
        if file.kept.startswith(magic) and file.kept[8:9] != b"{":
            raise UnsafeCheckpoint(f"{file.path}: is not what its name says but {kind}")
    if file.kept.startswith(b"version https://git-lfs"):
        raise UnsafeCheckpoint(f"{file.path}: is a Git LFS pointer, not the weights; run `git lfs pull` in the folder")
    if file.size < 10:
        raise UnsafeCheckpoint(f"{file.path}: is truncated: {file.size} bytes cannot hold a header")
    if length > MAX_HEADER:
        raise UnsafeCheckpoint(
            f"{file.path}: its header claims {length:,} bytes, more than the {MAX_HEADER:,} such a file needs"
        )
    if length > file.size - 8:
        raise UnsafeCheckpoint(
            f"{file.path}: is truncated: the header needs {8 + length:,} bytes, found {file.size:,}. "
            "Fetch the file again"
        )
    if file.kept[8:9] != b"{":
        raise UnsafeCheckpoint(f"{file.path}: is not a safetensors file (its header is no JSON object)")


def _check_metadata(path: str, metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UnsafeCheckpoint(f"{path}: the metadata of the header is not text")


def _entry(where: str, entry: Any) -> Tensor:
    """One tensor of a header, after its own arithmetic was checked."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise UnsafeCheckpoint(f"{where} is not described by dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or len(shape) > MAX_DIMENSIONS:
        raise UnsafeCheckpoint(f"{where} has an impossible shape")
    if not _naturals(offsets) or len(offsets) != 2:
        raise UnsafeCheckpoint(f"{where} has impossible offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in BITS:
        raise UnsafeCheckpoint(f"{where} has an unknown dtype {quoted(entry['dtype'])}")
    count = math.prod(shape)
    if count * BITS[entry["dtype"]] != 8 * (offsets[1] - offsets[0]):
        raise UnsafeCheckpoint(f"{where}: shape and dtype do not fit its {offsets[1] - offsets[0]:,} bytes")
    return Tensor(entry["dtype"], tuple(shape), offsets[0], offsets[1])


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _read_shards(files: Mapping[str, ReadFile]) -> dict[str, dict[str, Tensor]]:
    """Headers of all shards that the index names, after both were compared."""
    weight_map = parse_object(files[INDEX].kept, INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UnsafeCheckpoint(f"{INDEX}: has no weight_map")
    shards: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or "/" in shard or "\\" in shard or not shard.endswith(".safetensors"):
            raise UnsafeCheckpoint(f"{INDEX}: names {quoted(shard)}, which is not a safetensors file of this folder")
        shards.setdefault(shard, set()).add(name)
    if missing := sorted(shards.keys() - files.keys()):
        raise UnsafeCheckpoint(f"{INDEX}: names shards that are not in the folder: {_some(missing)}. Fetch them")
    headers = {shard: read_header(files[shard]) for shard in sorted(shards)}
    for shard, header in headers.items():
        if absent := sorted(shards[shard] - header.keys()):
            raise UnsafeCheckpoint(f"{INDEX}: says that {shard} holds {_some(absent)}, which it does not")
        if unnamed := sorted(header.keys() - shards[shard]):
            raise UnsafeCheckpoint(f"{shard}: holds {_some(unnamed)}, which {INDEX} places elsewhere or does not name")
    return headers


def _no_weights(files: Mapping[str, ReadFile]) -> ConfigError | UnsafeCheckpoint:
    """Why a folder without model.safetensors cannot be judged, with the way out."""
    safetensors = [name for name in files if name.endswith(".safetensors")]
    pickles = [name for name, file in files.items() if file.is_pickle]
    if safetensors and not any(name.startswith("pytorch_model") for name in pickles):
        return ConfigError(
            f"no {SINGLE} and no {INDEX} (found {_some(safetensors)}); fetch the missing file, "
            "or save the model again with save_pretrained"
        )
    if pickles:
        return UnsafeCheckpoint(
            f"{_some(pickles)}: the weights come only as pickle, and reading a pickle runs code. "
            "Convert them to safetensors in a sandbox you trust and give that folder"
        )
    if gguf := [name for name in files if name.endswith(".gguf")]:
        return ConfigError(f"{_some(gguf)}: GGUF is not judged directly; run `auditor convert FILE.gguf DIR` first")
    return ConfigError(f"the folder holds no weights: expected {SINGLE}, or shards with {INDEX}")


def _some(names: list[str]) -> str:
    shown = ", ".join(name if name.isascii() and name.isprintable() else quoted(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
