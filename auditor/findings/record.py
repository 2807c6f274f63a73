"""AuditRecord: everything a report, an export or a gate may know about one audit. No torch, no probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from auditor.canonical import canonical_json, parse_json, sha256_hex
from auditor.checkpoint.identity import CheckpointIdentity
from auditor.config import AuditConfig, Criterion, Scalar, Severity, Strict
from auditor.config_file import in_plain_words
from auditor.data.examples import Dataset
from auditor.errors import ConfigError, IncompleteRun
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import EvidenceClass, ProbeResult, Unit
from auditor.model.plan import Plan

SCHEMA_VERSION = "1.1"
READABLE = ("1.0", SCHEMA_VERSION)
"""a record of 1.0 is one of 1.1 without a multiverse"""
Status = Literal["met", "not_met", "undecided", "not_measured", "shown"]
"""`shown` is the status of an info finding, which has no bar"""
Verdict = Literal["pass", "fail", "insufficient_evidence"]


class ProbeIdentity(Strict):
    """Which code asked the question."""

    name: str
    question: str
    """the probe's module docstring"""
    source: str
    distribution: str
    version: str
    sha256: str
    """of the probe's file"""
    measurements: dict[str, MeasurementMeaning]


class MeasurementMeaning(Strict):
    """What a declared measurement means, copied from the probe so that a record stands alone."""

    unit: Unit
    evidence: EvidenceClass
    plain: str
    limits: str


class DatasetIdentity(Strict):
    """Which data was used."""

    name: str
    sha256: str
    n: int
    card: dict[str, Scalar]

    @classmethod
    def of(cls, data: Dataset) -> DatasetIdentity:
        """Identity of a data set that was read; nested parts of its card become entries of their own."""
        card = dict(_flattened(data.card))
        return cls(name=data.name, sha256=data.sha256, n=len(data.examples), card=card)


def _flattened(card: Mapping[str, object], above: str = "") -> Iterator[tuple[str, Scalar]]:
    """Entries of a card by name, those of a nested part with its name before theirs."""
    for name, value in sorted(card.items()):
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{above}{name}: ")
        elif isinstance(value, str | int | float | bool):
            yield above + name, value
        else:
            yield above + name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class SpecificationOutcome(Strict):
    """The same criterion, held against what the probe measured under another specification."""

    specification: str
    status: Status
    """as if this specification had been declared in the place of the other"""
    estimate: Estimate | None
    reason: str


class MultiverseOutcome(Strict):
    """How a finding fares under other defensible choices."""

    declared_status: Status
    """by the declared specification alone"""
    same: int
    """specifications of that status, the declared one among them"""
    of: int
    """specifications in all, the declared one and those that could not be measured among them"""
    needed: float
    """share that must have the same status; below it, met and not met become undecided"""
    others: tuple[SpecificationOutcome, ...]


class Finding(Strict):
    """A measurement held against its criterion."""

    id: str
    """stable: probe.measurement[at]"""
    probe: str
    """empty for the run as a whole"""
    criterion: Criterion
    severity: Severity
    status: Status
    estimate: Estimate | None
    unit: Unit | None
    evidence: EvidenceClass
    plain: str
    """noun phrase: what was measured"""
    reason: str
    """why this status, in one sentence"""
    scope: str
    """these items, this template, this dtype"""
    limits: str
    pass_probability: float | None
    """probability that a model at the criterion's good value meets the bar at this n"""
    multiverse: MultiverseOutcome | None = Field(default=None, exclude_if=lambda outcome: outcome is None)
    """where other specifications were declared for the probe"""

    @property
    def rests_on_choices(self) -> bool:
        """Whether it would be met, or not met, as declared, and other specifications leave it undecided."""
        return self.multiverse is not None and self.multiverse.declared_status != self.status


class Environment(Strict):
    """Everything that may differ between two runs of the same audit; the only part of the record that may."""

    started: str
    finished: str
    versions: dict[str, str]
    machine: str
    seconds: dict[str, float]
    config_file: str = ""
    """the config file that was given, below the folder in which the audit was started; empty without one"""
    declared_lines: dict[str, int] = {}
    """line of that file which put each bar there, by its dotted path in the config"""


class AuditRecord(Strict):
    """One audit, whole."""

    schema_version: str = SCHEMA_VERSION
    config: AuditConfig
    config_digest: str
    comparison_digest: str
    checkpoint: CheckpointIdentity
    plan: Plan
    probes: tuple[ProbeIdentity, ...]
    datasets: tuple[DatasetIdentity, ...]
    results: tuple[ProbeResult, ...]
    specifications: tuple[ProbeResult, ...] = Field(default=(), exclude_if=lambda results: not results)
    """what the probes report under their other specifications; each is named probe@specification"""
    not_applicable: tuple[str, ...]
    """criteria that the declared role rules out, with the reason"""
    findings: tuple[Finding, ...]
    verdict: Verdict
    verdict_reasons: tuple[str, ...]
    """one plain sentence each, the weightiest first"""
    would_change: tuple[str, ...]
    """what would change the verdict, one plain sentence each"""
    evidence: dict[str, str]
    """path in the run folder to sha256: items/*.jsonl, draws.safetensors, directions.safetensors"""
    environment: Environment
    status: Literal["complete"] = "complete"

    @property
    def every_result(self) -> tuple[ProbeResult, ...]:
        """What was measured as declared, then under other specifications."""
        return (*self.results, *self.specifications)

    @property
    def digest(self) -> str:
        """sha256 of the record without its environment: the identity of the audit."""
        return sha256_hex(canonical_json(self.model_dump(mode="json", exclude={"environment"})))


def load(place: Path) -> AuditRecord:
    """The record in a run folder, or in a file.

    Raises ConfigError when there is no such place or the record is of another schema version, IncompleteRun
    when the run has not finished or its record is not whole.
    """
    if not place.exists():
        raise ConfigError(f"{place}: no such run folder")
    path = place / "audit.json" if place.is_dir() else place
    if not path.is_file():
        raise IncompleteRun(f"{path}: missing, so the run has not finished; continue it with --resume")
    try:
        document = parse_json(path.read_bytes())
    except ValueError as error:
        raise IncompleteRun(f"{path}: not a whole record ({error})") from error
    if not isinstance(document, dict) or document.get("status") != "complete":
        raise IncompleteRun(f"{path}: does not say status: complete, so the run has not finished")
    version = document.get("schema_version")
    if version not in READABLE:
        raise ConfigError(f"{path}: written in schema version {version}; this auditor reads {', '.join(READABLE)}")
    try:
        return AuditRecord.model_validate(document)
    except ValidationError as error:
        raise IncompleteRun(str(in_plain_words(error, AuditRecord, str(path)))) from error
