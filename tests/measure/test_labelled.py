"""A judge that errs is corrected to the truth, as far as labelled answers tell how it errs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from auditor.measure.labelled import corrected_rate, correction


def ones(count: int, n: int) -> np.ndarray:
    return np.arange(n) < count


def judged(truth: np.ndarray, hit: float, spare: float, rng: np.random.Generator) -> np.ndarray:
    """What a judge flags that hits and spares at these rates."""
    return np.where(truth, rng.random(len(truth)) < hit, rng.random(len(truth)) >= spare)


@pytest.mark.parametrize(("rate", "hit", "spare"), [(0.3, 0.6, 0.95), (0.1, 0.9, 0.8), (0.9, 0.75, 0.9)])
def test_a_lying_judge_is_corrected_to_the_truth(rate: float, hit: float, spare: float) -> None:
    rng = np.random.default_rng(5)
    held, values, raw = [], [], []
    for _ in range(40):
        flagged = judged(rng.random(400) < rate, hit, spare, rng)
        labelled = (judged(ones(200, 200), hit, spare, rng), judged(ones(0, 200), hit, spare, rng))
        found = corrected_rate(x=flagged, positives=labelled[0], negatives=labelled[1])
        held.append(found.low <= rate <= found.high)
        values.append(found.value)
        raw.append(flagged.mean())
    assert np.mean(held) >= 0.9
    assert np.mean(values) == pytest.approx(rate, abs=0.02)
    assert abs(np.mean(raw) - rate) > 0.05


def test_a_judge_that_tosses_a_coin_corrects_nothing() -> None:
    rng = np.random.default_rng(6)
    tosses = [[rng.random(n) < 0.5 for n in (60, 120, 120)] for _ in range(30)]
    found = [corrected_rate(x=x, positives=p, negatives=n) for x, p, n in tosses]
    assert sum(one.value is None for one in found) >= 27
    said = correction(x=ones(30, 60), positives=ones(60, 120), negatives=ones(60, 120))
    assert said.interval.value is said.interval.low is said.interval.high is None
    assert "better than chance" in said.told


def test_a_judge_that_says_the_opposite_corrects_nothing() -> None:
    assert corrected_rate(x=ones(30, 60), positives=ones(10, 120), negatives=ones(110, 120)).value is None


def test_a_known_and_perfect_judge_leaves_the_rate_with_agresti_and_coulls_interval() -> None:
    found = corrected_rate(x=ones(18, 60), positives=np.ones(10**6), negatives=np.zeros(10**6))
    z = norm.ppf(0.975)
    n = 60 + z**2
    p = (18 + z**2 / 2) / n
    half = z * np.sqrt(p * (1 - p) / n)
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((p - half, p + half), abs=1e-4)


def test_fewer_labelled_answers_leave_more_unsure() -> None:
    wide, narrow = (
        corrected_rate(x=ones(30, 100), positives=ones(9 * n, 10 * n), negatives=ones(n, 10 * n)) for n in (3, 30)
    )
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_what_is_clipped_is_said_with_the_number_that_was() -> None:
    below = correction(x=ones(0, 60), positives=ones(108, 120), negatives=ones(7, 140))
    above = correction(x=ones(60, 60), positives=ones(114, 120), negatives=ones(0, 140))
    within = correction(x=ones(18, 60), positives=ones(108, 120), negatives=ones(7, 140))
    assert (below.interval.value, below.told) == (0.0, "clipped from -0.059")
    assert (above.interval.value, above.told) == (1.0, "clipped from 1.053")
    assert within.told == ""
    assert within.interval.value == pytest.approx((0.3 - 0.05) / (0.9 - 0.05))


def test_flags_that_no_rate_would_give_are_no_rate_of_nought() -> None:
    found = correction(x=ones(0, 600), positives=ones(108, 120), negatives=ones(40, 140))
    assert found.interval == (None, None, None, 600, "items")
    assert "no rate" in found.told


@pytest.mark.parametrize("empty", ["x", "positives", "negatives"])
def test_without_answers_there_is_no_correction(empty: str) -> None:
    columns = {"x": ones(18, 60), "positives": ones(9, 10), "negatives": ones(1, 10)} | {empty: []}
    found = correction(**columns)
    assert found.interval.value is None
    assert "nothing to correct" in found.told


@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 40))
def test_a_corrected_rate_is_a_rate_within_its_bounds_or_nothing(flagged: int, hits: int, alarms: int) -> None:
    found = corrected_rate(x=ones(flagged, 60), positives=ones(hits, 40), negatives=ones(alarms, 40))
    if found.value is None:
        assert found.low is found.high is None
    else:
        assert 0 <= found.low <= found.high <= 1
        assert 0 <= found.value <= 1
