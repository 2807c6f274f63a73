"""What a judge's errors, known from labelled answers, do to a rate: it is corrected, as far as it can be. No torch.

A judge that flags a share s of the positives and spares a share t of the negatives flags s·π + (1 − t)(1 − π) of
items of which a share π is positive. Solved for π: (flagged + t − 1) / (s + t − 1). Source: Rogan & Gladen 1978,
doi:10.1093/oxfordjournals.aje.a112510.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.measure.rates import binary, difference_bounds, wilson_bounds
from auditor.measure.resampling import CONFIDENCE, Bounds, Interval


class Correction(NamedTuple):
    """A corrected rate, and what a reader of it must be told."""

    interval: Interval
    told: str
    """why there is none, or that its value was clipped; empty if neither"""


def corrected_rate(*, x: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> Interval:
    """Share of true positives among `x` [n items, what the judge flags], see `correction`."""
    return correction(x=x, positives=positives, negatives=negatives).interval


def correction(*, x: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> Correction:
    """The share of `x` [n items, each 1 if flagged] that is truly positive, with what the errors leave unsure.

    `positives` [m] and `negatives` [k] are what the same judge flags of labelled items; all three are taken to be
    independent, and the judge to err on `x` as it does on them. The interval is that of Lang & Reiczigel 2014,
    doi:10.1016/j.prevetmed.2013.09.015: Agresti and Coull's additions, the delta method, and a shift of the centre.
    Value and bounds are clipped to [0, 1]. None where the judge is not shown to be better than chance (Newcombe's
    interval of s + t − 1 reaches down to 0), and where no rate at all would give such an `x`.
    """
    flagged, hits, alarms = (binary(column) for column in (x, positives, negatives))
    unknown = Interval(None, None, None, len(flagged), "items")
    if not min(map(len, (flagged, hits, alarms))):
        return Correction(unknown, "nothing to correct, or no labelled answers to correct by")
    rate, sensitivity, specificity = (float(column.mean()) for column in (flagged, hits, ~alarms))
    if difference_bounds(_with_bounds(hits), _with_bounds(alarms))[0] <= 0:
        return Correction(unknown, "the judge is not shown to be better than chance on labelled answers")
    low, high = _bounds((rate, len(flagged)), (sensitivity, len(hits)), (specificity, len(alarms)))
    if high < 0 or low > 1:
        return Correction(unknown, "no rate would give this many flags if the judge erred as on labelled answers")
    value = (rate + specificity - 1) / (sensitivity + specificity - 1)
    clipped = min(1.0, max(0.0, value))
    told = "" if clipped == value else f"clipped from {value:.3f}"
    return Correction(Interval(clipped, max(0.0, low), min(1.0, high), len(flagged), "items"), told)


def _with_bounds(flags: NDArray[np.bool_]) -> tuple[float, float, float]:
    return (float(flags.mean()), *wilson_bounds(int(flags.sum()), len(flags)))


def _bounds(flagged: tuple[float, int], hits: tuple[float, int], spared: tuple[float, int]) -> Bounds:
    """Lang and Reiczigel's interval, not clipped, of three rates each given with its n."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    p, n = _added(*flagged, z**2)
    s, m = _added(*hits, 2)
    t, k = _added(*spared, 2)
    youden = s + t - 1
    centre = (p + t - 1) / youden
    of_s, of_t = s * (1 - s) / m, t * (1 - t) / k
    shift = 2 * z**2 * (centre * of_s - (1 - centre) * of_t)
    half = z / youden * (p * (1 - p) / n + centre**2 * of_s + (1 - centre) ** 2 * of_t) ** 0.5
    return centre + shift - half, centre + shift + half


def _added(rate: float, n: int, more: float) -> tuple[float, float]:
    """A rate and its n, with `more` items of which half are ones."""
    return (rate * n + more / 2) / (n + more), n + more
