"""config.json: what could name code is refused, what the library does not know is dropped, sizes are checked.

The library sets every key of a config on its configuration object, known or not, and some have named code to
run (CVE-2026-4372: `_attn_implementation_internal` named a repository of kernels). So only the keys that the
native classes declare or read get through, and nothing of the library is imported to find that out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from auditor.checkpoint.native import causal_models, config_keys
from auditor.checkpoint.strict_json import quoted
from auditor.checkpoint.switches import objects, refuse_code
from auditor.checkpoint.weights import Weights
from auditor.errors import UnsafeCheckpoint, UnsupportedModel

CONFIG = "config.json"

COMMON_KEYS = frozenset(
    [
        "model_type",
        "architectures",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "is_encoder_decoder",
        "tie_word_embeddings",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "tokenizer_class",
        "rope_scaling",
        "rope_theta",
        "rope_parameters",
        "partial_rotary_factor",
        "original_max_position_embeddings",
        "head_dim",
        "layer_types",
        "sliding_window",
        "attention_chunk_size",
        "is_causal",
    ]
)
"""what the library's root class, masks, caches and rotary embeddings read for every model type"""

ORDINARY_UNDERSCORE = frozenset(
    [
        "_name_or_path",
        "_commit_hash",
        "_attn_implementation_autoset",
        "_sliding_window_pattern",
        "_flash_attn_2_enabled",
        "_from_model_config",
        "_diffusers_version",
        "_class_name",
        "_model_name_or_path",
        "_frame_rate",
        "__float__",
    ]
)
"""bookkeeping that versions of the library saved into real checkpoints: others are refused, these are not"""

PER_LAYER = "per_layer_config"
"""where the library's root class reads settings of single layers"""
QUANTISED = ("quantization_config", "compression_config")
DTYPES = frozenset(["auto", "float16", "bfloat16", "float32", "float64"])

VOCABULARY = ("vocab_size",)
WIDTH = ("hidden_size", "n_embd", "n_embed", "d_model")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
LARGEST = {
    **dict.fromkeys(VOCABULARY, 2**23),
    **dict.fromkeys(WIDTH, 2**18),
    **dict.fromkeys(LAYERS, 2**12),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_key_value_heads", "head_dim"), 2**16),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size"), 2**22),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 2**27),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 2**16),
}
"""the most a size may be, by its spellings: several times the largest published models"""


@dataclass(frozen=True)
class CleanConfig:
    """What the library may see of config.json."""

    model_type: str
    values: dict[str, Any]
    notes: tuple[str, ...]


def clean_config(raw: dict[str, Any], weights: Weights) -> CleanConfig:
    """Judge a decoded config.json against the weights beside it.

    Raises UnsafeCheckpoint for what names code or misstates the sizes, UnsupportedModel for a quantised
    checkpoint and for one that is no causal language model.
    """
    refuse_code(raw, CONFIG)
    for place, tree in objects(raw, CONFIG):
        _refuse_internal_keys(tree, place)
    model_type = _model_type(raw)
    dropped: set[str] = set()
    values = _known_part(raw, CONFIG, dropped)
    for place, tree in objects(values, CONFIG):
        _check_values(tree, place)
    _compare_with_weights(values, weights)
    return CleanConfig(model_type, values, tuple(_notes(raw, causal_models()[model_type], dropped)))


def _refuse_internal_keys(tree: dict[str, Any], place: str) -> None:
    known = _keys_of(tree) or frozenset()
    for key, value in tree.items():
        if key in QUANTISED and value:
            raise UnsupportedModel(
                f"{place}: the checkpoint is quantised ({key}), and quantised checkpoints are not measured. "
                "Give the unquantised release"
            )
        ordinary = key in ORDINARY_UNDERSCORE and not isinstance(value, dict | list)
        if key.startswith("_") and not ordinary and key not in known:
            raise UnsafeCheckpoint(f"{place}: the key {quoted(key)} is internal to the library; remove it")


def _model_type(raw: dict[str, Any]) -> str:
    model_type = raw.get("model_type")
    if not _is_type_name(model_type):
        raise UnsafeCheckpoint(f"{CONFIG}: names no model_type; without one there is no class to load")
    known = config_keys(model_type) is not None
    if known and model_type in causal_models():
        return str(model_type)
    if known:
        raise UnsupportedModel(f"{CONFIG}: {model_type} is not a causal language model")
    code = " (auto_map names it)" if "auto_map" in raw else ""
    raise UnsafeCheckpoint(
        f"{CONFIG}: the model type {model_type} needs code of its own{code}; only model types that "
        "transformers itself implements are loaded. If a newer transformers implements it, upgrade"
    )


def _keys_of(tree: dict[str, Any]) -> frozenset[str] | None:
    """Known keys of an object that configures a model or one of its parts; None for other objects."""
    model_type = tree.get("model_type")
    return config_keys(model_type) if _is_type_name(model_type) else None


def _is_type_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value) is not None


def _known_part(tree: dict[str, Any], place: str, dropped: set[str]) -> dict[str, Any]:
    """The object without keys that its class does not know, the parts of a composite model included."""
    known = _keys_of(tree)
    if known is None and tree.get("model_type"):
        raise UnsafeCheckpoint(f"{place}: the model type {quoted(tree['model_type'])} needs code of its own")
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        if key == PER_LAYER and known is not None and isinstance(value, dict):
            kept[key] = {layer: _only(settings, known) for layer, settings in value.items()}
        elif known is None or key in known or key in COMMON_KEYS:
            kept[key] = _known_part(value, f"{place}: {quoted(key)}", dropped) if isinstance(value, dict) else value
        elif value is not None:
            dropped.add(key if key.isidentifier() and key.isascii() else quoted(key))
    return kept


def _only(settings: Any, known: frozenset[str]) -> dict[str, Any]:
    """What one layer may set for itself."""
    if not isinstance(settings, dict):
        raise UnsafeCheckpoint(f"{CONFIG}: {PER_LAYER} does not map layers to settings")
    return {key: value for key, value in settings.items() if key in known}


def _check_values(tree: dict[str, Any], place: str) -> None:
    for key in LARGEST.keys() & tree.keys():
        value, least = tree[key], 0 if "experts" in key else 1
        for size in value if isinstance(value, list) else [value]:
            if size is not None and not (type(size) is int and least <= size <= LARGEST[key]):
                raise UnsafeCheckpoint(
                    f"{place}: {key} is {quoted(size)}, not a number from {least} to {LARGEST[key]:,}"
                )
    for key in ("dtype", "torch_dtype"):
        dtype = tree.get(key)
        # the library looks this name up in torch
        if dtype is not None and (not isinstance(dtype, str) or dtype.removeprefix("torch.") not in DTYPES):
            raise UnsafeCheckpoint(f"{place}: {key} is {quoted(dtype)}, not one of {', '.join(sorted(DTYPES))}")
    tokenizer = tree.get("tokenizer_class")
    if tokenizer is not None and not (isinstance(tokenizer, str) and tokenizer.isidentifier()):
        raise UnsafeCheckpoint(f"{place}: tokenizer_class is {quoted(tokenizer)}, not a class name")


def _compare_with_weights(values: dict[str, Any], weights: Weights) -> None:
    """Sizes that no tensor has would be allocated before anything else fails."""
    for spellings in (VOCABULARY, WIDTH):
        size = _first(values, spellings)
        if size is not None and size not in weights.dimensions:
            raise UnsafeCheckpoint(f"{CONFIG}: {spellings[0]} is {size:,}, but no tensor has such a dimension")
    layers = _first(values, LAYERS)
    numbered = {int(part) for name in weights.tensors for part in name.split(".") if re.fullmatch(r"[0-9]{1,5}", part)}
    if layers is not None and numbered and layers > max(numbered) + 1:
        raise UnsafeCheckpoint(
            f"{CONFIG}: promises {layers:,} layers, but the tensors are numbered only up to {max(numbered)}"
        )


def _first(values: dict[str, Any], spellings: tuple[str, ...]) -> int | None:
    return next((values[key] for key in spellings if isinstance(values.get(key), int)), None)


def _notes(raw: dict[str, Any], native: str, dropped: set[str]) -> list[str]:
    notes = []
    if "auto_map" in raw:
        notes.append(f"{CONFIG} names code of its own (auto_map); it is not used, the library's {native} is")
    named = raw.get("architectures")
    if isinstance(named, list) and named and native not in named:
        notes.append(f"{CONFIG} names the architecture {quoted(named[0])}; it is loaded as {native}")
    if kept_out := sorted(dropped - {"auto_map"}):
        notes.append(f"{CONFIG}: keys that the native class does not read were dropped: {', '.join(kept_out)}")
    return notes
