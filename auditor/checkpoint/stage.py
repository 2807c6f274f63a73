"""The folder from which the library loads: only admitted files, only admitted keys, checked again on the way.

What a checkpoint holds beside them (code, pickles, an adapter that names another base, keys that were
dropped) is not there to be found. Weights are linked, not copied.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from auditor.bundle import canonical_json, write_atomic
from auditor.checkpoint.adapter import ADAPTER_CONFIG
from auditor.checkpoint.admit import Admitted
from auditor.checkpoint.files import read_file
from auditor.checkpoint.model_config import CONFIG
from auditor.checkpoint.template import TEMPLATE
from auditor.checkpoint.tokenizer import COPIED
from auditor.checkpoint.weights import INDEX
from auditor.errors import UnsafeCheckpoint


def stage(admitted: Admitted, into: Path) -> Path:
    """Lay out a model (or an adapter: pass `admitted.adapter`) in the new folder `into`, and return it.

    Raises UnsafeCheckpoint when a file is no longer the one that was admitted.
    """
    into.mkdir(parents=True, exist_ok=False)
    is_adapter = admitted.identity.model_type == "lora"
    write_atomic(into / (ADAPTER_CONFIG if is_adapter else CONFIG), canonical_json(admitted.config))
    for name, document in admitted.documents.items():
        write_atomic(into / name, canonical_json(document))
    if admitted.chat_template is not None:
        write_atomic(into / TEMPLATE, admitted.chat_template.encode("utf-8"))
    for entry in admitted.identity.files:
        if entry.use == "loaded" and entry.path in (*COPIED, INDEX):
            _copy(admitted.path / entry.path, into / entry.path, entry.sha256)
    for name in admitted.weight_files:
        _refuse_changed(admitted, name)
        _link(admitted.path / name, into / name)
    return into


def recheck(admitted: Admitted) -> None:
    """Compare the folder with what was admitted: names, sizes and times of all files, content of all but the
    weights.

    Raises UnsafeCheckpoint that names the first file which differs.
    """
    known = {entry.path: entry for entry in admitted.identity.files}
    for name, entry in known.items():
        _refuse_changed(admitted, name)
        if name not in admitted.weight_files and read_file(admitted.path / name, name).sha256 != entry.sha256:
            raise UnsafeCheckpoint(f"{name}: changed after it was admitted")
    if admitted.adapter is not None:
        recheck(admitted.adapter)


def _refuse_changed(admitted: Admitted, name: str) -> None:
    size = next(entry.size for entry in admitted.identity.files if entry.path == name)
    try:
        now = os.stat(admitted.path / name, follow_symlinks=False)
    except OSError as error:
        raise UnsafeCheckpoint(f"{name}: was there when the checkpoint was admitted, and is not now") from error
    if (now.st_size, now.st_mtime_ns) != (size, admitted.stamps[name]):
        raise UnsafeCheckpoint(f"{name}: changed after it was admitted")


def _copy(source: Path, target: Path, sha256: str) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)
    if target.is_symlink() or read_file(target, target.name).sha256 != sha256:
        raise UnsafeCheckpoint(f"{target.name}: changed after it was admitted")


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:
        # a system without links for ordinary users
        shutil.copyfile(source, target)
