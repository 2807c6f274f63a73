"""Many logistic regressions at once are what scikit-learn finds one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from auditor.measure import solver
from auditor.measure.classifiers import C, refitted
from auditor.measure.directions import standardised
from auditor.measure.solver import logistic_fits


def design(n: int, d: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centred columns of very different spread, as a residual stream has them, and labels they tell apart."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, d)) * np.geomspace(1, 0.05, d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    labels = x[:, 0] + 0.2 * rng.standard_normal(n) > np.median(x[:, 0])
    return x - x.mean(axis=0), labels


@pytest.mark.parametrize(("n", "d"), [(60, 200), (200, 60), (80, 80)])
@pytest.mark.parametrize("c", [0.01, 0.1, 1.0])
def test_each_labelling_gets_the_minimum_of_its_loss(n: int, d: int, c: float) -> None:
    z, labels = design(n, d)
    rng = np.random.default_rng(1)
    rare = np.arange(n) < 3
    table = np.stack([labels, ~labels, rare, *(rng.permutation(labels) for _ in range(4))])
    weights, biases = logistic_fits(z, table, c)
    assert weights.shape == (len(table), d)
    for w, b, row in zip(weights, biases, table, strict=True):
        oracle = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(z, row)
        # steps end at TOLERANCE; the more the data weighs against the penalty, the more of them would follow
        assert z @ w + b == pytest.approx(oracle.decision_function(z), abs=0.01 if c < 1 else 0.05)


@pytest.mark.parametrize(("n", "d"), [(60, 200), (200, 60)])
@pytest.mark.parametrize("c", [0.01, 0.1, 1.0])
def test_float64_is_taken_where_rounding_shows_and_reaches_the_minimum(
    n: int, d: int, c: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, labels = design(n, d)
    kinds = []
    preconditioner = solver._preconditioner
    monkeypatch.setattr(solver, "_preconditioner", lambda rows, c: kinds.append(rows.dtype) or preconditioner(rows, c))
    monkeypatch.setattr(solver, "TOLERANCE", 1e-7)
    monkeypatch.setattr(solver, "DRIFT", 1e-9)
    ((w,), (b,)) = logistic_fits(z, labels[None], c)
    gradient = c * z.T @ (1 / (1 + np.exp(-(z @ w + b))) - labels) + w
    assert np.abs(gradient).max() < 1e-4
    assert kinds == [np.float32, np.float64]


def drawn(seed: int, n: int, d: int, apart: float, share: float, constant: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows with two classes `apart` along one of many dimensions, some of which say nothing at all."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) < max(4, round(share * n)))
    x = rng.standard_normal((n, d)) * np.geomspace(1, 0.02, d)
    x[:, 0] += apart * labels
    x = x @ np.linalg.qr(rng.standard_normal((d, d)))[0] + 10 * rng.standard_normal(d)
    x[:, :constant] = 3.0
    return x.astype(np.float32), labels


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    size=st.sampled_from([(60, 150), (120, 40), (90, 90)]),
    apart=st.sampled_from([0.0, 1.0, 30.0]),
    share=st.sampled_from([0.5, 0.1]),
    constant=st.integers(0, 5),
)
def test_held_out_scores_rank_as_those_of_scikit_learn(
    seed: int, size: tuple[int, int], apart: float, share: float, constant: int
) -> None:
    """Few rows and many, no difference and a plain one, a rare class, dimensions that never change."""
    x, labels = drawn(seed, 3 * size[0], size[1], apart, share, constant)
    fit, held = slice(None, size[0]), slice(size[0], None)
    assume(labels[fit].sum() >= 2 and labels[held].any())
    table = np.stack([labels[fit], np.random.default_rng(seed).permutation(labels[fit])])
    z, mean, scale = standardised(x[fit])
    for weights, row in zip(refitted("logistic", x[fit], table), table, strict=True):
        oracle = LogisticRegression(C=C, tol=1e-10, solver="newton-cholesky").fit(z, row)
        theirs = roc_auc_score(labels[held], oracle.decision_function((x[held] - mean) / scale))
        assert roc_auc_score(labels[held], x[held] @ weights) == pytest.approx(theirs, abs=0.005)


def test_rows_that_are_all_alike_give_the_log_odds_of_the_classes() -> None:
    labels = np.arange(12) < 3
    weights, bias = logistic_fits(np.zeros((12, 4)), np.stack([labels, np.arange(12) < 6]), 0.1)
    assert np.array_equal(weights, np.zeros((2, 4)))
    assert bias == pytest.approx([np.log(3 / 9), 0.0], abs=0.02)


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
