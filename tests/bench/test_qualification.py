"""An instrument is read only after it proved itself: each planted confound is caught, each planted signal found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.data.examples import Dataset, Example
from auditor.errors import NotQualified
from auditor.measure.bench import Bench
from auditor.measure.classifiers import RECIPES
from auditor.measure.evidence import Evidence
from auditor.measure.library import Library, View
from auditor.measure.measurement import MeasurementSpec
from auditor.measure.stored import estimated
from auditor.model.sites import Site

N_LAYERS, D_MODEL, SIGNAL_LAYER = 3, 24, 1
SPEC = MeasurementSpec(name="truth_auroc", unit="AUROC", evidence="decodable", plain="truth", at=("dataset",))
DIFFERENCE = ("difference_in_means", RECIPES["difference_in_means"])


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
    """The part of a target that the bench looks at."""

    n_layers, d_model = N_LAYERS, D_MODEL
    has_chat_template = has_system_role = False
    injected_system = None


class PlantedRunner:
    """Activations with a planted signal at one layer; `signal` is the distance of the class means."""

    target = PlantedTarget()

    def __init__(self, signal: float, lexical: bool = False) -> None:
        self.signal, self.lexical = signal, lexical

    def activations(self, examples, sites, position, *, mean=False):
        direction = np.eye(D_MODEL)[0]
        rows = []
        for example in examples:
            noise = np.random.default_rng(abs(hash_of(example.id))).normal(size=(len(sites), D_MODEL))
            for i, site in enumerate(sites):
                if site == Site(SIGNAL_LAYER, "resid_post") or (self.lexical and site == Site(0, "resid_pre")):
                    noise[i] += self.signal * (1 if example.label else -1) * direction / 2
            rows.append(noise)
        return np.array(rows, dtype=np.float32)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode(), "big") % (2**31)


def bench_on(data: Dataset, runner: PlantedRunner) -> tuple[Bench, Evidence]:
    evidence = Evidence("planted_probe", "excerpt")
    library = Library(lambda name: replace(data, name=name), seed=0)
    return Bench(evidence, library, runner, (SPEC,), np.random.default_rng(0)), evidence


def qualify(data: Dataset, runner: PlantedRunner, recipe=DIFFERENCE, fpr=None):
    bench, evidence = bench_on(data, runner)
    site = Site(SIGNAL_LAYER, "resid_post")
    return bench.qualify(recipe, View("planted"), site=site, position="last_completion", fpr=fpr), evidence


@pytest.mark.parametrize("name", ["difference_in_means", "mass_mean"])
def test_a_planted_signal_qualifies_and_is_read(name: str) -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(3.0), (name, RECIPES[name]), fpr=0.05)
    assert instrument.qualification.qualified, instrument.qualification.reason
    instrument.read("truth_auroc")
    (reading,) = evidence.measurements
    assert reading.estimate.low is not None
    assert reading.estimate.low > 0.9


def test_noise_does_not_qualify_and_is_not_read() -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(0.0))
    assert not instrument.qualification.qualified
    with pytest.raises(NotQualified, match="held-out AUROC"):
        instrument.read("truth_auroc")
    assert not evidence.measurements


def test_a_signal_that_the_words_give_away_is_lexical() -> None:
    instrument, _ = qualify(statements(leak=" indeed"), PlantedRunner(3.0))
    failed = [check for check in instrument.qualification.checks if check.passed is not True]
    assert "gain over words" in {check.name for check in failed}


def test_a_signal_that_the_embeddings_hold_already_is_lexical() -> None:
    instrument, _ = qualify(statements(), PlantedRunner(3.0, lexical=True))
    failed = {check.name for check in instrument.qualification.checks if check.passed is not True}
    assert failed == {"gain over embedding layer"}


def test_few_groups_do_not_qualify() -> None:
    instrument, _ = qualify(statements(n_groups=40), PlantedRunner(3.0))
    assert [c.name for c in instrument.qualification.checks if c.passed is not True] == ["held-out groups"]


def test_a_threshold_needs_a_hundred_negatives() -> None:
    instrument, _ = qualify(statements(n_groups=60), PlantedRunner(3.0), fpr=0.05)
    (failed,) = [check for check in instrument.qualification.checks if check.passed is not True]
    assert failed.note == "threshold from 48 negatives; needs 100"


def test_logistic_regression_is_shown_and_not_qualified_because_its_permutation_was_not_run() -> None:
    instrument, _ = qualify(statements(), PlantedRunner(3.0), ("logistic", RECIPES["logistic"]))
    (failed,) = [check for check in instrument.qualification.checks if check.passed is not True]
    assert failed.passed is None
    assert failed.note == "permutation not run"


def test_the_layer_is_chosen_where_the_signal_is_and_without_the_sealed_labels() -> None:
    def chosen_layer(data: Dataset) -> int:
        bench, _ = bench_on(data, PlantedRunner(3.0))
        rows = bench.fit(dict([DIFFERENCE]), View("planted"), point="resid_post", position="last_completion")
        best = bench.choose("truth", rows, lambda row: max(row, key=lambda c: c.validation.value))
        return best["difference_in_means"].site.layer

    data = statements()
    library = Library(lambda _: data, seed=0)
    sealed = {e.id for e in library.examples(View("planted"), ("evaluation", "threshold"))}
    flipped = tuple(replace(e, label=not e.label) if e.id in sealed else e for e in data.examples)
    assert chosen_layer(data) == SIGNAL_LAYER
    rows_before = profile_scores(data)
    np.testing.assert_array_equal(rows_before, profile_scores(replace(data, examples=flipped)))


def profile_scores(data: Dataset) -> np.ndarray:
    bench, evidence = bench_on(data, SealedRunner(3.0))
    bench.fit(dict([DIFFERENCE]), View("planted"), point="resid_post", position="last_completion")
    return evidence.tensors["planted_probe/planted/validation/difference_in_means"]


class SealedRunner(PlantedRunner):
    """Fails when it is asked for activations of more than the selection split at once."""

    def activations(self, examples, sites, position, *, mean=False):
        assert len(examples) < 0.45 * len(statements().examples)
        return super().activations(examples, sites, position, mean=mean)


def test_every_estimate_can_be_made_again_from_what_was_stored() -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(1.0), fpr=0.05)
    estimates = [check.estimate for check in instrument.qualification.checks if check.estimate]
    assert len(estimates) >= 5
    for estimate in estimates:
        assert estimated(estimate.estimator, estimate.columns, evidence, estimate.params) == estimate


def test_a_sign_flip_shows_in_the_transfer_matrix() -> None:
    bench, evidence = bench_on(statements(), FlippedRunner(3.0))
    view, negated = View("planted", (("polarity", "affirmed"),)), View("planted", (("polarity", "negated"),))
    bench.transfer(
        DIFFERENCE,
        site=Site(SIGNAL_LAYER, "resid_post"),
        position="last_completion",
        rows=(view,),
        columns=(view, negated),
    )
    ((same, other),) = evidence.charts[0].cells
    assert same.low > 0.9
    assert other.high < 0.1


class FlippedRunner(PlantedRunner):
    """Negated statements carry the opposite sign, as Marks & Tegmark found without negations in training."""

    def activations(self, examples, sites, position, *, mean=False):
        turned = [replace(e, label=e.label ^ (e.polarity == "negated")) for e in examples]
        return super().activations(turned, sites, position, mean=mean)
