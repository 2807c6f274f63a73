"""Tests on differences: against published examples, against scipy, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import barnard_exact, binomtest, ttest_rel

from auditor.measure.changes import (
    apart,
    holm,
    paired_aurocs,
    paired_means,
    paired_rates,
    rates,
)
from auditor.measure.rates import difference_bounds, wilson_rate
from auditor.measure.resampling import Interval

SEEDED = {"seed": 0, "resamples": 500}


def column(ones: int, n: int) -> list[int]:
    return [1] * ones + [0] * (n - ones)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_the_interval_between_independent_rates_is_newcombes(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = rates(column(*second), column(*first))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
    assert found.change == pytest.approx(first[0] / first[1] - second[0] / second[1])


def test_the_p_of_independent_rates_is_near_another_exact_test() -> None:
    table = [[48, 22], [20, 60]]
    found = rates(column(48, 70), column(20, 80))
    assert found is not None
    assert found.p is not None
    assert np.log10(found.p) == pytest.approx(np.log10(barnard_exact(np.transpose(table)).pvalue), abs=0.7)
    same = rates(column(30, 60), column(30, 60))
    assert same is not None
    assert same.p == pytest.approx(1)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 9), (12, 3), (5, 5), (0, 6)])
def test_paired_rates_are_tested_on_what_differs_alone(gained: int, lost: int) -> None:
    a = [0] * gained + [1] * lost + [1] * 20 + [0] * 10
    b = [1] * gained + [0] * lost + [1] * 20 + [0] * 10
    found = paired_rates(a, b)
    assert found is not None
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p == pytest.approx(expected)
    assert found.change == pytest.approx((gained - lost) / len(a))
    more_agreement = paired_rates(a + [1] * 100, b + [1] * 100)
    assert more_agreement is not None
    assert more_agreement.p == pytest.approx(expected)


def test_sign_flips_agree_with_the_t_test_on_normal_data_and_see_whole_groups() -> None:
    rng = np.random.default_rng(3)
    a, shift = rng.normal(size=40), rng.normal(0.35, 1, size=40)
    found = paired_means(a, a + shift, np.arange(40), **SEEDED)
    assert found is not None
    assert found.p == pytest.approx(ttest_rel(a + shift, a).pvalue, abs=0.01)
    # the same forty numbers, ten times each in one group: no more evidence than before
    again = paired_means(np.repeat(a, 10), np.repeat(a + shift, 10), np.repeat(np.arange(40), 10), **SEEDED)
    assert again is not None
    assert (again.n, again.p) == (40, pytest.approx(found.p, abs=0.01))


def test_sign_flips_of_few_groups_are_all_tried() -> None:
    found = paired_means([0.0] * 6, [1.0, 2, 3, 4, 5, 6], list("abcdef"), **SEEDED)
    assert found is not None
    assert found.p == pytest.approx(2 / 2**6)


def test_one_group_allows_no_test() -> None:
    assert paired_means([0.0, 1.0], [1.0, 2.0], ["a", "a"], **SEEDED) is None


def simulated(n: int, change: float, rng: np.random.Generator, paired: bool) -> tuple[bool, bool]:
    """(is p at most .05, does the interval hold the true change)"""
    easy = rng.normal(size=n)
    a = (easy + rng.normal(size=n) > 0).astype(int)
    other = easy if paired else rng.normal(size=n)
    b = (other + rng.normal(size=n) > 0).astype(int)
    flipped = rng.random(n) < change
    b = np.where(flipped, 0, b)
    found = (paired_rates if paired else rates)(a, b)
    assert found is not None
    assert found.p is not None
    assert found.low is not None
    assert found.high is not None
    return found.p <= 0.05, found.low <= -0.5 * change <= found.high


@pytest.mark.parametrize("paired", [True, False])
def test_without_a_change_few_tests_say_so_and_with_one_most_do(paired: bool) -> None:
    rng = np.random.default_rng(7)
    none = np.array([simulated(60, 0.0, rng, paired) for _ in range(400)])
    much = np.array([simulated(60, 0.7, rng, paired) for _ in range(400)])
    assert none[:, 0].mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert much[:, 0].mean() >= 0.9
    # 95 % less two and a half standard errors of 400 draws
    assert none[:, 1].mean() >= 0.92
    assert much[:, 1].mean() >= 0.92


def test_an_auroc_is_compared_on_the_same_groups() -> None:
    rng = np.random.default_rng(5)
    label, group = np.tile([0, 1], 60), np.repeat(np.arange(60), 2)
    noise = rng.normal(size=120)
    weak, strong = 0.3 * label + noise, 2.5 * label + noise
    found = paired_aurocs(weak, strong, label=label, group=group, **SEEDED)
    back = paired_aurocs(strong, weak, label=label, group=group, **SEEDED)
    assert found is not None
    assert back is not None
    assert found.p is not None
    assert found.p < 0.001
    assert (found.change, found.low, found.high) == pytest.approx((-back.change, -(back.high or 0), -(back.low or 0)))
    same = paired_aurocs(weak, weak, label=label, group=group, **SEEDED)
    assert same is not None
    assert (same.change, same.p) == (0, 1)


@given(st.tuples(*[st.floats(-5, 5)] * 2), st.tuples(*[st.floats(0.01, 3)] * 4))
def test_p_read_off_an_interval_agrees_with_it(values: tuple[float, ...], reach: tuple[float, ...]) -> None:
    a, b = values
    found = apart(
        Interval(a, a - reach[0], a + reach[1], 30, "items"), Interval(b, b - reach[2], b + reach[3], 20, "items")
    )
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.p is not None
    assert found.n == 20
    if abs(found.p - 0.05) > 1e-9:
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_without_an_interval_nothing_is_tested() -> None:
    assert apart(Interval(0.5, None, None, 9, "items"), wilson_rate(x=[1, 0])) is None
    assert rates([], [1, 0]) is None


def test_independent_differences_are_antisymmetric() -> None:
    first, second = (0.9, 0.8, 0.95), (0.5, 0.4, 0.61)
    low, high = difference_bounds(first, second)
    assert difference_bounds(second, first) == pytest.approx((-high, -low))


def test_holms_correction_by_hand() -> None:
    # Holm 1979: .01 * 4, then .013 * 3 (kept at .04), .03 * 2, .9
    assert holm([0.03, 0.01, 0.9, 0.013]) == pytest.approx([0.06, 0.04, 0.9, 0.04])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(ps: list[float]) -> None:
    for p, adjusted in zip(ps, holm(ps), strict=True):
        assert p <= adjusted <= min(1.0, p * len(ps)) + 1e-12


def test_holm_keeps_the_family_wise_error() -> None:
    rng = np.random.default_rng(11)
    wrong = [min(holm(list(rng.random(8)))) <= 0.05 for _ in range(2000)]
    assert np.mean(wrong) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 2000)
    uncorrected = [rng.random(8).min() <= 0.05 for _ in range(2000)]
    assert np.mean(uncorrected) > 0.25
