"""Rows and phrases of the inner sections, worked out of one part of a record each. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.checkpoint.identity import CheckpointIdentity
from auditor.config import Scalar
from auditor.findings.record import AuditRecord, DatasetIdentity, Environment, Finding, SpecificationOutcome
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import (
    HeatMap,
    Measurement,
    ProbeResult,
    Qualification,
    RocChart,
    Sample,
    Series,
)
from auditor.report.charts import flipped
from auditor.report.numbers import count, number, plain, seconds, sentence, tick, unit_of
from auditor.report.text import DASH, words
from auditor.report.words import STATUS

FEW = 12
"""more measurements of one name than this are a profile, with a table of its own"""
FEW_ON_PAPER = 4
"""likewise on paper, where a profile is running text: a row of a table costs many times as much to lay out"""


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


def value(estimate: Estimate | None) -> str:
    """What was measured for an instrument, with its interval and n; a dash where nothing was."""
    return sentence(estimate, unit_of(estimate)) if estimate else DASH


def point(series: Series, i: int) -> str:
    """One point of a line with its band: "0.91 (0.88 to 0.94)"."""
    value = series.y[i] if i < len(series.y) else None
    low = series.low[i] if i < len(series.low) else None
    high = series.high[i] if i < len(series.high) else None
    band = f" ({tick(low)} to {tick(high)})" if low is not None and high is not None else ""
    return tick(value) + band + (", chosen" if series.chosen == i else "")


def specification_curve(finding: Finding) -> list[SpecificationOutcome]:
    """The finding under every specification, by value; what has none comes last."""
    if finding.multiverse is None:
        return []
    why = "" if finding.rests_on_choices else finding.reason
    status = finding.multiverse.declared_status
    declared = SpecificationOutcome(specification="as declared", status=status, estimate=finding.estimate, reason=why)
    outcomes = (declared, *finding.multiverse.others)
    unknown = {"estimate": None}  # a value on too few items is none, as everywhere in the report
    shown = [o.model_copy(update=unknown) if o.status == "not_measured" else o for o in outcomes]
    return sorted(shown, key=_by_value)


def _by_value(outcome: SpecificationOutcome) -> tuple[bool, float]:
    value = outcome.estimate.value if outcome.estimate else None
    return value is None, value or 0.0


def multiverse_said(finding: Finding) -> str:
    """What the specifications come to, in a sentence."""
    seen, curve = finding.multiverse, specification_curve(finding)
    if seen is None:
        return ""
    values = [o.estimate.value for o in curve if o.estimate and o.estimate.value is not None]
    between = ""
    if values:
        low, high = number(min(values), finding.unit), number(max(values), finding.unit)
        between = f"; every value is {low}" if low == high else f"; values from {low} to {high}"
    of = f"of {seen.of} specifications, the declared one among them,"
    if finding.severity == "info":
        return f"{len(values)} {of} gave a value{between}."
    status = STATUS[seen.declared_status].word
    return f"{seen.same} {of} say {status} (at least {number(seen.needed, 'share')} must agree){between}."


def any_flipped(chart: HeatMap) -> bool:
    """Whether some cell points the wrong way."""
    return any(flipped(cell) for row in chart.cells for cell in row)


def any_point(chart: RocChart) -> bool:
    """Whether some detector has its 1 % point."""
    return any(series.recall.value is not None for series in chart.series)


def rows(result: ProbeResult, few: int) -> tuple[tuple[Measurement, bool], ...]:
    """Measurements that are at most `few` of a name, name by name; true with the first of each name."""
    groups = [group for group in _by_name(result).values() if len(group) <= few]
    return tuple((m, i == 0) for group in groups for i, m in enumerate(group))


def profiles(result: ProbeResult, few: int) -> tuple[tuple[str, list[Measurement]], ...]:
    """Measurements that were taken in more than `few` places, by name: these stand apart from the others."""
    return tuple((name, group) for name, group in _by_name(result).items() if len(group) > few)


def _by_name(result: ProbeResult) -> dict[str, list[Measurement]]:
    names: dict[str, list[Measurement]] = {}
    for m in result.measurements:
        names.setdefault(m.name, []).append(m)
    return names


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


def multiverses(record: AuditRecord) -> list[tuple[str, list[tuple[str, object]]]]:
    """By probe: the share of specifications that must agree with its reason, and what each chooses otherwise."""
    found = []
    for name, probe in sorted(record.config.probes.items()):
        if probe.multiverse:
            needed = f"at least {number(probe.multiverse.same_status, 'share')}: {probe.multiverse.because}"
            rows: list[tuple[str, object]] = [("must agree", needed)]
            for other, chosen in probe.multiverse.specifications.items():
                seed = [f"seed + {chosen.seed_offset}"] if chosen.seed_offset else []
                dtype = [f"computed in {chosen.dtype}"] if chosen.dtype else []
                choices = [*seed, *dtype, *(f"{words(key)}: {value}" for key, value in chosen.params.items())]
                only = f" (for {', '.join(map(words, chosen.measurements))})" if chosen.measurements else ""
                rows.append((words(other), "; ".join(choices) + only))
            found.append((words(name), rows))
    return found


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
