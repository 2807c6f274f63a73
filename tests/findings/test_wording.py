from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import binomtest

from auditor.config import Criterion
from auditor.findings import wording
from auditor.findings.record import Finding
from auditor.measure.intervals import Estimate
from auditor.measure.rates import wilson_rate


def rate(ones: int, n: int) -> Estimate:
    return Estimate(**wilson_rate(x=[1] * ones + [0] * (n - ones))._asdict(), estimator="wilson_rate")


def finding(estimate: Estimate | None, status: str, reason: str = "", **bar: Any) -> Finding:
    return Finding(
        id="p.m",
        probe="p",
        criterion=Criterion(measurement="m", severity="high", **bar),
        severity="high",
        status=status,  # type: ignore[arg-type]
        estimate=estimate,
        unit="share",
        evidence="behavioural",
        plain="harmful requests refused",
        reason=reason,
        scope="",
        limits="",
        pass_probability=None,
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.05, "share", "5 %"),
        (0.0, "share", "0 %"),
        (1.0, "share", "100 %"),
        (0.0017, "share", "0.2 %"),
        (0.9983, "share", "99.8 %"),
        (-0.15, "difference of shares", "-15 points"),
        (0.834, "AUROC", "0.83"),
        (1.25, "logit", "1.25 logit"),
        (0.001, "p", "p = 0.001"),
    ],
)
def test_a_number_in_the_words_of_its_unit(value: float, unit: Any, text: str) -> None:
    assert wording.number(value, unit) == text


@pytest.mark.parametrize(
    ("estimate", "unit", "text"),
    [
        (rate(3, 60), "share", "3 of 60 (5 %, interval 2 to 14 %)"),
        (
            Estimate(value=0.834, low=0.78, high=0.88, n=40, of="groups", estimator="auroc"),
            "AUROC",
            "0.83 (interval 0.78 to 0.88)",
        ),
        (
            Estimate(value=1, low=1, high=1, n=2, of="units", estimator="exact_share"),
            "share",
            "2 of 2 (100 %)",
        ),
        (
            Estimate(value=0.001, low=None, high=None, n=999, of="refits", estimator="permutation_p"),
            "p",
            "p = 0.001",
        ),
        (
            Estimate(value=None, low=None, high=None, n=0, of="items", estimator="wilson_rate"),
            "share",
            "no value",
        ),
    ],
)
def test_an_estimate_in_words(estimate: Estimate, unit: Any, text: str) -> None:
    assert wording.measured(estimate, unit) == text


def test_a_finding_in_one_sentence() -> None:
    assert wording.sentence(finding(rate(3, 60), "not_met", at_least=0.8)) == (
        "Harmful requests refused: 3 of 60 (5 %, interval 2 to 14 %). Bar: at least 80 %."
    )
    assert wording.sentence(finding(None, "not_measured", "needs 60 items, has 12", at_most=0.2)) == (
        "Harmful requests refused: not measured (needs 60 items, has 12). Bar: at most 20 %."
    )


@pytest.mark.parametrize(("ones", "n", "bar"), [(51, 60, 0.8), (54, 60, 0.8), (10, 60, 0.2), (45, 60, 0.8)])
def test_the_number_of_items_that_would_decide_is_right(ones: int, n: int, bar: float) -> None:
    value = ones / n
    needed = wording.units_to_decide(Criterion(measurement="m", at_least=bar), rate(ones, n))
    assert needed is not None

    def decided(n: int) -> bool:
        interval = binomtest(round(value * n), n).proportion_ci(0.95, method="wilson")
        return bool(interval.low >= bar or interval.high < bar)

    assert decided(round(1.1 * needed))
    assert not decided(round(0.9 * needed))


def test_other_intervals_are_taken_to_shrink_with_the_root_of_n() -> None:
    estimate = Estimate(value=0.75, low=0.65, high=0.85, n=40, of="groups", estimator="auroc")
    assert wording.units_to_decide(Criterion(measurement="m", at_least=0.7), estimate) == 160


def test_a_value_on_the_bar_is_decided_by_no_number_of_items() -> None:
    on_the_bar = finding(rate(48, 60), "undecided", at_least=0.8)
    assert wording.units_to_decide(on_the_bar.criterion, rate(48, 60)) is None
    assert "lies on the bar" in wording.would_change([on_the_bar], "chat", behaviour_asked=True)[0]


def test_what_would_change_the_verdict_is_said_for_each_thing_in_the_way() -> None:
    findings = [
        finding(rate(3, 60), "not_met", at_least=0.8),
        finding(rate(51, 60), "undecided", at_least=0.8),
        finding(None, "not_measured", "needs 60 items, has 12", at_least=0.8),
        finding(rate(60, 60), "met", at_least=0.8),
    ]
    assert wording.would_change(findings, "chat", behaviour_asked=True) == (
        "Harmful requests refused: it would have to be at least 80 %, with its whole interval.",
        "Harmful requests refused: if the value stayed, about 246 items would decide it (there are 60).",
        "Harmful requests refused: it would have to be measured (needs 60 items, has 12), and to be at least 80 %.",
    )
