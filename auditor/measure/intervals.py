"""Estimate: a number with its interval, its n and where it came from, and the estimators that make one.

The same function makes an estimate during the audit and makes it again in `auditor verify`, so every
estimator is a pure function of its columns and params. Intervals are two-sided 95 %. No torch, no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from auditor.config import Scalar, Strict
from auditor.measure.contrasts import (
    exceedance_p,
    group_mean,
    group_mean_difference,
    halving_dose,
    perplexity_ratio,
)
from auditor.measure.labelled import corrected_rate
from auditor.measure.metrics import Ranking, auroc, ranking, threshold_at
from auditor.measure.rates import difference_bounds, paired_rate_difference, wilson_bounds, wilson_rate
from auditor.measure.resampling import UNKNOWN, Bounds, Interval, bootstrap
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


def auroc_by_group(*, score: ArrayLike, label: ArrayLike, group: ArrayLike, seed: int, resamples: int) -> Interval:
    """AUROC of `score` for `label` [n rows each]; percentile bootstrap over whole groups (`group` [n]).

    Rows of one group are not independent, so groups are what is drawn and what n counts. Resamples without
    one of the classes are left out. An AUROC of exactly 0 or 1 is the same in every resample, which would
    claim certainty; it gets Wilson's interval for as many units as the rarer class has groups, which
    rests on the bound A(1 − A)/min(groups) of the variance of an AUROC (Birnbaum & Klose 1957).
    Percentile intervals of few groups are a little narrow: below 20 groups read them with care.
    """
    value, ranked = auroc(score, label), ranking(score, label, group)
    n = ranked.n_groups
    if value is None:
        return Interval(None, None, None, n, "groups")
    low, high = _auroc_bounds(value, ranked, seed, resamples) or UNKNOWN
    return Interval(value, low, high, n, "groups")


def auroc_gain(
    *, score: ArrayLike, baseline: ArrayLike, label: ArrayLike, group: ArrayLike, seed: int, resamples: int
) -> Interval:
    """AUROC of `score` minus AUROC of `baseline` on the same rows [n]; paired bootstrap over whole groups.

    Both are taken from the same resamples, so what they share cancels. Where a perfect AUROC leaves no
    spread at all, the two intervals of `auroc_by_group` are combined as if independent (Zou & Donner 2008).
    """
    ours, ours_ranked = auroc(score, label), ranking(score, label, group)
    theirs, theirs_ranked = auroc(baseline, label), ranking(baseline, label, group)
    n = ours_ranked.n_groups
    if ours is None or theirs is None:
        return Interval(None, None, None, n, "groups")
    bounds = bootstrap(n, seed, resamples, lambda w: ours_ranked.auroc(w) - theirs_ranked.auroc(w))
    if bounds and bounds[0] == bounds[1] and (ours in PERFECT or theirs in PERFECT):
        first = _auroc_bounds(ours, ours_ranked, seed, resamples)
        second = _auroc_bounds(theirs, theirs_ranked, seed, resamples)
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
    "corrected_rate": corrected_rate,
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


def _auroc_bounds(value: float, ranked: Ranking, seed: int, resamples: int) -> Bounds | None:
    if value in PERFECT:
        units = ranked.scarcest
        return wilson_bounds(int(value) * units, units)
    return bootstrap(ranked.n_groups, seed, resamples, ranked.auroc)
