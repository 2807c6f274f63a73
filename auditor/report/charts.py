"""Charts of measurements as SVG: a line over layers with its band, a table of numbers as a heat map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from markupsafe import Markup

from auditor.measure.intervals import Estimate
from auditor.measure.measurement import HeatMap, LineChart, Series
from auditor.report import svg
from auditor.report.forest import forest
from auditor.report.frame import Frame, curve, legend, series_colour
from auditor.report.numbers import plain, tick
from auditor.report.roc import STEPS, found, one_percent, roc
from auditor.report.text import DASH, words

Place = TypeVar("Place", bound=tuple[float, ...])

__all__ = ["STEPS", "forest", "found", "heat", "line", "one_percent", "roc"]


def line(chart: LineChart, key: str, *, narrow: bool = False) -> Markup:
    """Series over an ordered axis, each with its band, markers of its own shape and the chosen point ringed."""
    width = 320.0 if narrow else 720.0
    names, used = legend([one.name for one in chart.series], width)
    label = "".join(svg.wrap(f"↑ {chart.y_label}", width / 2, size=12, lines=1))
    names.append(svg.text(0, used + 12, label, colour="muted", font_size=12))
    top = 22.0 + used
    bottom = top + (200.0 if narrow else 250.0)
    frame = Frame(44, top, width - 10, bottom, _range(chart.x, 0.0), _y_range(chart))
    body = [*names, *_axes(chart, frame, narrow)]
    for i, series in enumerate(chart.series):
        body += _band(chart.x, series, frame, i)
    for i, series in enumerate(chart.series):
        body += _curve(chart.x, series, frame, i)
    desc = f"{chart.caption} {' '.join(_told(chart, series) for series in chart.series)}"
    return svg.drawing(key, width, bottom + 44, title=chart.title, desc=desc, body=body)


def _told(chart: LineChart, series: Series) -> str:
    known = [(y, x) for x, y in zip(chart.x, series.y, strict=False) if y is not None]
    if not known:
        return f"{words(series.name)}: no values."
    (least, at_least), (most, at_most) = min(known), max(known)
    told = f"{words(series.name)}: from {tick(least)} at {plain(at_least)} to {tick(most)} at {plain(at_most)}"
    if series.chosen is not None:
        told += f", chosen {plain(chart.x[series.chosen])}"
    return f"{told}."


def _axes(chart: LineChart, frame: Frame, narrow: bool) -> Iterator[Markup]:
    marks = svg.ticks(*frame.y_range, 6)
    for at, label in zip(marks, svg.aligned(marks), strict=True):
        y = frame.y(at)
        yield svg.line((frame.left, y), (frame.right, y), "grid")
        yield svg.text(frame.left - 6, y + 4, label, anchor="end", colour="muted", font_size=12)
    yield svg.line((frame.left, frame.bottom), (frame.right, frame.bottom), "line")
    whole = all(float(x).is_integer() for x in chart.x)
    for at in svg.ticks(*frame.x_range, 6 if narrow else 11, whole=whole):
        x = frame.x(at)
        yield svg.line((x, frame.bottom), (x, frame.bottom + 4), "line")
        yield svg.text(x, frame.bottom + 17, plain(at), anchor="middle", colour="muted", font_size=12)
    middle = (frame.left + frame.right) / 2
    label = "".join(svg.wrap(f"{chart.x_label} →", frame.right - frame.left, lines=1))
    yield svg.text(middle, frame.bottom + 34, label, anchor="middle", colour="muted", font_size=12)
    if chart.reference is not None:
        y = frame.y(chart.reference)
        yield svg.line((frame.left, y), (frame.right, y), "ink", width=1.2, dash="2 4")


def _band(xs: Sequence[float], series: Series, frame: Frame, i: int) -> Iterator[Markup]:
    bounds = list(zip(xs, series.low, series.high, strict=False))
    for run in _runs([None if lo is None or hi is None else (x, lo, hi) for x, lo, hi in bounds]):
        if len(run) < 2:
            continue
        upper = [(frame.x(x), frame.y(hi)) for x, _, hi in run]
        lower = [(frame.x(x), frame.y(lo)) for x, lo, _ in reversed(run)]
        points = " ".join(f"{svg.trimmed(x)},{svg.trimmed(y)}" for x, y in [*upper, *lower])
        colour = series_colour(i)
        yield svg.element(
            "polygon",
            {"points": points, "class": f"f-{colour}", "fill": svg.COLOURS[colour], "fill-opacity": "0.13"},
        )


def _curve(xs: Sequence[float], series: Series, frame: Frame, i: int) -> Iterator[Markup]:
    colour = series_colour(i)
    values = [None if y is None else (frame.x(x), frame.y(y)) for x, y in zip(xs, series.y, strict=False)]
    for run in _runs(values):
        if len(run) > 1:
            yield curve(run, i)
    every = max(1, len(values) // 12)
    for n, point in enumerate(values):
        if point and (n % every == 0 or n == series.chosen):
            yield svg.marker(i, *point, colour, size=3.5)
    if series.chosen is not None and (point := values[series.chosen]):
        ring: dict[str, object] = {"cx": point[0], "cy": point[1], "r": 8.5, "fill": "none", "class": "l-ink"}
        yield svg.element("circle", ring | {"stroke": svg.COLOURS["ink"], "stroke-width": 1.5})


def _runs(values: Sequence[Place | None]) -> list[list[Place]]:
    runs: list[list[Place]] = [[]]
    for value in values:
        if value is None:
            runs.append([])
        else:
            runs[-1].append(value)
    return [run for run in runs if run]


def _range(values: Sequence[float | None], margin: float) -> tuple[float, float]:
    known = [v for v in values if v is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = (high - low) * margin or (0.5 if low == high else 0.0)
    return low - room, high + room


def _y_range(chart: LineChart) -> tuple[float, float]:
    values = [v for s in chart.series for v in (*s.y, *s.low, *s.high)]
    low, high = _range([*values, chart.reference], 0.06)
    return (max(low, 0.0), min(high, 1.0)) if _bounded(values) else (low, high)


def _bounded(values: Sequence[float | None]) -> bool:
    return all(v is None or 0 <= v <= 1 for v in values)


def heat(chart: HeatMap, key: str) -> Markup:
    """Values over two lists of names, from below to above one half, with the number in every cell.

    A cell whose whole interval lies below one half points the wrong way and is flagged with ▼.
    """
    side = min(190.0, max((svg.text_width(words(r)) for r in chart.rows), default=40.0) + 12)
    cell = 94.0
    width = max(side + cell * len(chart.columns) + 2, 320.0)
    heads = [svg.wrap(words(c), cell - 6, size=12, lines=3) for c in chart.columns]
    top = 22.0 + 15 * max((len(h) for h in heads), default=1) + 6
    across = "".join(svg.wrap(f"{chart.column_label} →", width - side, size=12, lines=1))
    down = "".join(svg.wrap(f"{chart.row_label} ↓", max(side, 80), size=12, lines=1))
    body = [svg.text(side, 14, across, colour="muted", font_size=12)]
    body.append(svg.text(0, top - 8, down, colour="muted", font_size=12))
    for j, head in enumerate(heads):
        for k, part in enumerate(head):
            y = top - 8 - 15 * (len(head) - 1 - k)
            body.append(svg.text(side + cell * (j + 0.5), y, part, anchor="middle", font_size=12))
    for i, row in enumerate(chart.rows):
        name = svg.wrap(words(row), side - 10, lines=2)
        for k, part in enumerate(name):
            body.append(svg.text(0, top + 44 * i + 26 - 8 * (len(name) - 1) + 16 * k, part))
        for j, estimate in enumerate(chart.cells[i]):
            body += _cell(estimate, side + cell * j, top + 44 * i, cell)
    return svg.drawing(key, width, top + 44 * len(chart.rows) + 2, title=chart.title, desc=chart.caption, body=body)


def flipped(estimate: Estimate | None) -> bool:
    """Whether the whole interval lies below one half: the score points the wrong way."""
    return estimate is not None and estimate.high is not None and estimate.high < 0.5


def _cell(estimate: Estimate | None, x: float, y: float, width: float) -> Iterator[Markup]:
    value = estimate.value if estimate else None
    fill, ink = _shade(value)
    box: dict[str, object] = {"x": x, "y": y, "width": width - 2, "height": 42.0, "fill": fill}
    yield svg.element("rect", box)
    label = DASH if value is None else tick(value) + (" ▼" if flipped(estimate) else "")
    at: dict[str, object] = {"x": x + width / 2 - 1, "y": y + 26, "text-anchor": "middle", "fill": ink}
    yield svg.element("text", at | {"font-weight": 600}, label)


def _shade(value: float | None) -> tuple[str, str]:
    """Fill and ink: from vermillion over white at one half to blue, so that greyscale still shows distance."""
    if value is None:
        return "#eceff2", "#000000"
    end = (0, 84, 140) if value >= 0.5 else (166, 60, 6)
    share = min(1.0, abs(value - 0.5) * 2)
    fill = [round(255 + (c - 255) * share) for c in end]
    red, green, blue = (((c / 255 + 0.055) / 1.055) ** 2.4 for c in fill)
    # Where black and white contrast equally with a ground of this luminance (WCAG 2.2).
    dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179
    return f"#{fill[0]:02x}{fill[1]:02x}{fill[2]:02x}", "#ffffff" if dark else "#000000"
