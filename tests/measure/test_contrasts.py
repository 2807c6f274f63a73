from __future__ import annotations

import numpy as np
import pytest

from auditor.measure.contrasts import (
    exceedance_p,
    group_mean,
    group_mean_difference,
    halving_dose,
    perplexity_ratio,
    strongest_null,
)

BOOTSTRAP = {"seed": 0, "resamples": 2000}


def test_a_mean_is_resampled_by_group_and_n_counts_groups():
    x, group = np.repeat([0.0, 1.0, 2.0, 3.0], 25), np.repeat(list("abcd"), 25)
    found = group_mean(x=x, group=group, **BOOTSTRAP)
    alone = group_mean(x=x, group=np.arange(100), **BOOTSTRAP)
    assert (found.value, found.n, found.of) == (1.5, 4, "groups")
    # four groups say far less than a hundred independent items would
    assert found.high - found.low > 3 * (alone.high - alone.low)


def test_the_interval_of_a_mean_covers_at_about_its_rate():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        group = np.repeat(np.arange(40), 5)
        x = rng.normal(size=40)[group] + rng.normal(size=200)
        found = group_mean(x=x, group=group, seed=0, resamples=400)
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_interval_of_a_paired_difference_over_groups_of_unequal_size_covers_at_about_its_rate():
    rng, sizes = np.random.default_rng(1), np.tile([1, 2, 4, 9], 10)
    group, hits = np.repeat(np.arange(40), sizes), 0
    for _ in range(300):
        a = rng.normal(size=len(group)) + 3 * rng.normal(size=40)[group]
        b = a + 0.4 + 0.5 * rng.normal(size=40)[group] + rng.normal(size=len(group))
        found = group_mean_difference(a=a, b=b, group=group, seed=0, resamples=400)
        hits += found.low <= 0.4 <= found.high
    assert 0.88 <= hits / 300 <= 0.98


def test_a_paired_difference_forgets_what_both_columns_share():
    base = np.linspace(0, 100, 30)
    found = group_mean_difference(a=base, b=base + 1.0, group=np.arange(30), **BOOTSTRAP)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="paired columns differ in length: 30 and 2"):
        group_mean_difference(a=base, b=base[:2], group=np.arange(30), **BOOTSTRAP)


def test_a_direction_counts_among_the_random_ones():
    null = np.arange(20.0)
    assert exceedance_p(x=[50.0], null=null).value == 1 / 21
    assert exceedance_p(x=[19.0], null=null).value == 2 / 21
    assert exceedance_p(x=[-1.0], null=null).value == 1.0
    assert exceedance_p(x=[-1.0], null=null, lower=True).value == 1 / 21


def test_null_directions_given_item_by_item_are_compared_by_their_means():
    null = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert exceedance_p(x=[0.0, 1.0], null=null).value == 3 / 4
    assert exceedance_p(x=[0.0, 1.0], null=null).n == 3


def test_kinds_of_null_directions_are_counted_together_and_turned_where_their_sign_says_nothing():
    kinds = {"random": np.array([0.1, -3.0]), "shuffled labels": np.array([[2.0, 4.0]])}
    assert exceedance_p(x=[2.0], **kinds)[::3] == (2 / 4, 3)
    assert exceedance_p(x=[2.0], **kinds, either_sign=True).value == 3 / 4
    assert exceedance_p(x=[2.0]).value is None


def test_the_strongest_null_does_the_most_and_one_that_broke_the_target_more_than_any():
    null = np.array([[0.0, 1.0], [-2.0, -1.0], [0.5, 1.0]])
    assert strongest_null(null) == (2, 0.75)
    assert strongest_null(null, lower=True) == (1, -1.5)
    assert strongest_null(null, either_sign=True) == (1, -1.5)
    broken = np.array([1.0, np.nan, 2.0])
    assert strongest_null(broken) == (1, np.inf)
    assert strongest_null(broken, lower=True) == (1, -np.inf)
    assert exceedance_p(x=[9.0], null=broken).value == 2 / 4


def test_the_dose_that_halves_is_the_first_one_that_does():
    after = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert halving_dose(before=[1, 1, 1, 1], after=after, dose=[0.25, 0.5, 1.0]).value == 0.5
    assert halving_dose(before=[1, 0, 0, 0], after=after, dose=[0.25, 0.5, 1.0]).value == 1.0
    assert halving_dose(before=[1, 1, 1, 1], after=after[:1], dose=[0.25]).value is None
    assert halving_dose(before=[0, 0, 0, 0], after=after, dose=[0.25, 0.5, 1.0]).value is None


def test_perplexity_is_multiplied_by_what_the_nats_say():
    a = np.array([1.0, 2.0, 3.0])
    found = perplexity_ratio(a=a, b=a + np.log(2), group=np.arange(3), **BOOTSTRAP)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize("estimator", [group_mean])
def test_nothing_measured_is_unknown_and_not_zero(estimator):
    found = estimator(x=[], group=[], **BOOTSTRAP)
    assert (found.value, found.low, found.high, found.n) == (None, None, None, 0)
