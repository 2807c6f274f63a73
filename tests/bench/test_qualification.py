"""An instrument is read only after it proved itself: each planted confound is caught, each planted signal found."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import get_args
from zlib import crc32

import numpy as np
import pytest

from auditor.data.examples import Dataset, Example, Split
from auditor.errors import NotQualified
from auditor.measure.bench import Bench
from auditor.measure.classifiers import RECIPES
from auditor.measure.evidence import Evidence
from auditor.measure.instrument import Candidate, check_auroc, check_gain, check_groups, check_permutation
from auditor.measure.intervals import Estimate
from auditor.measure.library import Library, View
from auditor.measure.measurement import Check, MeasurementSpec, RocChart
from auditor.measure.stored import estimated
from auditor.model.sites import Site

N_LAYERS, D_MODEL, SIGNAL_LAYER = 3, 24, 1
SPEC = MeasurementSpec(name="truth_auroc", unit="AUROC", evidence="decodable", plain="truth", at=("dataset",))
DIFFERENCE = "difference_in_means"
VIEW = View("planted")


def statements(n_groups: int = 130, leak: str = "") -> Dataset:
    """Eight statements an entity, labels balanced; `leak` is a word that only true statements hold."""
    examples = tuple(
        Example(
            id=f"{g}-{i}",
            prompt="",
            completion=f"Entity {g} has {'value' if i % 4 < 2 else 'number'} {i // 2 % 2}{leak if i % 2 else ''}.",
            label=bool(i % 2),
            group=f"group {g:03d}",
            domain="planted",
            polarity="affirmed" if i < 4 else "negated",
        )
        for g in range(n_groups)
        for i in range(8)
    )
    return Dataset("planted", examples, ("false", "true"), "en", "0" * 64, {})


class PlantedTarget:
    """The part of a target that the bench looks at. It thinks before it answers, so it is not asked in words."""

    n_layers, d_model = N_LAYERS, D_MODEL
    has_chat_template = has_system_role = False
    injected_system = None
    points = ("resid_pre", "resid_post")
    chat = SimpleNamespace(suffix=(), thinking="always on")


class PlantedRunner:
    """Activations with a planted signal at one layer; `signal` is the distance of the class means.

    `spoken` is that of the log-probabilities which the target gives true statements and false ones.
    """

    target = PlantedTarget()

    def __init__(self, signal: float, lexical: bool = False, spoken: float = 0.0) -> None:
        self.signal, self.lexical, self.spoken = signal, lexical, spoken
        self.asked: list[list[str]] = []
        """ids of the examples of each call"""

    def activations(self, examples, sites, position, *, mean=False):
        self.asked.append([example.id for example in examples])
        direction = np.eye(D_MODEL)[0]
        rows = []
        for example in examples:
            noise = np.random.default_rng(hash_of(example.id)).normal(size=(len(sites), D_MODEL))
            for i, site in enumerate(sites):
                sign = 0.5 if example.label else -0.5
                if site == Site(SIGNAL_LAYER, "resid_post"):
                    noise[i] += self.signal * sign * direction
                if self.lexical and site == Site(0, "resid_pre"):
                    noise[i] += 2 * self.signal * sign * direction
            rows.append(noise)
        return np.array(rows, dtype=np.float32)

    def nll(self, asked):
        believed = np.array([one.example.label ^ (one.example.polarity == "negated") for one in asked]) - 0.5
        noise = [np.random.default_rng(list(one.example.id.encode())).normal() for one in asked]
        negated = np.array([one.example.polarity == "negated" for one in asked])
        return noise - self.spoken * believed + 9.0 * negated


def hash_of(text: str) -> int:
    return crc32(text.encode())


def bench_on(data: Dataset, runner: PlantedRunner, **others: Dataset) -> tuple[Bench, Evidence]:
    evidence = Evidence("planted_probe", "excerpt")
    library = Library(lambda name: replace(others.get(name, data), name=name), seed=0)
    return Bench(evidence, library, runner, (SPEC,), np.random.default_rng(0)), evidence


def at_the_signal(rows: tuple[Candidate, ...]) -> Candidate:
    return rows[SIGNAL_LAYER]


def chosen_on(bench: Bench, recipe: str = DIFFERENCE, rule=at_the_signal) -> Candidate:
    rows = bench.fit({recipe: RECIPES[recipe]}, VIEW, point="resid_post", position="last_completion")
    return bench.choose("truth", rows, rule)[recipe]


def qualify(data: Dataset, runner: PlantedRunner, recipe: str = DIFFERENCE, fpr: float = 0.05):
    bench, evidence = bench_on(data, runner)
    return bench.qualify(chosen_on(bench, recipe), fpr=fpr), evidence


@pytest.mark.parametrize("name", ["difference_in_means", "mass_mean"])
def test_a_planted_signal_qualifies_and_is_read(name: str) -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(3.0), name)
    assert instrument.qualification.qualified, instrument.qualification.reason
    instrument.read("truth_auroc")
    (reading,) = [m for m in evidence.measurements if m.name == "truth_auroc"]
    assert reading.at == {"dataset": "planted", "recipe": name, "layer": SIGNAL_LAYER}
    assert reading.estimate.low is not None
    assert reading.estimate.low > 0.9


def test_noise_does_not_qualify_and_is_not_read() -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(0.0))
    assert not instrument.qualification.qualified
    with pytest.raises(NotQualified, match="held-out AUROC"):
        instrument.read("truth_auroc")
    assert not [m for m in evidence.measurements if m.role == "primary"]


def test_few_groups_do_not_qualify() -> None:
    instrument, _ = qualify(statements(n_groups=40), PlantedRunner(3.0))
    failed = [c.name for c in instrument.qualification.checks if c.passed is not True]
    assert failed == ["held-out groups", "recall at 5% FPR"]


def test_a_threshold_needs_a_hundred_negatives() -> None:
    instrument, _ = qualify(statements(n_groups=60), PlantedRunner(3.0))
    (failed,) = [check for check in instrument.qualification.checks if check.passed is not True]
    assert failed.note == "threshold from 48 negatives; needs 100"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_qualify(recipe: str) -> None:
    instrument, _ = qualify(statements(), PlantedRunner(3.0), recipe)
    assert instrument.qualification.qualified


def best(rows: tuple[Candidate, ...]) -> Candidate:
    return max(rows, key=lambda row: row.validation.value or 0.0)


def test_the_layer_is_chosen_where_the_signal_is_and_the_whole_profile_is_on_record() -> None:
    bench, evidence = bench_on(statements(), PlantedRunner(3.0))
    assert chosen_on(bench, rule=best).site.layer == SIGNAL_LAYER
    (profile,) = evidence.charts
    assert len(profile.series[0].y) == N_LAYERS
    assert profile.series[0].chosen == SIGNAL_LAYER


def test_each_step_asks_for_its_own_split_and_no_other() -> None:
    data = statements()
    library = Library(lambda _: data, seed=0)
    split = {e.id: library.split_of(VIEW, e) for e in library.examples(VIEW, get_args(Split))}
    runner = PlantedRunner(3.0)
    bench, evidence = bench_on(data, runner)
    chosen = chosen_on(bench)
    assert [{split[i] for i in asked} for asked in runner.asked] == [{"fit"}, {"validation"}]
    scored = evidence.tensors["planted_probe/planted/validation/difference_in_means"].shape[1]
    assert scored == sum(part == "validation" for part in split.values())
    bench.qualify(chosen, fpr=0.05)
    assert {split[i] for asked in runner.asked[2:] for i in asked} == {"fit", "validation", "threshold", "evaluation"}
    rows = evidence.rows("items/planted_probe.jsonl")
    assert {row["split"] for row in rows if row["values"].get(DIFFERENCE) is not None} == {"evaluation", "threshold"}


def test_a_site_that_was_not_chosen_or_was_judged_before_cannot_be_judged() -> None:
    bench, _ = bench_on(statements(), PlantedRunner(3.0))
    chosen = chosen_on(bench)
    with pytest.raises(ValueError, match="was not chosen"):
        bench.qualify(replace(chosen, site=Site(0, "resid_post")), fpr=0.05)
    bench.qualify(chosen, fpr=0.05)
    with pytest.raises(ValueError, match="judged before"):
        bench.qualify(chosen, fpr=0.05)


def test_the_curves_of_all_detectors_stand_in_one_chart_with_their_points() -> None:
    bench, evidence = bench_on(statements(), PlantedRunner(3.0))
    recipes = {name: RECIPES[name] for name in ("difference_in_means", "mass_mean")}
    rows = bench.fit(recipes, VIEW, point="resid_post", position="last_completion")
    for candidate in bench.choose("truth", rows, at_the_signal).values():
        bench.qualify(candidate, fpr=0.05)
    (chart,) = [chart for chart in evidence.charts if isinstance(chart, RocChart)]
    assert [line.name for line in chart.series] == ["difference_in_means", "mass_mean"]
    for line in chart.series:
        assert line.negatives == 104
        assert line.flagged.value is not None
        assert line.flagged.value < 0.05
        assert line.recall.value is not None
        assert line.recall.value > 0.5
        assert line.auroc.value == pytest.approx(np.trapezoid(line.tpr, line.fpr))


def test_a_curve_of_too_few_named_negatives_has_no_point() -> None:
    _, evidence = qualify(statements(n_groups=60), PlantedRunner(3.0))
    (line,) = evidence.charts[-1].series
    assert (line.negatives, line.recall.value, line.flagged.value) == (48, None, None)
    assert line.tpr[-1] == 1.0


def interval(low: float, value: float = 0.9, n: int = 60) -> Estimate:
    return Estimate(value=value, low=low, high=1.0, n=n, of="groups", estimator="auroc")


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (check_auroc(interval(0.70)), True),
        (check_auroc(interval(0.699)), False),
        (check_groups(interval(0.9, n=20)), True),
        (check_groups(interval(0.9, n=19)), False),
        (check_gain("words", interval(0.5), interval(0.001)), True),
        (check_gain("words", interval(0.5), interval(0.0)), False),
        (check_permutation(interval(0.0, value=0.010)), True),
        (check_permutation(interval(0.0, value=0.011)), False),
        (check_permutation(None), None),
    ],
)
def test_what_qualified_means_to_the_digit(check: Check, passed: bool | None) -> None:
    assert check.passed is passed


def test_every_estimate_can_be_made_again_from_what_was_stored() -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(1.0))
    estimates = [check.estimate for check in instrument.qualification.checks if check.estimate]
    assert len(estimates) >= 5
    for estimate in estimates:
        assert estimated(estimate.estimator, estimate.columns, evidence, estimate.params) == estimate


def test_a_sign_flip_shows_in_the_transfer_matrix() -> None:
    bench, evidence = bench_on(statements(), FlippedRunner(3.0))
    affirmed, negated = (View("planted", (("polarity", part),)) for part in ("affirmed", "negated"))
    bench.transfer(chosen_on(bench), rows=(affirmed,), columns=(affirmed, negated))
    ((same, other),) = evidence.charts[1].cells
    assert same.low > 0.9
    assert other.high < 0.1


def test_a_transfer_cell_holds_nothing_that_the_row_was_fitted_to() -> None:
    first = statements()
    alone = tuple(replace(e, group=e.id) for e in first.examples)
    new = tuple(
        replace(e, id=f"{e.id} new", group=f"{e.group} new", completion=f"So {e.completion}") for e in first.examples
    )
    others = {"alone": replace(first, examples=alone), "new": replace(first, examples=new)}
    bench, evidence = bench_on(first, PlantedRunner(3.0), **others)
    views = [VIEW, View("again"), View("alone"), View("new")]
    chosen = chosen_on(bench)
    bench.transfer(chosen, rows=(VIEW,), columns=views)
    library = bench._workbench.library
    fitted_to = library.examples(VIEW, ("fit", "validation"))
    entities, texts = {e.group for e in fitted_to}, {e.text for e in fitted_to}
    whole = {view.data: len({e.group for e in library.examples(view, ("evaluation",))}) for view in views}
    ((own, again, of_rows, unmet),) = evidence.charts[1].cells
    column = f"{DIFFERENCE} fitted on planted"
    tried = [row for row in evidence.rows("items/planted_probe.jsonl") if column in row["values"]]
    assert not [row for row in tried if row["group"] in entities or row["text"] in texts]
    assert (own.n, unmet.n) == (whole["planted"], whole["new"])
    assert 0.4 * whole["again"] < again.n < 0.8 * whole["again"]
    assert 0.4 * whole["alone"] < of_rows.n < 0.8 * whole["alone"]


def test_a_row_number_is_no_entity_that_two_data_sets_share() -> None:
    first = statements()

    def numbered(word: str) -> Dataset:
        return replace(
            first,
            examples=tuple(
                replace(
                    e, id=f"{i}-{'positive' if e.label else 'negative'}", pair=f"{i}", group=f"{i}", completion=text
                )
                for i, e, text in ((i // 2, e, f"{word} {e.completion}") for i, e in enumerate(first.examples))
            ),
        )

    bench, evidence = bench_on(numbered("One"), PlantedRunner(3.0), other=numbered("Two"))
    other = View("other")
    bench.transfer(chosen_on(bench), rows=(VIEW,), columns=(other,))
    held = bench._workbench.library.examples(other, ("evaluation",))
    assert evidence.charts[1].cells[0][0].n == len({e.group for e in held})


def test_a_cell_of_which_everything_was_met_is_not_measured() -> None:
    first = statements()
    held = replace(first, examples=tuple(replace(e, completion=first.examples[0].completion) for e in first.examples))
    bench, evidence = bench_on(held, PlantedRunner(3.0))
    bench.transfer(chosen_on(bench), rows=(VIEW,), columns=(View("same texts"),))
    assert evidence.charts[1].cells[0][0].value is None


class FlippedRunner(PlantedRunner):
    """Negated statements carry the opposite sign, as Marks & Tegmark found without negations in training."""

    def activations(self, examples, sites, position, *, mean=False):
        turned = [replace(e, label=e.label ^ (e.polarity == "negated")) for e in examples]
        return super().activations(turned, sites, position, mean=mean)
