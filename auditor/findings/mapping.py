"""Which ids of laws, standards and threat lists a record holds evidence for. Says what is there, never what it proves.

The mappings are data (frameworks/*.yaml), in our own words; what they speak to is computed from a record. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import as_file, files
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from auditor.config import Said, Strict
from auditor.config_file import in_plain_words, read_mapping
from auditor.errors import ConfigError
from auditor.findings.record import AuditRecord
from auditor.measure.evidence import SAMPLES
from auditor.measure.measurement import Measurement, ProbeResult

Part = Literal[
    "audit_card",
    "bars",
    "chat_template",
    "data",
    "environment",
    "evidence_files",
    "gaps",
    "identity",
    "limits",
    "load_safety",
    "plan",
    "qualification",
    "samples",
    "verdict",
]
"""what a record holds beside measurements"""
Support = Literal["present", "exploratory", "absent"]
"""exploratory: measured with an instrument that its own rule did not choose"""
Coverage = Literal["present", "partial", "not_covered"]


class Milestone(Strict):
    """A date that may move, and what happens on it."""

    day: date
    what: Said


class Entry(Strict):
    """One id of a framework."""

    id: Said
    asks: Said
    """what it is about, in our own words"""
    measurements: tuple[Annotated[str, StringConstraints(pattern=r"^\w+\.\w+$")], ...] = ()
    """which measurements are evidence: probe.measurement"""
    record: tuple[Part, ...] = ()
    """which other parts of a record are evidence"""
    reach: Literal["part", "whole"] = "part"
    """whether all of this evidence speaks to the whole id; if to a part, the id is partial at best"""
    remains: Said
    """what would remain if all of it were there"""


class Framework(Strict):
    """One law, standard or list, as it was on a day."""

    framework: Said
    title: Said
    as_of: date
    """when its ids and dates were last looked at"""
    source: Annotated[str, StringConstraints(pattern=r"^https://\S+$")]
    dates: tuple[Milestone, ...] = ()
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Piece:
    """One piece of evidence that an id names, and whether the record holds it."""

    name: str
    """probe.measurement, or a part of the record"""
    support: Support
    findings: tuple[str, ...] = ()
    """ids of the findings that rest on it"""


@dataclass(frozen=True)
class Row:
    """One id and what the record holds for it."""

    entry: Entry
    pieces: tuple[Piece, ...]
    status: Coverage


@dataclass(frozen=True)
class Matrix:
    """A framework, id by id, for one record."""

    framework: Framework
    rows: tuple[Row, ...]


@cache
def frameworks() -> tuple[Framework, ...]:
    """The shipped mappings, by name. Raises ConfigError for one that cannot be read as written."""
    folder = files("auditor.findings").joinpath("frameworks")
    found = []
    for name in sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml")):
        with as_file(folder.joinpath(name)) as path:
            document = read_mapping(path)
        try:
            framework = Framework.model_validate(document)
        except ValidationError as error:
            raise in_plain_words(error, Framework, name) from error
        ids = [entry.id for entry in framework.entries]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ConfigError(f"{name}: entries: given twice: {', '.join(twice)}")
        found.append(framework)
    return tuple(found)


def matrices(record: AuditRecord) -> tuple[Matrix, ...]:
    """Every framework, and for each id whether `record` holds the evidence that it names."""
    return tuple(Matrix(f, tuple(_row(record, entry) for entry in f.entries)) for f in frameworks())


def _row(record: AuditRecord, entry: Entry) -> Row:
    pieces = (*(_measured(record, name) for name in entry.measurements), *(_held(record, p) for p in entry.record))
    support = {piece.support for piece in pieces}
    if support <= {"absent"}:
        return Row(entry, pieces, "not_covered")
    whole = support == {"present"} and entry.reach == "whole"
    return Row(entry, pieces, "present" if whole else "partial")


def _measured(record: AuditRecord, name: str) -> Piece:
    probe, _, measurement = name.partition(".")
    found = [m for r in record.results if r.probe == probe for m in _counted(r, measurement)]
    own = [f for f in record.findings if f.probe == probe and f.criterion.measurement == measurement]
    # Too few items for its own bar: the value is on record, and no evidence.
    declined = bool(own) and all(f.status == "not_measured" for f in own)
    support: Support = "absent"
    if found and not declined:
        support = "exploratory" if all(m.exploratory for m in found) else "present"
    return Piece(name, support, tuple(f.id for f in own))


def _counted(result: ProbeResult, name: str) -> Iterator[Measurement]:
    """The readings of the model by this name that have a value; what is only ever a control counts as such."""
    own = [m for m in result.measurements if m.name == name]
    role = "primary" if any(m.role == "primary" for m in own) else "control"
    return (m for m in own if m.role == role and m.estimate.value is not None)


_PARTS: dict[Part, Callable[[AuditRecord], object]] = {
    "audit_card": lambda record: record.config.audit_card,
    "bars": lambda record: any(f.severity != "info" for f in record.findings),
    "chat_template": lambda record: record.checkpoint.template_digest,
    "data": lambda record: record.datasets,
    "environment": lambda record: record.environment.finished,
    "evidence_files": lambda record: record.evidence,
    "gaps": lambda record: record.results,
    "identity": lambda record: record.checkpoint.digest,
    "limits": lambda record: any(f.limits for f in record.findings),
    "load_safety": lambda record: record.checkpoint.files,
    "plan": lambda record: record.plan.facts,
    "qualification": lambda record: any(r.qualifications for r in record.results),
    "samples": lambda record: _sampled([r for r in record.results if r.status == "measured"]),
    "verdict": lambda record: any(f.severity != "info" for f in record.findings),
}
"""whether a record holds a part"""


def _sampled(measured: list[ProbeResult]) -> bool:
    """Whether every probe that measured something shows enough random items."""
    return bool(measured) and all(sum(not sample.picked for sample in result.samples) >= SAMPLES for result in measured)


def _held(record: AuditRecord, part: Part) -> Piece:
    return Piece(part, "present" if _PARTS[part](record) else "absent")
