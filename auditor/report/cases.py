"""Every declared criterion with what became of it, as pipelines follow it: rule, place in the config, fingerprint.

The formats for pipelines are made of these. A criterion without a bar has a case for each number that it shows. Where
the gate decided by terms of its own, a case knows its ruling: by what it is waived, and what it still does to the gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

from auditor.canonical import canonical_json, sha256_hex
from auditor.config import Criterion
from auditor.declared import bar_place
from auditor.findings.assess import check_id, not_applicable
from auditor.findings.outcome import GateOutcome, Ruling
from auditor.findings.policy import Effect
from auditor.findings.record import AuditRecord, Finding, Status
from auditor.findings.rules import rule_id
from auditor.findings.waivers import Waiver
from auditor.findings.wording import sentence
from auditor.measure.measurement import Unit
from auditor.report.exported import line
from auditor.report.text import full_stop, words
from auditor.report.words import title

Outcome = Status | Literal["crashed", "not_applicable"]
"""of a case: that of its finding, but a probe that crashed is told from one that declined"""
TOLD = 1000
"""characters of a message"""
NO_CONFIG = ("audit.json", 1)
"""the place of a bar that no config file declared: the record"""
_BLOCKING = ("fail", "insufficient")


@dataclass(frozen=True)
class Trace:
    """By what a check is known from one run to the next."""

    id: str
    """probe.measurement[at]"""
    rule: str
    probe: str
    """empty for the run as a whole"""
    file: str
    """where the bar was declared, below the folder in which the audit was started"""
    line: int
    fingerprint: str
    """of rule, check and the name of the model; of no number, severity, time or hash in the record"""


@dataclass(frozen=True)
class Case:
    """One criterion, and what became of it."""

    trace: Trace
    criterion: Criterion
    outcome: Outcome
    title: str
    unit: Unit | None
    told: str
    """what was measured, the bar, and why it has this outcome, on one line"""
    finding: Finding | None
    """None where the declared role rules the criterion out"""
    ruling: Ruling | None = None
    """the gate's; None where only the record's own verdict is told"""

    @property
    def effect(self) -> Effect | None:
        """What it does to the gate: as ruled, else a missed bar fails it and an open high one holds it back."""
        if self.ruling:
            return self.ruling.effect
        if self.outcome == "not_met":
            return "fail"
        open_high = self.criterion.severity == "high" and self.outcome in ("undecided", "not_measured", "crashed")
        return "insufficient" if open_high else None

    @property
    def blocks(self) -> bool:
        """Whether a pass is out of reach while this stays as it is."""
        return self.effect in _BLOCKING

    @property
    def waiver(self) -> Waiver | None:
        """By which it is waived."""
        return self.ruling.waiver if self.ruling else None

    @property
    def fell_behind(self) -> bool:
        """Whether it counts, or would if it were not waived, for being worse than the baseline: no bar is missed."""
        ruling = self.ruling
        return bool(ruling and ruling.worse and ruling.without_waiver in _BLOCKING and self.outcome != "not_met")

    @property
    def ruled(self) -> str:
        """What baseline and waivers make of it, on one line; empty where they have no say."""
        if not self.ruling:
            return ""
        worse = ["worse than in the baseline"] if self.ruling.worse else []
        waived = [f"waived, {self.ruling.waiver.words}"] if self.ruling.waiver else []
        told = " ".join(map(full_stop, (*worse, *waived, *self.ruling.turned_down)))
        return line(told, TOLD) if told else ""

    @property
    def message(self) -> str:
        """What was measured and what the gate's terms make of it, on one line."""
        return f"{self.told} {self.ruled}" if self.ruled else self.told


def cases(record: AuditRecord, outcome: GateOutcome | None = None) -> tuple[Case, ...]:
    """The findings in their order, with the rulings of an outcome of this record; then what is not applicable."""
    finished = {result.probe for result in record.results if result.status != "error"}
    judged = [_judged(record, f, crashed=bool(f.probe) and f.probe not in finished) for f in record.findings]
    if outcome:
        judged = [replace(case, ruling=ruling) for case, ruling in zip(judged, outcome.rulings, strict=True)]
    return (*judged, *_ruled_out(record))


def model_name(record: AuditRecord) -> str:
    """The model under audit by name, with its adapter: never a hash."""
    adapter = record.checkpoint.adapter
    return line(record.checkpoint.name + (f"+{adapter.name}" if adapter else ""))


def battery_name(record: AuditRecord) -> str:
    """Name of the battery, never a path."""
    return line(PurePath(record.config.battery).name or "unnamed")


def _judged(record: AuditRecord, finding: Finding, *, crashed: bool) -> Case:
    open_case = finding.status == "not_measured"
    why = "" if open_case or finding.rests_on_choices else f" {full_stop(finding.reason)}"
    return Case(
        trace=_trace(record, finding.probe, finding.criterion, finding.id),
        criterion=finding.criterion,
        outcome="crashed" if open_case and crashed else finding.status,
        title=line(title(finding)),
        unit=finding.unit,
        told=line(sentence(finding) + why, TOLD),
        finding=finding,
    )


def _ruled_out(record: AuditRecord) -> Iterator[Case]:
    meanings = {probe.name: probe.measurements for probe in record.probes}
    for probe, criterion, why in not_applicable(record.config, record.plan.role):
        meaning = meanings.get(probe, {}).get(criterion.measurement)
        name = meaning.plain if meaning else words(criterion.measurement)
        yield Case(
            trace=_trace(record, probe, criterion, check_id(probe, criterion.measurement, criterion.at)),
            criterion=criterion,
            outcome="not_applicable",
            title=line(name),
            unit=meaning.unit if meaning else None,
            told=line(full_stop(f"{name}: not applicable, {why}"), TOLD),
            finding=None,
        )


def _trace(record: AuditRecord, probe: str, criterion: Criterion, name: str) -> Trace:
    rule = rule_id(probe, criterion.measurement)
    number = record.environment.declared_lines.get(bar_place(record.config, probe, criterion))
    file, number = (record.environment.config_file, number) if number else NO_CONFIG
    return Trace(
        id=line(name),
        rule=line(rule),
        probe=line(probe) if probe else "",
        file=line(file),
        line=number,
        fingerprint=sha256_hex(canonical_json([rule, name, model_name(record)])),
    )
