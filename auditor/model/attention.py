"""Grouped-query attention without a copy of keys and values for every head of a group; else the library's eager one.

It is used where it gives the logits of the code that the library would run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from auditor.model.batches import Batch
from auditor.model.checks import LIBRARY_FAILS
from auditor.model.generate import next_logits
from auditor.model.target import TargetModel

EAGER = "eager"
"""The one attention that every family has: fused kernels lack the score cap of gemma2 and the sinks of gpt-oss, and
leave undefined what a row of padding attends to."""
GROUPED = "eager_grouped"
"""The same without the copies. Measured with 135M weights on two cores: writing takes 12 to 15 % less time in bfloat16,
20 to 25 % less in float32; fused kernels are no faster, on prompts either."""
SAME = 1e-5
"""largest difference of logits, relative to the largest logit: by rounding, which here only float32 shows"""
_OTHERWISE = ("softcap", "s_aux", "position_bias", "learnable_sink")
"""arguments by which families of the library attend otherwise"""


def attend_in_groups(target: TargetModel) -> None:
    """Let the model attend by groups of heads, where it has such and nothing but time changes.

    Tried with two rows of tokens, one of them padded. A model that hands its attention anything else than queries,
    keys, values and a mask (a cap on scores, sinks) goes on as it is.
    """
    ids = torch.arange(12).view(2, 6) % target.vocab_size
    mask = torch.ones_like(ids)
    mask[0, :2] = 0
    batch = Batch(ids.to(target.device), mask.to(target.device))
    try:
        expected = next_logits(target, batch)
        target.model.set_attn_implementation(GROUPED)
        same = bool((next_logits(target, batch) - expected).abs().max() <= SAME * expected.abs().max())
    except LIBRARY_FAILS:  # a model that does not run is refused by the load checks, in their words
        same = False
    if not same:
        target.model.set_attn_implementation(EAGER)


def _grouped(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """softmax(q·k · scaling + mask) v of each head, those of a group side by side. [rows, tokens, n_heads, d_head]

    The contract of the library's attention functions; scores and their sum in float32, as in its eager one.

    Raises:
        ValueError: an argument that would change the result.
    """
    given = [name for name in _OTHERWISE if others.get(name) is not None]
    if dropout or given:
        raise ValueError(f"attention with {', '.join(given) or 'dropout'}")
    rows, heads, tokens, width = query.shape
    groups, columns = key.shape[1], key.shape[2]
    scores = query.reshape(rows, groups, -1, width) @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = (scores.view(rows, groups, -1, tokens, columns) + attention_mask[:, :, None]).view(scores.shape)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).view(rows, heads, tokens, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, _grouped)
AttentionMaskInterface.register(GROUPED, eager_mask)
