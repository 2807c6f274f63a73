"""Rows and phrases of the inner sections, worked out of one part of a record each. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.checkpoint.identity import CheckpointIdentity
from auditor.config import Scalar
from auditor.findings.record import AuditRecord, DatasetIdentity, Environment
from auditor.measure.measurement import (
    Check,
    HeatMap,
    Measurement,
    ProbeResult,
    Qualification,
    RocChart,
    Sample,
    Series,
)
from auditor.report.charts import flipped
from auditor.report.numbers import count, plain, seconds, sentence, tick, unit_of
from auditor.report.text import words

FEW = 12
"""more measurements of one name than this are a profile, with a table of its own"""


def instrument_name(qualification: Qualification) -> str:
    """An instrument with its data set and place: "mass mean on cities (layer 21, resid_post)"."""
    place = ", ".join(f"{words(key)} {value}" for key, value in qualification.at.items())
    return f"{words(qualification.instrument)} on {words(qualification.dataset)}" + (f" ({place})" if place else "")


def placed(key: str, value: Scalar) -> str:
    """One key of where something was measured, with its value; a value that begins with the key does not repeat it."""
    told = plain(value)
    return words(key) + " " + told.removeprefix(f"{key}_")


def unread(qualification: Qualification) -> str:
    """Why an instrument is not read, by the names of its checks; the numbers stand in its table."""
    missed = [check.name for check in qualification.checks if check.passed is False]
    absent = [check.name for check in qualification.checks if check.passed is None]
    told = [f"{word} {', '.join(names)}" for word, names in (("did not pass", missed), ("not run:", absent)) if names]
    return "; ".join(told) or "no check was run"


def check_value(check: Check) -> str:
    """What a check measured, with its interval and n."""
    return sentence(check.estimate, unit_of(check.estimate))


def point(series: Series, i: int) -> str:
    """One point of a line with its band: "0.91 (0.88 to 0.94)"."""
    value = series.y[i] if i < len(series.y) else None
    low = series.low[i] if i < len(series.low) else None
    high = series.high[i] if i < len(series.high) else None
    band = f" ({tick(low)} to {tick(high)})" if low is not None and high is not None else ""
    return tick(value) + band + (", chosen" if series.chosen == i else "")


def any_flipped(chart: HeatMap) -> bool:
    """Whether some cell points the wrong way."""
    return any(flipped(cell) for row in chart.cells for cell in row)


def any_point(chart: RocChart) -> bool:
    """Whether some detector has its 1 % point."""
    return any(series.recall.value is not None for series in chart.series)


def rows(result: ProbeResult) -> tuple[tuple[Measurement, bool], ...]:
    """Measurements that are few of a name, name by name; true with the first of each name."""
    few = [group for _, group in _by_name(result) if len(group) <= FEW]
    return tuple((m, i == 0) for group in few for i, m in enumerate(group))


def profiles(result: ProbeResult) -> tuple[tuple[str, tuple[Measurement, ...]], ...]:
    """Measurements that were taken in many places, by name: these get a table of their own."""
    return tuple((name, group) for name, group in _by_name(result) if len(group) > FEW)


def _by_name(result: ProbeResult) -> list[tuple[str, tuple[Measurement, ...]]]:
    names = dict.fromkeys(m.name for m in result.measurements)
    return [(name, tuple(m for m in result.measurements if m.name == name)) for name in names]


def samples(result: ProbeResult) -> tuple[tuple[str, tuple[Sample, ...]], ...]:
    """The samples by the measurement they illustrate, in the order of the record."""
    names = dict.fromkeys(sample.measurement for sample in result.samples)
    return tuple((name, tuple(s for s in result.samples if s.measurement == name)) for name in names)


def named(facts: Mapping[str, object]) -> list[tuple[str, object]]:
    """Facts with their names as words."""
    return [(words(name), value) for name, value in facts.items()]


def card(dataset: DatasetIdentity) -> list[tuple[str, object]]:
    """What is known about a data set; its name and size stand above."""
    told: list[tuple[str, object]] = [("sha256", dataset.sha256)]
    for key, value in dataset.card.items():
        if key not in ("name", "sha256"):
            told.append((words(key), value))
    return told


def params(record: AuditRecord) -> tuple[tuple[str, list[tuple[str, object]]], ...]:
    """The parameters that were declared, by probe; probes without any are left out."""
    return tuple((words(n), named(p.params)) for n, p in sorted(record.config.probes.items()) if p.params)


CARD = (
    ("auditor", "Auditor"),
    ("independence", "Independence"),
    ("access", "Access"),
    ("methodology", "Methodology"),
    ("process_integrity", "Process integrity"),
    ("review", "Review"),
)


def audit_card(record: AuditRecord) -> tuple[tuple[str, str, str], ...]:
    """Part of the audit card, what was stated, and what the record itself shows of it."""
    bars = sum(finding.severity != "info" for finding in record.findings)
    shown = {
        "access": "weights, inner states and output of the checkpoint; not its training data, its makers or its use",
        "methodology": f"{len(record.results)} probes, {bars} bars and their reasons, all declared before the run",
        "process_integrity": "configuration, plan, items and record are sealed by hashes, and every number can be "
        "computed again from the stored items",
    }
    card = record.config.audit_card
    return tuple(
        (name, (getattr(card, key) if card else None) or "not stated", shown.get(key, "")) for key, name in CARD
    )


def stored(checkpoint: CheckpointIdentity) -> str:
    """The numeric types of the stored weights: "BF16 (134,515,008)"."""
    return ", ".join(f"{name} ({count(n)})" for name, n in sorted(checkpoint.stored_dtypes.items()))


def durations(environment: Environment) -> list[tuple[str, str]]:
    """Time spent, by part."""
    return [(words(name), seconds(value)) for name, value in environment.seconds.items()]
