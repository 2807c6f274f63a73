"""Direction selection: what ablating and adding each candidate does to refusal and to plain requests, and the choice.

Candidates are differences-in-means of harmful and plain requests. Three figures are read of each: the refusal metric on
harmful requests while it is ablated, the KL on plain ones, and the refusal metric on plain ones while it is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.bundle import RunFolder
from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.measure.choice import PUBLISHED_INDUCE, PUBLISHED_KL, PUBLISHED_SHARE, Bounds, Grid
from auditor.measure.directions import Candidate, Direction, explore_direction, select_direction
from auditor.measure.effects import KL, RefusalJudges
from auditor.measure.evidence import Evidence
from auditor.measure.interventions import ablation_sites
from auditor.measure.judges import REFUSAL_OPENINGS
from auditor.measure.library import Library, View
from auditor.measure.qualify import Workbench
from auditor.measure.runner import Reading, Runner
from auditor.measure.search import Search
from auditor.measure.table import Pool, Table, differences, table, tail_rows
from auditor.model.batches import inputs, left_padded
from auditor.model.generate import forward
from auditor.model.prompts import Prompt, opening_tokens, render
from auditor.model.sites import Site
from benchmarks.hooks import hooked, putting, putting_in_place, removing, removing_in_place
from benchmarks.models import REQUESTS, Bench
from benchmarks.timing import Contest, Numbers

PUBLISHED_BATCH = 32
"""rows a batch in the authors' code"""
Logits = Callable[[Sequence[Prompt]], Tensor]
"""of the next token, [rows, vocab]"""


@dataclass(frozen=True, eq=False)
class Task:
    """Candidates, and the requests on which they are tried."""

    bench: Bench
    directions: dict[tuple[int, int], Direction | None]
    """position, layer -> candidate; None where the classes do not differ"""
    harmful: tuple[Example, ...]
    plain: tuple[Example, ...]
    judges: RefusalJudges
    sites: tuple[Site, ...]
    """where a direction is ablated"""

    @property
    def eligible(self) -> list[int]:
        """Numbers of the candidates that may be chosen: those of the last layers never are."""
        last = int(PUBLISHED_SHARE * self.bench.target.n_layers)
        return [i for i, (place, d) in enumerate(self.directions.items()) if d is not None and place[1] < last]

    def direction(self, i: int) -> Direction:
        """The i-th candidate, which there must be."""
        found = list(self.directions.values())[i]
        if found is None:
            raise LookupError(f"candidate {i} has no direction")
        return found

    def prompts(self, examples: Sequence[Example]) -> list[Prompt]:
        """As the model is given them."""
        return [render(self.bench.target, example) for example in examples]

    def choice(self, figures: Numbers) -> str:
        """By the published rule; where it leaves nothing, as an audit then explores, without random directions."""
        known = [
            (place, row) for (place, d), row in zip(self.directions.items(), figures, strict=True) if d is not None
        ]
        rows = [Candidate(*place, *map(float, row)) for place, row in known]
        layers = self.bench.target.n_layers
        chosen, rule = select_direction(rows, n_layers=layers), "published rule"
        if chosen is None and (explored := explore_direction(rows, n_layers=layers, null_bypass=inf)):
            chosen, rule = explored[0], f"none keeps the published rule; exploratory, KL ≤ {explored[1]:g}"
        return "none" if chosen is None else f"position {chosen.position}, layer {chosen.layer} ({rule})"

    def figures(self, removed_harmful: Tensor, removed_plain: Tensor, put_plain: Tensor, plain: Tensor) -> list[float]:
        """Bypass, induce and KL, from next-token logits [rows, vocab]."""
        judged = [[self.judges.metric(_reading(row)) for row in some] for some in (removed_harmful, put_plain)]
        cost = [KL().nats(_reading(after, before)) for after, before in zip(removed_plain, plain, strict=True)]
        return [float(np.mean(some)) for some in (*judged, cost)]


def direction_selection(bench: Bench, _scratch: Path) -> Contest:
    """Ours, the published flow, and a loop that leaves out what the published flow need not do."""
    task = task_of(bench)
    n = len(task.harmful)
    what = f"{len(task.directions)} candidates ({len(task.eligible)} eligible) × 3 × {n} prompts"
    return Contest(
        name="direction selection",
        what=what,
        ours="auditor",
        contestants={
            "auditor": lambda: audited(task, prune=False),
            "auditor, asking no more than the rule needs": lambda: audited(task, prune=True),
            "loop, batched, eligible layers, last logits": lambda: fair_loop(task),
            "loop, as published": lambda: published_loop(task),
        },
        tolerance=1e-2 if bench.target.dtype == torch.float32 else 1.0,
        choice=task.choice if bench.trained else None,
    )


def task_of(bench: Bench) -> Task:
    """Candidates from the first requests of each class; those behind them are for the trial."""
    sizes, target = bench.sizes, bench.target
    pools = [
        Pool(View("requests"), tuple(some[: sizes.fit]), tuple(some[sizes.fit : sizes.fit + sizes.validation]), 0)
        for some in (bench.harmful, bench.plain)
    ]
    layers = range(sizes.layer_step - 1, target.n_layers, sizes.layer_step)
    with TemporaryDirectory() as scratch:
        workbench = _workbench(bench, scratch)
        rows = tail_rows(workbench, *pools, layers=layers, point="resid_pre", tail=sizes.positions)
        found = differences(rows, "resid_pre")
    judges = RefusalJudges(opening_tokens(target, REFUSAL_OPENINGS))
    sites = ablation_sites(target.points, target.n_layers)
    return Task(bench, found, pools[0].validation, pools[1].validation, judges, sites)


def audited(task: Task, *, prune: bool) -> Numbers:
    """The tables that an audit makes, in a run folder of their own; with `prune` those of its quick way, if it ends."""
    eligible = {
        place: d for i, (place, d) in enumerate(task.directions.items()) if i in task.eligible and d is not None
    }
    bounds = Bounds(PUBLISHED_KL, PUBLISHED_INDUCE, PUBLISHED_SHARE)
    grid = Grid(eligible, (), bounds, task.bench.target.n_layers, coarse=False)
    harmful, plain = (Pool(View("requests"), (), some, 0) for some in (task.harmful, task.plain))
    with TemporaryDirectory() as scratch:
        asking: Any = Tables(_workbench(task.bench, scratch))
        search = Search(asking, task.judges.metric, harmful, plain, task.sites)
        found = (search.within_bounds(grid) if prune else None) or search.tried(grid)
        rows = found.candidates(grid)
    figures = np.full((len(task.directions), 3), np.nan)
    figures[task.eligible] = [(row.bypass, row.induce, row.kl) for row in rows]
    return figures


@dataclass(frozen=True)
class Tables:
    """What a search asks of the bench, without the record that a report is made of."""

    workbench: Workbench

    def table(self, *what: Any, **how: Any) -> Table:
        """As the bench makes it."""
        return table(self.workbench, *what, **how)

    def fact(self, *_: object) -> None:
        """Kept by nobody."""

    def tabulate(self, *_: object) -> None:
        """Kept by nobody."""

    def plot(self, *_: object, **__: object) -> None:
        """Kept by nobody."""


@torch.inference_mode()
def fair_loop(task: Task) -> Numbers:
    """One candidate at a time, in batches by length, eligible layers only, logits of the last token only."""
    target, bench = task.bench.target, task.bench
    harmful, plain = task.prompts(task.harmful), task.prompts(task.plain)

    def logits(prompts: Sequence[Prompt]) -> Tensor:
        found = torch.empty(len(prompts), target.vocab_size)
        for rows, batch in bench.batches(prompts):
            found[rows] = forward(target, batch, keep=1).logits[:, -1].float().cpu()
        return found

    before = logits(plain)
    figures = np.full((len(task.directions), 3), np.nan)
    for i in task.eligible:
        direction = task.direction(i)
        unit = torch.from_numpy(direction.vector).to(target.device, target.dtype)
        with hooked(target, task.sites, removing(unit)):
            removed = logits([*harmful, *plain])
        with hooked(target, [direction.site], putting(direction.norm * unit)):
            put = logits(plain)
        figures[i] = task.figures(removed[: len(harmful)], removed[len(harmful) :], put, before)
    return figures


@torch.no_grad()
def published_loop(task: Task) -> Numbers:
    """The flow of Arditi et al. (arXiv:2406.11717) as its authors' code runs it.

    Every layer is tried, each of the three figures in a loop of its own; batches of 32 in the order of the requests;
    logits of all tokens, turned into float64 whole where refusal is judged; a key-value cache that nobody uses; edits
    in place. Left out are the terms 1e-8 and 1e-6 in their logarithms, so that the numbers are those of the others.
    """
    target = task.bench.target
    harmful, plain = task.prompts(task.harmful), task.prompts(task.plain)
    zero = np.zeros(target.d_model, np.float32)
    raw = [zero if d is None else d.norm * d.vector for d in task.directions.values()]
    vectors = [torch.from_numpy(v).to(target.device, target.dtype) for v in raw]
    units = [v / (v.norm() + 1e-8) for v in vectors]

    def logits(prompts: Sequence[Prompt], kind: torch.dtype) -> Tensor:
        parts = []
        for start in range(0, len(prompts), PUBLISHED_BATCH):
            batch = left_padded(target, [p.ids for p in prompts[start : start + PUBLISHED_BATCH]])
            whole = target.model(**inputs(target.model, batch.ids, batch.mask)).logits
            parts.append(whole.to(kind)[:, -1])
        return torch.cat(parts)

    def removed(i: int, prompts: Sequence[Prompt], kind: torch.dtype) -> Tensor:
        with hooked(target, task.sites, removing_in_place(units[i])):
            return logits(prompts, kind)

    def put(i: int) -> Tensor:
        with hooked(target, [Site(list(task.directions)[i][1], "resid_pre")], putting_in_place(vectors[i])):
            return logits(plain, torch.float64)

    every = range(len(vectors))
    logits(harmful, torch.float64)  # the figures without edits, which the authors plot
    logits(plain, torch.float64)
    before = logits(plain, target.dtype)
    costly = [removed(i, plain, target.dtype) for i in every]
    bypassed = [removed(i, harmful, torch.float64) for i in every]
    induced = [put(i) for i in every]
    return np.array([task.figures(bypassed[i], costly[i], induced[i], before) for i in every])


def _reading(logits: Tensor, unedited: Tensor | None = None) -> Reading:
    """What an effect is given."""
    before = None if unedited is None else unedited.float().cpu().numpy()
    return Reading("", None, (), logits.float().cpu().numpy(), before)


def _workbench(bench: Bench, scratch: str) -> Workbench:
    folder = RunFolder.create(Path(scratch) / "run")
    library = Library(lambda _name: read(REQUESTS), seed=0)
    return Workbench(Evidence("benchmark", "hash"), library, Runner(bench.target, bench.plan, folder, "benchmark"))
