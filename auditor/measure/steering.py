"""A trait to be steered: its items by split, a direction fitted at each layer, the choice of one of them.

Everything a probe may not do for itself, because it needs labels or the sealed splits. What the chosen direction does
on sealed items is for `dose`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from auditor.arrays import copied
from auditor.config import Scalar
from auditor.data.examples import Split
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.controls import LabelledRows
from auditor.measure.directions import Direction, Labels, Recipe, direction_of
from auditor.measure.intervals import ColumnRef, Estimate
from auditor.measure.interventions import adding
from auditor.measure.library import SELECTION, View
from auditor.measure.measurement import LineChart, Role, Series
from auditor.measure.metrics import Floats
from auditor.measure.nulls import NullCounts, Nulls, null_directions
from auditor.measure.options import Item, Lean, Question, items_of, questions
from auditor.measure.qualify import BOOTSTRAP, Workbench, labels_of
from auditor.measure.runner import Asked
from auditor.measure.table import ARMS_A_UNIT
from auditor.model.edits import Edit
from auditor.model.sites import Point, Site

PROFILE = "validation_effect"
"""the measurement that a profile of steering effects consists of"""


class Record(Protocol):
    """Puts a number on record under a declared name, in its declared unit."""

    def __call__(self, name: str, found: Estimate, role: Role, at: Mapping[str, Scalar] | None, note: str, /) -> None:
        """`found` was made from what is stored."""


@dataclass(frozen=True)
class Put:
    """An item with its questions in both orders."""

    item: Item
    both: tuple[Question, Question]


@dataclass(frozen=True)
class SteerCandidate:
    """A direction at one layer, fitted on the fit groups, with its effect on the validation groups."""

    site: Site
    validation: Estimate
    """mean logit difference at coefficient +1 minus at −1"""


def added(direction: Direction, coefficient: float) -> tuple[Edit, ...]:
    """Activation addition at the direction's own site and at every token; no edit at coefficient 0."""
    return adding(direction, coefficient) if coefficient else ()


def chosen(differences: Floats) -> Floats:
    """1 where the trait's option is ahead, 0 where the other is, .5 where they are level."""
    return np.heaviside(differences, 0.5)


class Trait:
    """The items of one trait, as a probe may use them."""

    def __init__(self, bench: Workbench, record: Record, view: View, rng: Generator) -> None:
        self.bench, self.record, self.view, self.rng = bench, record, view, rng
        self.chosen: Direction | None = None
        """what `choose` returned: the only direction that goes on to sealed items"""
        self._known: dict[Split, tuple[Put, ...]] = {}

    def drawn(self, split: Split, n: int) -> tuple[Put, ...]:
        """`n` testable items of a split, spread evenly over the groups; all where there are fewer.

        Raises:
            NotTestable: there are fewer than two groups of them.
        """
        by_id = {put.item.trait.id: put for put in self.testable(split)}
        found = draw([put.item.trait for put in by_id.values()], n, seed=self.bench.library.seed)
        if len({example.group for example in found}) < 2:
            raise NotTestable(f"{self.view.name}: fewer than two groups of testable items on the {split} split")
        return tuple(by_id[example.id] for example in found)

    def read(self, put: Sequence[Put], edits: Sequence[tuple[Edit, ...]]) -> Floats:
        """Logit difference, trait minus other, under each of the edits: [n_edits, n_items, 2 orders]."""
        asked = [question for one in put for question in one.both]
        lean = {"lean": Lean.of(asked).difference}
        values = []
        for start in range(0, len(edits), ARMS_A_UNIT):
            found = self.bench.runner.ask(
                [
                    Asked(question.example, edits=edit, prefilled=True)
                    for edit in edits[start : start + ARMS_A_UNIT]
                    for question in asked
                ],
                lean,
                what=f"questions on {self.view.name}, edits {start + 1} and on, of {len(edits)}",
            )
            values += [one.values["lean"] for one in found]
        return np.array(values, dtype=np.float64).reshape(len(edits), len(put), 2)

    def profile(self, recipe: Recipe, *, point: Point, layers: Sequence[int], n: int) -> tuple[SteerCandidate, ...]:
        """The recipe fitted at each layer on the fit groups, with its effect on `n` items of the validation groups.

        Layers at which the classes do not differ are left out. Raises NotTestable where that is all of them.
        """
        sites = [Site(layer, point) for layer in layers]
        found = [direction for direction in self._fitted(recipe, ("fit",), sites) if direction is not None]
        if not found:
            raise NotTestable(f"{self.view.name}: the two options make no difference inside the model")
        put = self.drawn("validation", n)
        both = self.read(put, [added(one, c) for one in found for c in (-1.0, 1.0)]).mean(axis=2)
        names = sorted({one.item.trait.group for one in put})
        stem, evidence = f"{self.view.name}/validation", self.bench.evidence
        table = evidence.store(f"{stem}/effect", both[1::2] - both[::2])
        group = evidence.store(f"{stem}/group", np.array([names.index(one.item.trait.group) for one in put]))
        rows = []
        for row, direction in enumerate(found):
            refs = evidence.draw_refs({"x": table}, row) + evidence.draw_refs({"group": group})
            rows.append(SteerCandidate(direction.site, evidence.estimate("group_mean", refs, BOOTSTRAP)))
            at: dict[str, Scalar] = {"trait": self.view.name, "layer": direction.site.layer}
            self.record(PROFILE, rows[-1].validation, "alternative", at, "")
        return tuple(rows)

    def choose(
        self,
        recipe: Recipe,
        candidates: tuple[SteerCandidate, ...],
        rule: Callable[[tuple[SteerCandidate, ...]], SteerCandidate],
    ) -> Direction:
        """Apply a pure rule, put the whole profile on record as a chart, refit on the whole selection split."""
        best, evidence = rule(candidates), self.bench.evidence
        evidence.charts.append(
            LineChart(
                title=f"Steering effect by layer, {self.view.name}",
                caption="Mean logit difference at coefficient +1 minus at −1 on the validation groups of the selection "
                "split, from which the layer was chosen. Bands: 95 % by resampling whole groups.",
                x_label=f"layer ({best.site.point})",
                y_label="effect (logit)",
                x=tuple(float(row.site.layer) for row in candidates),
                series=(
                    Series(
                        name=self.view.name,
                        y=tuple(row.validation.value for row in candidates),
                        low=tuple(row.validation.low for row in candidates),
                        high=tuple(row.validation.high for row in candidates),
                        chosen=candidates.index(best),
                    ),
                ),
                reference=0.0,
                measurement=PROFILE,
                at=("trait", "layer"),
            )
        )
        (direction,) = self._fitted(recipe, SELECTION, [best.site])
        if direction is None:
            raise NotTestable(f"{self.view.name}: the two options make no difference at {best.site}")
        evidence.facts[f"{self.view.name}: layer"] = best.site.layer
        evidence.facts[f"{self.view.name}: norm of the direction"] = round(direction.norm, 4)
        evidence.directions[f"{evidence.probe}/{self.view.name}/layer {best.site.layer}"] = direction.vector
        self.chosen = direction
        return direction

    def nulls(self, counts: NullCounts) -> Nulls:
        """What the chosen direction is held against; shuffled labels swap the two options of an item by chance."""
        if self.chosen is None:
            raise ValueError("null directions are those of the chosen one: choose first")
        x, labels = self._contrast(SELECTION, [self.chosen.site])
        items = np.repeat(np.arange(len(labels) // 2), 2).astype(str)
        found = null_directions(self.rng, counts, self.chosen, LabelledRows(x[:, 0], labels, items))
        drawn = ", ".join(f"{len(directions)} {kind}" for kind, directions in found.items())
        self.bench.evidence.facts[f"{self.view.name}: null directions"] = drawn
        return found

    def store(self, put: Sequence[Put], column: str, values: Floats) -> str:
        """Put one number an item into the item table; returns the column's name."""
        return self.bench.store_scores(self.view, [one.item.trait for one in put], column, values)

    def refs(self, **roles: str) -> list[ColumnRef]:
        """References to columns of the trait's items on the evaluation split."""
        return self.bench.evidence.item_refs(roles, self.view.conditions(split="evaluation"))

    def mean(self, column: str) -> Estimate:
        """Mean of a stored column over the items, by whole groups."""
        return self.bench.evidence.estimate("group_mean", self.refs(x=column, group="group"), BOOTSTRAP)

    def share(self, column: str) -> Estimate:
        """Mean of a share. All or none leave nothing to resample: Wilson's interval over the items then."""
        found = self.mean(column)
        none_differs = found.value in (0.0, 1.0)
        return self.bench.evidence.estimate("wilson_rate", self.refs(x=column)) if none_differs else found

    def testable(self, split: Split) -> tuple[Put, ...]:
        """Items of a split that can be asked with this tokenizer; why others cannot goes on record."""
        if split not in self._known:
            left_out: Counter[str] = Counter()
            found = []
            for item in items_of(self.bench.library.examples(self.view, (split,))):
                try:
                    found.append(Put(item, questions(self.bench.runner.target, item)))
                except NotTestable as reason:
                    left_out[str(reason)] += 1
            self._known[split] = tuple(found)
            for why, n in left_out.items():
                self.bench.evidence.facts[f"{self.view.name}: left out of {split}, {why}"] = n
        return self._known[split]

    def _fitted(self, recipe: Recipe, splits: Sequence[Split], sites: Sequence[Site]) -> list[Direction | None]:
        """The recipe fitted at each site on the contrast pairs of some splits; None where the classes are alike."""
        x, labels = self._contrast(splits, sites)
        found: list[Direction | None] = []
        for i, site in enumerate(sites):
            detector = recipe(copied(x[:, i]), labels)
            found.append(direction_of(detector, site) if np.any(detector.weights) else None)
        return found

    def _contrast(self, splits: Sequence[Split], sites: Sequence[Site]) -> tuple[NDArray[np.float32], Labels]:
        """Activations [n_texts, n_sites, d_model] of the user's text followed by the one option and by the other.

        They are averaged over the tokens of the option, and mapped. The two texts of an item are neighbours.
        """
        texts = [text for split in splits for put in self.testable(split) for text in (put.item.trait, put.item.other)]
        if not texts:
            raise NotTestable(f"{self.view.name}: no testable items on the {' and '.join(splits)} split")
        x = self.bench.runner.activations(texts, sites, "completion_tokens", mean=True)
        return x, labels_of(texts)
