"""What was not measured, and why: whole for the table, in brief for page one. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.findings.record import AuditRecord
from auditor.report.details import instrument_name, unread
from auditor.report.text import short

if TYPE_CHECKING:
    from auditor.report.view import NumberedFinding, ProbePage

BRIEF = 240
"""characters of a reason where it is repeated; it stands whole with its finding"""


@dataclass(frozen=True)
class Gap:
    """Something that was not measured."""

    what: str
    why: str
    kind: str
    """not measured, not qualified, not finished, not applicable"""
    anchor: str = ""
    """id of the place that says more"""


def unanswered(probe: ProbePage) -> Gap | None:
    """Why a probe gave no answer, or not with every instrument, without the words of the laboratory."""
    if probe.result is None:
        return None
    found = probe.result.qualifications
    missed = sum(not q.qualified for q in found)
    if missed:
        share = f"{missed} of {len(found)} instruments" if missed < len(found) else "its instruments"
        tried = any(check.passed is False for q in found if not q.qualified for check in q.checks)
        why = "could not be shown to work on this model" if tried else "did not go through every check"
        told = f"{share} {why}, so nothing was read from them"
        return Gap(probe.title, told, "not qualified", probe.anchor)
    if probe.result.status != "measured":
        return Gap(probe.title, short(probe.result.reason, BRIEF), "not measured", probe.anchor)
    return None


def gaps(record: AuditRecord, findings: tuple[NumberedFinding, ...], probes: tuple[ProbePage, ...]) -> Iterator[Gap]:
    """Everything without an answer, in the order of the battery."""
    missing = [f for f in findings if f.finding.status == "not_measured"]
    for f in missing:
        yield Gap(f.title, short(f.finding.reason, BRIEF), "not measured", f.anchor)
    told = {(f.finding.probe, f.finding.reason) for f in missing}
    for probe in probes:
        result = probe.result
        if result and result.status != "measured" and (result.probe, result.reason) not in told:
            kind = "not finished" if result.status == "error" else "not measured"
            yield Gap(probe.title, short(result.reason, BRIEF), kind, probe.anchor)
        for q in result.qualifications if result else ():
            if not q.qualified:
                yield Gap(instrument_name(q), unread(q), "not qualified", probe.anchor)
    for text in record.not_applicable:
        what, _, why = text.partition(": ")
        yield Gap(what, why, "not applicable")
