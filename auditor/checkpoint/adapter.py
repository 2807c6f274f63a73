"""A PEFT adapter folder: LoRA weights as safetensors, and settings of which only the arithmetic is kept.

The file names a base model, a revision and modules to import. None of that is followed: the base is named by
the user. No peft is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from auditor.checkpoint.files import ReadFile
from auditor.checkpoint.strict_json import parse_object, quoted
from auditor.checkpoint.switches import refuse_code
from auditor.checkpoint.weights import Weights, read_header, summarise
from auditor.errors import ConfigError, UnsafeCheckpoint, UnsupportedModel

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PICKLED_WEIGHTS = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")

NOT_FOLLOWED = frozenset(
    (
        "base_model_name_or_path",
        "revision",
        "auto_mapping",
        "inference_mode",
        "peft_version",
        "megatron_core",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "qalora_group_size",
        "runtime_config",
    )
)
"""where the adapter came from, how its training started, which modules to import: no part of the result"""

Names = str | list[Annotated[str, StringConstraints(max_length=200)]] | None
"""a pattern, or module names"""
Numbers = dict[str, Annotated[int | float, Field(gt=0, le=2**14)]] | None


class LoraSettings(BaseModel):
    """What decides which product is added where; meanings as in peft's LoraConfig."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"] | None = None
    r: int = Field(default=8, ge=1, le=2**14)
    lora_alpha: int | float = Field(default=8, gt=0, le=2**20)
    lora_dropout: int | float = Field(default=0, ge=0, le=1)
    target_modules: Names = Field(default=None, max_length=4000)
    exclude_modules: Names = Field(default=None, max_length=4000)
    modules_to_save: list[str] | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    lora_bias: bool = False
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    layers_to_transform: int | list[int] | None = None
    layers_pattern: Names = Field(default=None, max_length=4000)
    rank_pattern: Numbers = None
    alpha_pattern: Numbers = None
    init_lora_weights: bool | Literal["gaussian"] | None = None
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    target_parameters: list[str] | None = None
    ensure_weight_tying: bool = False


def read_adapter(files: Mapping[str, ReadFile]) -> tuple[dict[str, Any], Weights, list[str]]:
    """Settings, weights and notes of an adapter folder.

    Raises UnsafeCheckpoint for pickled weights and settings out of range, UnsupportedModel for what is not
    plain LoRA, ConfigError for a folder that is no adapter.
    """
    if ADAPTER_CONFIG not in files:
        raise ConfigError(f"the folder has no {ADAPTER_CONFIG}; give the folder that peft saved")
    raw = parse_object(files[ADAPTER_CONFIG].kept, ADAPTER_CONFIG)
    refuse_code(raw, ADAPTER_CONFIG)
    if ADAPTER_WEIGHTS not in files:
        raise _no_weights(files)
    weights = summarise({ADAPTER_WEIGHTS: read_header(files[ADAPTER_WEIGHTS])}, files)
    settings = _settings(raw)
    notes = []
    if base := raw.get("base_model_name_or_path"):
        notes.append(f"{ADAPTER_CONFIG} names the base {quoted(base)}; not followed, the base is the model under audit")
    return settings, weights, [*notes, *weights.notes]


def _settings(raw: dict[str, Any]) -> dict[str, Any]:
    """The settings that are kept, each in its range."""
    if raw.get("peft_type") != "LORA" or raw.get("task_type") not in (None, "CAUSAL_LM"):
        kind = f"{quoted(raw.get('peft_type'))} for {quoted(raw.get('task_type'))}"
        raise UnsupportedModel(
            f"{ADAPTER_CONFIG}: is {kind}; only LORA for CAUSAL_LM is applied. Merge it and audit that"
        )
    for key in sorted(raw.keys() - LoraSettings.model_fields.keys() - NOT_FOLLOWED):
        if raw[key]:
            raise UnsupportedModel(
                f"{ADAPTER_CONFIG}: asks for {quoted(key)}, which is not applied. Merge it and audit that"
            )
    start = raw.get("init_lora_weights")
    if isinstance(start, str) and start != "gaussian":
        # such an adapter is relative to a base that its training changed first
        raise UnsupportedModel(
            f"{ADAPTER_CONFIG}: init_lora_weights is {quoted(start)}, so it belongs to a changed base. "
            "Convert it to plain LoRA, or merge it and audit that"
        )
    try:
        return LoraSettings.model_validate(raw).model_dump(exclude_unset=True, exclude_none=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise UnsafeCheckpoint(f"{ADAPTER_CONFIG}: {quoted(first['loc'][0])}: {first['msg']}") from error


def _no_weights(files: Mapping[str, ReadFile]) -> UnsafeCheckpoint | ConfigError:
    for name in PICKLED_WEIGHTS:
        if name in files:
            return UnsafeCheckpoint(
                f"{name}: the adapter comes only as pickle, and reading a pickle runs code. "
                "Save it again as safetensors in a sandbox you trust"
            )
    return ConfigError(f"the folder has no {ADAPTER_WEIGHTS}")
