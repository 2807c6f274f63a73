"""Logistic regression for many labellings of the same rows at once. No torch, no model.

Nonlinear conjugate gradients (Polak & Ribière, β ≥ 0), all labellings side by side. The Hessian of the loss never
exceeds that of p = ½ (Böhning & Lindsay 1988), which depends on no label: factored once, it preconditions every
labelling, and a step of all of them is one triangular solve. Along a direction the curvature grows by at most a factor
e for every nat that a log-odds moves (Bach 2010), which bounds a step that never overshoots: the loss falls at every
one. With fewer rows than dimensions the weights are combinations of rows, so that the width does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from scipy.special import expit

from auditor.measure.directions import Labels
from auditor.measure.metrics import Floats

Reals = NDArray[np.floating]
"""float32, or float64 where that is too coarse"""

TOLERANCE = 5e-3
"""largest step of a log-odds, in nats, at which a labelling counts as solved; what is left is about as much"""
DRIFT = 1e-3
"""nats by which log-odds that were summed up step by step may differ from those of the weights"""
STEPS = 500
ROOM = 1_000_000
"""rows times labellings that are solved together: what bounds the memory"""


def logistic_fits(z: Floats, labels: Labels, c: float) -> tuple[Floats, Floats]:
    """Minimise c · Σ log(1 + exp(−y(z·w + b))) + ½‖w‖² for every labelling, as scikit-learn's does for one.

    In float32; once more in float64 where rounding shows.

    Args:
        z: [n_rows, n_dims], every column with mean 0.
        labels: [k, n_rows]; true is y = +1.
        c: weight of the data against the penalty; the intercept b is not penalised.

    Returns:
        w [k, n_dims] and b [k].

    Raises:
        ArithmeticError: not solved within STEPS.
    """
    for kind in (np.float32, np.float64):
        rows: Reals = np.ascontiguousarray(z, dtype=kind)
        system = _by_rows(rows, c) if len(z) <= z.shape[1] else _by_dimensions(rows, c)
        at_once = max(1, ROOM // len(z))
        parts = [_solved(system, labels[i : i + at_once].astype(kind), c) for i in range(0, len(labels), at_once)]
        point, odds, bias = (np.concatenate(part) for part in zip(*parts, strict=True))
        weights = system.weights(point)
        if np.abs(weights @ rows.T + bias[:, None] - odds).max() < DRIFT:
            return weights.astype(np.float64), bias.astype(np.float64)
    raise ArithmeticError(f"{len(labels)} labellings of {len(z)} rows are not solved after {STEPS} steps")


@dataclass(frozen=True, eq=False)
class _System:
    """One design with its preconditioner, in the smaller of its two forms."""

    size: int
    """coordinates of a solution: rows or dimensions"""
    gradient: Callable[[Reals, Reals], Reals]
    """derivatives of the loss by log-odds [k, n_rows] and a point [k, size] -> gradient [k, size]"""
    solve: Callable[[Reals], tuple[Reals, Reals]]
    """gradient -> preconditioned descent [k, size], and what it adds to the log-odds [k, n_rows]"""
    inner: Callable[[Reals, Reals, Reals], Reals]
    """gradient (or point), direction and the direction's log-odds -> inner product of weights [k]"""
    weights: Callable[[Reals], Reals]
    """a point [k, size] -> weights [k, n_dims]"""


@dataclass(eq=False)
class _State:
    """Where each labelling stands and where it goes."""

    wanted: Reals
    """[k, n_rows] 1 for a positive and 0 for a negative"""
    point: Reals
    """[k, size]"""
    odds: Reals
    """[k, n_rows] log-odds, bias included"""
    bias: Reals
    """[k]"""
    way: Reals
    """[k, size] direction of the last step"""
    way_odds: Reals
    """[k, n_rows] what it adds to the log-odds, bias left out"""
    way_bias: Reals
    """[k]"""
    gradient: Reals
    """[k, size] where the last step began"""
    gradient_bias: Reals
    """[k]"""
    size: Reals
    """[k] squared length of that gradient as the preconditioner measures it, negative; −∞ before the first step"""

    @classmethod
    def start(cls, wanted: Reals, size: int) -> Self:
        """All weights 0."""
        point, odds = np.zeros((len(wanted), size), wanted.dtype), np.zeros_like(wanted)
        bias = np.zeros_like(wanted[:, 0])
        return cls(wanted, point.copy(), odds.copy(), bias.copy(), point, odds, bias, point, bias, bias - np.inf)

    def of(self, chosen: NDArray[Any]) -> _State:
        """Some of the labellings."""
        return _State(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def _solved(system: _System, wanted: Reals, c: float) -> tuple[Reals, Reals, Reals]:
    """Points, log-odds and biases, NaN where not solved. What is solved leaves: none depends on those beside it."""
    live, left = _State.start(wanted, system.size), np.arange(len(wanted))
    point, odds, bias = live.point, live.odds, live.bias + np.nan
    for _ in range(STEPS):
        moving = _step(system, live, c) >= TOLERANCE
        if not moving.all():
            done = left[~moving]
            point[done], odds[done], bias[done] = live.point[~moving], live.odds[~moving], live.bias[~moving]
            live, left = live.of(moving), left[moving]
            if not len(left):
                break
    return point, odds, bias


def _step(system: _System, at: _State, c: float) -> Reals:
    """Move every labelling once; returns the largest change of a log-odds of each [k]."""
    n = at.odds.shape[1]
    p = expit(at.odds)
    by_odds = p - at.wanted
    by_odds *= c
    gradient, gradient_bias = system.gradient(by_odds, at.point), by_odds.sum(axis=1)
    down, down_odds = system.solve(gradient)
    down_bias = -4 / (c * n) * gradient_bias
    size = system.inner(gradient, down, down_odds) + gradient_bias * down_bias
    before = system.inner(at.gradient, down, down_odds) + at.gradient_bias * down_bias
    keep = np.maximum(0, (size - before) / at.size)
    way, way_odds = at.way * keep[:, None], at.way_odds * keep[:, None]
    way += down
    way_odds += down_odds
    way_bias = down_bias + keep * at.way_bias
    change = way_odds + way_bias[:, None]
    squared, nothing = change * change, np.finfo(p.dtype).tiny
    largest = np.sqrt(squared.max(axis=1)) + nothing
    # rounding may turn the sign of what is next to nothing, here and in the penalty
    downhill = np.maximum(0, -system.inner(gradient, way, way_odds) - gradient_bias * way_bias)
    penalty = np.maximum(0, system.inner(way, way, way_odds)) + nothing
    newton = downhill / (c * _dot(p - p * p, squared) + penalty)
    # neither of the two overshoots
    length = np.maximum(np.log1p(largest * newton) / largest, downhill / (c / 4 * squared.sum(axis=1) + penalty))
    at.point += length[:, None] * way
    at.odds += length[:, None] * change
    at.bias += length * way_bias
    at.way, at.way_odds, at.way_bias = way, way_odds, way_bias
    at.gradient, at.gradient_bias, at.size = gradient, gradient_bias, size
    return np.asarray(length * largest)


def _by_rows(z: Reals, c: float) -> _System:
    """With w = zᵀa, everything follows from zzᵀ; what (I + c/4 zzᵀ)⁻¹ leaves of a gradient tells zzᵀ times it."""
    solved = _preconditioner(z, c)

    def solve(gradient: Reals) -> tuple[Reals, Reals]:
        down = -solved(gradient)
        odds = gradient + down
        odds *= -4 / c
        return down, odds

    return _System(len(z), lambda by_odds, a: by_odds + a, solve, lambda g, _, odds: _dot(g, odds), lambda a: a @ z)


def _by_dimensions(z: Reals, c: float) -> _System:
    """Weights as they are."""
    solved = _preconditioner(np.ascontiguousarray(z.T), c)

    def solve(gradient: Reals) -> tuple[Reals, Reals]:
        down = -solved(gradient)
        return down, down @ z.T

    return _System(z.shape[1], lambda by_odds, w: by_odds @ z + w, solve, lambda g, way, _: _dot(g, way), lambda w: w)


def _preconditioner(rows: Reals, c: float) -> Callable[[Reals], Reals]:
    """[k, size] -> (I + c/4 · rows·rowsᵀ)⁻¹ times each row, for rows [size, any]."""
    (product,) = get_blas_funcs(("syrk",), (rows,))
    factored, solved = get_lapack_funcs(("potrf", "potrs"), (rows,))
    hessian = product(c / 4, rows.T, trans=1)
    hessian[np.diag_indices(len(rows))] += 1
    factor, _ = factored(hessian, overwrite_a=1, clean=0)
    return lambda x: np.asarray(solved(factor, x.T)[0].T)


def _dot(a: Reals, b: Reals) -> Reals:
    """Inner products of the rows of two tables."""
    return np.asarray(np.einsum("kn,kn->k", a, b))
