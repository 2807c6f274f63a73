"""TargetModel: the model under audit, with its blocks found by structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from auditor.config import Scalar
from auditor.errors import UnsupportedModel
from auditor.model.chat_format import ChatFormat
from auditor.model.sites import Point, Site


@dataclass(frozen=True, eq=False)
class TargetModel:
    """A loaded causal language model in evaluation mode."""

    model: Any
    """the transformers model, with its head"""
    backbone: Any
    """the same model without its head"""
    tokenizer: Any
    chat: ChatFormat
    blocks: tuple[nn.Module, ...]
    """[n_layers]"""
    d_model: int
    vocab_size: int
    """rows of the embedding"""
    max_tokens: int | None
    """longest input the config allows; None where it sets no bound"""
    pad_id: int
    eos_ids: tuple[int, ...]
    """tokens that end an answer"""
    identity: str
    """digest of the checkpoint"""
    parts: Mapping[Point, tuple[nn.Module, ...]] = field(default_factory=dict)
    """[n_layers] modules whose output is what a block adds, for attn_out and mlp_out where they were found"""
    unsupported: Mapping[Point, str] = field(default_factory=dict)
    """points that cannot be read on this model, with the reason"""
    shares_prefixes: bool = False
    """whether prompts may go on from the keys and values of a beginning that was read once"""
    starts_late: Literal["", "tensor", "tuple"] = ""
    """what a block returns, where rows may start at a layer and pass over those before it"""

    @property
    def n_layers(self) -> int:
        """How many blocks."""
        return len(self.blocks)

    @property
    def points(self) -> tuple[Point, ...]:
        """The points that can be read and edited."""
        return ("resid_pre", "resid_post", *self.parts)

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        found: torch.device = self.model.device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        found: torch.dtype = self.model.dtype
        return found

    @property
    def has_chat_template(self) -> bool:
        """Whether user texts go through a template of the checkpoint's own."""
        return self.chat.template is not None

    @property
    def has_system_role(self) -> bool:
        """Whether a system message has a place."""
        return self.chat.has_system_role

    @property
    def injected_system(self) -> str | None:
        """System text that the template adds by itself when none is given."""
        return self.chat.injected_system

    @property
    def facts(self) -> dict[str, Scalar]:
        """What belongs on record."""
        missing = {f"{point}_unsupported": reason for point, reason in self.unsupported.items()}
        return {
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "vocabulary": self.vocab_size,
            "points": ", ".join(self.points),
            "attention": str(getattr(self.model.config, "_attn_implementation", None)),
            "ends_of_answer": ", ".join(map(str, self.eos_ids)),
            **missing,
            **self.chat.facts,
        }

    def module(self, site: Site) -> nn.Module:
        """The module at whose input (resid_pre) or output (all others) a site lies.

        Raises:
            UnsupportedModel: the model has no such layer or point.
        """
        if site.layer >= self.n_layers:
            raise UnsupportedModel(f"layer {site.layer}: the model has layers 0 to {self.n_layers - 1}")
        if site.point in self.unsupported:
            raise UnsupportedModel(f"{site.point} cannot be read: {self.unsupported[site.point]}")
        return self.parts.get(site.point, self.blocks)[site.layer]


def find_blocks(model: nn.Module) -> tuple[nn.Module, ...]:
    """The one list of modules with as many entries as the config has layers.

    Raises:
        UnsupportedModel: there is none, or more than one.
    """
    config: Any = model.config
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    fitting = [name for name, found in lists.items() if len(found) == layers]
    # experts of a block may be as many as there are blocks; they lie inside the list of blocks
    outer = [name for name in fitting if not any(name.startswith(f"{other}.") for other in fitting)]
    if len(outer) != 1:
        seen = ", ".join(f"{name} ({len(found)})" for name, found in list(lists.items())[:8]) or "none"
        raise UnsupportedModel(
            f"no single list of {layers} blocks in {type(model).__name__}: "
            f"{len(outer)} lists fit; lists of modules found: {seen}"
        )
    return tuple(lists[outer[0]])
