"""Recompute a run folder from its stored items, without the model, and name everything that does not agree.

A hash says that a file changed; only recomputing says that a number rests on its items. Both are done: a
rewritten manifest does not hide a changed file, nor rewritten hashes a changed number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.bundle import EVIDENCE, RunFolder
from auditor.canonical import sha256_hex
from auditor.checkpoint.files import files_digest
from auditor.config import Scalar, comparison_digest, config_digest
from auditor.errors import AuditorError
from auditor.findings.assess import Assessment, assess
from auditor.findings.files import RECORD_CHANGED, differences, read_seals
from auditor.findings.record import AuditRecord, load
from auditor.measure.evidence import EXCERPT
from auditor.measure.instrument import COMPARATORS, required
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import (
    Chart,
    HeatMap,
    LineChart,
    ProbeResult,
    RocChart,
    RocSeries,
    Sample,
    TokenScores,
)
from auditor.measure.roc import FPR, curve, named_negatives
from auditor.measure.stored import DRAWS, Row, estimated, items_table

TOLERANCE = 1e-9
"""room for another build of the same arithmetic; a changed item moves a number by far more"""
_UNREADABLE = (AuditorError, ArithmeticError, AttributeError, KeyError, IndexError, TypeError, ValueError)
"""what edited evidence can make of reading and recomputing; the message goes on the list"""


@dataclass
class Verification:
    """What was checked and what does not agree."""

    checked: dict[str, int] = field(default_factory=dict)
    """how many of each thing were checked: files, work files, estimates, findings, texts, samples"""
    problems: list[str] = field(default_factory=list)
    """one line each; empty when everything agrees"""
    unlisted: tuple[str, ...] = ()
    """files that no list names, so that nothing is known of them"""


@dataclass
class StoredTables:
    """The tables of a run folder, each read once (the `Tables` of measure/stored.py)."""

    folder: RunFolder
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _draws: dict[str, NDArray[Any]] | None = None

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of an item table, in file order."""
        if table not in self._rows:
            self._rows[table] = self.folder.read_rows(table)
        return self._rows[table]

    def tensor(self, name: str) -> NDArray[np.float64]:
        """One tensor of draws.safetensors. Raises KeyError with its name."""
        if self._draws is None:
            self._draws = self.folder.read_tensors(DRAWS)
        return self._draws[name]


def verify(folder: RunFolder | Path) -> Verification:
    """Check every hash; recompute estimates from their stored columns, findings and verdict from those.

    Raises IncompleteRun or ConfigError when the folder holds no record that can be read, and did not hold one
    when its manifest was written.
    """
    folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    seals = read_seals(folder)
    found = Verification(dict(seals.checked), list(seals.problems), seals.unlisted)
    try:
        record = load(folder.path)
    except AuditorError as error:
        if RECORD_CHANGED not in seals.problems:
            raise
        found.problems.append(str(error))
        return found
    tables = StoredTables(folder)
    found.problems += differences(record.evidence, folder.hashes(EVIDENCE), "audit.json")
    _check_estimates(record, tables, found)
    _check_findings(record, found)
    _check_origin(folder, record, found)
    _check_instruments(record, found)
    _check_charts(record, tables, found)
    _check_texts(record, tables, found)
    return found


def recomputed(estimate: Estimate, tables: StoredTables) -> Estimate:
    """The estimate that the stored columns give. Raises what edited evidence makes it raise."""
    return estimated(estimate.estimator, estimate.columns, tables, estimate.params)


def named_estimates(record: AuditRecord) -> Iterator[tuple[str, Estimate]]:
    """Every estimate that probes put on record, with a name a reader can find in the report."""
    for result in record.every_result:
        for m in result.measurements:
            role = "" if m.role == "primary" else f" ({m.role})"
            yield f"{result.probe}.{m.name}{_place(m.at)}{role}", m.estimate
        yield from _instrument_estimates(result)


def _instrument_estimates(result: ProbeResult) -> Iterator[tuple[str, Estimate]]:
    for q in result.qualifications:
        made = [(check.name, check.estimate) for check in q.checks]
        for other in q.beside:
            named = {"AUROC": other.alone, "gain": other.gain, "flagged": other.flagged}
            made += [(f"beside {other.name}: {what}", estimate) for what, estimate in named.items()]
        yield from ((f"{result.probe}: {q.name}: {what}", estimate) for what, estimate in made if estimate is not None)
    for chart in result.charts:
        for name, estimate in _drawn_estimates(chart):
            yield f"{result.probe}: {chart.title}: {name}", estimate


def _drawn_estimates(chart: Chart) -> Iterator[tuple[str, Estimate]]:
    """The estimates that a chart holds itself."""
    if isinstance(chart, RocChart):
        for line in chart.series:
            for what in ("auroc", "recall", "flagged"):
                yield f"{line.name}: {what}", getattr(line, what)
    if isinstance(chart, HeatMap):
        for row, cells in zip(chart.rows, chart.cells, strict=True):
            yield from (
                (f"{row} to {column}", cell)
                for column, cell in zip(chart.columns, cells, strict=True)
                if cell is not None
            )


def _check_estimates(record: AuditRecord, tables: StoredTables, found: Verification) -> None:
    for name, stored in named_estimates(record):
        found.checked["estimates"] = found.checked.get("estimates", 0) + 1
        try:
            again = recomputed(stored, tables)
        except _UNREADABLE as error:
            found.problems.append(f"{name}: cannot be recomputed ({type(error).__name__}: {error})")
        else:
            found.problems += [f"{name}: {difference}" for difference in _moved(stored, again)]


def _moved(stored: Estimate, again: Estimate) -> Iterator[str]:
    for part in ("value", "low", "high", "n"):
        said, given = getattr(stored, part), getattr(again, part)
        same = said == given if said is None or given is None else abs(said - given) <= TOLERANCE
        if not same:
            what = "" if part == "value" else f"{part} "
            yield f"record says {what}{_shown(said)}, items give {_shown(given)}"


def _check_origin(folder: RunFolder, record: AuditRecord, found: Verification) -> None:
    """The record is of the run that the folder says was started: same config, checkpoint and plan."""
    hashes = {entry.path: entry.sha256 for entry in record.checkpoint.files}
    if hashes and record.checkpoint.adapter is None and files_digest(hashes) != record.checkpoint.digest:
        found.problems.append("checkpoint: its digest is not that of its files")
    said = record.model_dump(mode="json")
    for name, parts in (("run.json", ("config", "checkpoint")), ("plan.json", ("plan",))):
        if not (folder.path / name).exists():
            continue
        try:
            started = folder.read_json(name)
            pairs = [(part, started if part == "plan" else started[part]) for part in parts]
        except _UNREADABLE as error:
            found.problems.append(f"{name}: cannot be read ({type(error).__name__}: {error})")
            continue
        found.problems += [f"{part}: the record is not of the run in {name}" for part, of in pairs if said[part] != of]


def _check_instruments(record: AuditRecord, found: Verification) -> None:
    """What had to be shown is what this version asks for, no check less and no bar lower; nothing else was read."""
    for result in record.every_result:
        for q in result.qualifications:
            asked = {check.name: (check.rule, check.bar) for check in q.checks}
            if any(asked.get(name) != bar for name, bar in required(q.instrument).items()):
                found.problems.append(f"{result.probe}: {q.instrument}: not the checks that qualify an instrument")
            if tuple(other.name for other in q.beside) != COMPARATORS:
                found.problems.append(f"{result.probe}: {q.instrument}: not held against the model's own output")
        known = {q.name for q in result.qualifications if q.qualified}
        for m in result.measurements:
            if m.instrument and m.instrument not in known:
                found.problems.append(f"{result.probe}.{m.name}: read with what did not qualify, {m.instrument}")


def _check_charts(record: AuditRecord, tables: StoredTables, found: Verification) -> None:
    """A line chart draws what was measured, a ROC what the items give; cells of heat maps are recomputed above."""
    for result in record.every_result:
        measured: dict[tuple[object, ...], Estimate] = {
            (m.name, *sorted(m.at.items())): m.estimate for m in result.measurements
        }
        for chart in result.charts:
            if isinstance(chart, LineChart) and chart.measurement:
                found.problems += _misdrawn(f"{result.probe}: {chart.title}", chart, measured)
            if isinstance(chart, RocChart):
                names = [line.name for line in chart.series if not _drawn_as_stored(line, tables)]
                found.problems += [
                    f"{result.probe}: {chart.title}: {name} is not what the items give" for name in names
                ]


def _drawn_as_stored(line: RocSeries, tables: StoredTables) -> bool:
    try:
        again, count = curve(line.auroc, tables), named_negatives(line.recall, tables)
    except _UNREADABLE:
        return False
    drawn = (line.fpr, line.tpr)
    same = [
        len(old) == len(new) and np.allclose(old, new, atol=TOLERANCE) for old, new in zip(drawn, again, strict=True)
    ]
    at_one_percent = line.recall.params == line.flagged.params == {"fpr": FPR}
    return all(same) and line.negatives == count and at_one_percent


def _misdrawn(name: str, chart: LineChart, measured: Mapping[tuple[object, ...], Estimate]) -> Iterator[str]:
    for series in chart.series:
        drawn = list(zip(series.y, series.low, series.high, strict=False))
        if len(drawn) != len(chart.x):
            yield f"{name}: {series.name} does not have a point for every place on the axis"
        for x, point in zip(chart.x, drawn, strict=False):
            at = sorted({chart.at[0]: series.name, chart.at[1]: x}.items())
            estimate = measured.get((chart.measurement, *at))
            if estimate is None or point != (estimate.value, estimate.low, estimate.high):
                yield f"{name}: {series.name} at {x:g} is not what was measured there"


def _check_findings(record: AuditRecord, found: Verification) -> None:
    found.checked["findings"] = len(record.findings)
    template = record.checkpoint.template_digest
    try:
        again = assess(
            record.config,
            record.results,
            record.probes,
            plan=record.plan,
            template_digest=template,
            specifications=record.specifications,
        )
    except _UNREADABLE as error:
        found.problems.append(f"findings: cannot be recomputed ({type(error).__name__}: {error})")
    else:
        found.problems += _changed_findings(record, again)
    data = {dataset.name: dataset.sha256 for dataset in record.datasets}
    if record.config_digest != config_digest(record.config):
        found.problems.append("config_digest: is not that of the config in the record")
    if record.comparison_digest != comparison_digest(record.config, data, template):
        found.problems.append("comparison_digest: is not that of the config, data and template in the record")


def _changed_findings(record: AuditRecord, again: Assessment) -> Iterator[str]:
    stored, fresh = ({f.id: f for f in findings} for findings in (record.findings, again.findings))
    for name in [*fresh, *(name for name in stored if name not in fresh)]:
        if name not in stored or name not in fresh:
            yield f"{name}: {'no such criterion' if name in stored else 'this finding is missing'}"
        elif stored[name].status != fresh[name].status:
            yield f"{name}: record says {stored[name].status}, the measurements give {fresh[name].status}"
        elif stored[name] != fresh[name]:
            yield f"{name}: the finding is not the one that the measurements give"
    if [f.id for f in record.findings] != [f.id for f in again.findings]:
        yield "findings: not in the order, or not as many, as the criteria declare"
    if record.verdict != again.verdict:
        yield f"verdict: record says {record.verdict}, the findings give {again.verdict}"
    for part in ("not_applicable", "verdict_reasons", "would_change"):
        if getattr(record, part) != getattr(again, part):
            yield f"{part}: not what the findings give"


def _check_texts(record: AuditRecord, tables: StoredTables, found: Verification) -> None:
    """Texts that are stored whole have their hash; samples show items of this run."""
    shown: dict[tuple[str, str, str], Row] = {}
    found.checked["texts"] = 0
    for table in sorted(name for name in record.evidence if name.startswith("items/")):
        try:
            for row in tables.rows(table):
                shown[table, row["dataset"], row["id"]] = row
                if _stored_whole(row["text"], record.config.report.redaction):
                    found.checked["texts"] += 1
                    if sha256_hex(row["text"].encode("utf-8", "replace")) != row["text_sha256"]:
                        found.problems.append(f"{table}: {row['id']}: the text does not match its hash")
        except _UNREADABLE as error:
            found.problems.append(f"{table}: cannot be read ({type(error).__name__}: {error})")
    for result in record.every_result:
        for sample in result.samples:
            item = shown.get((items_table(result.probe), sample.dataset, sample.id), {})
            if not _shows(sample, item):
                found.problems.append(f"{result.probe}: sample {sample.id}: not what its item says")
    found.checked["samples"] = sum(len(result.samples) for result in record.every_result)


def _shows(sample: Sample, item: Row) -> bool:
    """Whether a sample shows the texts and the numbers of its item."""
    answers, values = item.get("answers"), item.get("values")
    if not isinstance(answers, dict) or not isinstance(values, dict):
        return False
    same_text = sample.prompt == item.get("text") and sample.answer in answers.values()
    same_tokens = sample.tokens is None or _has_tokens(item, sample.tokens)
    return same_text and same_tokens and all(values.get(name) == value for name, value in sample.values.items())


def _has_tokens(item: Row, shown: TokenScores) -> bool:
    """Whether an item's row holds these scores and texts of its tokens."""
    stored = item.get("tokens")
    told = {"scores": list(shown.scores), "texts": list(shown.texts)}
    return isinstance(stored, dict) and stored.get(shown.detector) == told


def _stored_whole(text: str, redaction: str) -> bool:
    return redaction == "full" or (redaction == "excerpt" and len(text) <= EXCERPT)


def _place(at: Mapping[str, Scalar]) -> str:
    return f"[{','.join(f'{key}={value}' for key, value in sorted(at.items()))}]" if at else ""


def _shown(number: float | None) -> str:
    return "nothing" if number is None else f"{number:.6g}"
