"""History: the verdicts and the judged numbers of many run folders in order of time. Reads records; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auditor.config import Criterion, Severity, Strict
from auditor.errors import AuditorError, ConfigError
from auditor.findings.gate import exit_code
from auditor.findings.record import AuditRecord, Finding, Status, Verdict, load
from auditor.measure.measurement import Unit


class Point(Strict):
    """One finding of one audit."""

    status: Status
    value: float | None
    """None where it was not measured"""
    low: float | None
    high: float | None
    n: int | None


class Past(Strict):
    """One audit of the past."""

    folder: str
    """relative to the folder that was asked about"""
    finished: str
    model: str
    checkpoint: str
    """sha256"""
    battery: str
    audit: str
    """digest of the record"""
    question: int
    """equal numbers asked the same (comparison digest), counted from 1 in order of time"""
    verdict: Verdict
    exit_code: int
    points: dict[str, Point]
    """by finding id, of findings with a bar"""


class Tracked(Strict):
    """A finding with a bar that occurs in at least one audit."""

    id: str
    plain: str
    unit: Unit | None
    severity: Severity
    criterion: Criterion
    """of the latest audit that has it"""


class History(Strict):
    """Audits, the oldest first."""

    audits: tuple[Past, ...]
    tracked: tuple[Tracked, ...]
    """high bars first, in the order of the latest record"""
    unread: tuple[str, ...]
    """one line each: folders of runs that have not finished or cannot be read"""


def read_history(place: Path) -> History:
    """Every run folder below a folder. Raises ConfigError when there is none."""
    if not place.is_dir():
        raise ConfigError(f"{place}: no such folder")
    folders = sorted({path.parent for name in ("audit.json", "log.jsonl") for path in place.rglob(name)})
    records: list[tuple[str, AuditRecord]] = []
    unread = []
    for folder in folders:
        name = folder.relative_to(place).as_posix()
        try:
            records.append((name, load(folder)))
        except AuditorError as error:
            unread.append(f"{name}: {error}")
    if not records and not unread:
        raise ConfigError(f"{place}: holds no run folder; give the folder in which your runs lie")
    records.sort(key=lambda named: (named[1].environment.finished, named[0]))
    questions = list(dict.fromkeys(record.comparison_digest for _, record in records))
    return History(
        audits=tuple(_past(name, record, 1 + questions.index(record.comparison_digest)) for name, record in records),
        tracked=tuple(_tracked([record for _, record in records])),
        unread=tuple(unread),
    )


def _past(name: str, record: AuditRecord, question: int) -> Past:
    return Past(
        folder=name,
        finished=record.environment.finished,
        model=record.checkpoint.name,
        checkpoint=record.checkpoint.digest,
        battery=record.config.battery,
        audit=record.digest,
        question=question,
        verdict=record.verdict,
        exit_code=exit_code(record),
        points={finding.id: _point(finding) for finding in record.findings if finding.severity != "info"},
    )


def _point(finding: Finding) -> Point:
    estimate = finding.estimate if finding.status != "not_measured" else None
    return Point(
        status=finding.status,
        value=estimate.value if estimate else None,
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        n=estimate.n if estimate else None,
    )


def _tracked(records: list[AuditRecord]) -> Iterator[Tracked]:
    latest_first = [finding for record in reversed(records) for finding in record.findings]
    known: dict[str, Finding] = {}
    for finding in latest_first:
        known.setdefault(finding.id, finding)
    for severity in ("high", "medium"):
        for finding in known.values():
            if finding.severity == severity:
                yield Tracked(
                    id=finding.id,
                    plain=finding.plain,
                    unit=finding.unit,
                    severity=finding.severity,
                    criterion=finding.criterion,
                )
