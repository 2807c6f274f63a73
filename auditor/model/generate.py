"""Greedy decoding with a key-value cache, for a batch whose edits and reads are set up around it.

Nothing of the checkpoint's generation settings is used except which tokens end an answer: no sampling, no penalties,
no forced tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from auditor.model.arithmetic import Rows
from auditor.model.batches import Batch, inputs
from auditor.model.hooks import contiguous_head
from auditor.model.target import TargetModel

Over = Callable[[Sequence[int]], bool]
"""told the new tokens of a row: whether it gets no more of them"""
LEAVE_AT = 0.9
"""share of a batch that is still going on, at which the others leave: that costs about what one more token costs"""


@dataclass(frozen=True, eq=False)
class Past:
    """What the rows of a batch go on from."""

    cache: DynamicCache
    mask: Tensor
    """int64 [rows, columns], 0 at padding"""


class Decoder:
    """A batch and the cache that grows with it; `past`: what its rows go on from."""

    def __init__(self, target: TargetModel, batch: Batch, past: Past | None = None) -> None:
        self._target = target
        self._past = past or Past(DynamicCache(config=target.model.config), batch.mask[:, :0])
        self.logits = self._forward(batch)
        """float32 [rows, vocab] of the token to come"""

    def feed(self, tokens: Tensor) -> None:
        """Go on with one token a row. `tokens`: int64 [rows]."""
        self.logits = self._forward(Batch(tokens[:, None], torch.ones_like(tokens[:, None])))

    def keep(self, rows: Tensor) -> None:
        """Let all other rows go. `rows`: int64, among those that are left."""
        self._past.cache.batch_select_indices(rows)
        self._past, self.logits = Past(self._past.cache, self._past.mask[rows]), self.logits[rows]

    def _forward(self, batch: Batch) -> Tensor:
        logits: Tensor = forward(self._target, batch, keep=1, past=self._past).logits[:, -1].float()
        self._past = Past(self._past.cache, following(batch, self._past))
        return logits


def forward(target: TargetModel, batch: Batch, *, keep: int, past: Past | None = None) -> Any:
    """One pass over the columns of a batch, with logits of at least the last `keep`; the cache of the past grows."""
    arguments: dict[str, Any] = inputs(target.model, batch.ids, following(batch, past))
    if "logits_to_keep" in inspect.signature(target.model.forward).parameters:
        arguments["logits_to_keep"] = keep
    with contiguous_head(target):
        cache = None if past is None else past.cache
        return target.model(**arguments, past_key_values=cache, use_cache=past is not None)


def following(batch: Batch, past: Past | None) -> Tensor:
    """The mask of a batch with the columns of its past. int64 [rows, past + columns]"""
    return batch.mask if past is None else torch.cat([past.mask, batch.mask], dim=-1)


@torch.inference_mode()
def next_logits(target: TargetModel, batch: Batch, past: Past | None = None) -> Tensor:
    """Logits of the token that follows each row. float32 [rows, vocab]"""
    logits: Tensor = forward(target, batch, keep=1, past=past).logits
    return logits[:, -1].float()


@torch.inference_mode()
def completion_nll(target: TargetModel, batch: Batch, n_last: Sequence[int], past: Past | None = None) -> list[float]:
    """Mean nats a token of the last `n_last` [rows] tokens of each row, given what precedes them."""
    width = max(n_last) + 1
    logits = forward(target, batch, keep=width, past=past).logits[:, -width:]
    found = []
    for row, n in enumerate(n_last):
        log_p = logits[row, -n - 1 : -1].float().log_softmax(-1)
        found.append(-float(log_p.gather(-1, batch.ids[row, -n:, None]).mean()))
    return found


@torch.inference_mode()
def greedy(
    target: TargetModel,
    batch: Batch,
    over: Sequence[Over],
    past: Past | None = None,
    *,
    rows: Rows | None = None,
) -> tuple[Tensor, list[tuple[int, ...]]]:
    """The likeliest token again and again; of equally likely ones the one with the lowest id.

    Args:
        target: the model.
        batch: the prompts, behind `past`.
        over: of each row, told its new tokens after each of them.
        past: what the rows go on from.
        rows: of the edits around this call; rows that are over then leave the batch. None keeps them to the end.

    Returns:
        logits of the first new token, float32 [rows, vocab], and for each row its new tokens.
    """
    decoder = Decoder(target, batch, past)
    first = decoder.logits
    tokens = first.argmax(-1)
    written: list[list[int]] = [[] for _ in over]
    going, done = list(range(len(written))), set[int]()
    while True:
        for row, token in zip(going, tokens.tolist(), strict=True):
            if row not in done:
                written[row].append(token)
                if over[row](written[row]):
                    done.add(row)
        left = [k for k, row in enumerate(going) if row not in done]
        if not left:
            return first, [tuple(row) for row in written]
        if rows is not None and len(left) <= LEAVE_AT * len(going):
            among = torch.tensor(left, device=first.device)
            decoder.keep(among)
            rows.keep(among)
            tokens, going = tokens[among], [going[k] for k in left]
        decoder.feed(tokens)
        tokens = decoder.logits.argmax(-1)


@torch.inference_mode()
def verified(
    target: TargetModel,
    batch: Batch,
    drafts: Sequence[tuple[int, ...]],
    over: Sequence[Over],
    past: Past | None = None,
) -> tuple[Tensor, list[tuple[int, ...]]]:
    """What `greedy` gives, up to where a row no longer says what its draft says, from one pass over both.

    Source: Leviathan et al. 2023, arXiv:2211.17192, for the likeliest token and a draft that is there already.

    Args:
        target: the model.
        batch: prompts, each with its draft behind it.
        drafts: of each row; may be empty.
        over: as in `greedy`.
        past: as in `greedy`.

    Returns:
        logits of the first new token, float32 [rows, vocab], and for each row at least one new token: its last one is
        the first that is not in the draft, unless the row is over.
    """
    width = max(map(len, drafts)) + 1
    logits = forward(target, batch, keep=width, past=past).logits[:, -width:]
    likeliest = logits.argmax(-1).tolist()
    first = torch.stack([logits[row, -len(draft) - 1] for row, draft in enumerate(drafts)]).float()
    written = [
        _agreed(tokens[-len(draft) - 1 :], draft, one)
        for tokens, draft, one in zip(likeliest, drafts, over, strict=True)
    ]
    return first, written


def _agreed(likeliest: Sequence[int], draft: tuple[int, ...], over: Over) -> tuple[int, ...]:
    """`likeliest`: [len(draft) + 1] tokens behind the prompt and behind each token of the draft."""
    written: list[int] = []
    for said, drafted in zip_longest(likeliest, draft):
        written.append(said)
        if said != drafted or over(written):
            break
    return tuple(written)
