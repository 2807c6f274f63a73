"""Direction search: a grid of candidates and random directions, and the front of what they do and cost.

Everything is read on prompts of the selection split and recorded. Source: Arditi et al. 2024, arXiv:2406.11717.
No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from auditor.config import Scalar
from auditor.errors import NotTestable
from auditor.measure.choice import Bounds, Choice, Figures, Grid, chosen_of
from auditor.measure.directions import Direction, pareto_front
from auditor.measure.effects import KL
from auditor.measure.interventions import ablating, adding, random_directions, without
from auditor.measure.measurement import Axes
from auditor.measure.table import Pruning, Table

if TYPE_CHECKING:
    from auditor.measure.bench import Bench
    from auditor.measure.runner import Effect
    from auditor.measure.table import Pool
    from auditor.model.sites import Site

SECOND_TRIED = 8
"""of the best candidates, how many are tried again without their part along the chosen direction"""
FRONT_KL = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""nats at which the front is told"""
ON_VALIDATION = "On the validation prompts of the selection split, from which the direction was chosen."
CHARTS = {
    "bypass": Axes(
        "Refusal left when a candidate is ablated",
        f"Mean refusal metric of harmful requests; low is refusal gone. {ON_VALIDATION}",
        "layer (resid_pre)",
        "refusal metric (logit)",
    ),
    "induce": Axes(
        "Refusal raised when a candidate is added",
        f"Mean refusal metric of plain requests; above 0 leans to refusal. {ON_VALIDATION}",
        "layer (resid_pre)",
        "refusal metric (logit)",
    ),
    "kl": Axes(
        "Cost of ablating a candidate",
        f"Mean KL of the next token on plain requests. {ON_VALIDATION}",
        "layer (resid_pre)",
        "KL (nats)",
    ),
}
FRONT = Axes(
    "How much refusal goes at what cost",
    "The lowest refusal metric on harmful requests that any direction reaches within a bound on KL over plain "
    f"requests: candidates beside random directions. {ON_VALIDATION}",
    "KL at most (nats)",
    "refusal metric (logit)",
)


def front_axes(grid: Grid) -> Axes:
    """The chart of the front, which says when only some of the candidates are on it."""
    if not grid.screened:
        return FRONT
    return FRONT._replace(caption=f"{FRONT.caption} Only {grid.screened} candidates, by first-order scores.")


@dataclass(frozen=True)
class Search:
    """Prompts of two classes, and what tells whether an edit turned one into the other."""

    bench: Bench
    metric: Effect
    """high on positive prompts; the direction should lower it when ablated and raise it when added"""
    harmful: Pool
    harmless: Pool
    sites: tuple[Site, ...]
    """where a direction is ablated"""

    def grid(self, bounds: Bounds, *, layer_step: int, positions: int | None, n_random: int) -> Grid:
        """The candidates, one of every position and layer whose classes do not read alike, and random directions.

        Layers from int(layer_share · n_layers) on can never be chosen and are no candidates. Raises NotTestable where
        none is left.
        """
        bench, depth = self.bench, self.bench.target.n_layers
        last = int(bounds.layer_share * depth)
        layers = range(layer_step - 1, last, layer_step)
        if not layers:
            raise NotTestable(
                f"direction not testable: of {depth} layers, {last} come into question, "
                f"and every {layer_step}. of them is none"
            )
        found = bench.differences(self.harmful, self.harmless, layers=layers, point="resid_pre", last=positions)
        coarse = layer_step > 1 or (positions or bench.target.template_tail) < bench.target.template_tail
        places = sorted({position for position, _ in found})
        bench.fact("grid", f"{'coarse, ' if coarse else ''}positions {places}, layers {list(layers)}")
        directions = {place: direction for place, direction in found.items() if direction is not None}
        if not directions:
            raise NotTestable("direction not testable: refused and answered requests have equal means everywhere")
        random = random_directions(bench.rng, n_random, next(iter(directions.values())))
        return Grid(directions, tuple(random), bounds, depth, coarse)

    def tried(self, grid: Grid) -> Figures:
        """Every figure of every candidate; recorded."""
        directions = list(grid.directions.values())
        found = Figures(self._bypass("", directions), self._kl("", directions), self._induce("", directions))
        return self._shown(grid, found)

    def within_bounds(self, grid: Grid) -> Figures | None:
        """Only what decides whether a candidate keeps the bounds, cheapest first, and the bypass of those that do.

        The choice by these bounds is the same as from all figures; what was not asked is NaN. None where no candidate
        keeps them: then all figures are needed. What was left out is recorded.
        """
        said, directions, bounds = ", within bounds", list(grid.directions.values()), grid.bounds
        induce = self._induce(said, directions)
        raised = Pruning(tuple(induce.mean("induce") >= bounds.induce_min), bounds.kl_max)
        kl = self._kl(said, directions, raised)
        cheap = Pruning(tuple(kl.mean("kl") <= bounds.kl_max))
        bypass = self._bypass(said, directions, cheap)
        asked = sum(table.asked for table in (induce, kl, bypass))
        self.bench.fact(
            "asked no more than the rule needs",
            f"{sum(raised.keep)} of {len(directions)} candidates raise refusal, {sum(cheap.keep)} of these within the "
            f"bound on KL; {asked} of {3 * kl.values['kl'].size} questions asked",
        )
        found = Figures(bypass, kl, induce)
        left = chosen_of(found.candidates(grid), bounds, grid.n_layers)
        return None if left is None else self._shown(grid, found)

    def null(self, grid: Grid) -> Figures:
        """What random directions do; recorded."""
        directions = list(grid.random)
        found = Figures(self._bypass(", random", directions), self._kl(", random", directions))
        front(self.bench, "random", found)
        return found

    def second(self, grid: Grid, figures: Figures, choice: Choice) -> Direction | None:
        """Of the candidates within its bound of KL, the one whose part outside the choice removes most refusal."""
        affordable = [c for c in figures.candidates(grid) if c.kl <= choice.kl_max and not isnan(c.bypass)]
        ranked = [grid.directions[c.position, c.layer] for c in sorted(affordable, key=lambda c: c.bypass)]
        others = (without(direction, choice.direction) for direction in ranked if direction is not choice.direction)
        rests = [rest for rest in others if rest is not None][:SECOND_TRIED]
        if not rests:
            return None
        left = self._bypass(", second direction", rests).mean("bypass")
        if np.isnan(left).all():
            return None
        best = int(np.nanargmin(left))
        self.bench.fact(
            "second direction",
            f"layer {rests[best].site.layer}, bypass {left[best]:.2f} without its part along the first",
        )
        return rests[best]

    def _bypass(self, said: str, directions: Sequence[Direction], prune: Pruning | None = None) -> Table:
        arms = [ablating(d, self.sites) for d in directions]
        effects = {"bypass": self.metric}
        return self.bench.table(f"ablated, harmful{said}", arms, effects, self.harmful.validation, prune=prune)

    def _kl(self, said: str, directions: Sequence[Direction], prune: Pruning | None = None) -> Table:
        arms = [ablating(d, self.sites) for d in directions]
        name, prompts = f"ablated, harmless{said}", self.harmless.validation
        return self.bench.table(name, arms, {"kl": KL().nats}, prompts, beside_unedited=True, prune=prune)

    def _induce(self, said: str, directions: Sequence[Direction]) -> Table:
        arms = [adding(d) for d in directions]
        return self.bench.table(f"added, harmless{said}", arms, {"induce": self.metric}, self.harmless.validation)

    def _shown(self, grid: Grid, found: Figures) -> Figures:
        """Record the figures of the candidates."""
        at: dict[int, dict[str, Scalar]] = {
            i: {"position": str(p), "layer": layer} for i, (p, layer) in enumerate(grid.directions)
        }
        for name, table in (("bypass", found.bypass), ("induce", found.induce), ("kl", found.kl)):
            if table is not None:
                self.bench.tabulate(f"candidate_{name}", table, name, at)
                self.bench.plot(f"candidate_{name}", CHARTS[name], at=("position", "layer"))
        front(self.bench, "candidates", found)
        return found


def front(bench: Bench, kind: str, found: Figures) -> None:
    """How much refusal goes at what cost: the lowest bypass within each bound of KL."""
    spent = found.kl.mean("kl")
    steps = pareto_front(found.bypass.mean("bypass"), spent)
    for bound in FRONT_KL:
        within = [i for i in steps if spent[i] <= bound]
        if within:
            bench.tabulate(
                "bypass_within_kl", found.bypass, "bypass", {within[-1]: {"direction": kind, "kl_max": bound}}
            )
