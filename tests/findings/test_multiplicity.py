"""Step down from the lowest p, and stop at the first that is too high; p is the interval turned round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from auditor.config import Criterion
from auditor.findings.multiplicity import ALPHA, corrected, miss_p
from auditor.findings.record import Finding
from auditor.findings.wording import would_change
from auditor.measure.intervals import ESTIMATORS, Estimate

Z = norm.ppf(1 - ALPHA)


def missed(p: float, severity: str = "medium", status: str = "not_met", name: str = "rate") -> Finding:
    """A rate of .5 whose one-sided p under a bar of at least .8 is `p`."""
    half = 0.3 * Z / norm.isf(p)
    estimate = Estimate(value=0.5, low=0.5 - half, high=0.5 + half, n=60, of="items", estimator="group_mean")
    more = {} if severity == "info" else {"at_least": 0.8, "min_n": 1}
    return Finding(
        id=name,
        probe="p",
        criterion=Criterion(measurement="rate", severity=severity, **more),
        severity=severity,
        status=status,
        estimate=estimate,
        unit="share",
        evidence="behavioural",
        plain="requests refused",
        reason="the whole interval misses the bar",
        scope="",
        limits="",
        pass_probability=None,
    )


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in corrected(findings)]


@pytest.mark.parametrize("p", [1e-6, 0.004, 0.02])
def test_p_is_what_the_interval_says(p: float) -> None:
    one = missed(p)
    assert miss_p(one.criterion, one.estimate) == pytest.approx(p)


@pytest.mark.parametrize(("at_least", "at_most"), [(0.8, None), (None, 0.2), (0.8, 0.95), (0.05, 0.2)])
def test_either_end_may_be_missed(at_least: float | None, at_most: float | None) -> None:
    bar = Criterion(measurement="rate", severity="high", at_least=at_least, at_most=at_most, min_n=1)
    estimate = Estimate(value=0.5, low=0.4, high=0.6, n=60, of="items", estimator="group_mean")
    assert miss_p(bar, estimate) == pytest.approx(norm.sf(3 * Z))


def test_for_rates_it_lies_near_the_score_test() -> None:
    found = ESTIMATORS["wilson_rate"](x=np.arange(60) < 40)
    estimate = Estimate(**found._asdict(), estimator="wilson_rate")
    bar = Criterion(measurement="rate", severity="high", at_least=0.8, min_n=1)
    assert miss_p(bar, estimate) == pytest.approx(norm.sf((0.8 - 2 / 3) / np.sqrt(0.8 * 0.2 / 60)), rel=0.5)


def test_one_bar_alone_is_not_corrected() -> None:
    assert statuses([missed(0.024)]) == ["not_met"]


def test_among_others_it_has_to_be_beyond_chance() -> None:
    met = missed(0.024, status="met")
    assert statuses([missed(0.02), met]) == ["undecided", "met"]
    assert statuses([missed(0.012), met]) == ["not_met", "met"]


def test_each_rejection_makes_room_for_the_next_and_the_first_that_fails_stops_all() -> None:
    assert statuses([missed(0.008), missed(0.012), missed(0.024)]) == ["not_met"] * 3
    assert statuses([missed(0.024), missed(0.012), missed(0.009)]) == ["undecided"] * 3
    assert statuses([missed(0.008), missed(0.013), missed(0.014)]) == ["not_met", "undecided", "undecided"]


def test_what_has_no_bar_or_no_sampling_error_is_not_of_the_family() -> None:
    shown = missed(0.02, severity="info", status="shown")
    counted = missed(0.02)
    whole = Estimate(value=0.5, low=0.5, high=0.5, n=2, of="units", estimator="exact_share")
    counted = counted.model_copy(update={"estimate": whole})
    chance = counted.model_copy(update={"estimate": whole.model_copy(update={"low": None, "high": None})})
    assert statuses([missed(0.02), shown, counted, chance]) == ["not_met", "shown", "not_met", "not_met"]


def test_a_declared_bar_that_could_not_be_measured_is_of_the_family() -> None:
    unmeasured = missed(0.02, status="not_measured").model_copy(update={"estimate": None})
    assert statuses([missed(0.02), unmeasured]) == ["undecided", "not_measured"]


def test_an_open_miss_says_why_and_what_would_decide_it() -> None:
    first, *_ = corrected([missed(0.02, severity="high"), missed(0.01, status="met")])
    assert first.reason == "the whole interval misses the bar, but one of 2 may by chance (Holm: p = 0.02)"
    (way_out,) = would_change([first], "chat", behaviour_asked=True)
    assert way_out == f"Requests refused: more items would decide it; {first.reason}."


@given(st.lists(st.floats(1e-9, 0.0249), min_size=1, max_size=8), st.integers(0, 5), st.data())
def test_more_evidence_against_one_bar_never_acquits_any(ps: list[float], met: int, data: st.DataObject) -> None:
    others = [missed(0.02, status="met")] * met
    before = statuses([*map(missed, ps), *others])
    which = data.draw(st.integers(0, len(ps) - 1))
    stronger = [p / 10 if i == which else p for i, p in enumerate(ps)]
    after = statuses([*map(missed, stronger), *others])
    assert all(now == "not_met" for was, now in zip(before, after, strict=True) if was == "not_met")


def test_without_any_fault_a_bar_is_missed_no_more_often_than_declared() -> None:
    """Six bars whose true values lie on them: alone they would be missed in one run of seven."""
    rng = np.random.default_rng(4)
    alone, held = 0, 0
    for _ in range(1500):
        ps = norm.sf(rng.normal(size=6))
        below = [p < ALPHA for p in ps]
        alone += any(below)
        held += "not_met" in statuses(
            [missed(p) if b else missed(0.1, status="met") for p, b in zip(ps, below, strict=True)]
        )
    assert alone / 1500 > 0.1
    assert held / 1500 < 0.04
