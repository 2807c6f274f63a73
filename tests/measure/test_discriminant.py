"""Held against scikit-learn, which solves one labelling at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from auditor.measure.classifiers import refitted
from auditor.measure.directions import standardised
from auditor.measure.discriminant import discriminant_weights, linear_discriminant
from auditor.measure.metrics import auroc


def drawn(n: int, d: int, seed: int = 0, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated activations [n, d] whose dimensions differ in unit, and labels of which a third is positive."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + strength * np.outer(labels, rng.normal(size=d))
    return (x * np.geomspace(0.1, 10, d) + 3).astype(np.float32), labels


def reference(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """scikit-learn's discriminant with the Ledoit-Wolf share of the pooled rows, as a unit vector on x."""
    z, _, scale = standardised(x)
    centred = z.copy()
    for chosen in (labels, ~labels):
        centred[chosen] -= z[chosen].mean(axis=0)
    share = ledoit_wolf_shrinkage(centred, assume_centered=True)
    fit = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share).fit(z, labels)
    return unit(fit.coef_[0] / scale)


def unit(weights: np.ndarray) -> np.ndarray:
    return weights / np.linalg.norm(weights)


@pytest.mark.parametrize(("n", "d"), [(40, 90), (60, 60), (400, 20)])
def test_the_weights_are_scikit_learns(n: int, d: int) -> None:
    x, labels = drawn(n, d)
    assert unit(linear_discriminant(x, labels).weights) == pytest.approx(reference(x, labels), abs=1e-8)


def test_many_labellings_at_once_are_each_by_itself() -> None:
    x, labels = drawn(50, 70)
    many = np.random.default_rng(1).permuted(np.tile(labels, (6, 1)), axis=1)
    for weights, row in zip(discriminant_weights(x, many), many, strict=True):
        assert unit(weights) == pytest.approx(reference(x, row), abs=1e-8)
    assert np.array_equal(refitted("lda", x, many), discriminant_weights(x, many))


def test_a_share_for_each_class_gives_nearly_the_same_held_out() -> None:
    x, labels = drawn(600, 80, strength=0.3)
    automatic = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(standardised(x)[0][:400], labels[:400])
    score = automatic.decision_function(standardised(x)[0][400:])
    ours = linear_discriminant(x[:400], labels[:400]).score(x[400:])
    assert auroc(ours, labels[400:]) > 0.6
    assert auroc(ours, labels[400:]) == pytest.approx(auroc(score, labels[400:]), abs=0.01)


def test_it_sees_through_correlated_noise() -> None:
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.arange(2000) % 2 == 0)
    loud = np.outer(rng.normal(size=2000), np.ones(8)) * 4
    x = (rng.normal(size=(2000, 8)) + loud + np.outer(labels, np.eye(8)[0] * 1.5)).astype(np.float32)
    ours = linear_discriminant(x[::2], labels[::2]).score(x[1::2])
    means = x[::2][labels[::2]].mean(axis=0) - x[::2][~labels[::2]].mean(axis=0)
    assert auroc(ours, labels[1::2]) > auroc(x[1::2] @ means, labels[1::2]) + 0.1
