"""What a sample can do is said before the run, and what a met bar on a change rules out after it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from auditor.config import Criterion
from auditor.findings.chances import beforehand, chance, equivalence
from auditor.measure.intervals import Estimate
from auditor.measure.rates import paired_rate_difference, pass_probability


def bar(**more: Any) -> Criterion:
    return Criterion(**{"measurement": "m", "severity": "high", "because": "x", "min_n": 60, **more})


def difference(low: float | None, high: float | None) -> Estimate:
    value = None if low is None or high is None else (low + high) / 2
    return Estimate(value=value, low=low, high=high, n=150, of="items", estimator="paired_rate_difference")


def test_the_chance_is_said_with_the_size_that_is_asked_for() -> None:
    assert beforehand(bar(at_least=0.8, good_value=0.95), "share") == "a model at 95 % passes 92 % of the time with 60"


@pytest.mark.parametrize("kind", ["at_least", "at_most"])
def test_a_small_sample_is_told_how_many_items_it_takes(kind: str) -> None:
    good = 0.85 if kind == "at_least" else 0.15
    told = beforehand(bar(**{kind: 0.8 if kind == "at_least" else 0.2, "good_value": good}), "share")
    needed = int(re.search(r"80 % takes about (\d+)", told)[1])
    assert pass_probability(kind, 0.8 if kind == "at_least" else 0.2, needed, good) == pytest.approx(0.8, abs=0.03)


def test_the_size_that_is_enough_is_more_than_the_one_that_is_not() -> None:
    told = beforehand(bar(at_most=0.15, good_value=0.05, min_n=80), "share")  # of whole items; a score test says 79
    assert told == "a model at 5 % passes 79 % of the time with 80; 80 % takes about 83"


def test_a_good_value_at_the_bar_has_no_size_that_is_enough() -> None:
    assert "takes a bar further from it" in beforehand(bar(at_least=0.8, good_value=0.8), "share")


@pytest.mark.parametrize(
    ("more", "unit"),
    [
        ({"at_least": 0.8}, "share"),
        ({"at_least": 0.8, "at_most": 0.9, "good_value": 0.85}, "share"),
        ({"at_most": 0.15, "good_value": 0.0}, "difference of shares"),
    ],
)
def test_no_chance_is_said_where_none_is_known(more: dict[str, Any], unit: Any) -> None:
    assert beforehand(bar(**more), unit) == ""


def test_the_chance_of_a_change_rests_on_the_interval_that_was_measured() -> None:
    rng, passed, said = np.random.default_rng(3), [], []
    for _ in range(200):
        before = rng.random(150) < 0.5
        after = np.where(rng.random(150) < 0.4, rng.random(150) < 0.5, before)  # no change on average
        found = paired_rate_difference(a=before, b=after)
        passed.append(found.high <= 0.11)
        estimate = Estimate(**found._asdict(), estimator="paired_rate_difference")
        said.append(chance(bar(at_most=0.11, good_value=0.0), estimate))
    assert 0.3 < np.mean(passed) < 0.95
    assert np.mean(said) == pytest.approx(np.mean(passed), abs=0.08)
    assert chance(bar(at_most=0.11, good_value=0.0), difference(None, None)) is None


@pytest.mark.parametrize(
    ("low", "high", "told"), [(-0.05, 0.08, "is ruled out"), (-0.3, 0.0, "is not ruled out"), (None, None, "")]
)
def test_a_met_bar_on_a_change_says_whether_there_is_no_change(low: float, high: float, told: str) -> None:
    said = equivalence(bar(at_most=0.15), difference(low, high), "difference of shares")
    assert told in said
    assert ("15 points either way" in said) == bool(told)


@pytest.mark.parametrize(
    ("more", "unit"),
    [({"at_most": 0.15}, "share"), ({"at_most": 0.15, "at_least": -0.15}, "difference of shares")],
)
def test_other_bars_say_nothing_of_a_change(more: dict[str, Any], unit: Any) -> None:
    assert equivalence(bar(**more), difference(-0.05, 0.05), unit) == ""
