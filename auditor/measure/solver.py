"""Logistic regression for many labellings of the same rows at once. No torch, no model.

The Hessian of the loss never exceeds that of p = ½ (Böhning & Lindsay 1988), which depends on no label: inverted
once, it preconditions every labelling, and a step of all of them is a few matrix products. Steps are accelerated,
and restarted where they overshoot (O'Donoghue & Candès 2015). With fewer rows than dimensions the weights are
solved for as combinations of rows, so that the width does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from auditor.measure.directions import Labels
from auditor.measure.metrics import Floats

TOLERANCE = 1e-7
"""largest step of a log-odds, in nats, at which a labelling counts as solved"""
STEPS = 2000
ROOM = 1_000_000
"""rows times labellings that are solved together: what bounds the memory"""


@dataclass(frozen=True, eq=False)
class _System:
    """The preconditioner of one design, in the smaller of its two forms."""

    size: int
    """coordinates of a solution: rows or dimensions"""
    step: Callable[[Floats, Floats], tuple[Floats, Floats]]
    """gradients [n_rows, k] by log-odds and a point [size, k] -> what the point [size, k] and its log-odds change by"""
    weights: Callable[[Floats], Floats]
    """a point [size, k] -> weights [k, n_dims]"""


def logistic_fits(z: Floats, labels: Labels, c: float) -> tuple[Floats, Floats]:
    """Minimise c · Σ log(1 + exp(−y(z·w + b))) + ½‖w‖² for every labelling, as scikit-learn's does for one.

    Args:
        z: [n_rows, n_dims], every column with mean 0.
        labels: [k, n_rows]; true is y = +1.
        c: weight of the data against the penalty; the intercept b is not penalised.

    Returns:
        w [k, n_dims] and b [k].

    Raises:
        ArithmeticError: not solved within STEPS.
    """
    system = _by_rows(z, c) if len(z) <= z.shape[1] else _by_dimensions(z, c)
    at_once = max(1, ROOM // len(z))
    parts = [_solved(system, labels[i : i + at_once].T.astype(np.float64), c) for i in range(0, len(labels), at_once)]
    return np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts])


def _solved(system: _System, wanted: Floats, c: float) -> tuple[Floats, Floats]:
    """`wanted`: [n_rows, k], 1 for a positive and 0 for a negative."""
    n, k = wanted.shape
    point, odds, bias = np.zeros((system.size, k)), np.zeros((n, k)), np.zeros(k)
    ahead, momentum = (point, odds, bias), np.ones(k)
    for _ in range(STEPS):
        gradient = c * (expit(ahead[1] + ahead[2]) - wanted)
        by_point, by_odds = system.step(gradient, ahead[0])
        by_bias = -4 / (c * n) * gradient.sum(axis=0)
        new = ahead[0] + by_point, ahead[1] + by_odds, ahead[2] + by_bias
        if np.abs(by_odds + by_bias).max() < TOLERANCE:
            return system.weights(new[0]), new[2]
        moved = new[0] - point, new[1] - odds, new[2] - bias
        # the move went against the step, as far as the log-odds tell
        overshot = ((by_odds + by_bias) * (moved[1] + moved[2])).sum(axis=0) < 0
        following = np.where(overshot, 1.0, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        further = np.where(overshot, 0.0, (momentum - 1) / following)
        point, odds, bias = new
        ahead = point + further * moved[0], odds + further * moved[1], bias + further * moved[2]
        momentum = following
    raise ArithmeticError(f"{k} labellings of {n} rows are not solved after {STEPS} steps")


def _by_rows(z: Floats, c: float) -> _System:
    """With w = zᵀa, the change of a is −(I + c/4 zzᵀ)⁻¹(gradient + a), that of zzᵀa follows without a product."""
    inverse = _inverse(z @ z.T, c)

    def step(gradient: Floats, a: Floats) -> tuple[Floats, Floats]:
        pulled = gradient + a
        change = -inverse @ pulled
        return change, -4 / c * (pulled + change)

    return _System(len(z), step, lambda a: np.asarray(a.T @ z))


def _by_dimensions(z: Floats, c: float) -> _System:
    """Changes w by −(I + c/4 zᵀz)⁻¹(zᵀgradient + w)."""
    inverse = _inverse(z.T @ z, c)

    def step(gradient: Floats, w: Floats) -> tuple[Floats, Floats]:
        change = -inverse @ (z.T @ gradient + w)
        return change, z @ change

    return _System(z.shape[1], step, lambda w: w.T)


def _inverse(gram: Floats, c: float) -> Floats:
    """(I + c/4 · gram)⁻¹"""
    one = np.eye(len(gram))
    return np.asarray(cho_solve(cho_factor(one + c / 4 * gram, lower=True), one))
