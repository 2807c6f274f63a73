"""One record as GitLab's code quality report: a list of what stands in the way of a pass, and of open bars.

Fields: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format.
"""

from __future__ import annotations

from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report.cases import Case, cases
from auditor.report.exported import as_json

_OPEN = ("undecided", "not_measured", "crashed")


def render(record: AuditRecord, outcome: GateOutcome | None = None) -> str:
    """The record as a code quality report, by the outcome of its gate; what it waived stays, at the least severity."""
    shown = [case for case in cases(record, outcome) if case.blocks or case.waiver or _is_open(case)]
    return as_json(
        [
            {
                "description": case.message,
                "check_name": case.trace.rule,
                "fingerprint": case.trace.fingerprint,
                "severity": _severity(case),
                "location": {"path": case.trace.file, "lines": {"begin": case.trace.line}},
            }
            for case in shown
        ]
    )


def _is_open(case: Case) -> bool:
    return case.outcome in _OPEN and case.criterion.severity != "info"


def _severity(case: Case) -> str:
    """A missed bar weighs more than an open one, a high bar more than a medium one, a waived one least."""
    if case.waiver:
        return "info"
    high = case.criterion.severity == "high"
    if case.outcome == "not_met" or case.fell_behind:
        return "critical" if high else "major"
    return "major" if high else "minor"
