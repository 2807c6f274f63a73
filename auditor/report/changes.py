"""A comparison as rows of text, as a chart and as one self-contained page. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditor.config import Severity
from auditor.findings.comparison import Audited, Comparison, Difference, Outcome
from auditor.measure.changes import Method
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import Unit
from auditor.report import html, svg
from auditor.report.numbers import number
from auditor.report.text import DASH
from auditor.report.words import VERDICT, Sign, named

SIGN: dict[Outcome, Sign] = {
    "worse": Sign("✕", "worse", "bad"),
    "better": Sign("✓", "better", "good"),
    "changed": Sign("◇", "changed", "open"),
    "no change shown": Sign("◐", "no change shown", "none"),
    "not tested": Sign("◌", "not tested", "none"),
}
_METHOD: dict[Method, str] = {
    "exact McNemar": "exact McNemar test, same items",
    "Fisher": "Fisher's exact test, different items",
    "sign flips": "sign flips of whole groups, same items",
    "paired interval": "bootstrap over groups, same items",
    "interval": "from the two intervals, as if independent",
}
_OF_CHANGE: dict[Unit | None, Unit] = {"share": "difference of shares", "AUROC": "difference of AUROC"}


@dataclass(frozen=True)
class Row:
    """One difference in words."""

    title: str
    severity: Severity
    before: str
    after: str
    change: str
    interval: str
    p: str
    sign: Sign
    how: str
    """the test, or why there is none"""
    difference: Difference


@dataclass(frozen=True)
class Page:
    """What the page of a comparison shows."""

    comparison: Comparison
    rows: tuple[Row, ...]
    chart: Markup | None
    counts: tuple[tuple[Sign, int], ...]

    def sign(self, side: Audited) -> Sign:
        """The verdict of one side."""
        return VERDICT[side.verdict]


def render(comparison: Comparison) -> str:
    """The comparison as one HTML file: the same comparison gives the same text."""
    found = rows(comparison)
    tested = [row for row in found if row.difference.low is not None]
    counts = tuple((sign, sum(row.sign is sign for row in found)) for sign in SIGN.values())
    chart = drawn(tested) if tested else None
    return html.filled("comparison.html.j2", Page(comparison, found, chart, counts))


def rows(comparison: Comparison) -> tuple[Row, ...]:
    """The differences in words: those that count first, else in the order of the record."""
    weight = list(SIGN)
    ordered = sorted(comparison.differences, key=lambda d: weight.index(d.outcome))
    return tuple(_row(difference) for difference in ordered)


def _row(d: Difference) -> Row:
    unit = _OF_CHANGE.get(d.unit, d.unit)
    known = d.low is not None and d.high is not None
    return Row(
        title=named(d.plain, d.id),
        severity=d.severity,
        before=_value(d.before, d.status_before, d.unit),
        after=_value(d.after, d.status_after, d.unit),
        change=_signed(d.change, unit),
        interval=f"{_signed(d.low, unit)} to {_signed(d.high, unit)}" if known else DASH,
        p=number(d.p_holm, "p"),
        sign=SIGN[d.outcome],
        how=_METHOD[d.method] if d.method else d.reason,
        difference=d,
    )


def _value(estimate: Estimate | None, status: str | None, unit: Unit | None) -> str:
    return DASH if estimate is None or status == "not_measured" else number(estimate.value, unit)


def _signed(value: float | None, unit: Unit | None) -> str:
    told = number(value, unit)
    return f"+{told}" if value is not None and value > 0 and unit not in _OF_CHANGE.values() else told


# the chart: no change as an upright line, each difference as a point with its interval

_WIDTH, _LEFT, _RIGHT, _HIGH = 720.0, 300.0, 700.0, 58.0


def drawn(tested: Sequence[Row]) -> Markup:
    """Every tested difference with its interval, one strip for each unit; those beyond chance are filled."""
    parts: list[Markup] = []
    y = 8.0
    units = list(dict.fromkeys(_OF_CHANGE.get(row.difference.unit, row.difference.unit) for row in tested))
    for unit in units:
        group = [row for row in tested if _OF_CHANGE.get(row.difference.unit, row.difference.unit) == unit]
        parts += _panel(group, unit, y)
        y += _HIGH * len(group) + 44
    told = "; ".join(f"{row.title}: {row.change}, interval {row.interval}, {row.sign.word}" for row in tested)
    return svg.drawing("changes", _WIDTH, y, title=f"{len(tested)} tested differences", desc=told, body=parts)


def _panel(group: Sequence[Row], unit: Unit | None, top: float) -> Iterator[Markup]:
    bounds = [b for row in group for b in (row.difference.low, row.difference.high, row.difference.change)]
    reach = max(abs(b) for b in bounds if b is not None) * 1.05 or 1.0
    bottom = top + _HIGH * len(group)
    for tick in svg.ticks(-reach, reach, 5):
        x = _x(tick, reach)
        yield svg.line((x, top), (x, bottom), "ink" if tick == 0 else "grid", width=1.5 if tick == 0 else 1)
        yield svg.text(x, bottom + 17, _signed(tick, unit), anchor="middle", colour="muted", font_size=12)
    yield svg.line((_LEFT, bottom), (_RIGHT, bottom), "line")
    for i, row in enumerate(group):
        yield from _strip(row, reach, top + _HIGH * (i + 0.5))


def _strip(row: Row, reach: float, y: float) -> Iterator[Markup]:
    lines = svg.wrap(row.title, _LEFT - 20, lines=2)
    for i, part in enumerate(lines):
        yield svg.text(0, y - 3 - 16 * (len(lines) - 1) / 2 + 16 * i, part)
    said = f"{row.sign.mark} {row.sign.word}"
    yield svg.text(0, y + 13 + 16 * (len(lines) - 1) / 2, said, colour=row.sign.tone, font_weight=600, font_size=12)
    d = row.difference
    if d.low is None or d.high is None or d.change is None:
        return
    yield svg.line((_x(d.low, reach), y), (_x(d.high, reach), y), row.sign.tone, width=2.5)
    for x in (_x(d.low, reach), _x(d.high, reach)):
        yield svg.line((x, y - 4), (x, y + 4), row.sign.tone, width=1.5)
    shape = {"worse": 3, "better": 2}.get(d.outcome, 0)
    hollow = d.outcome == "no change shown"
    yield svg.marker(shape, _x(d.change, reach), y, row.sign.tone, size=5, hollow=hollow)


def _x(value: float, reach: float) -> float:
    share = (min(max(value, -reach), reach) + reach) / (2 * reach)
    return _LEFT + share * (_RIGHT - _LEFT)
