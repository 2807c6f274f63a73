"""Merge a LoRA adapter into the weights; the model is an ordinary one afterwards. Needs the extra `adapters`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from auditor.checkpoint.admit import Admitted
from auditor.errors import ConfigError, UnsupportedModel


def with_adapter(model: Any, adapter: Admitted, folder: Path) -> Any:
    """The model with the adapter's products added to its weights (Hu et al., arXiv:2106.09685).

    Args:
        model: a transformers model; it is changed.
        adapter: what was admitted of the adapter.
        folder: where its admitted files are staged.

    Raises:
        ConfigError: peft is not installed.
        UnsupportedModel: the adapter does not fit this model, in whole or in part.
    """
    try:
        from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    except ImportError as error:
        raise ConfigError("adapters need peft: pip install 'checkpoint-auditor[adapters]'") from error
    name = adapter.identity.name
    weights = {k: v for file in adapter.weight_files for k, v in load_file(folder / file).items()}
    try:
        with warnings.catch_warnings():
            # peft asks transformers for an attribute under its old name
            warnings.simplefilter("ignore", FutureWarning)
            wrapped: Any = get_peft_model(model, LoraConfig(**adapter.config))
        result: Any = set_peft_model_state_dict(wrapped, weights)
        missing = [key for key in result.missing_keys if ".default" in key]
        if missing or result.unexpected_keys:
            told = ", ".join([*missing, *result.unexpected_keys][:3])
            raise UnsupportedModel(f"the adapter {name} and the model disagree about weights: {told}")
        return wrapped.merge_and_unload(safe_merge=True)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UnsupportedModel(f"the adapter {name} cannot be applied: {error}") from error
