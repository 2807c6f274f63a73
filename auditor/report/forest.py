"""The chart of page one: every declared bar as a line, what was measured against it, its status in mark and word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditor.findings.record import Finding
from auditor.measure.measurement import Unit
from auditor.report import svg
from auditor.report.numbers import bar, bar_of, digits_of, held, interval, number
from auditor.report.text import DASH
from auditor.report.words import STATUS, title

_SHAPES = {"met": 0, "not_met": 3, "undecided": 1}
_HOLLOW = ("undecided",)
_PANELS: tuple[tuple[str, tuple[Unit | None, ...]], ...] = (
    ("share of items", ("share",)),
    ("difference in points", ("difference of shares",)),
    ("from 0 to 1", ("AUROC", "p")),
    ("difference", ("difference of AUROC", "logit", "logit per coefficient", "nats", "ratio", "coefficient")),
    ("no unit", (None,)),
)


@dataclass(frozen=True)
class _Layout:
    """Where the columns of one width lie, in user units."""

    width: float
    label: float
    """room for the label"""
    left: float
    right: float
    """the strip in which intervals are drawn"""
    status: float
    stacked: bool
    """label and status above the strip, for narrow screens"""


_WIDE = _Layout(width=720, label=232, left=252, right=520, status=538, stacked=False)
_NARROW = _Layout(width=320, label=316, left=10, right=306, status=0, stacked=True)


def forest(findings: Sequence[Finding], key: str, *, narrow: bool = False) -> Markup:
    """Every finding with a bar: estimate and 95 % interval as point and line, the side that meets the bar shaded."""
    layout = _NARROW if narrow else _WIDE
    parts: list[Markup] = []
    y = 4.0
    for axis, units in _PANELS:
        if rows := [f for f in findings if f.unit in units]:
            y, drawn = _panel(rows, layout, y, axis)
            parts += drawn
    told = "; ".join(map(_told, findings))
    name = f"{len(findings)} declared bars and what was measured against each"
    return svg.drawing(key, layout.width, y, title=name, desc=told, body=parts)


def _told(finding: Finding) -> str:
    limit = bar(finding.criterion, finding.unit)
    result = finding.reason if finding.status == "not_measured" else held(finding)
    return f"{title(finding)}: {STATUS[finding.status].word}, {result}, bar {limit}"


def _panel(rows: Sequence[Finding], layout: _Layout, top: float, axis: str) -> tuple[float, list[Markup]]:
    low, high = _domain(rows)
    heights = [_height(row, layout) for row in rows]
    bottom = top + sum(heights)
    marks = [_x(tick, low, high, layout) for tick in svg.ticks(low, high, 5)]
    parts: list[Markup] = []
    y = top
    for row, height in zip(rows, heights, strict=True):
        # On a narrow screen the label stands above its strip: no line may run through it.
        start = y + height - 39 if layout.stacked else y
        parts += [svg.line((x, start), (x, y + height), "grid") for x in marks]
        parts += _row(row, layout, y, height, (low, high))
        y += height
    parts.append(svg.line((layout.left, bottom + 4), (layout.right, bottom + 4), "line"))
    unit = rows[0].unit
    for tick in svg.ticks(low, high, 5):
        x = _x(tick, low, high, layout)
        label = number(tick, unit, 0 if unit in ("share", "difference of shares") else None)
        label = label.replace("points", "").strip()
        parts.append(svg.text(x, bottom + 19, label, anchor="middle", colour="muted", font_size=12))
    if not layout.stacked:
        parts.append(svg.text(0, bottom + 19, axis, colour="muted", font_size=12))
    return bottom + 34, parts


def _height(finding: Finding, layout: _Layout) -> float:
    lines = len(svg.wrap(title(finding), layout.label, lines=3))
    return 16 * lines + 16 + 42 if layout.stacked else max(44, 16 * lines + 12)


def _row(finding: Finding, layout: _Layout, top: float, height: float, domain: tuple[float, float]) -> Iterator[Markup]:
    sign = STATUS[finding.status]
    lines = svg.wrap(title(finding), layout.label, lines=3)
    value = _value(finding)
    if layout.stacked:
        for i, part in enumerate(lines):
            yield svg.text(0, top + 13 + 16 * i, part)
        y = top + 13 + 16 * len(lines)
        status = f"{sign.mark} {sign.word}"
        yield svg.text(0, y, status, colour=sign.tone, font_weight=600)
        yield svg.text(layout.width, y, value, anchor="end", colour="muted")
        yield from _strip(finding, layout, y + 18, domain)
        return
    middle = top + height / 2
    first = middle + 5 - 8 * (len(lines) - 1)
    for i, part in enumerate(lines):
        yield svg.text(0, first + 16 * i, part)
    yield svg.text(layout.status, middle - 3, f"{sign.mark} {sign.word}", colour=sign.tone, font_weight=600)
    yield svg.text(layout.status, middle + 13, value, colour="muted")
    yield from _strip(finding, layout, middle, domain)


def _value(finding: Finding) -> str:
    if finding.status == "not_measured" or finding.estimate is None or finding.estimate.value is None:
        return f"bar: {bar(finding.criterion, finding.unit)}"
    digits = digits_of(finding)
    told = number(finding.estimate.value, finding.unit, digits)
    between = interval(finding.estimate, finding.unit, digits)
    return told if between == DASH else f"{told} ({between})"


def _strip(finding: Finding, layout: _Layout, y: float, domain: tuple[float, float]) -> Iterator[Markup]:
    low, high = domain
    criterion, estimate = finding.criterion, finding.estimate
    start = layout.left if criterion.at_least is None else _x(criterion.at_least, low, high, layout)
    end = layout.right if criterion.at_most is None else _x(criterion.at_most, low, high, layout)
    yield svg.rect(start, y - 11, max(0.0, end - start), 22, "meets")
    for limit in (criterion.at_least, criterion.at_most):
        if limit is not None:
            x = _x(limit, low, high, layout)
            yield svg.line((x, y - 14), (x, y + 14), "ink", width=2)
    if finding.status == "not_measured" or estimate is None or estimate.value is None:
        return
    tone = STATUS[finding.status].tone
    if estimate.low is not None and estimate.high is not None:
        left, right = _x(estimate.low, low, high, layout), _x(estimate.high, low, high, layout)
        yield svg.line((left, y), (right, y), tone, width=2.5)
        for x in (left, right):
            yield svg.line((x, y - 4), (x, y + 4), tone, width=1.5)
    x = _x(estimate.value, low, high, layout)
    yield svg.marker(_SHAPES.get(finding.status, 0), x, y, tone, size=5, hollow=finding.status in _HOLLOW)


def _x(value: float, low: float, high: float, layout: _Layout) -> float:
    share = (min(max(value, low), high) - low) / (high - low)
    return layout.left + share * (layout.right - layout.left)


def _domain(rows: Sequence[Finding]) -> tuple[float, float]:
    if all(row.unit in ("share", "AUROC", "p") for row in rows):
        return 0.0, 1.0
    known = [v for row in rows for v in (bar_of(row), *_numbers(row)) if v is not None]
    reach = max((abs(v) for v in known), default=1.0) or 1.0
    nice = next((n for n in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100) if reach <= n), reach)
    return (-nice if min(known, default=0) < 0 or rows[0].unit is not None else 0.0), nice


def _numbers(finding: Finding) -> tuple[float | None, ...]:
    e = finding.estimate
    return (e.value, e.low, e.high) if e else ()
