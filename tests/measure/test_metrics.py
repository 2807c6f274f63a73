from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from auditor.measure.metrics import auroc, auroc_rows, ranking, threshold_at

# Few distinct scores, so that nearly every example has ties.
ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.sampled_from("abcd")), min_size=2, max_size=30).filter(
    lambda rows: len({label for _, label, _ in rows}) == 2
)


def columns(rows: list[tuple[int, bool, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score, label, group = zip(*rows, strict=True)
    return np.array(score, dtype=float), np.array(label), np.array(group)


@settings(max_examples=40)
@given(ROWS)
def test_turning_the_score_round_turns_the_auroc_round(rows: list[tuple[int, bool, str]]) -> None:
    score, label, _ = columns(rows)
    assert auroc(-score, label) == pytest.approx(1 - auroc(score, label))
    assert auroc(score, ~label) == pytest.approx(1 - auroc(score, label))


@settings(max_examples=40)
@given(ROWS)
def test_only_the_order_of_scores_matters(rows: list[tuple[int, bool, str]]) -> None:
    score, label, _ = columns(rows)
    assert auroc(np.exp(score) * 7 - 2, label) == auroc(score, label)


def test_ties_count_half_and_a_reversed_score_is_not_folded() -> None:
    assert auroc([1, 1, 1, 1], [True, False, True, False]) == 0.5
    assert auroc([1, 2, 2, 3], [False, True, False, True]) == 0.875
    assert auroc([3, 2, 1, 0], [False, False, True, True]) == 0.0


def test_without_both_classes_there_is_no_auroc() -> None:
    assert auroc([1, 2], [True, True]) is None
    assert auroc([], []) is None
    with pytest.raises(ValueError, match="both classes"):
        auroc_rows([[1.0, 2.0]], [True, True])


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auroc([1.0, np.nan], [True, False])
    with pytest.raises(ValueError, match="nan"):
        auroc_rows([[1.0, np.nan]], [True, False])


@settings(max_examples=40)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_many_rows_at_once_give_the_auroc_of_each(rows: list[tuple[int, bool, str]], seed: int) -> None:
    score, label, _ = columns(rows)
    many = np.random.default_rng(seed).permuted(np.tile(score, (5, 1)), axis=1)
    assert auroc_rows(many, label) == pytest.approx([auroc(row, label) for row in many])


@given(ROWS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_a_ranking_gives_the_auroc_of_explicitly_resampled_rows(
    rows: list[tuple[int, bool, str]], times: list[int]
) -> None:
    score, label, group = columns(rows)
    names = np.unique(group)
    weights = np.array(times[: len(names)], dtype=float)
    drawn = np.repeat(np.arange(len(score)), weights[np.searchsorted(names, group)].astype(int))
    resampled = ranking(score, label, group).auroc(weights[None])[0]
    if len(set(label[drawn])) < 2:
        assert np.isnan(resampled)
    else:
        assert resampled == pytest.approx(roc_auc_score(label[drawn], score[drawn]))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        ranking([1, 2], [True, False], ["a"])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0, 0.99))
def test_the_threshold_is_the_smallest_negative_that_flags_few_enough(negatives: list[int], fpr: float) -> None:
    scores = np.array(negatives, dtype=float)
    threshold = threshold_at(scores, fpr)
    assert threshold in scores
    assert np.mean(scores > threshold) <= fpr + 1e-9
    smaller = scores[scores < threshold]
    assume(len(smaller))
    assert np.mean(scores > smaller.max()) > fpr


def test_a_whole_number_of_allowed_negatives_is_not_lost_to_rounding() -> None:
    assert np.sum(np.arange(100) > threshold_at(np.arange(100), 0.29)) == 29


def test_a_threshold_needs_negatives_and_a_rate() -> None:
    with pytest.raises(ValueError, match="needs negatives"):
        threshold_at([], 0.01)
    with pytest.raises(ValueError, match="false-positive rate"):
        threshold_at([1.0], 1.0)
