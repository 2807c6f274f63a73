"""The page of many audits: the runs as a table, and one small chart for each bar over time. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from auditor.findings.history import History, Past, Point, Tracked
from auditor.findings.record import Status
from auditor.report import html, svg
from auditor.report.numbers import bar, date, number
from auditor.report.text import DASH
from auditor.report.words import STATUS, VERDICT, Sign, named

_SHAPES: dict[Status, int] = {"met": 0, "not_met": 3, "undecided": 1}
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 320.0, 44.0, 310.0, 12.0, 120.0
_FROM_0_TO_1 = ("share", "AUROC", "p")


@dataclass(frozen=True)
class Multiple:
    """One measurement over time."""

    anchor: str
    title: str
    bar: str
    severity: str
    chart: Markup
    cells: tuple[tuple[Past, Point | None], ...]
    tracked: Tracked

    def value(self, point: Point | None) -> str:
        """The measured value with its interval."""
        if point is None or point.value is None:
            return DASH
        told = number(point.value, self.tracked.unit)
        if point.low is None or point.high is None or point.low == point.high:
            return told
        return f"{told} ({number(point.low, self.tracked.unit)} to {number(point.high, self.tracked.unit)})"

    def sign(self, point: Point | None) -> Sign:
        """What it came to; a dash where that audit did not ask."""
        return STATUS[point.status] if point else Sign("◌", "not asked", "none")


@dataclass(frozen=True)
class Page:
    """What the page shows."""

    history: History
    multiples: tuple[Multiple, ...]

    def sign(self, past: Past) -> Sign:
        """The verdict of one audit; that nothing was measured is said first."""
        return verdict(past)


def verdict(past: Past) -> Sign:
    """Mark and word of an audit's verdict."""
    return Sign("◌", "NOTHING MEASURED", "none") if past.exit_code == 5 else VERDICT[past.verdict]


def render(history: History) -> str:
    """The history as one HTML file: the same history gives the same text."""
    multiples = tuple(_multiple(history, tracked, i) for i, tracked in enumerate(history.tracked, 1))
    return html.filled("history.html.j2", Page(history, multiples))


def _multiple(history: History, tracked: Tracked, i: int) -> Multiple:
    cells = tuple((past, past.points.get(tracked.id)) for past in history.audits)
    return Multiple(
        anchor=f"m-{i}",
        title=named(tracked.plain, tracked.id),
        bar=bar(tracked.criterion, tracked.unit),
        severity=tracked.severity,
        chart=drawn(tracked, cells, f"trend-{i}"),
        cells=cells,
        tracked=tracked,
    )


def drawn(tracked: Tracked, cells: Sequence[tuple[Past, Point | None]], key: str) -> Markup:
    """One measurement over the audits, oldest left; a line joins neighbours that asked the same."""
    low, high = _domain(tracked, cells)
    places = [_x(i, len(cells)) for i in range(len(cells))]

    def y(value: float) -> float:
        return _BOTTOM - (min(max(value, low), high) - low) / (high - low) * (_BOTTOM - _TOP)

    body: list[Markup] = []
    for tick in svg.ticks(low, high, 4):
        body.append(svg.line((_LEFT, y(tick)), (_RIGHT, y(tick)), "grid"))
        body.append(svg.text(_LEFT - 5, y(tick) + 4, _short(tick, tracked), anchor="end", colour="muted", font_size=11))
    for limit in (tracked.criterion.at_least, tracked.criterion.at_most):
        if limit is not None:
            body.append(svg.line((_LEFT, y(limit)), (_RIGHT, y(limit)), "ink", width=1.5, dash="5 3"))
    for i, j in pairwise(range(len(cells))):
        ends = [(cells[k][1], cells[k][0].question, places[k]) for k in (i, j)]
        (first, asked, x1), (second, then, x2) = ends
        if first and second and first.value is not None and second.value is not None and asked == then:
            body.append(svg.line((x1, y(first.value)), (x2, y(second.value)), "muted", width=1.2))
    for (_, point), x in zip(cells, places, strict=True):
        if point and point.value is not None:
            body += _mark(point, x, y(point.value), [y(v) for v in (point.low, point.high) if v is not None])
    body.append(svg.line((_LEFT, _BOTTOM), (_RIGHT, _BOTTOM), "line"))
    body += _dates(cells)
    desc = "; ".join(_told(past, point, tracked) for past, point in cells)
    title = f"{named(tracked.plain, tracked.id)} over {len(cells)} audits"
    return svg.drawing(key, _WIDTH, _BOTTOM + 24, title=title, desc=desc, body=body)


def _mark(point: Point, x: float, y: float, bounds: Sequence[float]) -> Iterator[Markup]:
    tone = STATUS[point.status].tone
    if len(bounds) == 2 and bounds[0] != bounds[1]:
        yield svg.line((x, bounds[0]), (x, bounds[1]), tone, width=1.5)
    hollow = point.status == "undecided"
    yield svg.marker(_SHAPES.get(point.status, 0), x, y, tone, size=4, hollow=hollow)


def _dates(cells: Sequence[tuple[Past, Point | None]]) -> Iterator[Markup]:
    first, last = (date(cells[i][0].finished)[:16] for i in (0, -1))
    yield svg.text(_LEFT, _BOTTOM + 16, first, colour="muted", font_size=11)
    if len(cells) > 1:
        yield svg.text(_RIGHT, _BOTTOM + 16, last, anchor="end", colour="muted", font_size=11)


def _told(past: Past, point: Point | None, tracked: Tracked) -> str:
    value = DASH if point is None else number(point.value, tracked.unit)
    return f"{date(past.finished)}: {value}, {STATUS[point.status].word if point else 'not asked'}"


def _short(value: float, tracked: Tracked) -> str:
    return number(value, tracked.unit).replace("points", "").strip()


def _x(i: int, n: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (i + 0.5) / n


def _domain(tracked: Tracked, cells: Sequence[tuple[Past, Point | None]]) -> tuple[float, float]:
    if tracked.unit in _FROM_0_TO_1:
        return 0.0, 1.0
    points = [point for _, point in cells if point]
    found = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    found += [v for v in (tracked.criterion.at_least, tracked.criterion.at_most, 0.0) if v is not None]
    room = (max(found) - min(found)) * 0.08 or 0.5
    return min(found) - room, max(found) + room
