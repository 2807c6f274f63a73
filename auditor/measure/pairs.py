"""Recipes that find a direction in pairs of texts, and need labels only to say which way it points.

No label says which text of a pair is the true one while the direction is sought; refits on shuffled labels would
find the same one again, so that chance is drawn otherwise (see `controls.random_directions`). No torch, no model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from auditor.data.examples import Example
from auditor.errors import NotTestable
from auditor.measure.directions import Labels, LinearDetector, Recipe, Rows

POLARITIES = ("affirmed", "negated")
Twos = NDArray[np.intp]
"""[m, 2]: rows of the two texts of a pair"""


@dataclass(frozen=True)
class FromPairs:
    """A recipe that sees pairs."""

    pair: Callable[[Sequence[Example]], Twos]
    """which rows belong together, by nothing that a label decides"""
    fit: Callable[[Rows, Labels, Twos, Generator], LinearDetector]
    """pure, given a fresh generator, which is for random starts"""


AnyRecipe = Recipe | FromPairs


def fitted(recipe: AnyRecipe, examples: Sequence[Example], x: Rows, rng: Generator) -> LinearDetector:
    """A recipe fitted to the activations [n, d_model] of examples [n]."""
    labels = np.array([example.label for example in examples], dtype=bool)
    if isinstance(recipe, FromPairs):
        return recipe.fit(x, labels, recipe.pair(examples), rng)
    return recipe(x, labels)


def contrast_pairs(examples: Sequence[Example]) -> Twos:
    """The two examples of each contrast pair, in file order."""
    return _twos(examples, lambda example: example.pair)


def negations(examples: Sequence[Example]) -> Twos:
    """Each statement with its negation: two ids that differ in their polarity alone. The affirmed one comes first."""
    found = _twos(examples, lambda e: e.id.replace(f"-{e.polarity}", "-") if e.polarity in POLARITIES else "")
    first_negated = np.array([examples[row].polarity == POLARITIES[1] for row in found[:, 0]], dtype=bool)
    found[first_negated] = found[first_negated, ::-1]
    return found


def require_pairs(twos: Twos, method: str) -> None:
    """Raise NotTestable without two pairs or more."""
    if len(twos) < 2:
        raise NotTestable(f"{method} compares the two texts of a pair, and there are {len(twos)} pairs")


def _twos(examples: Sequence[Example], name: Callable[[Example], str]) -> Twos:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        if name(example):
            rows[name(example)].append(row)
    return np.array([two for two in rows.values() if len(two) == 2], dtype=np.intp).reshape(-1, 2)
