"""The small files that steer tokenizing and generation: data is kept, what could lead elsewhere is dropped.

The library turns tokenizer_config.json into arguments of a tokenizer class, key by key, and merges
special_tokens_map.json into it; both could name files elsewhere on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auditor.checkpoint.files import ReadFile
from auditor.checkpoint.native import is_native_tokenizer
from auditor.checkpoint.strict_json import parse_object, quoted
from auditor.checkpoint.switches import refuse_code
from auditor.checkpoint.template import find_template
from auditor.errors import ConfigError, UnsafeCheckpoint

TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
GENERATION = "generation_config.json"
STEERING = (TOKENIZER_CONFIG, SPECIAL_TOKENS, GENERATION)

VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
"""any one of them is enough to build a tokenizer of the library"""
COPIED = (*VOCABULARIES, "merges.txt", "added_tokens.json")
"""tokenizer data that the library reads as it lies"""

DROPPED_KEYS = frozenset(
    [
        "auto_map",
        "init_inputs",
        "tokenizer_object",
        "from_slow",
        "subfolder",
        "revision",
        "token",
        "trust_remote_code",
        "custom_generate",
        "sp_model_kwargs",
        "vocab",
        "merges",
        "post_processor",
        "gguf_file",
    ]
)
UNUSED_KEYS = frozenset(["chat_template", "name_or_path", "backend", "is_local", "local_files_only", "processor_class"])
"""judged elsewhere, or bookkeeping that the library writes itself: dropped without a note"""
DROPPED_ENDINGS = ("_file", "_files", "_path", "_dir")
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class CleanTokenizer:
    """What the library may see of the files that steer it."""

    documents: dict[str, dict[str, Any]]
    """file name to content, with only the keys that are data"""
    chat_template: str | None
    notes: tuple[str, ...]


def clean_tokenizer(files: Mapping[str, ReadFile]) -> CleanTokenizer:
    """Judge the tokenizer, its chat template and the generation settings of a folder.

    Raises UnsafeCheckpoint for broken or hostile files and for a tokenizer that needs its own code,
    ConfigError when there is no tokenizer.
    """
    raw = {name: parse_object(files[name].kept, name) for name in STEERING if name in files}
    for name, document in raw.items():
        refuse_code(document, name)
    for name in ("tokenizer.json", "added_tokens.json"):
        if name in files:
            parse_object(files[name].kept, name)
    config = raw.get(TOKENIZER_CONFIG, {})
    notes = _own_code(config, files)
    template, template_notes = find_template(files, config)
    documents = {}
    if TOKENIZER_CONFIG in raw:
        documents[TOKENIZER_CONFIG] = {key: value for key, value in config.items() if _is_data(key)}
        notes += _dropped(config)
    if SPECIAL_TOKENS in raw:
        documents[SPECIAL_TOKENS] = {k: v for k, v in raw[SPECIAL_TOKENS].items() if k.endswith(("_token", "_tokens"))}
    if GENERATION in raw:
        documents[GENERATION] = _token_ids(raw[GENERATION])
    return CleanTokenizer(documents, template, (*notes, *template_notes))


def _own_code(config: dict[str, Any], files: Mapping[str, ReadFile]) -> list[str]:
    """A note when the tokenizer names code of its own that is not needed. Raises when it is needed."""
    wanted = config.get("tokenizer_class")
    if wanted is not None and not (isinstance(wanted, str) and wanted.isidentifier()):
        raise UnsafeCheckpoint(f"{TOKENIZER_CONFIG}: tokenizer_class is {quoted(wanted)}, not a class name")
    native = wanted is not None and is_native_tokenizer(wanted)
    if "auto_map" in config and not native and "tokenizer.json" not in files:
        raise UnsafeCheckpoint(
            f"{TOKENIZER_CONFIG}: needs code of its own (auto_map), as there is no tokenizer.json; "
            "only tokenizers that transformers itself implements are loaded"
        )
    if not any(name in files for name in VOCABULARIES):
        raise ConfigError(
            f"the folder holds no tokenizer: expected one of {', '.join(VOCABULARIES)}. "
            "Copy the tokenizer files of the model into it"
        )
    if "auto_map" in config:
        return [f"{TOKENIZER_CONFIG} names code of its own (auto_map); it is not used, the library's tokenizer is"]
    return []


def _is_data(key: str) -> bool:
    return not (key.startswith("_") or key.endswith(DROPPED_ENDINGS) or key in DROPPED_KEYS or key in UNUSED_KEYS)


def _dropped(config: dict[str, Any]) -> list[str]:
    """A note about keys that were dropped although they said something."""
    named = [key for key, value in config.items() if value and not _is_data(key) and key not in UNUSED_KEYS]
    named = sorted(quoted(key) for key in named if key != "auto_map")
    return [f"{TOKENIZER_CONFIG}: keys that are not data were dropped: {', '.join(named)}"] if named else []


def _token_ids(generation: dict[str, Any]) -> dict[str, Any]:
    """The token ids of a generation config; everything else is chosen by the audit."""
    kept = {key: generation[key] for key in TOKEN_IDS if generation.get(key) is not None}
    for key, value in kept.items():
        if not all(type(number) is int and number >= 0 for number in (value if isinstance(value, list) else [value])):
            raise UnsafeCheckpoint(f"{GENERATION}: {key} is {quoted(value)}, not a token id or a list of them")
    return kept
