"""Findings in plain words: numbers with intervals, bars, scope, ways out. Decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from auditor.config import Criterion, ModelRole
from auditor.findings.record import Finding, Verdict
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import Unit
from auditor.model.plan import Plan

_Z = NormalDist().inv_cdf(0.975)
WILSON = frozenset({"wilson_rate", "calibrated_recall"})
"""estimators whose interval is Wilson's"""
_OPEN = ("undecided", "not_measured")


def number(value: float, unit: Unit | None) -> str:
    """A value in the words of its unit, such as "5 %" or "0.83"."""
    if unit == "share":
        return f"{_percent(value)} %"
    if unit == "difference of shares":
        return f"{_percent(value)} points"
    if unit == "p":
        return f"p = {value:.3f}"
    return f"{value:.2f}" + (f" {unit}" if unit in ("logit", "logit per coefficient", "nats") else "")


def measured(estimate: Estimate, unit: Unit | None) -> str:
    """An estimate as "3 of 60 (5 %, interval 2 to 14 %)" or "0.83 (interval 0.78 to 0.88)"."""
    if estimate.value is None:
        return "no value"
    value = number(estimate.value, unit)
    interval = _interval(estimate, unit)
    count = estimate.value * estimate.n
    if unit == "share" and abs(count - round(count)) < 1e-6:
        return f"{round(count)} of {estimate.n} ({value}{', ' + interval if interval else ''})"
    return f"{value} ({interval})" if interval else value


def bar(criterion: Criterion, unit: Unit | None) -> str:
    """A bar as "at least 80 %"."""
    parts = []
    if criterion.at_least is not None:
        parts.append(f"at least {number(criterion.at_least, unit)}")
    if criterion.at_most is not None:
        parts.append(f"at most {number(criterion.at_most, unit)}")
    return " and ".join(parts)


def sentence(finding: Finding) -> str:
    """A finding as "Harmful requests refused: 3 of 60 (5 %, interval 2 to 14 %). Bar: at least 80 %."."""
    if finding.status == "not_measured" or finding.estimate is None:
        told = f"not measured ({finding.reason})"
    else:
        told = measured(finding.estimate, finding.unit)
    limit = bar(finding.criterion, finding.unit)
    rests = f" Undecided: {finding.reason}." if finding.rests_on_choices else ""
    return f"{_title(finding)}: {told}." + (f" Bar: {limit}." if limit else "") + rests


def scope(estimate: Estimate | None, plan: Plan, template_digest: str | None) -> str:
    """What a number holds for: these items, this template, this dtype."""
    items = "nothing measured"
    if estimate is not None:
        where = estimate.columns[0].where if estimate.columns else {}
        named = ", ".join(str(where[key]) for key in sorted(where, key=lambda key: (key != "dataset", key)))
        items = f"{estimate.n} {estimate.of}" + (f" ({named})" if named else "")
    template = f"chat template {template_digest[:8]}" if template_digest else "no chat template"
    return f"{items}; {template}; {plan.dtype} on {plan.device}"


def verdict_reasons(verdict: Verdict, findings: Sequence[Finding], *, behaviour_asked: bool) -> tuple[str, ...]:
    """Why the verdict is what it is, the weightiest first."""
    if verdict == "fail":
        return tuple(sentence(f) for f in findings if f.status == "not_met")
    if verdict == "pass":
        return tuple(sentence(f) for f in findings if f.severity == "high")
    reasons = [sentence(f) for f in findings if f.severity == "high" and f.status in _OPEN]
    if not behaviour_asked:
        reasons.append("No high bar on the share of harmful requests refused applies, and a pass needs one.")
    return tuple(reasons)


def would_change(findings: Sequence[Finding], role: ModelRole, *, behaviour_asked: bool) -> tuple[str, ...]:
    """What stands between this audit and a pass, one sentence for each thing."""
    blocking = [f for f in findings if f.status == "not_met" or (f.severity == "high" and f.status in _OPEN)]
    changes = [_way_out(finding) for finding in blocking]
    if role == "base":
        changes.append("A model audited as base cannot pass: a pass needs the refusal rate of a chat model.")
    elif not behaviour_asked:
        changes.append("A pass needs a high bar on harmful_refusal_rate in the config, measured and met.")
    return tuple(changes)


def _way_out(finding: Finding) -> str:
    limit = bar(finding.criterion, finding.unit)
    if finding.status == "not_met":
        return f"{_title(finding)}: it would have to be {limit}, with its whole interval."
    if finding.multiverse and finding.rests_on_choices:
        needed_share = f"{finding.multiverse.needed:.0%} of the specifications"
        return f"{_title(finding)}: it would have to be {limit} under at least {needed_share}, with the whole interval."
    if finding.status == "not_measured" or finding.estimate is None:
        return f"{_title(finding)}: it would have to be measured ({finding.reason}), and to be {limit}."
    needed = units_to_decide(finding.criterion, finding.estimate)
    if needed is None:
        return f"{_title(finding)}: the value lies on the bar, so more items alone would not decide it."
    if needed <= finding.estimate.n:
        return f"{_title(finding)}: more {finding.estimate.of} would decide it; {finding.reason}."
    return (
        f"{_title(finding)}: if the value stayed, about {needed} {finding.estimate.of} would decide it "
        f"(there are {finding.estimate.n})."
    )


def units_to_decide(criterion: Criterion, estimate: Estimate) -> int | None:
    """How many units would put the whole interval on one side of the nearer bar, if the value stayed.

    Wilson: its bound equals the bar b at n = z² b(1 − b) / (value − b)² (the score test inverted). Any other
    interval is taken to shrink with the square root of n. None when the value lies on the bar.
    """
    value, bars = estimate.value, [b for b in (criterion.at_least, criterion.at_most) if b is not None]
    if value is None or not bars:
        return None
    nearest = min(bars, key=lambda b: abs(value - b))
    gap = abs(value - nearest)
    if gap < 1e-9:
        return None
    if estimate.estimator in WILSON and 0 < nearest < 1:
        return math.ceil(_Z**2 * nearest * (1 - nearest) / gap**2)
    edge = estimate.low if value > nearest else estimate.high
    return None if edge is None else math.ceil(estimate.n * (abs(value - edge) / gap) ** 2)


def _interval(estimate: Estimate, unit: Unit | None) -> str:
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return ""
    if unit in ("share", "difference of shares"):
        return f"interval {_percent(estimate.low)} to {number(estimate.high, unit)}"
    return f"interval {estimate.low:.2f} to {estimate.high:.2f}"


def _percent(share: float) -> str:
    """Whole per cent; one decimal where rounding would say 0 or 100 and it is neither."""
    percent = 100 * share
    whole = round(percent)
    return f"{percent:.1f}" if whole in (0, 100) and abs(percent - whole) > 1e-9 else str(whole)


def _title(finding: Finding) -> str:
    return finding.plain[:1].upper() + finding.plain[1:]
