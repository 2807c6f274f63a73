from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import NotTestable, ProbeFailed
from auditor.measure.classifiers import RECIPES, C, logistic_regression
from auditor.measure.directions import (
    SHRINKAGE,
    contrast,
    difference_in_means,
    direction_of,
    mass_mean,
    standardised,
)
from auditor.measure.discriminant import linear_discriminant
from auditor.measure.metrics import auroc

SUPERVISED = {**RECIPES, "lda": linear_discriminant}
EVERY = pytest.mark.parametrize("recipe", SUPERVISED.values(), ids=list(SUPERVISED))


def planted(
    rng: np.random.Generator, n: int, d: int, *, strength: float, covariance: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaussian activations [n, d] whose classes lie `strength` apart along a unit vector [d]."""
    unit = rng.normal(size=d)
    unit /= np.linalg.norm(unit)
    labels = rng.permutation(np.arange(n) % 2 == 0)
    noise = rng.normal(size=(n, d)) @ (np.eye(d) if covariance is None else np.linalg.cholesky(covariance).T)
    return (noise + strength * np.outer(labels, unit)).astype(np.float32), labels, unit


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@EVERY
def test_a_planted_direction_is_recovered(recipe) -> None:
    x, labels, unit = planted(np.random.default_rng(0), 20_000, 24, strength=3.0)
    detector = recipe(x, labels)
    assert cosine(detector.weights, unit) > 0.99
    assert auroc(detector.score(x), labels) > 0.95


@EVERY
def test_nothing_planted_nothing_found(recipe) -> None:
    rng = np.random.default_rng(1)
    x, labels, unit = planted(rng, 4000, 24, strength=3.0)
    shuffled = rng.permutation(labels)
    detector = recipe(x[:2000], shuffled[:2000])
    assert abs(cosine(detector.weights, unit)) < 0.8
    assert auroc(detector.score(x[2000:]), shuffled[2000:]) == pytest.approx(0.5, abs=0.05)


@EVERY
def test_fewer_rows_than_dimensions_still_generalise(recipe) -> None:
    x, labels, _ = planted(np.random.default_rng(2), 400, 300, strength=4.0)
    detector = recipe(x[:200], labels[:200])
    assert auroc(detector.score(x[200:]), labels[200:]) > 0.9


@EVERY
def test_zero_lies_between_the_classes(recipe) -> None:
    x, labels, _ = planted(np.random.default_rng(3), 2000, 8, strength=6.0)
    scores = recipe(x + 40, labels).score(x + 40)
    assert np.mean((scores > 0) == labels) > 0.98


@EVERY
def test_turning_the_labels_round_turns_the_detector_round(recipe) -> None:
    x, labels, _ = planted(np.random.default_rng(4), 60, 90, strength=1.0)
    assert recipe(x, ~labels).score(x) == pytest.approx(-recipe(x, labels).score(x), abs=1e-4)


@EVERY
def test_a_fit_draws_nothing_at_random(recipe) -> None:
    x, labels, _ = planted(np.random.default_rng(5), 60, 90, strength=1.0)
    first, second = recipe(x, labels), recipe(x.copy(), labels.copy())
    assert np.array_equal(first.weights, second.weights)
    assert first.bias == second.bias


@EVERY
def test_a_dimension_that_only_carries_rounding_noise_is_not_read(recipe) -> None:
    x, labels, _ = planted(np.random.default_rng(6), 80, 5, strength=2.0)
    x[:, 3] = 500 + labels * np.float32(1e-4)
    x[:, 4] = 0
    weights = recipe(x, labels).weights
    if recipe is not difference_in_means:  # its weights are the difference itself
        assert weights[3] == 0
    assert weights[4] == 0


@EVERY
def test_one_class_is_nothing_to_tell_apart(recipe) -> None:
    x = np.zeros((4, 3), dtype=np.float32)
    with pytest.raises(NotTestable, match="one class"):
        recipe(x, np.ones(4, dtype=bool))
    with pytest.raises(NotTestable, match="one class"):
        recipe(x[:0], np.ones(0, dtype=bool))


@EVERY
def test_activations_that_are_not_finite_fail_the_probe(recipe) -> None:
    x, labels, _ = planted(np.random.default_rng(7), 10, 3, strength=1.0)
    x[2, 1] = np.inf
    with pytest.raises(ProbeFailed, match="not finite"):
        recipe(x, labels)


@EVERY
def test_labels_must_be_truth_values_of_the_rows(recipe) -> None:
    x = np.zeros((4, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="do not go with"):
        recipe(x, np.array([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="do not go with"):
        recipe(x, np.array([True, False]))


def test_difference_in_means_is_the_difference_of_the_means() -> None:
    x, labels, _ = planted(np.random.default_rng(8), 30, 4, strength=1.0)
    expected = x[labels].mean(axis=0) - x[~labels].mean(axis=0)
    detector = difference_in_means(x, labels)
    assert detector.weights == pytest.approx(expected, abs=1e-6)
    assert detector.score((x[labels].mean(axis=0) + x[~labels].mean(axis=0))[None] / 2) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("n", [40, 200])
def test_mass_mean_reads_along_the_inverse_within_class_covariance(n: int) -> None:
    """The method as published (within-class Σ), shrunk alike, solved outright, on either side of n = d."""
    x, labels, _ = planted(np.random.default_rng(9), n, 60, strength=1.0)
    z, _, scale = standardised(x)
    difference = z[labels].mean(axis=0) - z[~labels].mean(axis=0)
    total = (1 - SHRINKAGE) * z.T @ z / n + SHRINKAGE * np.eye(60)
    within = total - (1 - SHRINKAGE) * labels.mean() * (~labels).mean() * np.outer(difference, difference)
    assert cosine(mass_mean(x, labels).weights, np.linalg.solve(within, difference) / scale) > 1 - 1e-12


def test_mass_mean_sees_through_correlated_noise_and_difference_in_means_does_not() -> None:
    rng = np.random.default_rng(10)
    loud = rng.normal(size=16)
    x, labels, _ = planted(rng, 4000, 16, strength=1.5, covariance=0.1 * np.eye(16) + 4 * np.outer(loud, loud))
    plain, whitened = (
        auroc(recipe(x[::2], labels[::2]).score(x[1::2]), labels[1::2]) for recipe in (difference_in_means, mass_mean)
    )
    assert whitened > plain + 0.1


def test_mass_mean_does_not_depend_on_the_unit_of_a_dimension() -> None:
    x, labels, _ = planted(np.random.default_rng(11), 50, 80, strength=1.0)
    units = np.geomspace(0.01, 100, 80).astype(np.float32)
    assert mass_mean(x * units, labels).score(x * units) == pytest.approx(mass_mean(x, labels).score(x), abs=1e-3)


def test_logistic_regression_is_at_the_minimum_of_its_loss() -> None:
    x, labels, _ = planted(np.random.default_rng(12), 120, 150, strength=2.0)
    detector = logistic_regression(x, labels)
    z, _, scale = standardised(x)
    probability = 1 / (1 + np.exp(-detector.score(x)))
    gradient = C * z.T @ (probability - labels) + detector.weights * scale
    assert np.abs(gradient).max() < 1e-3
    assert abs(np.sum(probability - labels)) < 1e-3


def test_contrasts_weigh_rows_into_a_difference_of_means() -> None:
    rows = contrast(np.array([[True, False, True], [False, True, False]]))
    assert rows.tolist() == [[0.5, -1.0, 0.5], [-0.5, 1.0, -0.5]]


def test_a_direction_is_a_unit_vector_that_knows_its_length() -> None:
    x, labels, _ = planted(np.random.default_rng(13), 100, 6, strength=2.0)
    detector = difference_in_means(x, labels)
    direction = direction_of(detector, "site")
    assert direction.vector.dtype == np.float32
    assert np.linalg.norm(direction.vector) == pytest.approx(1)
    assert direction.vector * direction.norm == pytest.approx(detector.weights, rel=1e-5)
    assert direction.score(x) * direction.norm + detector.bias == pytest.approx(detector.score(x), abs=1e-4)
    assert (direction.site, direction.method) == ("site", "difference_in_means")


def test_no_difference_is_no_direction() -> None:
    x = np.ones((4, 3), dtype=np.float32)
    with pytest.raises(NotTestable, match="no difference between the classes at site"):
        direction_of(difference_in_means(x, np.array([True, True, False, False])), "site")
