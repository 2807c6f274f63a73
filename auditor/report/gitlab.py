"""One record as GitLab's code quality report: a list of what stands in the way of a pass, and of open bars.

Fields: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format.
"""

from __future__ import annotations

from auditor.findings.record import AuditRecord
from auditor.report.cases import Case, cases
from auditor.report.exported import as_json

_OPEN = ("undecided", "not_measured", "crashed")


def render(record: AuditRecord) -> str:
    """The record as a code quality report: the same record gives the same text."""
    shown = [case for case in cases(record) if case.blocks or (case.outcome in _OPEN and _has_bar(case))]
    return as_json(
        [
            {
                "description": case.told,
                "check_name": case.trace.rule,
                "fingerprint": case.trace.fingerprint,
                "severity": _severity(case),
                "location": {"path": case.trace.file, "lines": {"begin": case.trace.line}},
            }
            for case in shown
        ]
    )


def _has_bar(case: Case) -> bool:
    return case.criterion.severity != "info"


def _severity(case: Case) -> str:
    """A missed bar weighs more than an open one, a high bar more than a medium one."""
    high = case.criterion.severity == "high"
    if case.outcome == "not_met":
        return "critical" if high else "major"
    return "major" if high else "minor"
