"""What an estimator returns, and the bootstrap over whole groups. No torch, no model."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.measure.metrics import Floats

CONFIDENCE = 0.95
UNKNOWN = (None, None)
ROOM = 2_000_000
"""resamples times groups that are scored together: what bounds the memory"""
Bounds = tuple[float, float]


class Interval(NamedTuple):
    """What an estimator returns. Unknown is None."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """independent units"""
    of: str
    """what n counts"""


def bootstrap(n_groups: int, seed: int, resamples: int, statistic: Callable[[Floats], Floats]) -> Bounds | None:
    """The central 95 % of the resamples that could be scored; None where there is nothing to resample."""
    if n_groups < 2:
        return None
    drawn = _resamples(n_groups, seed, resamples)
    at_once = _at_once(n_groups)
    parts = [statistic(drawn[i : i + at_once].astype(np.float64)) for i in range(0, resamples, at_once)]
    draws = np.concatenate(parts)
    scored = draws[~np.isnan(draws)]
    if len(scored) < 2:
        return None
    low, high = np.quantile(scored, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _resamples(n_groups: int, seed: int, resamples: int) -> NDArray[np.uint8]:
    """How often each group is in each resample [resamples, n_groups]; shared by every AUROC of a profile.

    A byte holds it: that one of n groups is drawn 256 times in n draws has a chance below 1e-500.
    """
    rng, even = np.random.default_rng(seed), np.full(n_groups, 1 / n_groups)
    weights = np.empty((resamples, n_groups), dtype=np.uint8)
    at_once = _at_once(n_groups)
    for i in range(0, resamples, at_once):
        weights[i : i + at_once] = rng.multinomial(n_groups, even, size=min(at_once, resamples - i))
    weights.setflags(write=False)
    return weights


def _at_once(n_groups: int) -> int:
    return max(1, ROOM // n_groups)
