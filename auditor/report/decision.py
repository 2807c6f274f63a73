"""What a pipeline is told of the whole run: by the outcome that the gate decided, else by the record's own verdict."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.findings.gate import exit_code, line
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord, Verdict


@dataclass(frozen=True)
class Decision:
    """May this checkpoint ship, and why not."""

    verdict: Verdict
    exit_code: int
    line: str
    """verdict and counts"""
    reasons: tuple[str, ...]
    """one line each; of others' words, not made harmless"""
    gated: bool
    """whether it is the gate's; else the record's own verdict"""
    by_terms: bool
    """whether a policy, a waiver or a baseline had a say"""

    @property
    def because(self) -> str:
        """Verdict, counts and reasons in one text; those of the record are sentences, those of the gate are not."""
        return ("; " if self.by_terms else " ").join((self.line, *self.reasons))


def decision(record: AuditRecord, outcome: GateOutcome | None) -> Decision:
    """The gate's decision; without terms the same as without an outcome."""
    if outcome is None:
        own = (record.verdict, exit_code(record), line(record), record.verdict_reasons)
        return Decision(*own, gated=False, by_terms=False)
    return Decision(
        verdict=outcome.verdict,
        exit_code=outcome.exit_code,
        line=line(record, outcome.verdict, waived=sum(ruling.waived for ruling in outcome.rulings)),
        reasons=outcome.reasons if outcome.by_terms else record.verdict_reasons,
        gated=True,
        by_terms=outcome.by_terms,
    )
