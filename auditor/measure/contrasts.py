"""Estimators of what an intervention does: means over groups, null directions, doses. No torch, no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from auditor.measure.metrics import Floats
from auditor.measure.resampling import UNKNOWN, Interval, bootstrap


def group_mean(*, x: ArrayLike, group: ArrayLike, seed: int, resamples: int) -> Interval:
    """Mean of `x` [n items]; percentile bootstrap over whole groups (`group` [n]). n counts groups."""
    values = np.asarray(x, dtype=np.float64)
    names, index = np.unique(np.asarray(group), return_inverse=True)
    if not len(values):
        return Interval(None, None, None, 0, "groups")
    sums, sizes = np.bincount(index, values), np.bincount(index).astype(np.float64)
    bounds = bootstrap(len(names), seed, resamples, lambda w: (w @ sums) / (w @ sizes))
    low, high = bounds or UNKNOWN
    return Interval(float(values.mean()), low, high, len(names), "groups")


def group_mean_difference(*, a: ArrayLike, b: ArrayLike, group: ArrayLike, seed: int, resamples: int) -> Interval:
    """mean(b) − mean(a) over the same items [n]; paired bootstrap over whole groups. n counts groups."""
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(before) != len(after):
        raise ValueError(f"paired columns differ in length: {len(before)} and {len(after)}")
    return group_mean(x=after - before, group=group, seed=seed, resamples=resamples)


def exceedance_p(*, x: ArrayLike, lower: bool = False, either_sign: bool = False, **nulls: ArrayLike) -> Interval:
    """Share of directions whose effect is at least as high as the mean of `x` [n], which counts as one of them.

    `nulls` hold one kind of null direction each: [N directions], or [N, n items] whose means are taken. With N
    directions of all kinds it is (1 + #{null ≥ mean(x)}) / (1 + N), one-sided (Phipson & Smyth 2010): with 20 at
    least .048. `lower`: at most as high. `either_sign`: each null is turned so that it does the most.
    """
    values = np.asarray(x, dtype=np.float64)
    means = np.concatenate([np.empty(0), *map(_means, nulls.values())])
    if either_sign:
        means = np.abs(means)
    if not values.size or not means.size:
        return Interval(None, None, None, len(means), "directions")
    sign = -1.0 if lower else 1.0
    # a direction that broke the target (NaN) did as much as any
    beyond = int(np.sum(~(sign * means < sign * values.mean() - 1e-12)))
    return Interval((1 + beyond) / (1 + len(means)), None, None, len(means), "directions")


def strongest_null(null: ArrayLike, *, lower: bool = False, either_sign: bool = False) -> tuple[int, float]:
    """Which of the null directions, given as for `exceedance_p`, does the most, and its effect.

    One that broke the target (NaN) did more than any: its effect is infinite.
    """
    means = np.nan_to_num(_means(null), nan=-np.inf if lower else np.inf)
    index = int(np.argmin(means) if lower else np.argmax(np.abs(means) if either_sign else means))
    return index, float(means[index])


def _means(null: ArrayLike) -> Floats:
    draws = np.asarray(null, dtype=np.float64)
    return draws.mean(axis=1) if draws.ndim == 2 else draws


def halving_dose(*, before: ArrayLike, after: ArrayLike, dose: ArrayLike) -> Interval:
    """The smallest of `dose` [D, ascending] at which the rate of `after` [D, n] is at most half that of `before` [n].

    None if no dose is enough, or if there was nothing to halve. A point of a grid: it has no interval.
    """
    start = np.asarray(before, dtype=np.float64)
    rates = np.asarray(after, dtype=np.float64).mean(axis=1)
    enough = np.asarray(dose, dtype=np.float64)[rates <= start.mean() / 2] if start.mean() > 0 else np.empty(0)
    return Interval(float(enough.min()) if len(enough) else None, None, None, len(start), "items")


def perplexity_ratio(*, a: ArrayLike, b: ArrayLike, group: ArrayLike, seed: int, resamples: int) -> Interval:
    """exp(mean(b) − mean(a)) of mean nats a token of the same texts [n]: by what the perplexity is multiplied."""
    found = group_mean_difference(a=a, b=b, group=group, seed=seed, resamples=resamples)
    value, low, high = (None if x is None else float(np.exp(x)) for x in (found.value, found.low, found.high))
    return Interval(value, low, high, found.n, found.of)
