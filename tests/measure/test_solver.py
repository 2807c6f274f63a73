"""Many logistic regressions at once are what scikit-learn finds one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from auditor.measure import solver
from auditor.measure.solver import logistic_fits


def design(n: int, d: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centred columns of very different spread, as a residual stream has them, and labels they tell apart."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, d)) * np.geomspace(1, 0.05, d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    labels = x[:, 0] + 0.2 * rng.standard_normal(n) > np.median(x[:, 0])
    return x - x.mean(axis=0), labels


@pytest.mark.parametrize(("n", "d"), [(60, 200), (200, 60), (80, 80)])
@pytest.mark.parametrize("c", [0.01, 0.1, 10.0])
def test_each_labelling_gets_the_minimum_of_its_loss(n: int, d: int, c: float) -> None:
    z, labels = design(n, d)
    rng = np.random.default_rng(1)
    rare = np.arange(n) < 3
    table = np.stack([labels, ~labels, rare, *(rng.permutation(labels) for _ in range(4))])
    weights, biases = logistic_fits(z, table, c)
    assert weights.shape == (len(table), d)
    for w, b, row in zip(weights, biases, table, strict=True):
        gradient = c * z.T @ (1 / (1 + np.exp(-(z @ w + b))) - row) + w
        assert np.abs(gradient).max() < 1e-4
        oracle = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(z, row)
        assert z @ w + b == pytest.approx(oracle.decision_function(z), abs=1e-3)


def test_a_labelling_does_not_depend_on_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    z, labels = design(50, 20)
    table = np.stack([np.random.default_rng(s).permutation(labels) for s in range(7)])
    together = logistic_fits(z, table, 0.1)
    monkeypatch.setattr(solver, "ROOM", 3 * len(z))
    in_threes = logistic_fits(z, table, 0.1)
    for a, b in zip(together, in_threes, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_what_is_not_solved_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    z, labels = design(50, 20)
    monkeypatch.setattr(solver, "STEPS", 2)
    with pytest.raises(ArithmeticError, match="1 labellings of 50 rows are not solved after 2 steps"):
        logistic_fits(z, labels[None], 0.1)
