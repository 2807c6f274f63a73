"""Steering sweep: texts under directions × coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from auditor.measure.directions import Direction, difference_in_means, direction_of
from auditor.measure.judges import settled
from auditor.model.batches import inputs, left_padded
from auditor.model.edits import Edit
from auditor.model.extract import extract
from auditor.model.prompts import render
from auditor.model.sites import Site
from auditor.model.sweep import sweep
from auditor.model.work import WorkItem
from benchmarks.hooks import hooked, putting
from benchmarks.models import Bench
from benchmarks.timing import Contest, Numbers

NOTHING = -1
"""stands behind the end of an answer"""


def steering_sweep(bench: Bench, _scratch: Path) -> Contest:
    """Ours beside a hook and the library's `generate` for one condition after the other."""
    target, sizes = bench.target, bench.sizes
    prompts = bench.prompts(sizes.prompts)
    site = Site(target.n_layers // 2, "resid_post")
    coefficients = np.linspace(-2, 2, sizes.coefficients)
    direction = between_classes(bench, site)
    units = [direction.vector, *bench.units(sizes.directions - 1)]
    arms = [(u, float(c)) for u in units for c in coefficients]

    def ours(decided: Callable[[str], bool] | None = None) -> Numbers:
        items = [
            WorkItem(prompt, (edit,), (), frozenset({"text"}), sizes.tokens, decided)
            for edit in (Edit("add", u, direction.norm, c, (site,)) for u, c in arms)
            for prompt in prompts
        ]
        found = np.full((len(items), sizes.tokens), float(NOTHING))
        for index, outcome in sweep(target, items, batch_tokens=bench.plan.batch_tokens):
            found[index, : len(outcome.tokens)] = outcome.tokens
            if decided is not None and not outcome.ended:
                found[index, len(outcome.tokens) :] = np.nan
        return found

    @torch.inference_mode()
    def one_at_a_time() -> Numbers:
        batch = left_padded(target, [p.ids for p in prompts], room_for=sizes.tokens)
        given = inputs(target.model, batch.ids, batch.mask)
        found = []
        for u, c in arms:
            with hooked(
                target, [site], putting(c * direction.norm * torch.from_numpy(u).to(target.device, target.dtype))
            ):
                written = target.model.generate(
                    input_ids=given["input_ids"], attention_mask=given["attention_mask"], do_sample=False,
                    max_new_tokens=sizes.tokens, eos_token_id=list(target.eos_ids), pad_token_id=target.pad_id,
                )  # fmt: skip
            new = written[:, batch.ids.shape[1] :].tolist()
            found += [until_end(row, target.eos_ids, sizes.tokens) for row in new]
        return np.array(found, dtype=np.float64)

    what = f"{len(coefficients)} coefficients × {sizes.directions} directions × {len(prompts)} prompts × {sizes.tokens}"
    return Contest(
        name="steering sweep",
        what=f"{what} tokens",
        ours="auditor",
        contestants={
            "auditor": ours,
            "auditor, stopping rows that are decided": lambda: ours(settled),
            "hook and generate, one condition at a time": one_at_a_time,
        },
        # near ties between tokens fall either way in bfloat16, and all that follows differs: told, not judged
        tolerance=0.02 if target.dtype == torch.float32 else 1.0,
        difference=share_of_other_texts,
        notes=(
            "difference: share of texts that are not the same to the last token that was wanted",
            "decided: whether the answer opens with a refusal, however it goes on",
        ),
    )


def between_classes(bench: Bench, site: Site) -> Direction:
    """Difference-in-means of harmful and plain requests, whose norm all directions are given."""
    fit = bench.sizes.fit
    prompts = [render(bench.target, example) for example in (*bench.harmful[:fit], *bench.plain[:fit])]
    read = extract(bench.target, prompts, sites=[site], position="last_prompt", batch_tokens=bench.plan.batch_tokens)
    return direction_of(difference_in_means(read.values[:, 0], np.arange(len(prompts)) < fit), site)


def until_end(tokens: Sequence[int], ends: Sequence[int], length: int) -> list[int]:
    """An answer without the token that ended it, filled up to `length`."""
    end = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return [*tokens[:end], *[NOTHING] * (length - end)]


def share_of_other_texts(ours: Numbers, theirs: Numbers) -> float:
    """Of the rows, how many are not equal as far as both are written."""
    both = ~(np.isnan(ours) | np.isnan(theirs))
    return float(((ours != theirs) & both).any(axis=1).mean())
