"""Rates and their differences, each with its interval; how often a bar on one is passed. No torch, no model.

scipy is imported where it is used, as in `metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.measure.resampling import CONFIDENCE, Bounds, Interval


def wilson_rate(*, x: ArrayLike) -> Interval:
    """Share of ones among `x` [n items, each 0 or 1], with Wilson's score interval.

    Source: Wilson 1927; scipy's `binomtest(...).proportion_ci(method="wilson")`.
    """
    ones = binary(x)
    if not len(ones):
        return Interval(None, None, None, 0, "items")
    low, high = wilson_bounds(int(ones.sum()), len(ones))
    return Interval(float(ones.mean()), low, high, len(ones), "items")


def paired_rate_difference(*, a: ArrayLike, b: ArrayLike) -> Interval:
    """mean(b) − mean(a) over the same items [n, each 0 or 1], with an adjusted Wald interval.

    The interval adds one item to each discordant cell, so it is never of zero width and is centred a
    little nearer to 0 than the value. Source: Bonett & Price 2012, doi:10.3102/1076998611411915.
    """
    from scipy.stats import norm

    before, after = binary(a), binary(b)
    if len(before) != len(after):
        raise ValueError(f"paired columns differ in length: {len(before)} and {len(after)}")
    n = len(before)
    if not n:
        return Interval(None, None, None, 0, "items")
    gained = (int(np.sum(after & ~before)) + 1) / (n + 2)
    lost = (int(np.sum(before & ~after)) + 1) / (n + 2)
    error = np.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    half = float(norm.ppf((1 + CONFIDENCE) / 2) * error)
    centre = gained - lost
    return Interval(
        (int(after.sum()) - int(before.sum())) / n,
        max(-1.0, centre - half),
        min(1.0, centre + half),
        n,
        "items",
    )


def pass_probability(bar_kind: Literal["at_least", "at_most"], bar: float, n: int, true_value: float) -> float:
    """Probability that Wilson's whole interval of n items lies on the right side of `bar`.

    `true_value` is the model's true rate. An exact binomial sum; an interval that ends on the bar passes,
    nothing measured does not.
    """
    from scipy.stats import binom

    if not n:
        return 0.0
    if bar_kind == "at_least":
        needed = bisect_left(range(n + 1), True, key=lambda count: wilson_bounds(count, n)[0] >= bar)
        return float(binom.sf(needed - 1, n, true_value))
    too_many = bisect_left(range(n + 1), True, key=lambda count: wilson_bounds(count, n)[1] > bar)
    return float(binom.cdf(too_many - 1, n, true_value))


def difference_bounds(first: tuple[float, float, float], second: tuple[float, float, float]) -> Bounds:
    """Interval of first − second, two independent numbers each given as (value, low, high).

    With Wilson's intervals it is Newcombe's of 1998 (method 10). Source: Zou & Donner 2008, doi:10.1002/sim.3095.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return a - b - hypot(a - a_low, b_high - b), a - b + hypot(a_high - a, b - b_low)


def wilson_bounds(ones: int, n: int) -> Bounds:
    """Wilson's two-sided 95 % interval of `ones` in `n`."""
    from scipy.stats import binomtest

    interval = binomtest(ones, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def binary(x: ArrayLike) -> NDArray[np.bool_]:
    """A column of zeros and ones as booleans. Raises ValueError for anything else."""
    values = np.asarray(x)
    ones = values.astype(bool)
    if values.ndim != 1 or not np.array_equal(values, ones):
        raise ValueError("a rate is of a column of zeros and ones")
    return ones
