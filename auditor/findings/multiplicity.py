"""Holm's procedure over missed bars: of many bars, one may be missed by chance. Decides nothing else.

A pass needs every bar to hold, which is an intersection–union test and needs no correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from auditor.config import Criterion
from auditor.findings.record import Finding
from auditor.measure.intervals import Estimate
from auditor.measure.resampling import CONFIDENCE

ALPHA = (1 - CONFIDENCE) / 2
"""what lies beyond one end of an interval, and the most that any false *not met* of a run may have"""
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(1 - ALPHA)


def corrected(findings: Sequence[Finding]) -> list[Finding]:
    """The findings; a missed bar that Holm's procedure does not reject is undecided, and says so.

    The family is every finding with a bar, measured or not, because it was declared before the run; what was counted
    whole has no sampling error and is left out. The lowest p of m has to be at most ALPHA / m, the next ALPHA /
    (m − 1), and so on; from the first that is not, all are open. Source: Holm 1979, doi:10.2307/4615733.
    """
    size = sum(1 for f in findings if f.severity != "info" and not _exact(f.estimate))
    missed = [(p, i) for i, f in enumerate(findings) if (p := _p(f)) is not None]
    result, rejected = list(findings), True
    for rank, (p, i) in enumerate(sorted(missed)):
        limit = ALPHA / (size - rank)
        rejected = rejected and p <= limit
        if not rejected:
            reason = f"the whole interval misses the bar, but one of {size} may by chance (Holm: p = {p:.2g})"
            result[i] = findings[i].model_copy(update={"status": "undecided", "reason": reason})
    return result


def _p(finding: Finding) -> float | None:
    """One-sided p of a missed bar; None where there is nothing to correct."""
    if finding.status != "not_met" or finding.estimate is None or _exact(finding.estimate):
        return None
    return miss_p(finding.criterion, finding.estimate)


def miss_p(criterion: Criterion, estimate: Estimate) -> float:
    """One-sided p of an estimate whose whole interval misses the bar.

    The interval inverted, as if the estimate were normal on the side of the bar: z = 1.96 · (bar − value) / (end −
    value), with the end that is nearest the bar. So p is below ALPHA exactly where the whole interval misses.
    """
    below = criterion.at_least is not None and estimate.high is not None and estimate.high < criterion.at_least
    bar, end = (criterion.at_least, estimate.high) if below else (criterion.at_most, estimate.low)
    if bar is None or end is None or estimate.value is None:
        raise ValueError("only a missed bar has a p")
    if end == estimate.value:
        return 0.0
    return 1 - _NORMAL.cdf(_Z * (bar - estimate.value) / (end - estimate.value))


def _exact(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.value is not None and estimate.low == estimate.high
