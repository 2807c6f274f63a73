"""The logistic linear probe, and every recipe by its name. No torch, no model."""

from __future__ import annotations

from collections.abc import Mapping

from sklearn.linear_model import LogisticRegression

from auditor.measure.directions import (
    Labels,
    LinearDetector,
    Recipe,
    Rows,
    difference_in_means,
    mass_mean,
    require_two_classes,
    standardised,
)

C = 0.1
"""1/λ with λ = 10 on z-scored activations, after Goldowsky-Dill et al. 2025, arXiv:2502.03407; declared, not
tuned per layer, so that a layer profile compares like with like"""


def logistic_regression(x: Rows, labels: Labels) -> LinearDetector:
    """Logistic regression with an L2 penalty on z-scored dimensions; the score is the log-odds.

    Source: scikit-learn. Newton's method needs only products with the data, so d_model > n costs nothing
    extra; it draws no random numbers.
    """
    require_two_classes(x, labels)
    z, mean, scale = standardised(x)
    model = LogisticRegression(C=C, solver="newton-cg", tol=1e-6, max_iter=200).fit(z, labels)
    weights = model.coef_[0] / scale
    return LinearDetector(weights, float(model.intercept_[0]) - float(weights @ mean), "logistic")


RECIPES: Mapping[str, Recipe] = {
    "difference_in_means": difference_in_means,
    "mass_mean": mass_mean,
    "logistic": logistic_regression,
}
