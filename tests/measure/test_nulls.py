"""Null directions: of the direction's site and norm, of three kinds, and the gate that they make."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.measure.controls import LabelledRows, permuted_labels
from auditor.measure.directions import Direction, difference_in_means, direction_of
from auditor.measure.intervals import ESTIMATORS, Estimate
from auditor.measure.nulls import ORTHOGONAL, RANDOM, SHUFFLED, NullCounts, null_directions, unproven
from auditor.model.sites import Site

SITE, D = Site(1, "resid_pre"), 48
COUNTS = NullCounts(random=8, orthogonal=7, shuffled=6)


def fitted(signal: float, seed: int = 0, n: int = 40) -> tuple[Direction, LabelledRows]:
    """Difference-in-means of noise with a planted axis, two classes in each of ten groups."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2 == 0
    x = rng.normal(scale=0.1, size=(n, D)).astype(np.float32)
    x[:, 0] += signal * (labels - 0.5)
    rows = LabelledRows(x, labels, np.array([f"g{i // 4}" for i in range(n)]))
    return direction_of(difference_in_means(x, labels), SITE), rows


def drawn(like: Direction, rows: LabelledRows, seed: int = 3) -> dict[str, np.ndarray]:
    found = null_directions(np.random.default_rng(seed), COUNTS, like, rows)
    assert {(d.site, d.norm) for kind in found.values() for d in kind} == {(SITE, like.norm)}
    return {kind: np.stack([d.vector for d in directions]) for kind, directions in found.items()}


def test_all_have_the_site_and_the_norm_and_two_kinds_are_orthogonal() -> None:
    like, rows = fitted(signal=4.0)
    found = drawn(like, rows)
    assert {kind: len(vectors) for kind, vectors in found.items()} == {RANDOM: 8, ORTHOGONAL: 7, SHUFFLED: 6}
    assert np.linalg.norm(np.concatenate(list(found.values())), axis=1) == pytest.approx(1.0, abs=1e-6)
    along = {kind: np.abs(vectors @ like.vector) for kind, vectors in found.items()}
    assert along[ORTHOGONAL].max() < 1e-6
    assert along[SHUFFLED].max() < 1e-6
    assert along[RANDOM].min() > 1e-4


def test_the_seed_decides_them() -> None:
    like, rows = fitted(signal=4.0)
    first, again, other = (drawn(like, rows, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[kind], again[kind]) for kind in first)
    assert not any(np.array_equal(first[kind], other[kind]) for kind in first)


def test_shuffled_ones_are_refits_within_groups_without_their_part_along_the_direction() -> None:
    like, rows = fitted(signal=4.0)
    rng = np.random.default_rng(3)
    rng.standard_normal((COUNTS.random + COUNTS.orthogonal, D))  # the kinds that are drawn first
    labels = permuted_labels(rows.labels, rows.groups, COUNTS.shuffled, rng)
    refits = np.stack([difference_in_means(rows.x, one).weights for one in labels])
    u = like.vector.astype(np.float64)
    rests = refits - np.outer(refits @ u, u)
    expected = rests / np.linalg.norm(rests, axis=1, keepdims=True)
    assert drawn(like, rows)[SHUFFLED] == pytest.approx(expected, abs=1e-5)
    # why that part goes: where the classes lie far apart, the refits are the direction again
    assert np.abs(refits @ u / np.linalg.norm(refits, axis=1)).max() > 0.9


def test_refits_of_which_nothing_else_is_left_are_dropped_and_so_is_their_kind() -> None:
    like, rows = fitted(signal=4.0)
    flat = LabelledRows(np.outer(rows.labels - 0.5, np.eye(D)[0]).astype(np.float32), rows.labels, rows.groups)
    axis = Direction(SITE, np.eye(D, dtype=np.float32)[0], like.norm, "difference_in_means")
    found = null_directions(np.random.default_rng(0), COUNTS, axis, flat)
    assert {kind: len(directions) for kind, directions in found.items()} == {RANDOM: 8, ORTHOGONAL: 7}


def p_of(effect: float, nulls: np.ndarray, **how: bool) -> Estimate:
    made = ESTIMATORS["exceedance_p"](x=[effect], **{RANDOM: nulls[:12], SHUFFLED: nulls[12:]}, **how)
    return Estimate(**made._asdict(), estimator="exceedance_p")


def test_an_effect_has_to_lie_beyond_every_null_of_every_kind() -> None:
    nulls = np.linspace(-1.0, 0.9, 20)
    assert unproven(p_of(1.5, nulls), SHUFFLED) == ""
    said = "not beyond chance: 1 of 20 null directions do as much, the strongest of them shuffled labels"
    assert unproven(p_of(0.9, nulls), SHUFFLED) == said
    assert unproven(p_of(0.95, nulls), SHUFFLED) == ""
    assert unproven(p_of(0.95, nulls, either_sign=True), SHUFFLED) == said
    assert "20 of 20" in unproven(p_of(-1.0, nulls), RANDOM)


@pytest.mark.parametrize("n", [0, 19])
def test_too_few_nulls_prove_nothing(n: int) -> None:
    said = f"not beyond chance: {n} null directions were tried, and a claim needs 20"
    assert unproven(p_of(1.5, np.zeros(n)), RANDOM) == said
    assert unproven(p_of(1.5, np.zeros(20)), RANDOM) == ""


@pytest.mark.parametrize("signal", [0.0, 4.0])
def test_a_direction_without_an_effect_of_its_own_is_beyond_all_as_often_as_chance_says(signal: float) -> None:
    """What reads the stream is a direction drawn anew: what was fitted has no more to do with it than a null has."""
    counts = NullCounts(random=7, orthogonal=6, shuffled=7)
    passed = 0
    for seed in range(300):
        like, rows = fitted(signal, seed)
        reads = np.random.default_rng([1, seed]).normal(size=D)
        found = null_directions(np.random.default_rng([2, seed]), counts, like, rows)
        nulls = np.array([d.vector @ reads for kind in found.values() for d in kind])
        passed += not unproven(p_of(abs(float(like.vector @ reads)), nulls, either_sign=True), RANDOM)
    assert 0.02 < passed / 300 < 0.09  # 1/21 = .048, with three standard errors of .012
