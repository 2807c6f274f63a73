"""Extraction: activations of many prompts at some sites and tokens, nothing else kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from auditor.model.activations import Activations
from auditor.model.batches import in_batches, inputs, left_padded
from auditor.model.hooks import recording, stopping_behind
from auditor.model.positions import Position, resolve
from auditor.model.prompts import Prompt
from auditor.model.sites import Site
from auditor.model.target import TargetModel

Progress = Callable[[int, int], None]
"""told (done, total)"""


def extract(
    target: TargetModel,
    prompts: Sequence[Prompt],
    *,
    sites: Sequence[Site],
    position: Position | str,
    batch_tokens: int,
    mean: bool = False,
    progress: Progress | None = None,
) -> Activations:
    """Read the residual stream of each prompt (completion included) at the asked tokens.

    Neither the head of the model is run nor what lies behind the last site.

    Args:
        target: the model.
        prompts: in any order and of any length.
        sites: where to read.
        position: which tokens; `completion_tokens` gives one row a token.
        batch_tokens: padded tokens a batch.
        mean: average the tokens of a prompt into one row.
        progress: told how many prompts are done.

    Returns:
        rows in the order of the prompts, then of their tokens.

    Raises:
        ProbeFailed: a prompt has no such token, or is too long.
        UnsupportedModel: the model has no such site.
    """
    asked = Position.parse(position) if isinstance(position, str) else position
    tokens = [resolve(prompt, asked) for prompt in prompts]
    rows = [1 if mean else len(found) for found in tokens]
    starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    values = np.empty((starts[-1], len(sites), target.d_model), np.float32)
    done = 0
    for batch in in_batches([len(prompt.ids) for prompt in prompts], batch_tokens):
        read = _read(target, [prompts[i] for i in batch], sites, [tokens[i] for i in batch])
        for index, found in zip(batch, read, strict=True):
            values[starts[index] : starts[index + 1]] = found.mean(0, keepdims=True) if mean else found
        done += len(batch)
        if progress is not None:
            progress(done, len(prompts))
    example = np.repeat(np.arange(len(prompts), dtype=np.int64), rows)
    position_of = np.array([t for found in tokens for t in (found[-1:] if mean else found)], dtype=np.int64)
    return Activations(values, tuple(sites), example, position_of)


def _read(
    target: TargetModel, prompts: Sequence[Prompt], sites: Sequence[Site], tokens: Sequence[tuple[int, ...]]
) -> list[np.ndarray]:
    """For each prompt of one batch: [n_tokens, n_sites, d_model]."""
    batch = left_padded(target, [prompt.ids for prompt in prompts])
    last = max(site.layer for site in sites)
    with torch.inference_mode(), recording(target, sites, tokens) as seen, stopping_behind(target, last):
        target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)
    cuts = np.cumsum([len(found) for found in tokens])[:-1]
    return np.split(seen.whole, cuts)
