"""Every file of a checkpoint folder, read once and hashed while reading. Nothing here interprets a content.

A file that the rest of the stage judges (a small JSON, a template, the header of a safetensors file) is kept
from that same reading, so what was hashed is what was judged.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auditor.bundle import canonical_json, sha256_hex
from auditor.checkpoint.strict_json import quoted
from auditor.errors import ConfigError, UnsafeCheckpoint

MAX_FILES = 20_000
MAX_FOLDERS_DEEP = 12
MAX_HEADER = 32 * 2**20
"""bytes of a safetensors header; 60,000 tensors need about 7 MB"""
CHUNK = 2**20

KEPT = {
    "config.json": 4 * 2**20,
    "generation_config.json": 2**20,
    "tokenizer_config.json": 16 * 2**20,
    "special_tokens_map.json": 2**20,
    "added_tokens.json": 16 * 2**20,
    "tokenizer.json": 256 * 2**20,
    "model.safetensors.index.json": 64 * 2**20,
    "adapter_config.json": 2**20,
    "chat_template.jinja": 2**18,
    "auditor_provenance.json": 2**16,
}
"""files whose whole content is judged, with the most bytes each may have"""

NOT_LISTED = (".git", ".cache/huggingface")
"""bookkeeping of the tools that fetched the folder: differs between two fetches and is never loaded"""

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
CODE_SUFFIXES = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".ipynb")
TEXT_SUFFIXES = (".json", ".jinja", ".txt", ".md", ".yaml", ".yml", ".jsonl")

MAGIC = {
    b"PK\x03\x04": "a zip archive, the form of torch.save",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x7fELF": "a program",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


@dataclass(frozen=True)
class ReadFile:
    """One file as it was read."""

    path: str
    """relative to the folder, with forward slashes"""
    size: int
    """bytes"""
    mtime_ns: int
    sha256: str
    kept: bytes
    """the whole content of a file in KEPT, the header of a safetensors file, else the first bytes"""
    tail: bytes
    """the last 22 bytes, where a zip archive is recognised"""

    @property
    def is_pickle(self) -> bool:
        """Whether its name says that reading it runs code."""
        return self.path.lower().endswith(PICKLE_SUFFIXES)

    @property
    def is_code(self) -> bool:
        """Whether its name says that it is a program."""
        return self.path.lower().endswith(CODE_SUFFIXES)


def read_folder(folder: Path) -> dict[str, ReadFile]:
    """Read and hash every file below `folder`; path to file, sorted by path.

    Raises UnsafeCheckpoint for links, devices, unreadable names, disguised files and a file that changes
    while it is read; ConfigError for a file that may not be read.
    """
    files: dict[str, ReadFile] = {}
    for path, relative in _walk(folder):
        if len(files) >= MAX_FILES:
            raise UnsafeCheckpoint(f"{folder.name}: holds more than {MAX_FILES:,} files")
        files[relative] = read_file(path, relative)
        _refuse_disguise(files[relative])
    return dict(sorted(files.items()))


def read_file(path: Path, relative: str) -> ReadFile:
    """Read one regular file, following no link. Raises as `read_folder`."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise ConfigError(f"{relative}: cannot be read ({error.strerror})") from error
    digest = hashlib.sha256()
    with open(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnsafeCheckpoint(f"{relative}: is not a regular file")
        kept = file.read(8)
        kept += file.read(_more_to_keep(relative, kept, before.st_size))
        digest.update(kept)
        size, tail = len(kept), kept[-22:]
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size, tail = size + len(chunk), (tail + chunk[-22:])[-22:]
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        raise UnsafeCheckpoint(f"{relative}: changed while it was read")
    return ReadFile(relative, size, after.st_mtime_ns, digest.hexdigest(), kept, tail)


def files_digest(hashes: Mapping[str, str]) -> str:
    """sha256 over the sorted (path, sha256) pairs of a set of files."""
    return sha256_hex(canonical_json(sorted(hashes.items())))


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files below the folder with their relative paths, refusing what cannot be hashed as a file."""
    pending = [(folder, PurePosixPath())]
    while pending:
        place, relative = pending.pop()
        if len(relative.parts) > MAX_FOLDERS_DEEP:
            raise UnsafeCheckpoint(f"{quoted(relative.as_posix())}: folders are nested too deeply")
        for entry in sorted(_scan(place, relative), key=lambda e: e.name):
            inside = relative / entry.name
            name = inside.as_posix()
            if not name.isprintable() or "\\" in name:
                raise UnsafeCheckpoint(f"{quoted(name)}: the file name holds characters that cannot be shown")
            if entry.is_symlink():
                raise UnsafeCheckpoint(
                    f"{name}: is a symbolic link; only real files are judged. "
                    "From a Hub cache, give the Hub id instead, or copy the folder with `cp -rL`"
                )
            if not entry.is_dir():
                yield Path(entry.path), name
            elif name not in NOT_LISTED:
                pending.append((Path(entry.path), inside))


def _scan(place: Path, relative: PurePosixPath) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError as error:
        raise ConfigError(f"{relative.as_posix()}: cannot be listed ({error.strerror})") from error


def _more_to_keep(relative: str, start: bytes, size: int) -> int:
    """How many bytes to keep after the first eight."""
    if relative in KEPT:
        if size > KEPT[relative]:
            raise UnsafeCheckpoint(
                f"{relative}: has {size:,} bytes, more than the {KEPT[relative]:,} such a file needs"
            )
        return size
    header = int.from_bytes(start, "little")
    if relative.endswith(".safetensors") and header <= MAX_HEADER:
        return header
    return 256


def _refuse_disguise(file: ReadFile) -> None:
    """Raise UnsafeCheckpoint when the first or last bytes belong to another kind of file than the name says.

    A safetensors file is left out at the front: its first bytes are a length, and a wrong one is refused with
    the header. Its end is looked at, because a zip archive is read from there.
    """
    if file.path.endswith(TEXT_SUFFIXES):
        for magic, kind in MAGIC.items():
            if file.kept.startswith(magic):
                raise UnsafeCheckpoint(f"{file.path}: is not what its name says but {kind}")
    if file.path.endswith((*TEXT_SUFFIXES, ".safetensors")) and file.tail.startswith(b"PK\x05\x06"):
        raise UnsafeCheckpoint(f"{file.path}: is a zip archive at the same time (it ends as one)")
