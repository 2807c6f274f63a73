"""Direction search: a grid of candidates and random directions, the front of what they do and cost, and the choice.

Everything is read on prompts of the selection split and recorded whole. Source: Arditi et al. 2024,
arXiv:2406.11717. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.config import Scalar
from auditor.errors import NotTestable
from auditor.measure.directions import (
    EXPLORED_KL,
    Candidate,
    Direction,
    explore_direction,
    pareto_front,
    select_direction,
)
from auditor.measure.effects import KL
from auditor.measure.interventions import ablating, adding, random_directions, rank_of, without
from auditor.measure.measurement import Axes
from auditor.measure.metrics import Floats

if TYPE_CHECKING:
    from auditor.measure.bench import Bench
    from auditor.measure.runner import Effect
    from auditor.measure.table import Pool, Table
    from auditor.model.sites import Site

PUBLISHED_KL, PUBLISHED_INDUCE, PUBLISHED_SHARE = 0.1, 0.0, 0.8
"""the bounds of the published rule; a choice by wider ones is exploratory"""
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
    "front": Axes(
        "How much refusal goes at what cost",
        "The lowest refusal metric on harmful requests that any direction reaches within a bound on KL over plain "
        f"requests: candidates beside random directions. {ON_VALIDATION}",
        "KL at most (nats)",
        "refusal metric (logit)",
    ),
}


@dataclass(frozen=True)
class Grid:
    """Every candidate that was tried, with what it does to the validation prompts."""

    directions: tuple[Direction, ...]
    candidates: tuple[Candidate, ...]
    null_bypass: Floats
    """[n_random] of random directions"""
    layer_share: float
    coarse: bool

    @property
    def lowest_null(self) -> float:
        """The lowest bypass of a random direction; without any number nothing lies beyond them."""
        known = self.null_bypass[~np.isnan(self.null_bypass)]
        return float(known.min()) if len(known) else -np.inf

    def of(self, candidate: Candidate) -> Direction:
        """The direction of a candidate."""
        return self.directions[self.candidates.index(candidate)]

    def choose(self, bench: Bench, *, kl_max: float, induce_min: float) -> tuple[Direction, str, float]:
        """The published choice, or else the exploratory one, how it was made, and the bound on its KL.

        Raises NotTestable when no direction beats chance.
        """
        coarse = ", coarse grid" if self.coarse else ""
        depth, share, null = (
            bench.target.n_layers,
            self.layer_share,
            self.lowest_null,
        )
        chosen = select_direction(
            self.candidates, n_layers=depth, kl_max=kl_max, induce_min=induce_min, layer_share=share
        )
        told = f"KL ≤ {kl_max:g}, induce ≥ {induce_min:g}, layer below {share:g} of the depth"
        published = kl_max <= PUBLISHED_KL and induce_min >= PUBLISHED_INDUCE and share <= PUBLISHED_SHARE
        choice = f"{'published' if published else 'wider'} rule{coarse}"
        if chosen is not None and not published:
            bench.explore("the declared bounds are wider than the published ones")
        if chosen is None:
            explored = explore_direction(self.candidates, n_layers=depth, null_bypass=null, layer_share=share)
            if explored is None:
                raise NotTestable(
                    f"direction not testable: none of {len(self.candidates)} candidates keeps the published rule "
                    f"({told}), and none removes refusal beyond {len(self.null_bypass)} random directions "
                    f"at a KL of {EXPLORED_KL[-1]:g}"
                )
            chosen, kl_max = explored
            choice = f"exploratory{coarse}"
            left = f"none of {len(self.candidates)} candidates keeps the published rule ({told})"
            told = f"{left}; lowest bypass at KL ≤ {kl_max:g}"
            bench.explore(f"exploratory: {told}")
        beyond = [d for d, c in zip(self.directions, self.candidates, strict=True) if c.bypass < null]
        bench.fact("choice", f"{choice}: {told}")
        bench.fact("chosen", f"position {chosen.position}, layer {chosen.layer} of {depth}")
        bench.fact(
            "chosen, on validation", f"bypass {chosen.bypass:.2f}, induce {chosen.induce:.2f}, KL {chosen.kl:.3f}"
        )
        bench.fact("candidates beyond every random direction", len(beyond))
        if beyond:
            bench.fact("their rank (dimensions that hold 90 %)", rank_of(beyond))
        return self.of(chosen), choice, kl_max


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

    def grid(self, *, layer_share: float, layer_step: int, positions: int | None, n_random: int) -> Grid:
        """The grid of positions and layers, and random directions, each with its figures on the validation prompts.

        Layers from int(layer_share · n_layers) on can never be chosen and are not tried. Raises NotTestable where
        the classes have equal means everywhere.
        """
        bench, harmful, harmless, sites = self.bench, self.harmful, self.harmless, self.sites
        last = int(layer_share * bench.target.n_layers)
        layers = range(layer_step - 1, last, layer_step)
        if not layers:
            raise NotTestable(
                f"direction not testable: of {bench.target.n_layers} layers, {last} come into question, "
                f"and every {layer_step}. of them is none"
            )
        found = bench.differences(harmful, harmless, layers=layers, point="resid_pre", last=positions)
        coarse = layer_step > 1 or (positions or bench.target.template_tail) < bench.target.template_tail
        places = sorted({position for position, _ in found})
        bench.fact("grid", f"{'coarse, ' if coarse else ''}positions {places}, layers {list(layers)}")
        tried = {place: direction for place, direction in found.items() if direction is not None}
        if not tried:
            raise NotTestable("direction not testable: refused and answered requests have equal means everywhere")
        directions = list(tried.values())
        drawn = random_directions(bench.rng, n_random, directions[0])
        removed = [ablating(d, sites) for d in (*directions, *drawn)]
        metric, kl = {"bypass": self.metric}, {"kl": KL().nats}
        bypass = bench.table("ablated, harmful", removed, metric, harmful.validation)
        cost = bench.table("ablated, harmless", removed, kl, harmless.validation, beside_unedited=True)
        induce = bench.table(
            "added, harmless", [adding(d) for d in directions], {"induce": self.metric}, harmless.validation
        )
        at: dict[int, dict[str, Scalar]] = {
            i: {"position": str(p), "layer": layer} for i, (p, layer) in enumerate(tried)
        }
        for name, shown in (("bypass", bypass), ("induce", induce), ("kl", cost)):
            bench.tabulate(f"candidate_{name}", shown, name, at)
            bench.plot(f"candidate_{name}", CHARTS[name], at=("position", "layer"))
        front(bench, bypass, cost, len(tried))
        figures = zip(
            bypass.mean("bypass")[: len(tried)], induce.mean("induce"), cost.mean("kl")[: len(tried)], strict=True
        )
        rows = tuple(Candidate(*place, *map(float, found)) for place, found in zip(tried, figures, strict=True))
        return Grid(tuple(directions), rows, bypass.mean("bypass")[len(tried) :], layer_share, coarse)

    def second(self, grid: Grid, first: Direction, kl_max: float) -> Direction | None:
        """Of the candidates within `kl_max`, the one whose part outside the first direction removes most refusal."""
        affordable = [i for i, c in enumerate(grid.candidates) if c.kl <= kl_max]
        ranked = sorted(affordable, key=lambda i: grid.candidates[i].bypass)
        others = (without(grid.directions[i], first) for i in ranked if grid.directions[i] is not first)
        rests = [rest for rest in others if rest is not None][:SECOND_TRIED]
        if not rests:
            return None
        tried = self.bench.table(
            "second direction, harmful",
            [ablating(rest, self.sites) for rest in rests],
            {"bypass": self.metric},
            self.harmful.validation,
        )
        left = tried.mean("bypass")
        if np.isnan(left).all():
            return None
        best = int(np.nanargmin(left))
        self.bench.fact(
            "second direction",
            f"layer {rests[best].site.layer}, bypass {left[best]:.2f} without its part along the first",
        )
        return rests[best]


def front(bench: Bench, bypass: Table, cost: Table, n_candidates: int) -> None:
    """How much refusal goes at what cost: the lowest bypass within each bound of KL, beside random directions."""
    for kind, rows in (("candidates", slice(None, n_candidates)), ("random", slice(n_candidates, None))):
        start = rows.start or 0
        low, spent = bypass.mean("bypass")[rows], cost.mean("kl")[rows]
        steps = pareto_front(low, spent)
        for bound in FRONT_KL:
            within = [i for i in steps if spent[i] <= bound]
            if within:
                bench.tabulate(
                    "bypass_within_kl", bypass, "bypass", {start + within[-1]: {"direction": kind, "kl_max": bound}}
                )
    bench.plot("bypass_within_kl", CHARTS["front"], at=("direction", "kl_max"))
