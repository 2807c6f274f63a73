"""Extraction: the residual stream of the last token after every block but the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from auditor.model.batches import Batch, inputs, left_padded
from auditor.model.extract import extract
from auditor.model.prompts import Prompt
from auditor.model.sites import Site
from benchmarks.models import Bench
from benchmarks.peers import Reader, find_peers, transformers_reader
from benchmarks.timing import Contest, Numbers, Work

PLAIN_BATCH = 32
"""prompts a batch, in the order of the file, where nothing is spared"""
Batches = list[tuple[list[int], Batch]]
"""rows with their tokens"""


def extraction(bench: Bench, scratch: Path) -> Contest:
    """Ours beside the library's own list, a bare forward pass, and the peers that are installed."""
    target, prompts = bench.target, bench.prompts(bench.sizes.texts)
    sites = [Site(layer, "resid_post") for layer in range(target.n_layers - 1)]

    def ours() -> Numbers:
        budget = bench.plan.batch_tokens
        return extract(target, prompts, sites=sites, position="last_prompt", batch_tokens=budget).values

    def by(reader: Reader, batches: Callable[[Sequence[Prompt]], Batches] = bench.batches) -> Work:
        @torch.inference_mode()
        def work() -> Numbers:
            found = np.empty((len(prompts), len(sites), target.d_model), np.float32)
            for rows, batch in batches(prompts):
                found[rows] = reader(batch).cpu().numpy()
            return found

        return work

    def in_order(prompts: Sequence[Prompt]) -> Batches:
        starts = range(0, len(prompts), PLAIN_BATCH)
        rows = [list(range(i, min(i + PLAIN_BATCH, len(prompts)))) for i in starts]
        return [(some, left_padded(target, [prompts[i].ids for i in some])) for some in rows]

    @torch.inference_mode()
    def bare() -> None:
        for _, batch in bench.batches(prompts):
            target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)

    peers = find_peers(target, scratch)
    return Contest(
        name="extraction",
        what=f"{len(prompts)} prompts, {sum(len(p.ids) for p in prompts)} tokens, {len(sites)} layers",
        ours="auditor",
        contestants={
            "auditor": ours,
            "bare forward pass, no head, nothing kept": bare,
            "transformers, output_hidden_states": by(transformers_reader(target, sparing=True)),
            **{name: by(reader) for name, reader in peers.sparing.items()},
            "transformers, plain": by(transformers_reader(target, sparing=False), in_order),
            **{f"{name}, plain": by(reader, in_order) for name, reader in peers.plain.items()},
        },
        # of values up to some hundreds, where bfloat16 counts in steps of 2 or 4, and other batches round otherwise
        tolerance=1e-3 if target.dtype == torch.float32 else 8.0,
        notes=peers.missing,
    )
