"""Estimate: a number with its interval, its n and where it came from, and the estimators that make one.

The same function makes an estimate during the audit and makes it again in `auditor verify`, so every
estimator is a pure function of its columns and params. Intervals are two-sided 95 %. No torch, no model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.config import Scalar, Strict
from auditor.measure.contrasts import (
    exceedance_p,
    group_mean,
    group_mean_difference,
    halving_dose,
    perplexity_ratio,
)
from auditor.measure.metrics import PairCounts, auroc, pair_counts, threshold_at
from auditor.measure.resampling import CONFIDENCE, UNKNOWN, Bounds, Interval, bootstrap
from auditor.measure.sweeps import max_statistic_p

MIN_NEGATIVES = 100
"""below this a threshold at 1 % false positives rests on less than one item: not measured"""
PERFECT = (0.0, 1.0)
"""AUROCs that a bootstrap cannot put an interval around"""


class ColumnRef(Strict):
    """Where one input of an estimator is stored in the run folder."""

    role: str
    """the estimator's argument, such as score, label, group"""
    table: str
    """path in the run folder: items/<probe>.jsonl or draws.safetensors"""
    column: str
    """a row field or a key of `values` (items), or a tensor name (draws)"""
    where: dict[str, Scalar] = {}
    """row fields that must be equal (items); rows in which any requested column is null are left out"""
    row: int | None = None
    """which row of a two-dimensional tensor (draws)"""


class Estimate(Strict):
    """A number that travels with its interval. Unknown is None, never 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """independent units"""
    of: str
    """what n counts: items, groups, refits"""
    estimator: str
    """name of a function in ESTIMATORS, which `auditor verify` calls again"""
    params: dict[str, Scalar] = {}
    columns: tuple[ColumnRef, ...] = ()


def wilson_rate(*, x: ArrayLike) -> Interval:
    """Share of ones among `x` [n items, each 0 or 1], with Wilson's score interval.

    Source: Wilson 1927; scipy's `binomtest(...).proportion_ci(method="wilson")`.
    """
    ones = _binary(x)
    if not len(ones):
        return Interval(None, None, None, 0, "items")
    low, high = _wilson(int(ones.sum()), len(ones))
    return Interval(float(ones.mean()), low, high, len(ones), "items")


def paired_rate_difference(*, a: ArrayLike, b: ArrayLike) -> Interval:
    """mean(b) − mean(a) over the same items [n, each 0 or 1], with an adjusted Wald interval.

    The interval adds one item to each discordant cell, so it is never of zero width and is centred a
    little nearer to 0 than the value. Source: Bonett & Price 2012, doi:10.3102/1076998611411915.
    """
    from scipy.stats import norm

    before, after = _binary(a), _binary(b)
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


def auroc_by_group(*, score: ArrayLike, label: ArrayLike, group: ArrayLike, seed: int, resamples: int) -> Interval:
    """AUROC of `score` for `label` [n rows each]; percentile bootstrap over whole groups (`group` [n]).

    Rows of one group are not independent, so groups are what is drawn and what n counts. Resamples without
    one of the classes are left out. An AUROC of exactly 0 or 1 is the same in every resample, which would
    claim certainty; it gets Wilson's interval for as many units as the rarer class has groups, which
    rests on the bound A(1 − A)/min(groups) of the variance of an AUROC (Birnbaum & Klose 1957).
    Percentile intervals of few groups are a little narrow: below 20 groups read them with care.
    """
    value, counts = auroc(score, label), pair_counts(score, label, group)
    n = len(counts.positives)
    if value is None:
        return Interval(None, None, None, n, "groups")
    low, high = _auroc_bounds(value, counts, seed, resamples) or UNKNOWN
    return Interval(value, low, high, n, "groups")


def auroc_gain(
    *, score: ArrayLike, baseline: ArrayLike, label: ArrayLike, group: ArrayLike, seed: int, resamples: int
) -> Interval:
    """AUROC of `score` minus AUROC of `baseline` on the same rows [n]; paired bootstrap over whole groups.

    Both are taken from the same resamples, so what they share cancels. Where a perfect AUROC leaves no
    spread at all, the two intervals of `auroc_by_group` are combined as if independent (Zou & Donner 2008).
    """
    ours, ours_counts = auroc(score, label), pair_counts(score, label, group)
    theirs, theirs_counts = auroc(baseline, label), pair_counts(baseline, label, group)
    n = len(ours_counts.positives)
    if ours is None or theirs is None:
        return Interval(None, None, None, n, "groups")
    bounds = bootstrap(n, seed, resamples, lambda w: ours_counts.auroc(w) - theirs_counts.auroc(w))
    if bounds and bounds[0] == bounds[1] and (ours in PERFECT or theirs in PERFECT):
        first = _auroc_bounds(ours, ours_counts, seed, resamples)
        second = _auroc_bounds(theirs, theirs_counts, seed, resamples)
        bounds = first and second and difference_bounds((ours, *first), (theirs, *second))
    low, high = bounds or UNKNOWN
    return Interval(ours - theirs, low, high, n, "groups")


def permutation_p(*, score: ArrayLike, label: ArrayLike, null: ArrayLike) -> Interval:
    """Share of AUROCs at least as high as that of `score` for `label` [n], itself counted among `null` [N].

    (1 + #{null ≥ observed}) / (1 + N): a valid p-value that is never 0 (Phipson & Smyth 2010). One-sided
    and never folded: a detector that is reliably wrong has p near 1.
    """
    observed = auroc(score, label)
    draws = np.asarray(null, dtype=np.float64)
    if observed is None or not len(draws):
        return Interval(None, None, None, len(draws), "refits")
    # Two routes to one AUROC may differ in the last bit; a tie must count against the detector.
    at_least = int(np.sum(draws >= observed - 1e-12))
    return Interval((1 + at_least) / (1 + len(draws)), None, None, len(draws), "refits")


def calibrated_recall(*, positives: ArrayLike, negatives: ArrayLike, fpr: float) -> Interval:
    """Share of `positives` [n] strictly above the threshold that flags at most `fpr` of `negatives` [m].

    Wilson's interval over the positives; the threshold is taken as given, so what the negatives leave
    uncertain about the false-positive rate is not in it. Not measured below `MIN_NEGATIVES` negatives.
    """
    scores = np.asarray(positives, dtype=np.float64)
    if len(np.asarray(negatives)) < MIN_NEGATIVES:
        return Interval(None, None, None, len(scores), "items")
    return wilson_rate(x=scores > threshold_at(negatives, fpr))


def exact_share(*, count: int, of: int) -> Interval:
    """Exactly `count` / `of`: every unit was counted, nothing was sampled, so the interval is the value."""
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of} is not a share")
    share = count / of if of else None
    return Interval(share, share, share, of, "units")


ESTIMATORS: Mapping[str, Callable[..., Interval]] = {
    "wilson_rate": wilson_rate,
    "paired_rate_difference": paired_rate_difference,
    "auroc": auroc_by_group,
    "auroc_gain": auroc_gain,
    "permutation_p": permutation_p,
    "max_statistic_p": max_statistic_p,
    "calibrated_recall": calibrated_recall,
    "group_mean": group_mean,
    "group_mean_difference": group_mean_difference,
    "exceedance_p": exceedance_p,
    "halving_dose": halving_dose,
    "perplexity_ratio": perplexity_ratio,
    "exact_share": exact_share,
}
"""By the name that an Estimate carries. Columns are keyword arrays, params are keyword scalars."""


def estimate(
    name: str,
    *,
    columns: Sequence[ColumnRef] = (),
    arrays: Mapping[str, ArrayLike] | None = None,
    params: Mapping[str, Scalar] | None = None,
) -> Estimate:
    """The Estimate that estimator `name` makes of `arrays`, which `columns` say where to find again."""
    arrays, params = arrays or {}, params or {}
    if sorted(ref.role for ref in columns) != sorted(arrays):
        raise ValueError(f"{name}: stored columns {[ref.role for ref in columns]} are not its arrays {list(arrays)}")
    made = ESTIMATORS[name](**arrays, **params)
    return Estimate(**made._asdict(), estimator=name, params=dict(params), columns=tuple(columns))


UNMEASURED = estimate("exact_share", params={"count": 0, "of": 0})
"""no number, and nothing that one could be made from"""


def pass_probability(bar_kind: Literal["at_least", "at_most"], bar: float, n: int, true_value: float) -> float:
    """Probability that Wilson's whole interval of n items lies on the right side of `bar`.

    `true_value` is the model's true rate. An exact binomial sum; an interval that ends on the bar passes,
    nothing measured does not.
    """
    from scipy.stats import binom

    if not n:
        return 0.0
    if bar_kind == "at_least":
        needed = bisect_left(range(n + 1), True, key=lambda count: _wilson(count, n)[0] >= bar)
        return float(binom.sf(needed - 1, n, true_value))
    too_many = bisect_left(range(n + 1), True, key=lambda count: _wilson(count, n)[1] > bar)
    return float(binom.cdf(too_many - 1, n, true_value))


def difference_bounds(first: tuple[float, float, float], second: tuple[float, float, float]) -> Bounds:
    """Interval of first − second, two independent numbers each given as (value, low, high).

    With Wilson's intervals it is Newcombe's of 1998 (method 10). Source: Zou & Donner 2008, doi:10.1002/sim.3095.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return a - b - hypot(a - a_low, b_high - b), a - b + hypot(a_high - a, b - b_low)


def _wilson(ones: int, n: int) -> Bounds:
    from scipy.stats import binomtest

    interval = binomtest(ones, n).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _binary(x: ArrayLike) -> NDArray[np.bool_]:
    values = np.asarray(x)
    ones = values.astype(bool)
    if values.ndim != 1 or not np.array_equal(values, ones):
        raise ValueError("a rate is of a column of zeros and ones")
    return ones


def _auroc_bounds(value: float, counts: PairCounts, seed: int, resamples: int) -> Bounds | None:
    if value in PERFECT:
        units = int(min(np.count_nonzero(counts.positives), np.count_nonzero(counts.negatives)))
        return _wilson(int(value) * units, units)
    return bootstrap(len(counts.positives), seed, resamples, counts.auroc)
