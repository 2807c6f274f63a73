"""How likely a good model meets a bar with so many items, and what a bar that is met rules out besides. No torch."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from auditor.config import Criterion
from auditor.findings.wording import WILSON, number
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import Unit
from auditor.measure.rates import pass_probability
from auditor.measure.resampling import CONFIDENCE

Side = Literal["at_least", "at_most"]
ENOUGH = 0.8
"""chance of passing below which a bar's sample is called small"""
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def chance(criterion: Criterion, estimate: Estimate | None) -> float | None:
    """Probability that a model at the declared good value meets a one-sided bar, asked as this one was.

    Exact for Wilson's intervals. Any other estimate is taken to be normal, and as unsure at the good value as
    where it was measured. On fewer units than the bar accepts nobody meets it.
    None without a good value or an interval.
    """
    side, good = _one_side(criterion), criterion.good_value
    if side is None or good is None or estimate is None or estimate.value is None:
        return None
    kind, bar = side
    if estimate.n < criterion.min_n:
        return 0.0
    if estimate.estimator in WILSON:
        return pass_probability(kind, bar, estimate.n, good)
    if estimate.low is None or estimate.high is None or estimate.low >= estimate.high:
        return None
    error = (estimate.high - estimate.low) / (2 * _Z)
    room = good - bar if kind == "at_least" else bar - good
    return NormalDist().cdf(room / error - _Z)


def beforehand(criterion: Criterion, unit: Unit) -> str:
    """The chance with the fewest units that the bar accepts, and how many it takes; empty where that is not known."""
    side, good = _one_side(criterion), criterion.good_value
    if side is None or good is None or unit != "share" or not criterion.min_n:
        return ""
    kind, bar = side
    now = pass_probability(kind, bar, criterion.min_n, good)
    told = f"a model at {number(good, unit)} passes {number(now, unit)} of the time with {criterion.min_n}"
    if now >= ENOUGH:
        return told
    possible = (good > bar) == (kind == "at_least") and good != bar
    needed = f"about {_units(kind, bar, good, criterion.min_n)}" if possible else "a bar further from it"
    return f"{told}; {number(ENOUGH, unit)} takes {needed}"


def _units(kind: Side, bar: float, good: float, too_few: int) -> int:
    """How many items, more than `too_few`, let a model at `good` pass with a chance of `ENOUGH`, to half a per cent.

    The search begins where a score test has that chance (Fleiss 2003, 2.5), which takes no account of whole items.
    """
    spread = _Z * math.sqrt(bar * (1 - bar)) + NormalDist().inv_cdf(ENOUGH) * math.sqrt(good * (1 - good))
    n = max(too_few + 1, math.ceil((spread / (good - bar)) ** 2))
    while pass_probability(kind, bar, n, good) < ENOUGH:
        n += 1 + n // 200
    return n


def equivalence(criterion: Criterion, estimate: Estimate, unit: Unit | None) -> str:
    """Whether a met bar on a change also shows that there is no such change either way; empty for other bars.

    A whole two-sided 95 % interval inside ±bar is two one-sided tests at 2.5 % each (Schuirmann 1987).
    """
    side = _one_side(criterion)
    if side is None or not side[1] or unit != "difference of shares" or estimate.low is None or estimate.high is None:
        return ""
    margin = abs(side[1])
    shown = -margin <= estimate.low and estimate.high <= margin
    ruled = "is ruled out" if shown else "is not ruled out"
    return f"; a change of {number(margin, unit)} either way {ruled} (two one-sided tests)"


def _one_side(criterion: Criterion) -> tuple[Side, float] | None:
    """A bar that has one side, with its kind."""
    low, high = criterion.at_least, criterion.at_most
    if (low is None) == (high is None):
        return None
    return ("at_least", low) if low is not None else ("at_most", high or 0.0)
