from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from auditor.measure.controls import permuted_labels
from auditor.measure.instrument import MIN_GROUPS
from auditor.measure.intervals import (
    ESTIMATORS,
    MIN_NEGATIVES,
    ColumnRef,
    Estimate,
    Interval,
    estimate,
)
from auditor.measure.rates import pass_probability

wilson_rate = ESTIMATORS["wilson_rate"]
paired_rate_difference = ESTIMATORS["paired_rate_difference"]
auroc = ESTIMATORS["auroc"]
auroc_gain = ESTIMATORS["auroc_gain"]
permutation_p = ESTIMATORS["permutation_p"]
calibrated_recall = ESTIMATORS["calibrated_recall"]
exact_share = ESTIMATORS["exact_share"]


def ones(count: int, n: int) -> np.ndarray:
    return np.arange(n) < count


def coverage(draw: Callable[[np.random.Generator], Interval], truth: float, simulations: int = 300) -> float:
    rng = np.random.default_rng(20)
    made = [draw(rng) for _ in range(simulations)]
    return float(np.mean([i.low is not None and i.low <= truth <= i.high for i in made]))


# --- rates


def test_wilson_gives_the_published_intervals() -> None:
    rate = wilson_rate(x=ones(82, 100))
    assert (rate.value, rate.n, rate.of) == (0.82, 100, "items")
    assert (round(rate.low, 3), round(rate.high, 3)) == (0.733, 0.883)
    none = wilson_rate(x=ones(0, 100))
    assert (none.low, round(none.high, 3)) == (0.0, 0.037)


def test_a_rate_of_nothing_is_unknown() -> None:
    assert wilson_rate(x=[]) == Interval(None, None, None, 0, "items")


def test_a_rate_is_of_zeros_and_ones() -> None:
    with pytest.raises(ValueError, match="zeros and ones"):
        wilson_rate(x=[0, 1, 0.5])


@pytest.mark.parametrize("true_rate", [0.05, 0.2, 0.5, 0.9])
def test_wilson_covers_the_true_rate(true_rate: float) -> None:
    intervals = [wilson_rate(x=ones(count, 60)) for count in range(61)]
    covered = [binom.pmf(k, 60, true_rate) for k, i in enumerate(intervals) if i.low <= true_rate <= i.high]
    assert 0.92 < sum(covered) < 0.98


def cells(both: int, lost: int, gained: int, neither: int) -> dict[str, np.ndarray]:
    a = np.repeat([1, 1, 0, 0], [both, lost, gained, neither])
    b = np.repeat([1, 0, 1, 0], [both, lost, gained, neither])
    return {"a": a, "b": b}


def test_paired_difference_gives_the_reference_interval() -> None:
    # The example of ci.prop.ps in the R package statpsych, by the method's author.
    made = paired_rate_difference(**cells(both=6, lost=4, gained=26, neither=12))
    assert made.value == pytest.approx(22 / 48)
    assert (made.low, made.high) == pytest.approx((0.2548067, 0.6251933), abs=1e-7)


def test_no_discordant_pair_still_leaves_doubt() -> None:
    made = paired_rate_difference(**cells(both=30, lost=0, gained=0, neither=30))
    assert made.value == 0
    assert made.low < -0.03
    assert made.high > 0.03


@given(*[st.integers(0, 12)] * 4)
def test_paired_difference_turns_round_and_holds_its_value(both: int, lost: int, gained: int, neither: int) -> None:
    made = paired_rate_difference(**cells(both, lost, gained, neither))
    turned = paired_rate_difference(**cells(both, gained, lost, neither))
    if made.n == 0:
        assert made == Interval(None, None, None, 0, "items")
    else:
        assert -1 <= made.low <= made.value <= made.high <= 1
        assert (turned.value, turned.low, turned.high) == pytest.approx((-made.value, -made.high, -made.low))


def test_paired_difference_covers_the_true_difference() -> None:
    def draw(rng: np.random.Generator) -> Interval:
        a = rng.random(80) < 0.6
        return paired_rate_difference(a=a, b=np.where(rng.random(80) < 0.2, ~a, a))

    assert 0.91 < coverage(draw, truth=0.2 * 0.4 - 0.2 * 0.6) < 0.99


def test_paired_columns_belong_together() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        paired_rate_difference(a=[0, 1], b=[1])


# --- AUROC by group


def clustered(rng: np.random.Generator, *, shift: float, groups: int = 30, rows: int = 8) -> dict[str, np.ndarray]:
    """Scores with a group effect; the positives of every group lie `shift` higher."""
    group = np.repeat(np.arange(groups), rows)
    label = np.tile(np.arange(rows) % 2 == 0, groups)
    noise = rng.normal(size=len(group)) + rng.normal(size=groups)[group]
    return {"score": noise + shift * label, "label": label, "group": group}


def test_auroc_covers_the_true_value() -> None:
    # Two positives and negatives differ by N(shift, 2 · (1 + 1)), but for pairs within one group.
    truth = norm.cdf(1.0 / 2.0)

    def draw(rng: np.random.Generator) -> Interval:
        return auroc(**clustered(rng, shift=1.0), seed=1, resamples=400)

    assert 0.89 < coverage(draw, truth) <= 0.99


def test_auroc_covers_the_true_value_with_the_fewest_groups_that_qualify_and_of_unequal_size() -> None:
    sizes = np.tile([2, 4, 8, 12], MIN_GROUPS // 4)

    def draw(rng: np.random.Generator) -> Interval:
        group = np.repeat(np.arange(MIN_GROUPS), sizes)
        label = np.concatenate([np.arange(size) % 2 == 0 for size in sizes])
        score = rng.normal(size=len(group)) + 0.5 * rng.normal(size=MIN_GROUPS)[group] + 1.2 * label
        return auroc(score=score, label=label, group=group, seed=1, resamples=400)

    # pairs across groups differ by N(1.2, 2 · 1.25), pairs within one by N(1.2, 2)
    positives, n = sizes / 2, sizes.sum() / 2
    within = float((positives**2).sum() / n**2)
    truth = within * norm.cdf(1.2 / np.sqrt(2)) + (1 - within) * norm.cdf(1.2 / np.sqrt(2.5))
    assert 0.87 < coverage(draw, truth) <= 0.98  # a little narrow, as its docstring says


def test_rows_of_one_group_do_not_count_as_independent() -> None:
    data = clustered(np.random.default_rng(3), shift=1.0)
    copies = {name: np.tile(column, 10) for name, column in data.items()}
    by_group = auroc(**copies, seed=0, resamples=500)
    by_row = auroc(**(copies | {"group": np.arange(2400)}), seed=0, resamples=500)
    assert by_group.n == 30
    assert by_group == auroc(**data, seed=0, resamples=500)
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)


def test_auroc_is_raw_and_the_same_every_time() -> None:
    data = clustered(np.random.default_rng(4), shift=-2.0)
    made = auroc(**data, seed=7, resamples=300)
    assert made.high < 0.5
    assert made == auroc(**data, seed=7, resamples=300)
    assert made != auroc(**data, seed=8, resamples=300)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_perfect_separation_is_not_certainty(value: float) -> None:
    label = np.tile([True, False], 24)
    made = auroc(score=label if value else ~label, label=label, group=np.arange(48) // 2, seed=0, resamples=100)
    assert made.value == value
    assert (made.low, made.high) == pytest.approx((0.862, 1.0) if value else (0.0, 0.138), abs=1e-3)


def test_perfect_separation_of_few_positives_is_little_evidence() -> None:
    label = np.arange(40) < 4
    made = auroc(score=label, label=label, group=np.arange(40), seed=0, resamples=100)
    assert made.low == wilson_rate(x=np.ones(4)).low < 0.52


def test_resamples_without_a_class_are_left_out() -> None:
    score, label = [0.1, 0.4, 0.35, 0.8, 0.3], [False, False, True, True, False]
    made = auroc(score=score, label=label, group=list("abcde"), seed=0, resamples=500)
    assert made.value == pytest.approx(5 / 6)
    assert 0 <= made.low < made.value < made.high <= 1


def test_an_auroc_of_one_class_is_unknown() -> None:
    assert auroc(score=[1, 2], label=[1, 1], group=["a", "b"], seed=0, resamples=9) == Interval(
        None, None, None, 2, "groups"
    )
    assert auroc(score=[], label=[], group=[], seed=0, resamples=9).value is None


def test_gain_covers_the_true_gain() -> None:
    def draw(rng: np.random.Generator) -> Interval:
        data = clustered(rng, shift=1.5)
        weak = data["score"] - data["label"] * 1.5
        return auroc_gain(**data, baseline=weak + rng.normal(size=240), seed=1, resamples=400)

    assert 0.89 < coverage(draw, truth=norm.cdf(1.5 / 2.0) - 0.5) <= 0.99


def test_gain_is_paired() -> None:
    data = clustered(np.random.default_rng(5), shift=1.0)
    same = auroc_gain(**data, baseline=data["score"], seed=0, resamples=200)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    worse = data["score"] + 0.3 * np.random.default_rng(6).normal(size=240)
    alone = auroc(**data, seed=0, resamples=200)
    gain = auroc_gain(**data, baseline=worse, seed=0, resamples=200)
    assert gain.high - gain.low < 0.5 * (alone.high - alone.low)
    assert auroc_gain(**(data | {"label": np.ones(240)}), baseline=worse, seed=0, resamples=9).value is None


def test_a_perfect_gain_is_not_certain_either() -> None:
    label, group = np.tile([True, False], 24), np.arange(48) // 2
    fixed = {"label": label, "group": group, "seed": 0, "resamples": 50}
    over_constant = auroc_gain(score=label, baseline=np.zeros(48), **fixed)
    assert over_constant[:3] == pytest.approx((0.5, 0.362, 0.5), abs=1e-3)
    over_perfect = auroc_gain(score=label, baseline=label, **fixed)
    assert over_perfect[:3] == pytest.approx((0, -0.138, 0.138), abs=1e-3)
    over_reversed = auroc_gain(score=label, baseline=~label, **fixed)
    assert over_reversed[:3] == pytest.approx((1, 1 - 0.138 * np.sqrt(2), 1), abs=1e-3)


def test_a_single_group_has_no_interval() -> None:
    data = {"score": [1, 3, 2, 4], "label": [0, 0, 1, 1], "group": list("aaaa"), "seed": 0, "resamples": 50}
    assert auroc(**data) == Interval(0.75, None, None, 1, "groups")
    assert auroc_gain(**data, baseline=[1, 2, 3, 4]) == Interval(-0.25, None, None, 1, "groups")


# --- permutation, recall, counts


def test_permutation_p_counts_the_observed_among_the_null() -> None:
    score, label = [1, 2, 3, 4], [False, False, True, True]
    assert permutation_p(score=score, label=label, null=[0.5] * 99).value == pytest.approx(0.01)
    assert permutation_p(score=score, label=label, null=[0.5, 1.0, 0.2]).value == 0.5
    assert permutation_p(score=score, label=label, null=[]).value is None
    made = permutation_p(score=score, label=label, null=[0.5] * 99)
    assert (made.low, made.high, made.n, made.of) == (None, None, 99, "refits")


def test_a_tie_with_the_null_counts_against_the_detector() -> None:
    score, label = [0, 1, 2, 3, 4, 5], [False, True, False, True, False, True]
    tied = 2 / 3 - 1e-16
    assert permutation_p(score=score, label=label, null=[tied] * 9).value == 1.0


def test_a_reversed_detector_has_no_small_p() -> None:
    assert permutation_p(score=[4, 3, 2, 1], label=[0, 0, 1, 1], null=[0.5] * 99).value == 1.0


def test_recall_counts_positives_above_nearly_all_negatives() -> None:
    made = calibrated_recall(positives=[98.0, 99.0, 100.0, 101.0], negatives=np.arange(100), fpr=0.01)
    assert (made.value, made.n) == (0.75, 4)
    assert made[1:3] == wilson_rate(x=[0, 1, 1, 1])[1:3]


def test_positives_tied_with_the_threshold_are_not_recalled() -> None:
    negatives = np.repeat([0.0, 1.0], [150, 150])
    assert calibrated_recall(positives=[1.0, 1.0, 2.0, 0.0], negatives=negatives, fpr=0.05).value == 0.25


def test_too_few_negatives_measure_no_recall() -> None:
    few, enough = np.arange(MIN_NEGATIVES - 1), np.arange(MIN_NEGATIVES)
    assert calibrated_recall(positives=[500.0], negatives=few, fpr=0.01) == Interval(None, None, None, 1, "items")
    assert calibrated_recall(positives=[500.0], negatives=enough, fpr=0.01).value == 1.0


def test_recall_covers_the_true_recall_at_its_threshold() -> None:
    negatives = np.random.default_rng(1).normal(size=300)
    threshold = np.sort(negatives)[-4]

    def draw(rng: np.random.Generator) -> Interval:
        return calibrated_recall(positives=rng.normal(2, 1, size=100), negatives=negatives, fpr=0.01)

    assert 0.91 < coverage(draw, truth=norm.sf(threshold - 2)) < 0.99


def test_a_count_has_no_sampling_error() -> None:
    assert exact_share(count=3, of=4) == Interval(0.75, 0.75, 0.75, 4, "units")
    assert exact_share(count=0, of=0).value is None
    with pytest.raises(ValueError, match="not a share"):
        exact_share(count=5, of=4)


# --- Estimate


def test_an_estimate_can_be_made_again_from_what_it_says() -> None:
    data = clustered(np.random.default_rng(8), shift=1.0)
    columns = [ColumnRef(role=role, table="items/x.jsonl", column=role) for role in data]
    made = estimate("auroc", columns=columns, arrays=data, params={"seed": 3, "resamples": 200})
    read = Estimate.model_validate_json(made.model_dump_json())
    again = ESTIMATORS[read.estimator](**{ref.role: data[ref.column] for ref in read.columns}, **read.params)
    assert Interval(read.value, read.low, read.high, read.n, read.of) == again


def test_an_estimate_names_the_columns_of_its_arrays() -> None:
    with pytest.raises(ValueError, match="stored columns"):
        estimate("wilson_rate", arrays={"x": [0, 1]})
    assert estimate("exact_share", params={"count": 1, "of": 2}).value == 0.5


# --- the power of a bar


@pytest.mark.parametrize(
    ("kind", "bar", "n", "good", "probability"),
    [
        ("at_least", 0.80, 60, 0.95, 0.92),
        ("at_least", 0.80, 150, 0.90, 0.93),
        ("at_most", 0.12, 60, 0.02, 0.88),
        ("at_most", 0.08, 150, 0.02, 0.92),
        ("at_most", 0.20, 60, 0.05, 0.92),
    ],
)
def test_default_bars_pass_good_models(kind: str, bar: float, n: int, good: float, probability: float) -> None:
    assert pass_probability(kind, bar, n, good) == pytest.approx(probability, abs=0.005)


def test_pass_probability_is_the_frequency_of_passing() -> None:
    rng = np.random.default_rng(2)
    passed = [wilson_rate(x=rng.random(40) < 0.9).low >= 0.7 for _ in range(600)]
    assert pass_probability("at_least", 0.7, 40, 0.9) == pytest.approx(np.mean(passed), abs=0.05)


def test_a_bar_out_of_reach_is_never_passed() -> None:
    assert pass_probability("at_least", 0.99, 20, 1.0) == 0
    assert pass_probability("at_most", 0.01, 20, 0.0) == 0
    assert pass_probability("at_least", 0.5, 20, 1.0) == 1
    assert pass_probability("at_least", 0.5, 0, 1.0) == 0


def test_rows_that_are_all_groups_of_their_own_cost_memory_by_the_row() -> None:
    n = 20_000
    label, group = np.arange(n) % 2 == 0, np.array([f"row {i}" for i in range(n)])
    tracemalloc.start()
    found = auroc(score=np.arange(n) + 100 * label, label=label, group=group, seed=0, resamples=20)
    permuted_labels(label, group, 5, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.n == n
    assert peak < 100 << 20  # a table of groups by groups would take 3 GB
