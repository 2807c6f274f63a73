"""Fit, judge and control a linear probe: the layer profile, the qualification, the transfer matrix.

Everything a probe may not do for itself, because it needs the sealed splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from auditor.arrays import copied
from auditor.data.examples import Example, Split
from auditor.measure import instrument as checks
from auditor.measure import roc
from auditor.measure.baselines import text_scores
from auditor.measure.classifiers import REFITTED
from auditor.measure.controls import LabelledRows, permutation_null, random_directions
from auditor.measure.directions import LinearDetector, direction_of
from auditor.measure.distractor import distracted
from auditor.measure.evidence import Evidence
from auditor.measure.instrument import Candidate, Instrument
from auditor.measure.intervals import ColumnRef, Estimate
from auditor.measure.library import SELECTION, Library, View
from auditor.measure.measurement import Check, Comparison, HeatMap, Measurement, Qualification, RocChart
from auditor.measure.outputs import Said, compared, of_statements
from auditor.measure.pairs import AnyRecipe, FromPairs, fitted
from auditor.measure.runner import Runner
from auditor.model.sites import Point, Site

BOOTSTRAP = {"seed": 0, "resamples": 2000}
"""of the group bootstrap; a constant, so that `verify` draws the same resamples"""
PROFILE = "validation_auroc"
"""the measurement that a layer profile consists of"""
PROFILE_P = "profile_p"
"""the measurement that says how well the best layer of a profile would do by chance"""
SHUFFLES = {"seed": 0, "draws": 999}
EMBEDDING = Site(0, "resid_pre")
"""what the model knows of a text before it has computed anything"""


def labels_of(examples: Sequence[Example]) -> NDArray[np.bool_]:
    """Labels [n]."""
    return np.array([example.label for example in examples], dtype=bool)


_Read = tuple[Sequence[Example], NDArray[np.float32]]
"""examples, and their activations [n, 1, d_model]"""


def labelled(examples: Sequence[Example], x: NDArray[np.float32]) -> LabelledRows:
    """Activations [n, 1, d_model] with labels and groups."""
    return LabelledRows(x[:, 0], labels_of(examples), np.array([example.group for example in examples]))


@dataclass(frozen=True)
class Workbench:
    """What fitting and judging need: the record, the data, the target."""

    evidence: Evidence
    library: Library
    runner: Runner
    read: dict[tuple[str, Split, str, bool], tuple[tuple[Site, ...], NDArray[np.float32]]] = field(default_factory=dict)
    """what was last read of a whole split: sites, and activations [n_examples, n_sites, d_model], mapped"""
    said: dict[View, tuple[Said, Said]] = field(default_factory=dict)
    """what the output says of statements of the evaluation split, and of false ones of the threshold split"""

    def activations(
        self, view: View, splits: Sequence[Split], sites: Sequence[Site], position: str, *, mean: bool = False
    ) -> tuple[tuple[Example, ...], NDArray[np.float32]]:
        """Examples of a view, split by split, and their activations [n, n_sites, d_model], in memory."""
        examples, by_site = self.by_site(view, splits, sites, position, mean=mean)
        return examples, np.stack(list(by_site), axis=1)

    def by_site(
        self, view: View, splits: Sequence[Split], sites: Sequence[Site], position: str, *, mean: bool = False
    ) -> tuple[tuple[Example, ...], Iterator[NDArray[np.float32]]]:
        """The same, one site [n, d_model] after the other: memory holds no more than that."""
        examples: list[Example] = []
        parts = []
        for split in splits:
            whole = self.library.examples(View(view.data), (split,))
            chosen = [i for i, example in enumerate(whole) if view.holds(example)]
            examples += [whole[i] for i in chosen]
            parts.append((chosen, *self._split(view.data, split, tuple(sites), position, mean)))

        def at(site: Site) -> NDArray[np.float32]:
            return np.concatenate([copied(values[:, known.index(site)])[chosen] for chosen, known, values in parts])

        return tuple(examples), map(at, sites)

    def _split(
        self, data: str, split: Split, sites: tuple[Site, ...], position: str, mean: bool
    ) -> tuple[tuple[Site, ...], NDArray[np.float32]]:
        """A whole split of a data set, at some sites or more; read from the target once, mapped."""
        known, values = self.read.get((data, split, position, mean), ((), np.empty(0, np.float32)))
        if not set(sites) <= set(known):
            known = sites
            examples = self.library.examples(View(data), (split,))
            values = self.runner.activations(examples, sites, position, mean=mean)
            self.read[data, split, position, mean] = known, values
        return known, values

    def fitted(self, recipe: AnyRecipe, examples: Sequence[Example], x: NDArray[np.float32]) -> LinearDetector:
        """A recipe fitted to activations [n, d_model]; every fit has the same random starts."""
        return fitted(recipe, examples, x, np.random.default_rng(self.library.seed))

    def store_scores(self, view: View, examples: Sequence[Example], column: str, scores: NDArray[np.float64]) -> str:
        """Put one score an item into the item table; returns the column's name."""
        for example, score in zip(examples, scores, strict=True):
            row = self.evidence.row(view.data, example, self.library.split_of(view, example))
            if row["values"].setdefault(column, float(score)) != float(score):
                raise ValueError(f"{column!r} was scored before, differently: {example.id}")
        return column

    def auroc(self, view: View, column: str, baseline: str | None = None, *, label: str = "label") -> Estimate:
        """Held-out AUROC of a stored column, or its paired gain over a stored baseline."""
        roles = {"score": column, "label": label, "group": "group"}
        if baseline:
            roles["baseline"] = baseline
        refs = self.evidence.item_refs(roles, view.conditions(split="evaluation"))
        return self.evidence.estimate("auroc_gain" if baseline else "auroc", refs, BOOTSTRAP)


def layer_profile(
    bench: Workbench, recipes: Mapping[str, AnyRecipe], view: View, point: Point, position: str
) -> dict[str, tuple[Candidate, ...]]:
    """Each recipe fitted at every layer on the fit groups, with its AUROC on the validation groups."""
    sites = [Site(layer, point) for layer in range(bench.runner.target.n_layers)]
    fit, to_fit = bench.by_site(view, ("fit",), sites, position)
    held, to_try = bench.by_site(view, ("validation",), sites, position)
    names = sorted({example.group for example in held})
    stem = f"{view.name}/validation"
    label = bench.evidence.store(f"{stem}/label", labels_of(held))
    group = bench.evidence.store(f"{stem}/group", np.array([names.index(e.group) for e in held]))
    scores: dict[str, list[NDArray[np.float64]]] = {name: [] for name in recipes}
    for x_fit, x_held in zip(to_fit, to_try, strict=True):
        for name, recipe in recipes.items():
            scores[name].append(bench.fitted(recipe, fit, x_fit).score(x_held))
    profiles = {}
    for name in recipes:
        table = bench.evidence.store(f"{stem}/{name}", np.stack(scores[name]))
        profiles[name] = tuple(
            Candidate(name, view, site, position, _validation(bench.evidence, (table, label, group), row))
            for row, site in enumerate(sites)
        )
        bench.evidence.measurements += [
            Measurement(
                name=PROFILE,
                estimate=candidate.validation,
                unit="AUROC",
                at={"recipe": name, "layer": candidate.site.layer},
                role="alternative",
            )
            for candidate in profiles[name]
        ]
        refs = bench.evidence.draw_refs({"score": table, "label": label, "group": group})
        p = bench.evidence.estimate("max_statistic_p", refs, SHUFFLES)
        bench.evidence.measurements.append(
            Measurement(name=PROFILE_P, estimate=p, unit="p", at={"recipe": name}, role="control")
        )
    return profiles


def _validation(evidence: Evidence, tensors: tuple[str, str, str], row: int) -> Estimate:
    score, label, group = tensors
    refs = evidence.draw_refs({"score": score}, row) + evidence.draw_refs({"label": label, "group": group})
    return evidence.estimate("auroc", refs, BOOTSTRAP)


def qualified(bench: Workbench, recipe: AnyRecipe, chosen: Candidate, *, fpr: float, rng: Generator) -> Instrument:
    """Refit on the whole selection split, judge on the evaluation split, run every control; all of it recorded."""
    name, view, site, position = chosen.recipe, chosen.view, chosen.site, chosen.position
    train, x_train = bench.activations(view, SELECTION, (site,), position)
    held, x_held = bench.activations(view, ("evaluation",), (site,), position)
    detector = bench.fitted(recipe, train, x_train[:, 0])
    place = f"{bench.evidence.probe}/{view.name}/{name}/layer {site.layer}"
    bench.evidence.directions[place] = direction_of(detector, site).vector
    column = bench.store_scores(view, held, name, detector.score(x_held[:, 0]))
    auroc = bench.auroc(view, column)
    made = [checks.check_auroc(auroc), checks.check_groups(auroc)]
    made += _gains(bench, (name, recipe), view, column)
    made.append(_chance(bench, (name, recipe), view, (train, x_train), (held, x_held), rng))
    if isinstance(recipe, FromPairs):
        made.append(distracted(bench, recipe, chosen))
    made.append(_recall(bench, detector, chosen, fpr))
    qualification = Qualification(
        instrument=name,
        dataset=view.name,
        at={"layer": site.layer, "point": site.point, "position": position},
        checks=tuple(made),
        beside=_beside(bench, view, column, fpr),
    )
    bench.evidence.qualifications.append(qualification)
    _draw_curve(bench, view, name, auroc)
    at = {"dataset": view.name, "recipe": name, "layer": site.layer}

    def record(reading: str) -> None:
        bench.evidence.measurements.append(
            Measurement(name=reading, estimate=auroc, unit="AUROC", at=at, instrument=qualification.name)
        )

    return Instrument(chosen, qualification, record)


def _chance(  # noqa: PLR0913
    bench: Workbench, recipe: tuple[str, AnyRecipe], view: View, train: _Read, held: _Read, rng: Generator
) -> Check:
    """The null of a recipe: refits on shuffled labels, or random directions where labels choose the sign alone."""
    name, fit = recipe
    fitted_to, tried_on = labelled(*train), labelled(*held)
    if isinstance(fit, FromPairs):
        draws = random_directions(fitted_to, tried_on, draws=checks.PERMUTATIONS, rng=rng)
        stored = bench.evidence.store(f"{view.name}/random directions/{name}", draws)
        return checks.check_random_directions(_p(bench, view, name, stored))
    if name not in REFITTED:
        return checks.check_permutation(None)
    draws = permutation_null(fitted_to, tried_on, name, draws=checks.PERMUTATIONS, rng=rng)
    stored = bench.evidence.store(f"{view.name}/shuffled labels/{name}", draws)
    return checks.check_permutation(_p(bench, view, name, stored))


def _gains(bench: Workbench, recipe: tuple[str, AnyRecipe], view: View, column: str) -> list[Check]:
    """The paired gain over words, length, punctuation, and the embedding layer."""
    name, fit = recipe
    train, x_train = bench.activations(view, SELECTION, (EMBEDDING,), "completion_tokens", mean=True)
    held, x_held = bench.activations(view, ("evaluation",), (EMBEDDING,), "completion_tokens", mean=True)
    scores = text_scores([e.text for e in train], labels_of(train), [e.text for e in held])
    scores["embedding layer"] = bench.fitted(fit, train, x_train[:, 0]).score(x_held[:, 0])
    gains = []
    for baseline, values in scores.items():
        suffix = f" ({name})" if baseline == "embedding layer" else ""
        stored = bench.store_scores(view, held, f"text only: {baseline}{suffix}", values)
        alone = bench.auroc(view, stored)
        gains.append(checks.check_gain(baseline, alone, bench.auroc(view, column, stored)))
    return gains


def _beside(bench: Workbench, view: View, column: str, fpr: float) -> tuple[Comparison, ...]:
    """The same statements by the target's own output; asked once for all recipes."""
    if view not in bench.said:
        held = bench.library.examples(view, ("evaluation",))
        threshold = bench.library.examples(view, ("threshold",))
        bench.said[view] = of_statements(bench.runner, view, held, threshold)
    return compared(bench, column, *bench.said[view], label="label", positive=("label", 1), fpr=fpr)


def _p(bench: Workbench, view: View, column: str, draws: str) -> Estimate:
    refs = bench.evidence.item_refs({"score": column, "label": "label"}, view.conditions(split="evaluation"))
    return bench.evidence.estimate("permutation_p", refs + bench.evidence.draw_refs({"null": draws}))


def _recall(bench: Workbench, detector: LinearDetector, chosen: Candidate, fpr: float) -> Check:
    """Recall where the threshold split, which nothing else uses, allows a share `fpr` of its negatives."""
    name, view = chosen.recipe, chosen.view
    examples, x = bench.activations(view, ("threshold",), (chosen.site,), chosen.position)
    bench.store_scores(view, examples, name, detector.score(x[:, 0]))
    refs: list[ColumnRef] = bench.evidence.item_refs({"positives": name}, view.conditions(split="evaluation", label=1))
    refs += bench.evidence.item_refs({"negatives": name}, view.conditions(split="threshold", label=0))
    recall = bench.evidence.estimate("calibrated_recall", refs, {"fpr": fpr})
    return checks.check_recall(recall, int((~labels_of(examples)).sum()), fpr)


def _draw_curve(bench: Workbench, view: View, name: str, auroc: Estimate) -> None:
    def scores(split: Split, label: int) -> ColumnRef:
        return bench.evidence.item_refs({"score": name}, view.conditions(split=split, label=label))[0]

    stored = roc.Scores(scores("evaluation", 1), scores("evaluation", 0), scores("threshold", 0))
    roc.draw(
        bench.evidence,
        RocChart(
            title=f"ROC on {view.name}",
            caption="Positives found, and negatives flagged, at every threshold; held-out groups.",
            named="negatives of the threshold split",
            series=(roc.series(bench.evidence, name, auroc, stored),),
        ),
    )


def _met(example: Example) -> set[tuple[str, str]]:
    """What a detector fitted to an example has met of the world; the group of a row that stands alone is no name."""
    entity = {("entity", example.group)} if example.group != example.row else set()
    return {("text", example.text), *entity}


def transfer_matrix(
    bench: Workbench, recipe: AnyRecipe, chosen: Candidate, *, rows: Sequence[View], columns: Sequence[View]
) -> HeatMap:
    """Fitted on each row's selection split, tried on each column's evaluation split, at the chosen site.

    Two data sets are split apart from each other, so what the row was fitted to is left out of the column: its
    entities and its texts. A row without the pairs that the recipe needs stays empty.
    """
    name, site, position = chosen.recipe, chosen.site, chosen.position
    held: dict[str, tuple[tuple[Example, ...], NDArray[Any]]] = {
        view.name: bench.activations(view, ("evaluation",), (site,), position) for view in columns
    }
    cells: list[tuple[Estimate | None, ...]] = []
    for row in rows:
        fit, x_fit = bench.activations(row, SELECTION, (site,), position)
        if isinstance(recipe, FromPairs) and not len(recipe.pair(fit)):
            cells.append((None,) * len(columns))
            continue
        detector = bench.fitted(recipe, fit, x_fit[:, 0])
        seen = {entity for example in fit for entity in _met(example)}
        line = []
        for view in columns:
            examples, x = held[view.name]
            new = [i for i, example in enumerate(examples) if not seen & _met(example)]
            scores = detector.score(x[new, 0])
            stored = bench.store_scores(view, [examples[i] for i in new], f"{name} fitted on {row.name}", scores)
            line.append(bench.auroc(view, stored))
        cells.append(tuple(line))
    return HeatMap(
        title="Transfer between kinds of fact",
        caption=f"Held-out AUROC of {name} at layer {site.layer} ({site.point}): fitted on the row, tried on the "
        "column. Below 0.5 the sign has flipped.",
        row_label="fitted on",
        column_label="tried on",
        rows=tuple(view.name for view in rows),
        columns=tuple(view.name for view in columns),
        cells=tuple(cells),
    )
