"""What an estimator returns, and the bootstrap over whole groups. No torch, no model."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from auditor.measure.metrics import Floats

CONFIDENCE = 0.95
UNKNOWN = (None, None)
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
    draws = statistic(_resamples(n_groups, seed, resamples))
    scored = draws[~np.isnan(draws)]
    if len(scored) < 2:
        return None
    low, high = np.quantile(scored, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _resamples(n_groups: int, seed: int, resamples: int) -> Floats:
    """How often each group is in each resample [resamples, n_groups]; shared by every AUROC of a profile."""
    drawn = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)
    weights = drawn.astype(np.float64)
    weights.setflags(write=False)
    return weights
