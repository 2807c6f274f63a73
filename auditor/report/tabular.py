"""One record as CSV that a data frame reads in one call: measurements, or findings, one row each.

Unknown is an empty cell. A text that a spreadsheet would take for a formula has an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from auditor.findings.record import AuditRecord
from auditor.measure.intervals import Estimate
from auditor.report.cases import cases
from auditor.report.text import visible

_FORMULA = ("=", "+", "-", "@", "\t")
_ESTIMATE = ("value", "low", "high", "n", "of", "estimator")


def measurements(record: AuditRecord) -> str:
    """Every measurement of every probe and specification; a column `at.<key>` for each key that tells them apart."""
    found = [(result.probe, m) for result in record.every_result for m in result.measurements]
    keys = sorted({key for _, m in found for key in m.at})
    head = ("probe", "measurement", "role", *_ESTIMATE, "unit", "exploratory", "note", *(f"at.{key}" for key in keys))
    rows = [
        (probe, m.name, m.role, *_numbers(m.estimate), m.unit, m.exploratory, m.note, *_values(m.at, keys))
        for probe, m in found
    ]
    return _table(head, rows)


def findings(record: AuditRecord) -> str:
    """Every criterion with its bar and what became of it, those that are not applicable too."""
    head = ("id", "rule", "probe", "measurement", "status", "severity", *_ESTIMATE, "unit", "at_least", "at_most")
    rows = []
    for case in cases(record):
        criterion, finding = case.criterion, case.finding
        names = (case.trace.id, case.trace.rule, case.trace.probe, criterion.measurement)
        numbers = _numbers(finding.estimate if finding else None)
        bars = (case.unit, criterion.at_least, criterion.at_most, criterion.min_n)
        told = (finding.evidence if finding else None, finding.scope if finding else None, case.told)
        place = (case.trace.file, case.trace.line, case.trace.fingerprint)
        rows.append((*names, case.outcome, criterion.severity, *numbers, *bars, *told, *place))
    return _table((*head, "min_n", "evidence", "scope", "told", "file", "line", "fingerprint"), rows)


def _numbers(estimate: Estimate | None) -> tuple[object, ...]:
    return tuple(getattr(estimate, name, None) for name in _ESTIMATE)


def _values(at: Mapping[str, object], keys: Sequence[str]) -> tuple[object, ...]:
    return tuple(at.get(key) for key in keys)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in head])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """A number as it is; a text without hidden characters, and not a formula."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
