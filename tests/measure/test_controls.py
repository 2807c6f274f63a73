from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import NotTestable
from auditor.measure.classifiers import REFITTED
from auditor.measure.controls import LabelledRows, permutation_null, permuted_labels, random_directions
from auditor.measure.detectors import DETECTORS
from auditor.measure.intervals import permutation_p
from auditor.measure.metrics import auroc

EVERY = pytest.mark.parametrize("recipe", REFITTED)


def rows(
    rng: np.random.Generator,
    *,
    groups: int,
    per_group: int,
    d: int = 12,
    strength: float = 0.0,
    mixed: bool = True,
) -> LabelledRows:
    """Activations with a group effect; labels alternate inside groups (mixed) or between them."""
    group = np.repeat(np.arange(groups), per_group)
    labels = (np.arange(len(group)) if mixed else group) % 2 == 0
    x = rng.normal(size=(len(group), d)) + rng.normal(size=(groups, d))[group]
    x[:, 0] += strength * labels
    return LabelledRows(x.astype(np.float32), labels, np.array([f"g{i}" for i in group]))


def p_value(fit: LabelledRows, evaluation: LabelledRows, recipe: str, seed: int, draws: int = 199) -> float:
    null = permutation_null(fit, evaluation, recipe, draws=draws, rng=np.random.default_rng(seed))
    score = DETECTORS[recipe](fit.x, fit.labels).score(evaluation.x)
    return permutation_p(score=score, label=evaluation.labels, null=null).value


@EVERY
@pytest.mark.parametrize(("per_group", "d"), [(4, 60), (12, 10)])
def test_the_null_is_what_explicit_refits_give(recipe: str, per_group: int, d: int) -> None:
    rng = np.random.default_rng(0)
    fit = rows(rng, groups=10, per_group=per_group, d=d, strength=1.0)
    evaluation = rows(rng, groups=6, per_group=per_group, d=d, strength=1.0)
    null = permutation_null(fit, evaluation, recipe, draws=99, rng=np.random.default_rng(5))
    shuffled = permuted_labels(fit.labels, fit.groups, 99, np.random.default_rng(5))
    refits = [DETECTORS[recipe](fit.x, labels).score(evaluation.x) for labels in shuffled]
    assert null == pytest.approx([auroc(score, evaluation.labels) for score in refits], abs=1e-6)


@EVERY
def test_a_planted_signal_has_a_small_p(recipe: str) -> None:
    rng = np.random.default_rng(1)
    fit, evaluation = (rows(rng, groups=12, per_group=10, strength=3.0) for _ in range(2))
    assert p_value(fit, evaluation, recipe, seed=0, draws=999) <= 0.01


@EVERY
@pytest.mark.parametrize("mixed", [True, False])
def test_without_a_signal_p_is_small_no_more_often_than_it_says(recipe: str, mixed: bool) -> None:
    rng = np.random.default_rng(2)
    made = []
    for seed in range(120):
        fit, evaluation = (rows(rng, groups=12, per_group=6, mixed=mixed) for _ in range(2))
        made.append(p_value(fit, evaluation, recipe, seed, draws=99))
    assert np.mean(np.array(made) <= 0.05) < 0.11
    assert 0.4 < np.mean(made) < 0.6


def test_labels_are_shuffled_inside_groups_of_both_classes() -> None:
    data = rows(np.random.default_rng(3), groups=5, per_group=6)
    shuffled = permuted_labels(data.labels, data.groups, 200, np.random.default_rng(0))
    for name in np.unique(data.groups):
        own = shuffled[:, data.groups == name]
        assert (own.sum(axis=1) == 3).all()
        assert len(np.unique(own, axis=0)) == 20  # every one of the 6-choose-3 arrangements
    assert len(np.unique(shuffled, axis=0)) > 190


def test_groups_of_one_class_trade_their_label_as_a_block() -> None:
    data = rows(np.random.default_rng(4), groups=6, per_group=4, mixed=False)
    shuffled = permuted_labels(data.labels, data.groups, 200, np.random.default_rng(0)).reshape(200, 6, 4)
    assert (shuffled == shuffled[:, :, :1]).all()
    assert (shuffled[:, :, 0].sum(axis=1) == 3).all()
    assert len(np.unique(shuffled[:, :, 0], axis=0)) == 20


def test_too_few_arrangements_leave_p_large() -> None:
    rng = np.random.default_rng(5)
    fit, evaluation = (rows(rng, groups=2, per_group=30, strength=9.0, mixed=False) for _ in range(2))
    assert p_value(fit, evaluation, "difference_in_means", seed=0) > 0.3


def test_the_null_is_the_generators() -> None:
    rng = np.random.default_rng(6)
    fit, evaluation = (rows(rng, groups=6, per_group=6) for _ in range(2))
    first, again, other = (
        permutation_null(fit, evaluation, "mass_mean", draws=20, rng=np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_recipe_that_cannot_be_refitted_is_refused() -> None:
    data = rows(np.random.default_rng(7), groups=2, per_group=4)
    with pytest.raises(ValueError, match="perceptron is not refitted"):
        permutation_null(data, data, "perceptron", rng=np.random.default_rng(0))


def test_evaluation_rows_of_one_class_are_not_testable() -> None:
    data = rows(np.random.default_rng(8), groups=2, per_group=4)
    one_class = LabelledRows(data.x[data.labels], data.labels[data.labels], data.groups[data.labels])
    with pytest.raises(NotTestable):
        permutation_null(data, one_class, "mass_mean", rng=np.random.default_rng(0))


def test_random_directions_are_turned_by_the_labels_and_know_no_unit() -> None:
    rng = np.random.default_rng(9)
    fit, evaluation = (rows(rng, groups=20, per_group=6, d=1, strength=8.0) for _ in range(2))
    alone = random_directions(fit, evaluation, draws=50, rng=np.random.default_rng(0))
    assert alone.min() > 0.99  # of either sign when drawn
    wide_fit, wide = (rows(rng, groups=20, per_group=6, d=40, strength=8.0) for _ in range(2))
    among_others = random_directions(wide_fit, wide, draws=200, rng=np.random.default_rng(0))
    assert 0.5 < among_others.mean() < 0.75
    units = np.geomspace(0.01, 100, 40).astype(np.float32)
    scaled = [LabelledRows(one.x * units, one.labels, one.groups) for one in (wide_fit, wide)]
    assert random_directions(*scaled, draws=200, rng=np.random.default_rng(0)) == pytest.approx(among_others, abs=1e-3)


def test_a_search_that_finds_no_more_than_chance_has_no_small_p() -> None:
    rng = np.random.default_rng(10)
    made = []
    for seed in range(150):
        fit, evaluation = (rows(rng, groups=10, per_group=6, strength=0.5) for _ in range(2))
        drawn = np.random.default_rng(seed)
        found = drawn.normal(size=12) / fit.x.std(axis=0)
        found *= np.sign(found @ (fit.x[fit.labels].mean(axis=0) - fit.x[~fit.labels].mean(axis=0)))
        null = random_directions(fit, evaluation, draws=99, rng=drawn)
        made.append(permutation_p(score=evaluation.x @ found, label=evaluation.labels, null=null).value)
    assert np.mean(np.array(made) <= 0.05) < 0.11
    assert 0.4 < np.mean(made) < 0.6
