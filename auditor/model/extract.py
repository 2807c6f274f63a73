"""Extraction: activations of many prompts at some sites and tokens, nothing else kept, and that on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from auditor.arrays import OnDisk
from auditor.model.activations import Activations
from auditor.model.batches import inputs, left_padded
from auditor.model.generate import following
from auditor.model.hooks import recording, stopping_behind
from auditor.model.positions import Position, resolve
from auditor.model.prefix import Prefix, may_share, planned, shared_prefix
from auditor.model.prompts import Prompt
from auditor.model.sites import Site
from auditor.model.stems import Ids, Text
from auditor.model.target import TargetModel

Progress = Callable[[int, int], None]
"""told (done, total)"""
ROOM = 1 << 26
"""bytes of activations that are read in one batch; a single prompt may take more"""


def extract(  # noqa: PLR0913, each is a choice of its own
    target: TargetModel,
    prompts: Sequence[Prompt],
    *,
    sites: Sequence[Site],
    position: Position | str,
    batch_tokens: int,
    mean: bool = False,
    progress: Progress | None = None,
    scratch: Path | None = None,
) -> Activations:
    """Read the residual stream of each prompt (completion included) at the asked tokens.

    Neither the head of the model is run nor what lies behind the last site, and beginnings that prompts share are run
    once. Memory holds the activations of one batch; the rest lies in a file without a name, which goes with the
    result.

    Args:
        target: the model.
        prompts: in any order and of any length.
        sites: where to read.
        position: which tokens; `completion_tokens` gives one row a token.
        batch_tokens: padded tokens a batch.
        mean: average the tokens of a prompt into one row.
        progress: told how many prompts are done.
        scratch: folder of the file; None is the system's, which may lie in memory.

    Returns:
        rows in the order of the prompts, then of their tokens.

    Raises:
        ProbeFailed: a prompt has no such token, or is too long.
        UnsupportedModel: the model has no such site.
        IncompleteRun: the disk is full.
    """
    asked = Position.parse(position) if isinstance(position, str) else position
    tokens = [resolve(prompt, asked) for prompt in prompts]
    rows = [1 if mean else len(found) for found in tokens]
    starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    at_once = ROOM // (4 * target.d_model * max(1, len(sites)))
    lengths = [len(prompt.ids) for prompt in prompts]
    room = max(lengths, default=0)
    before = [prompt.ids[: found[0]] for prompt, found in zip(prompts, tokens, strict=True)]
    prefix = shared_prefix(target, before, [()], room=room, batch_tokens=batch_tokens)
    most = may_share(target, room)
    texts = [Text(ids[:most], None, length) for ids, length in zip(before, lengths, strict=True)]
    done = 0
    with OnDisk((len(sites), int(starts[-1]), target.d_model), scratch) as values:
        for whole, begun in planned(texts, prefix, batch_tokens):
            stems = dict(zip(whole, begun, strict=True))
            for batch in _cut(whole, tokens, at_once):
                some, going_on = [prompts[i].ids for i in batch], [stems[i] for i in batch]
                read = _read(target, some, going_on, prefix, sites, [tokens[i] for i in batch])
                for index, found in zip(batch, read, strict=True):
                    kept = found.mean(0, keepdims=True) if mean else found
                    for site in range(len(sites)):
                        values.put(int(site * starts[-1] + starts[index]), kept[:, site])
                done += len(batch)
                if progress is not None:
                    progress(done, len(prompts))
        by_site = values.mapped()
    example = np.repeat(np.arange(len(prompts), dtype=np.int64), rows)
    position_of = np.array([t for found in tokens for t in (found[-1:] if mean else found)], dtype=np.int64)
    return Activations(by_site.transpose(1, 0, 2), tuple(sites), example, position_of)


def _cut(batch: Sequence[int], tokens: Sequence[tuple[int, ...]], most: int) -> list[list[int]]:
    """A batch in parts in which at most so many tokens are read, or one prompt."""
    parts: list[list[int]] = []
    left = 0
    for index in batch:
        if not parts or left < len(tokens[index]):
            parts.append([])
            left = most
        parts[-1].append(index)
        left -= len(tokens[index])
    return parts


def _read(
    target: TargetModel,
    texts: Sequence[Ids],
    begun: Sequence[Ids],
    prefix: Prefix,
    sites: Sequence[Site],
    tokens: Sequence[tuple[int, ...]],
) -> list[np.ndarray]:
    """For each text of one batch, which goes on from its beginning: [n_tokens, n_sites, d_model]."""
    last = max(site.layer for site in sites)
    stems = list(dict.fromkeys(begun))
    if stems != [prefix.ids]:
        prefix = prefix.longer(target, [()] * len(stems), stems, last=last)
    past = prefix.past(target, [()] * len(texts), begun)
    fed = [text[len(ids) :] for text, ids in zip(texts, begun, strict=True)]
    batch = left_padded(target, fed, room_for=[len(ids) for ids in begun])
    with torch.inference_mode(), recording(target, sites, tokens) as seen, stopping_behind(target, last):
        arguments = inputs(target.backbone, batch.ids, following(batch, past))
        target.backbone(**arguments, past_key_values=None if past is None else past.cache, use_cache=past is not None)
    cuts = np.cumsum([len(found) for found in tokens])[:-1]
    return np.split(seen.whole, cuts)
