"""Five lines that say what an audit found and where to read it."""

from __future__ import annotations

from pathlib import Path

from auditor.findings.gate import line
from auditor.findings.record import AuditRecord


def summary(record: AuditRecord, folder: Path) -> str:
    """What was judged, the verdict with counts, the weightiest reason, what was not measured, and where it is."""
    reports = [str(folder / name) for name in ("report.html", "report.pdf") if (folder / name).exists()]
    return "\n".join(
        [
            f"{record.checkpoint.name} · battery {record.config.battery} · run {record.digest[:6]}",
            line(record),
            f"Why: {record.verdict_reasons[0] if record.verdict_reasons else 'no bar decided it'}",
            f"Not measured: {not_measured(record)}",
            f"Read: {' and '.join(reports) or folder / 'audit.json'} · check: auditor verify {folder}",
        ]
    )


def not_measured(record: AuditRecord) -> str:
    """What has no number, by reason."""
    by_reason: dict[str, list[str]] = {}
    for finding in record.findings:
        if finding.status == "not_measured":
            by_reason.setdefault(finding.reason, []).append(finding.criterion.measurement)
    return (
        "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()) or "nothing that was asked"
    )
