"""The framework matrix as lines to print: what an id asks, the evidence on record, what is missing. Decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from auditor.findings.mapping import Framework, Part, Piece, Row, matrices
from auditor.findings.record import AuditRecord, Finding
from auditor.report.text import short, words
from auditor.report.words import COVERAGE, STATUS, Sign

_PARTS: dict[Part, tuple[str, str]] = {
    "audit_card": ("audit card", "card"),
    "bars": ("bars declared beforehand, with reasons", "method"),
    "chat_template": ("chat template, by its digest", "checkpoint"),
    "data": ("data sets with cards and hashes", "method"),
    "environment": ("dates and versions", "reproduce"),
    "evidence_files": ("stored items that every number is computed from", "reproduce"),
    "gaps": ("list of what was not measured", "scope"),
    "identity": ("every file by its hash", "checkpoint"),
    "limits": ("limits of each finding", "limits"),
    "load_safety": ("checks before loading", "checkpoint"),
    "plan": ("what was fixed before the first measurement", "method"),
    "qualification": ("instruments put to the test on this model", "results"),
    "samples": ("random samples of every probe that measured", "results"),
    "verdict": ("verdict by the declared bars", "verdict"),
}
"""in words, and the section that shows it"""


@dataclass(frozen=True)
class Held:
    """A piece of evidence that is on record."""

    what: str
    anchor: str
    """id of the place that shows it; empty if none does"""
    sign: Sign | None = None
    """status of the finding that rests on it: evidence can speak against the model"""
    exploratory: bool = False


@dataclass(frozen=True)
class Line:
    """One id of a framework."""

    id: str
    asks: str
    sign: Sign
    held: tuple[Held, ...]
    missing: tuple[str, ...]
    """evidence that the mapping names and this record lacks"""
    remains: str


@dataclass(frozen=True)
class Sheet:
    """One framework."""

    framework: Framework
    counts: tuple[tuple[Sign, int], ...]
    """how many ids have which status, all three of them"""
    lines: tuple[Line, ...]


def sheets(record: AuditRecord, anchors: Mapping[str, str]) -> tuple[Sheet, ...]:
    """The matrix of every framework; `anchors` gives the place of a finding by its id, of a probe by its name."""
    return tuple(_sheets(record, anchors))


def _sheets(record: AuditRecord, anchors: Mapping[str, str]) -> Iterator[Sheet]:
    findings = {finding.id: finding for finding in record.findings}
    plain = {
        f"{probe.name}.{name}": meaning.plain for probe in record.probes for name, meaning in probe.measurements.items()
    }
    for matrix in matrices(record):
        seen = Counter(row.status for row in matrix.rows)
        counts = tuple((sign, seen[status]) for status, sign in COVERAGE.items())
        yield Sheet(matrix.framework, counts, tuple(_line(row, findings, plain, anchors) for row in matrix.rows))


def _line(row: Row, findings: Mapping[str, Finding], plain: Mapping[str, str], anchors: Mapping[str, str]) -> Line:
    present = [piece for piece in row.pieces if piece.support != "absent"]
    absent = [piece for piece in row.pieces if piece.support == "absent"]
    return Line(
        id=row.entry.id,
        asks=row.entry.asks,
        sign=COVERAGE[row.status],
        held=tuple(_held(piece, findings, plain, anchors) for piece in present),
        missing=tuple(_name(piece, plain) for piece in absent),
        remains=row.entry.remains,
    )


def _held(piece: Piece, findings: Mapping[str, Finding], plain: Mapping[str, str], anchors: Mapping[str, str]) -> Held:
    if piece.name in _PARTS:
        return Held(*_PARTS[piece.name])
    name, exploratory = _name(piece, plain), piece.support == "exploratory"
    shown = [findings[id] for id in piece.findings if findings[id].status != "not_measured"]
    if not shown:
        return Held(name, anchors.get(piece.name.partition(".")[0], ""), None, exploratory)
    worst = min(shown, key=lambda finding: list(STATUS).index(finding.status))
    return Held(name, anchors.get(worst.id, ""), STATUS[worst.status], exploratory)


def _name(piece: Piece, plain: Mapping[str, str]) -> str:
    if piece.name in _PARTS:
        return _PARTS[piece.name][0]
    return short(plain.get(piece.name) or words(piece.name.replace(".", ": ")), 160)
