"""The choice of a direction among candidates, by the published rule or, where that leaves none, an exploratory one.

Source of the rule: Arditi et al. 2024, arXiv:2406.11717. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import NotTestable
from auditor.measure.directions import EXPLORED_KL, Candidate, Direction, explore_direction, select_direction
from auditor.measure.interventions import rank_of
from auditor.measure.table import Table

if TYPE_CHECKING:
    from auditor.measure.bench import Bench

PUBLISHED_KL, PUBLISHED_INDUCE, PUBLISHED_SHARE = 0.1, 0.0, 0.8
"""the bounds of the published rule; a choice by wider ones is exploratory"""


@dataclass(frozen=True)
class Bounds:
    """What a direction must keep to be chosen."""

    kl_max: float
    """nats"""
    induce_min: float
    """logit"""
    layer_share: float
    """of the depth; only layers below it come into question"""

    @property
    def published(self) -> bool:
        """Whether they are those of the published rule, or narrower."""
        narrow = self.kl_max <= PUBLISHED_KL and self.induce_min >= PUBLISHED_INDUCE
        return narrow and self.layer_share <= PUBLISHED_SHARE

    def __str__(self) -> str:
        return f"KL ≤ {self.kl_max:g}, induce ≥ {self.induce_min:g}, layer below {self.layer_share:g} of the depth"


@dataclass(frozen=True)
class Grid:
    """The candidates, and random directions to hold them against."""

    directions: Mapping[tuple[int, int], Direction]
    """by position and layer"""
    random: tuple[Direction, ...]
    bounds: Bounds
    n_layers: int
    coarse: bool
    screened: str = ""
    """how many of how many candidates first-order scores have left; empty: all of them"""


@dataclass(frozen=True, eq=False)
class Figures:
    """What directions do to the validation prompts; NaN where it was not asked."""

    bypass: Table
    kl: Table
    induce: Table | None = None
    """of candidates only"""

    def candidates(self, grid: Grid) -> tuple[Candidate, ...]:
        """The rows that a rule chooses from."""
        if self.induce is None:
            raise ValueError("random directions are no candidates")
        means = self.bypass.mean("bypass"), self.induce.mean("induce"), self.kl.mean("kl")
        rows = zip(grid.directions, *means, strict=True)
        return tuple(Candidate(*place, *map(float, found)) for place, *found in rows)

    @property
    def lowest_bypass(self) -> float:
        """−inf without any number: nothing lies below it."""
        known = self.bypass.mean("bypass")
        return float(np.nanmin(known)) if not np.isnan(known).all() else -np.inf


@dataclass(frozen=True)
class Choice:
    """The direction that was chosen, and how."""

    direction: Direction
    kind: str
    kl_max: float
    """nats, the bound that it keeps"""


def choose(bench: Bench, grid: Grid, figures: Figures, null: Figures) -> Choice:
    """The published choice, or else the exploratory one; recorded.

    Raises NotTestable when no direction beats chance.
    """
    rows, bounds, floor = figures.candidates(grid), grid.bounds, null.lowest_bypass
    coarse = (", coarse grid" if grid.coarse else "") + (", screened" if grid.screened else "")
    found = chosen_of(rows, grid.bounds, grid.n_layers)
    kind, told, kl_max = f"{'published' if bounds.published else 'wider'} rule{coarse}", str(bounds), bounds.kl_max
    if found is not None and not bounds.published:
        bench.explore("the declared bounds are wider than the published ones")
    if found is None:
        none_left = f"none of {grid.screened or len(rows)} candidates keeps the published rule ({told})"
        explored = explore_direction(rows, n_layers=grid.n_layers, null_bypass=floor, layer_share=bounds.layer_share)
        if explored is None:
            raise NotTestable(
                f"direction not testable: {none_left}, and none removes refusal beyond {len(grid.random)} random "
                f"directions at a KL of {EXPLORED_KL[-1]:g}"
            )
        found, kl_max = explored
        kind, told = f"exploratory{coarse}", f"{none_left}; lowest bypass at KL ≤ {kl_max:g}"
        bench.explore(f"exploratory: {told}")
    bench.fact("choice", f"{kind}: {told}")
    bench.fact("chosen", f"position {found.position}, layer {found.layer} of {grid.n_layers}")
    bench.fact("chosen, on validation", f"bypass {found.bypass:.2f}, induce {found.induce:.2f}, KL {found.kl:.3f}")
    beyond = [grid.directions[c.position, c.layer] for c in rows if c.bypass < floor]
    bench.fact("candidates beyond every random direction", len(beyond))
    if beyond:
        bench.fact("their rank (dimensions that hold 90 %)", rank_of(beyond))
    return Choice(grid.directions[found.position, found.layer], kind, kl_max)


def chosen_of(rows: Sequence[Candidate], bounds: Bounds, n_layers: int) -> Candidate | None:
    """The published rule with the declared bounds."""
    return select_direction(
        rows,
        n_layers=n_layers,
        kl_max=bounds.kl_max,
        induce_min=bounds.induce_min,
        layer_share=bounds.layer_share,
    )
