"""Shape: the sizes that decide what a model costs, from config.json and the headers of the weights. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auditor.checkpoint.admit import Admitted
from auditor.checkpoint.model_config import LAYERS, WIDTH

HEADS = ("num_attention_heads", "n_head", "n_heads")
INNER = ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size")


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder."""

    parameters: int
    n_layers: int
    d_model: int
    d_inner: int
    """width inside a block's MLP"""
    vocabulary: int
    n_heads: int
    kv_width: int
    """numbers that one token leaves in the cache of one layer as keys, and again as values"""
    tied: bool
    """whether the head shares its weights with the embedding"""

    @classmethod
    def of(cls, admitted: Admitted) -> Shape:
        """The shape of an admitted checkpoint. Raises KeyError for a config that does not say."""
        return cls.read(admitted.config, admitted.identity.parameters)

    @classmethod
    def read(cls, config: Mapping[str, Any], parameters: int) -> Shape:
        """From a config; of a composite model the part that is for text."""
        text = config.get("text_config", config)
        d_model, n_heads = _first(text, WIDTH), _first(text, HEADS)
        kv_heads = text.get("num_key_value_heads") or n_heads
        return cls(
            parameters=parameters,
            n_layers=_first(text, LAYERS),
            d_model=d_model,
            d_inner=_first(text, INNER, 4 * d_model),
            vocabulary=_first(text, ("vocab_size",)),
            n_heads=n_heads,
            kv_width=kv_heads * (text.get("head_dim") or d_model // n_heads),
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        )

    @property
    def flops_fed(self) -> int:
        """Of one token through all blocks: two for each weight that is not of the embedding or the head."""
        return 2 * (self.parameters - self.vocabulary * self.d_model * (1 if self.tied else 2))

    @property
    def flops_head(self) -> int:
        """Of the logits at one position."""
        return 2 * self.vocabulary * self.d_model


def _first(config: Mapping[str, Any], spellings: tuple[str, ...], otherwise: int | None = None) -> int:
    found = next((config[key] for key in spellings if isinstance(config.get(key), int)), otherwise)
    if found is None:
        raise KeyError(spellings[0])
    return found
