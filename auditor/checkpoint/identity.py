"""CheckpointIdentity: which checkpoint was judged, file by file. No torch."""

from __future__ import annotations

from typing import Literal

from auditor.config import Scalar, Strict


class FileEntry(Strict):
    """One file of the checkpoint folder."""

    path: str
    """relative to the checkpoint folder"""
    size: int
    """bytes"""
    sha256: str
    use: Literal["loaded", "ignored", "hashed_only"]
    """hashed_only: pickle or code beside complete safetensors, never opened"""


class CheckpointIdentity(Strict):
    """Which checkpoint was judged, and how it was found safe to load."""

    name: str
    """folder name or Hub id; never a machine path"""
    format: Literal["safetensors"] = "safetensors"
    revision: str | None = None
    """resolved commit, for a Hub id"""
    model_type: str
    parameters: int
    """number of weights, counted in the safetensors headers"""
    stored_dtypes: dict[str, int]
    """dtype name to number of weights"""
    files: tuple[FileEntry, ...]
    digest: str
    """sha256 over the sorted (path, sha256) pairs of all files"""
    config_digest: str
    """sha256 of config.json"""
    template_digest: str | None
    """sha256 of the chat template text; None without one"""
    notes: tuple[str, ...] = ()
    """what was noticed: ignored pickle files, dropped config keys, an applied adapter, a conversion"""
    adapter: CheckpointIdentity | None = None
    provenance: dict[str, Scalar] = {}
    """written by `auditor convert`: source file, its sha256, tool versions"""
