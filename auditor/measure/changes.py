"""Tests on the difference between two audits of equal questions. Pure functions of stored columns; no files.

A change is the later number minus the earlier one; intervals are two-sided 95 %, p-values two-sided. Paired where the
items are equal, because what two models share cancels then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from auditor.measure.contrasts import group_mean
from auditor.measure.intervals import auroc_gain
from auditor.measure.rates import difference_bounds, paired_rate_difference, wilson_rate
from auditor.measure.resampling import CONFIDENCE, Interval

FLIPS = 9999
"""sign flips that are tried where there are too many to try all"""
Method = Literal["exact McNemar", "Fisher", "sign flips", "interval", "paired interval"]
"""how p was found; `interval` and `paired interval` read it off the interval"""


class Change(NamedTuple):
    """How a number changed."""

    change: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    """independent units, pairs where it is paired, else those of the smaller side"""
    of: str
    method: Method
    paired: bool


def paired_rates(a: ArrayLike, b: ArrayLike) -> Change | None:
    """Change of a rate over the same items [n, each 0 or 1]: exact McNemar test on those that differ.

    Interval by Bonett & Price 2012 (`paired_rate_difference`). Source: McNemar 1947, exact as scipy's `binomtest`
    of the discordant pairs.
    """
    from scipy.stats import binomtest

    found = paired_rate_difference(a=a, b=b)
    gained = int(np.sum(np.asarray(b) > np.asarray(a)))
    lost = int(np.sum(np.asarray(b) < np.asarray(a)))
    p = float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0
    return _change(found, p, "exact McNemar")


def rates(a: ArrayLike, b: ArrayLike) -> Change | None:
    """Change of a rate between different items [n and m, each 0 or 1]: Fisher's exact test, Newcombe's interval."""
    from scipy.stats import fisher_exact

    before, after = wilson_rate(x=a), wilson_rate(x=b)
    found = apart(before, after)
    if found is None:
        return None
    table = [[int(np.sum(x)), int(np.size(x) - np.sum(x))] for x in (np.asarray(a), np.asarray(b))]
    return found._replace(p=float(fisher_exact(table).pvalue), method="Fisher")


def paired_means(a: ArrayLike, b: ArrayLike, group: ArrayLike, *, seed: int, resamples: int) -> Change | None:
    """Change of a mean over the same items [n]: sign flips of whole groups, bootstrap over groups for the interval.

    Exact where all flips can be tried, else of `FLIPS` (scipy's `permutation_test`, samples). n counts groups.
    """
    from scipy.stats import permutation_test

    differences = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    found = group_mean(x=differences, group=group, seed=seed, resamples=resamples)
    if found.n < 2:
        return None
    _, index = np.unique(np.asarray(group), return_inverse=True)
    sums = np.bincount(index, differences)
    tried = permutation_test(
        (sums, np.zeros_like(sums)),
        lambda x, y, axis: (x - y).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=np.random.default_rng(seed),
    )
    return _change(found, float(tried.pvalue), "sign flips")


def paired_aurocs(
    a: ArrayLike, b: ArrayLike, *, label: ArrayLike, group: ArrayLike, seed: int, resamples: int
) -> Change | None:
    """Change of an AUROC on the same rows [n]: paired bootstrap over whole groups, p read off the interval."""
    found = auroc_gain(score=b, baseline=a, label=label, group=group, seed=seed, resamples=resamples)
    return _change(found, _p_of(found.value, found.low, found.high), "paired interval")


def apart(before: Interval, after: Interval) -> Change | None:
    """Change between two numbers as if they were independent, from their intervals (Zou & Donner 2008).

    None where one of them has no interval. p is read off the interval: it is below .05 where that excludes 0.
    """
    known = [(x.value, x.low, x.high) for x in (after, before)]
    (b, b_low, b_high), (a, a_low, a_high) = known
    if a is None or a_low is None or a_high is None or b is None or b_low is None or b_high is None:
        return None
    low, high = difference_bounds((b, b_low, b_high), (a, a_low, a_high))
    fewer = min(before, after, key=lambda x: x.n)
    return Change(b - a, low, high, _p_of(b - a, low, high), fewer.n, fewer.of, "interval", paired=False)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted so that calling those at most alpha keeps the family-wise error at alpha (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _change(found: Interval, p: float | None, method: Method) -> Change | None:
    if found.value is None:
        return None
    return Change(found.value, found.low, found.high, p, found.n, found.of, method, paired=True)


def _p_of(value: float | None, low: float | None, high: float | None) -> float | None:
    """Two-sided p of a normal whose interval's limit towards 0 is the given one."""
    from scipy.stats import norm

    if value is None or low is None or high is None:
        return None
    if value == 0:
        return 1.0
    reach = value - low if value > 0 else high - value
    quantile = norm.ppf((1 + CONFIDENCE) / 2)
    return float(2 * norm.sf(quantile * abs(value) / reach)) if reach > 0 else 0.0
