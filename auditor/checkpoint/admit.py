"""May this folder be loaded? It is listed, hashed and judged here, and nothing of it is loaded.

`admit` says what the library may see of a checkpoint; a model is only ever loaded from an `Admitted` (see
`stage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from auditor.bundle import canonical_json, sha256_hex
from auditor.checkpoint.adapter import ADAPTER_CONFIG, read_adapter
from auditor.checkpoint.files import ReadFile, files_digest, read_folder
from auditor.checkpoint.identity import CheckpointIdentity, FileEntry
from auditor.checkpoint.model_config import CONFIG, clean_config
from auditor.checkpoint.resolve import no_such_folder
from auditor.checkpoint.strict_json import parse_object, quoted
from auditor.checkpoint.template import TEMPLATE
from auditor.checkpoint.tokenizer import COPIED, STEERING, clean_tokenizer
from auditor.checkpoint.weights import find_weights
from auditor.errors import AuditorError, ConfigError, UnsafeCheckpoint

PROVENANCE = "auditor_provenance.json"


@dataclass(frozen=True)
class Admitted:
    """A checkpoint that may be loaded, with everything the library may see of it."""

    identity: CheckpointIdentity
    path: Path
    config: dict[str, Any]
    """config.json (of an adapter: adapter_config.json) with only the keys that the native class reads"""
    weight_files: tuple[str, ...]
    """names of safetensors files in `path`"""
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    """further JSON files the library may see, by name, likewise reduced"""
    chat_template: str | None = None
    stamps: dict[str, int] = field(default_factory=dict)
    """path to modification time [ns], to notice a later change without reading"""
    adapter: Admitted | None = None

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer renders conversations by default."""
        return self.chat_template is not None


def admit(path: Path, *, name: str | None = None, revision: str | None = None, adapter: Path | None = None) -> Admitted:
    """Judge a checkpoint folder, and the PEFT adapter to apply to it.

    `name` and `revision` are those of the Hub, if it came from there. Raises UnsafeCheckpoint for what may
    not be loaded, UnsupportedModel for what is not measured, ConfigError for what is not a checkpoint folder.
    """
    folder = _folder(path)
    shown = name or _shown(folder)
    try:
        model = _admit_model(folder, shown, revision)
    except AuditorError as error:
        raise type(error)(f"{shown}: {error}") from error
    if adapter is None:
        return model
    place = _folder(adapter)
    try:
        return _combined(model, _admit_adapter(place))
    except AuditorError as error:
        raise type(error)(f"adapter {_shown(place)}: {error}") from error


def _admit_model(folder: Path, name: str, revision: str | None) -> Admitted:
    files = read_folder(folder)
    _refuse_layout(files)
    weights = find_weights(files)
    if CONFIG not in files:
        raise ConfigError(f"the folder has no {CONFIG}; give the folder that holds it beside the weights")
    config = clean_config(parse_object(files[CONFIG].kept, CONFIG), weights)
    tokenizer = clean_tokenizer(files)
    loaded = {CONFIG, *STEERING, *COPIED, TEMPLATE, *weights.files, weights.index}
    entries = _entries(files, loaded)
    template = tokenizer.chat_template
    identity = CheckpointIdentity(
        name=name,
        revision=revision,
        model_type=config.model_type,
        parameters=weights.parameters,
        stored_dtypes=weights.dtypes,
        files=entries,
        digest=files_digest({entry.path: entry.sha256 for entry in entries}),
        config_digest=files[CONFIG].sha256,
        template_digest=None if template is None else sha256_hex(template.encode("utf-8")),
        notes=(*config.notes, *tokenizer.notes, *weights.notes, *_bystanders(entries)),
        provenance=_provenance(files),
    )
    return Admitted(
        identity=identity,
        path=folder,
        config=config.values,
        weight_files=weights.files,
        documents=tokenizer.documents,
        chat_template=template,
        stamps={path: file.mtime_ns for path, file in files.items()},
    )


def _admit_adapter(folder: Path) -> Admitted:
    files = read_folder(folder)
    settings, weights, notes = read_adapter(files)
    entries = _entries(files, {ADAPTER_CONFIG, *weights.files})
    identity = CheckpointIdentity(
        name=_shown(folder),
        model_type="lora",
        parameters=weights.parameters,
        stored_dtypes=weights.dtypes,
        files=entries,
        digest=files_digest({entry.path: entry.sha256 for entry in entries}),
        config_digest=files[ADAPTER_CONFIG].sha256,
        template_digest=None,
        notes=(*notes, *_bystanders(entries)),
    )
    stamps = {path: file.mtime_ns for path, file in files.items()}
    return Admitted(identity=identity, path=folder, config=settings, weight_files=weights.files, stamps=stamps)


def _combined(model: Admitted, adapter: Admitted) -> Admitted:
    """The model with its adapter: both are part of its identity."""
    note = f"the adapter {adapter.identity.name} is applied; tokenizer and template are those of the model"
    identity = model.identity.model_copy(
        update={
            "digest": sha256_hex(canonical_json([model.identity.digest, adapter.identity.digest])),
            "notes": (*model.identity.notes, note),
            "adapter": adapter.identity,
        }
    )
    return replace(model, identity=identity, adapter=adapter)


def _folder(path: Path) -> Path:
    """The real folder behind a path. Raises ConfigError with the way out."""
    if path.is_dir():
        return path.resolve()
    if path.suffix == ".gguf":
        raise ConfigError(f"{path}: GGUF is not judged directly; run `auditor convert {path.name} DIR` and give DIR")
    if path.exists():
        raise ConfigError(f"{path}: is a file; give the folder of the checkpoint")
    raise ConfigError(no_such_folder(path))


def _shown(folder: Path) -> str:
    return folder.name if folder.name.isprintable() else quoted(folder.name)


def _refuse_layout(files: Mapping[str, ReadFile]) -> None:
    """Refuse a folder for which files it holds, before any of them is interpreted."""
    if own_loop := next((path for path in files if path.split("/")[0] == "custom_generate"), None):
        raise UnsafeCheckpoint(f"{own_loop}: the checkpoint brings its own generation code; remove custom_generate/")
    if ADAPTER_CONFIG in files and CONFIG not in files:
        raise ConfigError(
            "holds a PEFT adapter, not a model; name its base with --model and this folder with --adapter"
        )
    if ADAPTER_CONFIG in files:
        raise UnsafeCheckpoint(
            f"{ADAPTER_CONFIG}: beside a whole model it redirects loading to another base. Move the "
            "adapter to a folder of its own and name it with --adapter"
        )
    if not files:
        raise ConfigError("the folder is empty")


def _entries(files: Mapping[str, ReadFile], loaded: set[str]) -> tuple[FileEntry, ...]:
    entries = []
    for path, file in files.items():
        beside = "hashed_only" if file.is_pickle or file.is_code else "ignored"
        use = "loaded" if path in loaded else beside
        entries.append(FileEntry.model_validate({"path": path, "size": file.size, "sha256": file.sha256, "use": use}))
    return tuple(entries)


def _bystanders(entries: tuple[FileEntry, ...]) -> list[str]:
    """A note about pickle and code files that lie beside the weights."""
    names = [entry.path for entry in entries if entry.use == "hashed_only"]
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"pickle or code beside the weights, hashed and never opened: {shown}"]


def _provenance(files: Mapping[str, ReadFile]) -> dict[str, Any]:
    """What `auditor convert` wrote about the origin, if it did: a statement of the folder, not a proof."""
    if PROVENANCE not in files:
        return {}
    found = parse_object(files[PROVENANCE].kept, PROVENANCE)
    if not all(value is None or isinstance(value, str | int | float) for value in found.values()):
        raise UnsafeCheckpoint(f"{PROVENANCE}: holds more than names and values")
    return found
