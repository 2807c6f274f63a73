"""Null directions: at the site and norm of a direction, through the same edits, what chance and shuffled labels find.

Every causal claim is held against all of them. No torch, no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.random import Generator
from pydantic import Field, model_validator

from auditor.arrays import copied
from auditor.config import Strict
from auditor.measure.classifiers import refitted
from auditor.measure.controls import LabelledRows, permuted_labels
from auditor.measure.directions import Direction, LinearDetector, direction_of
from auditor.measure.intervals import Estimate
from auditor.measure.interventions import random_directions, without

FEWEST, FEWEST_OF_A_KIND = 20, 5
"""below 20 in all, the chance that none of them does as much as one more such direction is above .048"""
RANDOM, ORTHOGONAL, SHUFFLED = "random", "orthogonal", "shuffled labels"
Nulls = Mapping[str, Sequence[Direction]]
"""by kind"""


class NullCounts(Strict):
    """How many null directions of each kind; at least 20 in all."""

    random: int = Field(default=20, ge=FEWEST_OF_A_KIND, le=1000)
    """drawn evenly over the sphere"""
    orthogonal: int = Field(default=20, ge=FEWEST_OF_A_KIND, le=1000)
    """drawn evenly over what is orthogonal to the direction"""
    shuffled: int = Field(default=20, ge=FEWEST_OF_A_KIND, le=1000)
    """refitted on shuffled labels, orthogonal to the direction"""

    @property
    def total(self) -> int:
        """Of all kinds."""
        return self.random + self.orthogonal + self.shuffled

    @model_validator(mode="after")
    def _enough(self) -> NullCounts:
        if self.total < FEWEST:
            raise ValueError(f"{self.total} null directions are too few; at least {FEWEST} of all kinds together")
        return self


def null_directions(rng: Generator, counts: NullCounts, like: Direction, fit: LabelledRows) -> Nulls:
    """Null directions of every kind at the site and norm of `like`, which was fitted on `fit`.

    *Shuffled labels*: the recipe of `like` refitted on the same rows with labels permuted within their groups (see
    `permuted_labels`). What lies along `like` is taken away: a share of it is left by chance, and where the classes are
    far apart that share is nearly all of the refit, which at the norm of `like` would be `like` again. A refit of
    which nothing else is left is dropped, and with the last of them the kind.
    """
    drawn = random_directions(rng, counts.random + counts.orthogonal, like)
    labels = permuted_labels(fit.labels, fit.groups, counts.shuffled, rng)
    refits = [LinearDetector(weights, 0.0, like.method) for weights in refitted(like.method, copied(fit.x), labels)]
    fitted = [direction_of(refit, like.site) for refit in refits if refit.weights.any()]
    found = {
        RANDOM: tuple(drawn[: counts.random]),
        ORTHOGONAL: _beside(like, drawn[counts.random :], ORTHOGONAL),
        SHUFFLED: _beside(like, fitted, SHUFFLED),
    }
    return {kind: directions for kind, directions in found.items() if directions}


def unproven(p: Estimate, strongest: str) -> str:
    """Why an effect is not beyond all null directions, given `exceedance_p` over all kinds; or nothing.

    A gate and no test: it is outside Holm's family. `strongest`: the kind of the null that does the most. Where refits
    were dropped, fewer may be left than a claim needs.
    """
    if p.value is None or p.n < FEWEST:
        return f"not beyond chance: {p.n} null directions were tried, and a claim needs {FEWEST}"
    as_much = round(p.value * (p.n + 1)) - 1
    if not as_much:
        return ""
    return f"not beyond chance: {as_much} of {p.n} null directions do as much, the strongest of them {strongest}"


def _beside(like: Direction, found: Sequence[Direction], kind: str) -> tuple[Direction, ...]:
    """What of each is orthogonal to `like`, brought to its norm."""
    rests = (without(direction, like) for direction in found)
    return tuple(Direction(like.site, rest.vector, like.norm, kind) for rest in rests if rest is not None)
