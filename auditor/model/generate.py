"""Greedy decoding with a key-value cache, for a batch whose edits and reads are set up around it.

Nothing of the checkpoint's generation settings is used except which tokens end an answer: no sampling, no penalties,
no forced tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from auditor.model.batches import Batch, inputs
from auditor.model.hooks import whole_head_input
from auditor.model.target import TargetModel


class Decoder:
    """A batch and the cache that grows with it; `past`: what every row goes on from."""

    def __init__(self, target: TargetModel, batch: Batch, past: DynamicCache | None = None) -> None:
        self._target = target
        self._mask = following(batch, past)
        self._cache = DynamicCache(config=target.model.config) if past is None else past
        self.logits = self._forward(batch.ids)
        """float32 [rows, vocab] of the token to come"""

    def feed(self, tokens: Tensor) -> None:
        """Go on with one token a row. `tokens`: int64 [rows]."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=-1)
        self.logits = self._forward(tokens[:, None])

    def _forward(self, ids: Tensor) -> Tensor:
        output = forward(self._target, ids, self._mask, keep=1, cache=self._cache)
        logits: Tensor = output.logits[:, -1].float()
        return logits


def forward(target: TargetModel, ids: Tensor, mask: Tensor, *, keep: int, cache: DynamicCache | None = None) -> Any:
    """One pass over the columns `ids`, the last ones of `mask`, with logits of at least the last `keep`."""
    arguments: dict[str, Any] = inputs(target.model, ids, mask)
    if "logits_to_keep" in inspect.signature(target.model.forward).parameters:
        arguments["logits_to_keep"] = keep
    with whole_head_input(target):
        return target.model(**arguments, past_key_values=cache, use_cache=cache is not None)


def following(batch: Batch, past: DynamicCache | None) -> Tensor:
    """The mask of a batch with the columns of its past, which are all real. int64 [rows, past + columns]"""
    seen = 0 if past is None else past.get_seq_length()
    return torch.cat([batch.mask.new_ones(batch.mask.shape[0], seen), batch.mask], dim=-1)


@torch.inference_mode()
def next_logits(target: TargetModel, batch: Batch, past: DynamicCache | None = None) -> Tensor:
    """Logits of the token that follows each row. float32 [rows, vocab]"""
    logits: Tensor = forward(target, batch.ids, following(batch, past), keep=1, cache=past).logits
    return logits[:, -1].float()


@torch.inference_mode()
def completion_nll(
    target: TargetModel, batch: Batch, n_last: Sequence[int], past: DynamicCache | None = None
) -> list[float]:
    """Mean nats a token of the last `n_last` [rows] tokens of each row, given what precedes them."""
    width = max(n_last) + 1
    logits = forward(target, batch.ids, following(batch, past), keep=width, cache=past).logits[:, -width:]
    found = []
    for row, n in enumerate(n_last):
        log_p = logits[row, -n - 1 : -1].float().log_softmax(-1)
        found.append(-float(log_p.gather(-1, batch.ids[row, -n:, None]).mean()))
    return found


@torch.inference_mode()
def greedy(
    target: TargetModel, batch: Batch, max_new_tokens: int, past: DynamicCache | None = None
) -> tuple[Tensor, list[tuple[int, ...]]]:
    """The likeliest token again and again; of equally likely ones the one with the lowest id.

    Returns:
        logits of the first new token, float32 [rows, vocab], and for each row its new tokens; the token that ended an
        answer is the last one.
    """
    decoder = Decoder(target, batch, past)
    first = decoder.logits
    ends = torch.tensor(target.eos_ids, dtype=torch.int64, device=first.device)
    chosen: list[Tensor] = []
    ended = torch.zeros(first.shape[0], dtype=torch.bool, device=first.device)
    while len(chosen) < max_new_tokens and not ended.all():
        if chosen:
            decoder.feed(chosen[-1])
        token = decoder.logits.argmax(-1)
        chosen.append(token)
        ended |= torch.isin(token, ends)
    if not chosen:
        return first, [()] * first.shape[0]
    return first, [_until_end(row, target.eos_ids) for row in torch.stack(chosen, dim=-1).tolist()]


def _until_end(tokens: list[int], ends: tuple[int, ...]) -> tuple[int, ...]:
    for index, token in enumerate(tokens):
        if token in ends:
            return tuple(tokens[: index + 1])
    return tuple(tokens)
