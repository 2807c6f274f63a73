"""Contrast-consistent search: a direction that says yes to one of a statement and its negation. No torch, no model."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.optimize import minimize
from scipy.special import expit

from auditor.measure.directions import Labels, LinearDetector, Rows, principal, require_two_classes, spread_of
from auditor.measure.metrics import Floats
from auditor.measure.pairs import Twos, require_pairs

STARTS = 10
"""random first directions, as in the source; the fit with the lowest loss is kept"""
PENALTY = 0.01
"""of ½‖w‖² beside the loss; the source has a weight decay of .01 instead"""
STEPS = 500


def contrast_consistent(x: Rows, labels: Labels, twos: Twos, rng: Generator) -> LinearDetector:
    """The linear p(true) with the lowest mean of (p⁺ + p⁻ − 1)² + min(p⁺, p⁻)² over statements and their negations.

    Source: Burns et al. 2022, arXiv:2212.03827. Both sides are centred by themselves, so that "negated" alone is no
    answer. To score a row whose side is not told, the direction between the two centres is projected out as well,
    and both sides share one scale. Minimised with L-BFGS and a small ridge instead of AdamW, in the span of the rows.
    No label is seen by the search. A direction and its opposite are equally consistent, and the labels of the rows
    fitted to choose between the two (the source reports the better of both on its test set).
    """
    require_two_classes(x, labels)
    require_pairs(twos, "ccs")
    sides, centre, scale = _normalised(x, twos)
    rows, axes = principal(np.concatenate(sides))
    first, second = np.split(rows, 2)
    found = [_searched(first, second, start) for start in _starts(rows.shape[1], rng)]
    _, best = min(found, key=lambda one: one[0])
    weights = best[:-1] @ axes / scale
    bias = float(best[-1] - weights @ centre)
    apart = x[labels].mean(axis=0, dtype=np.float64) - x[~labels].mean(axis=0, dtype=np.float64)
    sign = 1.0 if weights @ apart >= 0 else -1.0
    return LinearDetector(sign * weights, sign * bias, "ccs")


def _normalised(x: Rows, twos: Twos) -> tuple[tuple[Floats, Floats], Floats, Floats]:
    """Both sides of the pairs [m, d_model], centred and scaled; the mean of the centres, and the scale [d_model]."""
    first, second = (x[twos[:, side]].astype(np.float64) for side in (0, 1))
    centres = first.mean(axis=0), second.mean(axis=0)
    first -= centres[0]
    second -= centres[1]
    scale = spread_of(np.concatenate([first, second]), (centres[0] + centres[1]) / 2)
    between = (centres[0] - centres[1]) / scale
    length = float(np.linalg.norm(between))
    unit = between / length if length else between
    sides = tuple(side / scale - np.outer(side / scale @ unit, unit) for side in (first, second))
    return (sides[0], sides[1]), (centres[0] + centres[1]) / 2, scale


def _starts(n_dims: int, rng: Generator) -> Floats:
    """Unit vectors with a bias of 0 [STARTS, n_dims + 1]."""
    drawn = rng.normal(size=(STARTS, n_dims))
    drawn /= np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.column_stack([drawn, np.zeros(STARTS)])


def _searched(first: Floats, second: Floats, start: Floats) -> tuple[float, Floats]:
    """The loss and the point [r + 1], weights and bias, where a search ends."""
    found = minimize(_loss, start, args=(first, second), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return float(found.fun), np.asarray(found.x)


def _loss(point: Floats, first: Floats, second: Floats) -> tuple[float, Floats]:
    """The loss with its ridge, and its gradient [r + 1]."""
    weights, bias = point[:-1], point[-1]
    p, q = expit(first @ weights + bias), expit(second @ weights + bias)
    inconsistent, unsure = p + q - 1, np.minimum(p, q)
    loss = np.mean(inconsistent**2 + unsure**2) + PENALTY / 2 * weights @ weights
    by_p = 2 * (inconsistent + unsure * (p < q)) * p * (1 - p) / len(p)
    by_q = 2 * (inconsistent + unsure * (q <= p)) * q * (1 - q) / len(q)
    gradient = by_p @ first + by_q @ second + PENALTY * weights
    return float(loss), np.append(gradient, by_p.sum() + by_q.sum())
