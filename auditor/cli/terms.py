"""The terms a gate decides by: policy, waivers and baseline, read, checked and told in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from auditor.bundle import MANIFEST, RunFolder
from auditor.cli.discover import probe_names
from auditor.errors import ConfigError
from auditor.findings.comparison import Comparison, Run, compare, refuse_other_question
from auditor.findings.files import refuse_changed
from auditor.findings.outcome import GateOutcome, gated
from auditor.findings.policy import Policy, read_policy, refuse_unknown_families
from auditor.findings.record import AuditRecord
from auditor.findings.waivers import read_waivers
from auditor.report.text import one_line, short

_LONGEST = 400
"""characters of a line, so that a name of 20,000 does not bury the verdict"""


def today() -> date:
    """The day in UTC by the clock: a waiver ends when it ends, whatever SOURCE_DATE_EPOCH says."""
    return datetime.now(UTC).date()


def decided(
    folder: Path, record: AuditRecord, *, policy_file: Path | None, waivers_file: Path | None, baseline: Path | None
) -> GateOutcome:
    """The gate's outcome for the record of a run folder.

    Raises ConfigError for a policy, a waivers file or a baseline that cannot be used, VerifyMismatch for a run that is
    not what its manifest seals, before anything is decided.
    """
    if folder.is_dir() and (folder / MANIFEST).is_file():
        refuse_changed(RunFolder(folder))
    policy = read_policy(policy_file) if policy_file else Policy()
    refuse_unknown_families(policy, {*probe_names(), *record.config.probes}, str(policy_file))
    waivers = read_waivers(waivers_file) if waivers_file else ()
    compared = against(folder, baseline, policy)
    return gated(record, today=today(), policy=policy, waivers=waivers, baseline=compared)


def against(folder: Path, baseline: Path | None, policy: Policy) -> Comparison | None:
    """The comparison with the baseline that the policy asks for, if there is one."""
    rule = policy.baseline
    if baseline is None:
        if rule.required or rule.manifest_sha256:
            raise ConfigError("the policy asks for a baseline: give --baseline DIR")
        return None
    before = Run.open(baseline)
    if rule.manifest_sha256 not in (None, before.manifest):
        raise ConfigError(
            f"{baseline}: not the baseline that the policy pins: its manifest.json has sha256 {before.manifest}, "
            f"the policy says {rule.manifest_sha256}"
        )
    refuse_changed(before.folder)
    comparison = compare(before, Run.open(folder), alpha=rule.alpha, severities=("high", "medium"))
    refuse_other_question(comparison, baseline)
    return comparison


def lines(outcome: GateOutcome) -> Iterator[str]:
    """What was decided beyond the record, one printable line each; nothing where no terms were given."""
    if outcome.verdict != outcome.record_verdict:
        yield f"By the declared bars alone: {outcome.record_verdict.replace('_', ' ').upper()}"
    for said in _said(outcome):
        yield short(one_line(said), _LONGEST)


def _said(outcome: GateOutcome) -> Iterator[str]:
    if outcome.by_terms and outcome.verdict != "pass":
        yield from (f"Why: {reason}" for reason in outcome.reasons)
    for ruling in outcome.rulings:
        if ruling.waiver:
            worse = ", worse than in the baseline" if ruling.worse else ""
            yield f"Waived: {ruling.id} ({ruling.status.replace('_', ' ')}{worse}), {ruling.waiver.words}"
    if outcome.baseline:
        found = outcome.baseline
        tested = [d for d in found.differences if d.p is not None]
        dropped = sum(d.outcome == "worse" for d in tested)
        yield f"Baseline: {found.before.model}, run {found.before.audit[:6]}: {len(tested)} tested, {dropped} worse"
    yield from (f"Warning: {warning}" for warning in outcome.warnings)
