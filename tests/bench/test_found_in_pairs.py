"""Detectors found without labels: qualified by nulls of their own, and caught where a word leads them astray."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.data.examples import Dataset, Example
from auditor.measure.detectors import DETECTORS
from auditor.measure.distractor import WORDS, begun
from auditor.measure.instrument import FROM_PAIRS, required
from auditor.measure.library import View
from auditor.measure.measurement import Qualification
from auditor.measure.stored import estimated
from tests.bench.test_qualification import VIEW, PlantedRunner, at_the_signal, bench_on

EVERY = pytest.mark.parametrize("name", FROM_PAIRS)
DISTRACTED = "held-out AUROC beside a distractor"


def statements(n_groups: int = 130) -> Dataset:
    """Eight statements an entity: two frames, affirmed and negated, with the right value and a wrong one."""
    examples = tuple(
        Example(
            id=f"{group}-{frame}-{polarity}-{value}",
            prompt="",
            completion=f"Entity {group} {frame} {polarity} {(value == 'right') ^ (group % 4 // 2 == frame)}.",
            label=(value == "right") == (polarity == "affirmed"),
            group=f"group {group:03d}",
            domain="planted",
            polarity=polarity,
            pair=f"{group}-{frame}-{polarity}",
        )
        for group in range(n_groups)
        for frame in range(2)
        for polarity in ("affirmed", "negated")
        for value in ("right", "wrong")
    )
    return Dataset("planted", examples, ("false", "true"), "en", "0" * 64, {})


class Distractible(PlantedRunner):
    """A word before the texts of a pair drives the two apart, one word this way and the other that way."""

    def __init__(self, signal: float, word: float = 0.0, pairs_of: str = "ccs") -> None:
        super().__init__(signal)
        self.word, self.pairs_of = word, pairs_of

    def activations(self, examples, sites, position, *, mean=False):
        rows = super().activations(examples, sites, position, mean=mean)
        for row, example in zip(rows, examples, strict=True):
            said = {f"{WORDS[0]}.": 1, f"{WORDS[1]}.": -1}.get(example.prompt, 0)
            first = example.polarity == "affirmed" if self.pairs_of == "ccs" else example.id.endswith("right")
            row[:, 1:5] += said * self.word * (0.5 if first else -0.5)
        return rows


def qualify(name: str, runner: PlantedRunner) -> tuple[Qualification, object]:
    bench, evidence = bench_on(statements(), runner)
    rows = bench.fit({name: DETECTORS[name]}, VIEW, point="resid_post", position="last_completion")
    chosen = bench.choose("truth", rows, at_the_signal)[name]
    return bench.qualify(chosen, fpr=0.05).qualification, evidence


def check(qualification: Qualification, name: str):
    (found,) = [one for one in qualification.checks if one.name == name]
    return found


@EVERY
def test_a_planted_truth_qualifies_by_the_checks_that_are_required(name: str) -> None:
    found, _ = qualify(name, Distractible(8.0))
    assert found.qualified, found.reason
    asked = {one.name: (one.rule, one.bar) for one in found.checks}
    assert all(asked[check] == bar for check, bar in required(name).items())
    assert check(found, "random directions").estimate.value <= 0.01


@EVERY
def test_noise_is_no_better_than_random_directions(name: str) -> None:
    found, _ = qualify(name, Distractible(0.0))
    assert not found.qualified
    assert check(found, "random directions").estimate.value > 0.05
    assert not check(found, DISTRACTED).passed


@EVERY
def test_a_salient_word_is_caught_and_named(name: str) -> None:
    found, _ = qualify(name, Distractible(8.0, word=20.0, pairs_of=name))
    failed = [one for one in found.checks if one.passed is not True]
    assert [one.name for one in failed] == [DISTRACTED]
    told = float(failed[0].note.rsplit(" ", 1)[1])
    assert abs(told - 0.5) > 0.45


@EVERY
def test_a_word_that_moves_nothing_is_not_told(name: str) -> None:
    found, _ = qualify(name, Distractible(8.0))
    assert check(found, DISTRACTED).estimate.low > 0.9
    assert abs(float(check(found, DISTRACTED).note.rsplit(" ", 1)[1]) - 0.5) < 0.15


@EVERY
def test_every_estimate_can_be_made_again_from_what_was_stored(name: str) -> None:
    found, evidence = qualify(name, Distractible(2.0))
    for one in found.checks:
        assert estimated(one.estimate.estimator, one.estimate.columns, evidence, one.estimate.params) == one.estimate


@pytest.mark.parametrize(("name", "empty"), [("ccs", True), ("lat", False), ("lda", False)])
def test_statements_without_their_negations_are_no_pairs_for_a_search_by_consistency(name: str, empty: bool) -> None:
    bench, evidence = bench_on(statements(), Distractible(8.0))
    rows = bench.fit({name: DETECTORS[name]}, VIEW, point="resid_post", position="last_completion")
    chosen = bench.choose("truth", rows, at_the_signal)[name]
    affirmed = View("planted", (("polarity", "affirmed"),))
    bench.transfer(chosen, rows=(VIEW, affirmed), columns=(VIEW, affirmed))
    whole, part = evidence.charts[1].cells
    assert all(cell.low > 0.9 for cell in whole)
    assert (part == (None, None)) == empty


def test_words_are_dealt_to_whole_groups_by_half_and_tell_nothing_of_labels() -> None:
    examples = statements(41).examples
    texts, first = begun(examples, 3)
    groups = {example.group: one for example, one in zip(examples, first, strict=True)}
    assert sum(groups.values()) in (20, 21)
    assert all(first[i] == groups[e.group] for i, e in enumerate(examples))
    labels = np.array([e.label for e in examples])
    assert labels[first].mean() == labels[~first].mean() == 0.5
    assert {t.prompt for t in texts} == {f"{word}." for word in WORDS}
    assert [t.completion for t in texts] == [e.completion for e in examples]
    assert not np.array_equal(first, begun(examples, 4)[1])
