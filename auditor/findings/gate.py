"""The gate: one exit code and one line for a whole audit. Reads a record; measures and decides nothing."""

from __future__ import annotations

from collections import Counter

from auditor.findings.assess import probes_ran
from auditor.findings.record import AuditRecord, Verdict

NOTHING_MEASURED = 5
CODES = {"pass": 0, "fail": 1, "insufficient_evidence": 3}
_COUNTED = {"met": "met", "not_met": "not met", "undecided": "undecided", "not_measured": "not measured"}


def nothing_measured(record: AuditRecord) -> bool:
    """Whether no probe measured anything of the model itself; that the probes ran does not count."""
    return not any(m.role == "primary" and m.estimate.value is not None for r in record.results for m in r.measurements)


def exit_code(record: AuditRecord) -> int:
    """0 pass, 1 fail, 3 insufficient evidence, 5 nothing was measured (which outranks the verdict)."""
    return NOTHING_MEASURED if nothing_measured(record) else CODES[record.verdict]


def counts(record: AuditRecord) -> dict[str, int]:
    """How many criteria ended in each status; those without a bar are not counted unless not measured."""
    found = Counter(finding.status for finding in record.findings)
    return {status: found[status] for status in _COUNTED}  # type: ignore[index]


def line(record: AuditRecord, verdict: Verdict | None = None, *, waived: int = 0) -> str:
    """One line: "FAIL · 2 met, 1 not met, 1 undecided, 3 not measured; 2 of 2 probes ran".

    `verdict` is the gate's, where it is not the record's own; waived findings stay counted by what they are.
    """
    verdict = verdict or record.verdict
    label = "NOTHING MEASURED" if nothing_measured(record) else verdict.replace("_", " ").upper()
    told = ", ".join(f"{n} {_COUNTED[status]}" for status, n in counts(record).items() if n) or "no criteria"
    told += f" ({waived} of these waived)" if waived else ""
    ran, applicable = probes_ran(record.config, record.results, record.plan.role)
    said = f"{label} · {told}; {ran} of {applicable} probes ran"
    screen_only = verdict == "pass" and record.config.battery == "quick"
    return f"{said}; screen only, not a release audit" if screen_only else said
