"""First-order effects: how fast the refusal metric changes with the coefficient of each of many edits.

One forward and one backward pass a prompt serve any number of edits. What the edits do at full strength is only
predicted; `sweep` finds it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.model.batches import in_batches, left_padded
from auditor.model.edits import Edit
from auditor.model.extract import Progress
from auditor.model.generate import forward
from auditor.model.hooks import differentiating
from auditor.model.prompts import Prompt
from auditor.model.target import TargetModel

GRADIENT_SHARE = 8
"""What is kept for the backward pass takes this many times the room of hidden states that are let go."""


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """The metric of some prompts, and its slopes."""

    values: NDArray[np.float32]
    """[n_prompts] without edits, logit"""
    slopes: NDArray[np.float32]
    """[n_prompts, n_edits] change for a coefficient of 1, were the metric linear in it"""


def first_order(
    target: TargetModel,
    prompts: Sequence[Prompt],
    token_ids: Sequence[int],
    edits: Sequence[Edit],
    *,
    batch_tokens: int,
    progress: Progress | None = None,
) -> FirstOrder:
    """Logit of the summed probability of some tokens behind each prompt, and its derivatives by the coefficients at 0.

    Args:
        target: the model.
        prompts: a completion is not fed.
        token_ids: some of the vocabulary and not all of it.
        edits: additions and ablations of all tokens; their own coefficients are not looked at.
        batch_tokens: padded tokens a batch that keeps nothing.
        progress: told how many prompts are done.

    Raises:
        ProbeFailed: a prompt is longer than the model takes.
        UnsupportedModel: the model has no such site.
        ValueError: an edit of some tokens only, or a replacement.
    """
    values = np.empty(len(prompts), np.float32)
    slopes = np.empty((len(prompts), len(edits)), np.float32)
    done = 0
    for rows in in_batches([p.prompt_len for p in prompts], max(1, batch_tokens // GRADIENT_SHARE)):
        batch = left_padded(target, [prompts[i].ids[: prompts[i].prompt_len] for i in rows])
        with torch.enable_grad(), differentiating(target, edits) as found:
            logits = forward(target, batch, keep=1).logits[:, -1].float()
            metric = log_odds(logits, token_ids)
            torch.autograd.grad(metric.sum(), found.root)
        values[rows] = metric.detach().cpu().numpy()
        slopes[rows] = found.values.cpu().numpy()
        done += len(rows)
        if progress is not None:
            progress(done, len(prompts))
    return FirstOrder(values, slopes)


def log_odds(logits: Tensor, token_ids: Sequence[int]) -> Tensor:
    """Log-odds of a next token among `token_ids`, by logits [rows, vocab]: judges.refusal_metric, differentiable."""
    chosen = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    chosen[list(token_ids)] = True
    within = logits.masked_fill(~chosen, -torch.inf).logsumexp(-1)
    return within - logits.masked_fill(chosen, -torch.inf).logsumexp(-1)
