"""Five lines that say what an audit found and where to read it."""

from __future__ import annotations

from pathlib import Path

from auditor.findings.gate import line
from auditor.findings.record import AuditRecord


def summary(record: AuditRecord, folder: Path) -> str:
    """What was judged, the verdict with counts, the weightiest reason, what was not measured, and where it is."""
    missing = [f"{f.id} ({f.reason})" for f in record.findings if f.status == "not_measured"]
    declined = [f"{r.probe}: {r.reason}" for r in record.results if r.status != "measured"]
    reports = [str(folder / name) for name in ("report.html", "report.pdf") if (folder / name).exists()]
    return "\n".join(
        [
            f"{record.checkpoint.name} · battery {record.config.battery} · run {record.digest[:6]}",
            line(record),
            f"Why: {record.verdict_reasons[0] if record.verdict_reasons else 'no bar decided it'}",
            f"Not measured: {'; '.join(missing or declined) or 'nothing that was asked'}",
            f"Read: {' and '.join(reports) or folder / 'audit.json'} · check: auditor verify {folder}",
        ]
    )
