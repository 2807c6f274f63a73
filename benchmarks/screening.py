"""How often first-order scores keep the direction that removes most refusal, and the one that would be chosen.

    python -m benchmarks.screening --out FOLDER [--model FOLDER] [--adapter FOLDER] [--layer-step N] [--positions N]

Every figure of every candidate is asked for every validation prompt, and its bypass predicted. Then prompts are drawn
again and again: the share of draws in which the exact winner is among the k best by prediction, with Wilson's
interval. The draws share prompts, candidates and the model: the interval is that of this model and these prompts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from auditor.bundle import RunFolder
from auditor.checkpoint.admit import admit
from auditor.cli.discover import load_probes
from auditor.data.datasets import read
from auditor.measure.bench import Bench
from auditor.measure.choice import Bounds, chosen_of
from auditor.measure.directions import Candidate, explore_direction
from auditor.measure.effects import RefusalJudges
from auditor.measure.evidence import Evidence
from auditor.measure.interventions import ablating, ablation_sites, separate_writes
from auditor.measure.judges import REFUSAL_OPENINGS
from auditor.measure.library import Library
from auditor.measure.metrics import Floats
from auditor.measure.rates import wilson_rate
from auditor.measure.runner import Runner
from auditor.measure.search import Search
from auditor.measure.shortlist import best_of
from auditor.model.load import load_target
from benchmarks.models import DEMO
from probes.refusal_direction import Params, screened

NAME = "refusal_direction"
KS = (1, 5, 10, 20)


@dataclass(frozen=True, eq=False)
class Tables:
    """What every candidate does to every prompt, [n_candidates, n_prompts] each."""

    predicted: Floats
    bypass: Floats
    kl: Floats
    induce: Floats
    places: Sequence[tuple[int, int]]
    """[n_candidates] position and layer"""
    bounds: Bounds
    n_layers: int

    def winners(self, harmful: NDArray[np.int64], harmless: NDArray[np.int64]) -> tuple[int, int]:
        """On some prompts: the candidate with the lowest bypass, and the one that would be chosen.

        That is the one by the published rule, or else the exploratory one, random directions not asked.
        """
        means = self.bypass[:, harmful], self.induce[:, harmless], self.kl[:, harmless]
        figures = np.stack([x.mean(axis=1) for x in means], axis=1).tolist()
        rows = [Candidate(*place, *found) for place, found in zip(self.places, figures, strict=True)]
        published = chosen_of(rows, self.bounds, self.n_layers)
        explored = explore_direction(
            rows, n_layers=self.n_layers, null_bypass=np.inf, layer_share=self.bounds.layer_share
        )
        chosen = published or (explored[0] if explored else None)
        lowest = int(np.nanargmin([row.bypass for row in rows]))
        return lowest, lowest if chosen is None else rows.index(chosen)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What each draw of prompts says."""

    rank: NDArray[np.int64]
    """[n_draws, 2] place among the predictions, from 1: of the lowest bypass, and of the choice"""
    agreement: Floats
    """[n_draws] Spearman's correlation of predicted and exact bypass over the candidates"""


def drawn(tables: Tables, *, draws: int, size: int, rng: np.random.Generator) -> Drawn:
    """Each draw is `size` different prompts of either class, or all there are."""
    rank, agreement = np.empty((draws, 2), np.int64), np.empty(draws)
    for i in range(draws):
        harmful, harmless = (
            rng.choice(n, size=min(size, n), replace=False) for n in (tables.bypass.shape[1], tables.kl.shape[1])
        )
        guessed = tables.predicted[:, harmful].mean(axis=1)
        order = best_of(guessed, len(guessed))
        rank[i] = [order.index(winner) + 1 for winner in tables.winners(harmful, harmless)]
        exact = tables.bypass[:, harmful].mean(axis=1)
        agreement[i] = spearmanr(exact, guessed, nan_policy="omit").statistic
    return Drawn(rank, agreement)


def told(found: Drawn) -> str:
    """A table in Markdown."""
    lines = ["| k | with the lowest bypass | 95 % | with the choice | 95 % |", "|---|---|---|---|---|"]
    for k in KS:
        shares = [wilson_rate(x=column <= k) for column in found.rank.T]
        cells = " | ".join(f"{x.value:.2f} | {x.low:.2f} to {x.high:.2f}" for x in shares)
        lines.append(f"| {k} | {cells} |")
    for name, column in zip(("lowest bypass", "choice"), found.rank.T, strict=True):
        lines.append(f"\nrank of the {name}: median {np.median(column):g}, worst {column.max()}")
    return "\n".join([*lines, f"\nSpearman's correlation of predicted and exact bypass: {found.agreement.mean():.2f}"])


def tables_of(bench: Bench, options: argparse.Namespace) -> Tables:
    """Ask everything."""
    params = Params(n_validation=options.prompts, layer_step=options.layer_step, positions=options.positions)
    judges = RefusalJudges(bench.opening_tokens(REFUSAL_OPENINGS))
    harmful, harmless = screened(bench, params, judges)
    sites = ablation_sites(bench.target.points, bench.target.n_layers)
    writes = separate_writes(sites)
    if writes is None:
        raise SystemExit("what a block writes is not told apart on this model")
    bounds = Bounds(params.kl_max, params.induce_min, params.layer_share)
    search = Search(bench, judges.metric, harmful, harmless, sites)
    grid = search.grid(bounds, layer_step=params.layer_step, positions=params.positions, n_random=params.n_random)
    edits = [ablating(d, writes)[0] for d in grid.directions.values()]
    predicted = bench.predicted("predicted", edits, "bypass", judges.tokens, harmful.validation)
    found = search.tried(grid)
    if found.induce is None:
        raise TypeError("candidates are added too")
    numbers = predicted.values["bypass"], found.bypass.values["bypass"], found.kl.values["kl"]
    return Tables(*numbers, found.induce.values["induce"], list(grid.directions), bounds, grid.n_layers)


def main() -> int:
    """Measure and print. What was asked is kept in the folder, so that an interrupted run goes on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--prompts", type=int, default=48, help="validation prompts at most")
    parser.add_argument("--size", type=int, default=16, help="prompts a draw")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--layer-step", type=int, default=1)
    parser.add_argument("--positions", type=int)
    options = parser.parse_args()
    target, plan = load_target(admit(options.model, adapter=options.adapter), dtype=options.dtype)
    folder = RunFolder.create(options.out, resume=options.out.exists())
    loaded = load_probes([NAME])[NAME]
    library = Library(lambda name: read(loaded.data_dir / f"{name}.jsonl"), seed=0)
    runner, evidence = Runner(target, plan, folder, NAME), Evidence(NAME, "hash")
    bench = Bench(evidence, library, runner, loaded.probe.measurements, np.random.default_rng(0))
    tables = tables_of(bench, options)
    found = drawn(tables, draws=options.draws, size=options.size, rng=np.random.default_rng(0))
    adapter = f" + {options.adapter.name}" if options.adapter else ""
    sys.stdout.write(
        f"{options.model.name}{adapter}, {plan.dtype}: {len(tables.places)} candidates, {options.draws} draws of "
        f"{options.size} of {tables.bypass.shape[1]} harmful and {tables.kl.shape[1]} plain prompts\n\n{told(found)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
