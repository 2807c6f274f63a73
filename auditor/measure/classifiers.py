"""The logistic linear probe, and recipes by their names, fitted once or many times. No torch, no model."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.measure.directions import (
    CLOSED_FORM,
    Labels,
    LinearDetector,
    Recipe,
    Rows,
    contrast,
    difference_in_means,
    mass_mean,
    require_two_classes,
    standardised,
)
from auditor.measure.discriminant import discriminant_weights
from auditor.measure.metrics import Floats
from auditor.measure.solver import logistic_fits

C = 0.1
"""1/λ with λ = 10 on z-scored activations, after Goldowsky-Dill et al. 2025, arXiv:2502.03407; declared, not
tuned per layer, so that a layer profile compares like with like"""


def logistic_regression(x: Rows, labels: Labels) -> LinearDetector:
    """Logistic regression with an L2 penalty on z-scored dimensions; the score is the log-odds."""
    require_two_classes(x, labels)
    weights, bias = _logistic(x, labels[None])
    return LinearDetector(weights[0], float(bias[0]), "logistic")


def refitted(recipe: str, x: Rows, labels: Labels) -> Floats:
    """Weights [k, d_model] of a recipe fitted to each of the `labels` [k, n]; lengths and biases are left open.

    Raises ValueError for a recipe that cannot be fitted many times at once.
    """
    if recipe in CLOSED_FORM:
        return CLOSED_FORM[recipe](x, contrast(labels))
    if recipe not in REFITTED:
        raise ValueError(f"{recipe} is not refitted; known: {', '.join(REFITTED)}")
    return discriminant_weights(x, labels) if recipe == "lda" else _logistic(x, labels)[0]


def _logistic(x: Rows, labels: Labels) -> tuple[Floats, Floats]:
    """Weights [k, d_model] and biases [k] on x as it is, for each of the labels [k, n]."""
    z, mean, scale = standardised(x)
    on_z, bias = logistic_fits(z, labels, C)
    weights = on_z / scale
    return weights, bias - weights @ mean


REFITTED = ("difference_in_means", "mass_mean", "logistic", "lda")
"""recipes that `refitted` knows"""
RECIPES: Mapping[str, Recipe] = {
    "difference_in_means": difference_in_means,
    "mass_mean": mass_mean,
    "logistic": logistic_regression,
}
