"""ROC curves as SVG: what each detector finds for what it flags falsely, with the point at 1 % of named negatives."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from auditor.measure.intervals import MIN_NEGATIVES
from auditor.measure.measurement import RocChart, RocSeries
from auditor.report import svg
from auditor.report.frame import Frame, curve, legend, series_colour
from auditor.report.numbers import sentence, tick
from auditor.report.text import capital, words

_GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = tuple(i / 10 for i in range(11))
"""shares of negatives at which the table reads the curves"""


def roc(chart: RocChart, key: str, *, narrow: bool = False) -> Markup:
    """A curve for each detector; the diagonal is chance, a ringed marker the 1 % point."""
    width = 320.0 if narrow else 460.0
    body, used = legend([one.name for one in chart.series], width)
    body.append(svg.text(0, used + 12, "↑ positives found", colour="muted", font_size=12))
    top = 22.0 + used
    bottom = top + 0.75 * width
    frame = Frame(44, top, width - 14, bottom, (0.0, 1.0), (0.0, 1.0))
    body += _axes(frame)
    for i, series in enumerate(chart.series):
        body += _curve(series, frame, i)
    for i, series in enumerate(chart.series):
        body += _point(series, frame, i)
    told = " ".join(
        f"{capital(words(s.name))}: AUROC {tick(s.auroc.value)}. {one_percent(s, chart)}" for s in chart.series
    )
    return svg.drawing(key, width, bottom + 44, title=chart.title, desc=f"{chart.caption} {told}", body=body)


def one_percent(series: RocSeries, chart: RocChart) -> str:
    """The 1 % point in words; where it is not measured, what it would need."""
    if series.recall.value is None:
        return f"The 1 % point needs {MIN_NEGATIVES} negatives; has {series.negatives}."
    return (
        f"The 1 % point, the threshold that 1 % of {series.negatives} {chart.named} pass, finds "
        f"{sentence(series.recall, 'share')}; of the negatives here it flags {sentence(series.flagged, 'share')}."
    )


def found(series: RocSeries, fpr: float) -> float | None:
    """The share of positives that is found where at most `fpr` of the negatives are flagged."""
    return max((t for f, t in zip(series.fpr, series.tpr, strict=True) if f <= fpr), default=None)


def _axes(frame: Frame) -> Iterator[Markup]:
    for share, label in zip(_GRID, svg.aligned(_GRID), strict=True):
        x, y = frame.x(share), frame.y(share)
        yield svg.line((frame.left, y), (frame.right, y), "grid")
        yield svg.line((x, frame.top), (x, frame.bottom), "grid")
        yield svg.text(frame.left - 6, y + 4, label, anchor="end", colour="muted", font_size=12)
        yield svg.text(x, frame.bottom + 17, label, anchor="middle", colour="muted", font_size=12)
    middle = (frame.left + frame.right) / 2
    yield svg.text(middle, frame.bottom + 34, "negatives flagged →", anchor="middle", colour="muted", font_size=12)
    yield svg.line((frame.left, frame.bottom), (frame.right, frame.top), "ink", width=1.2, dash="2 4")


def _curve(series: RocSeries, frame: Frame, i: int) -> Iterator[Markup]:
    corners = [(frame.x(f), frame.y(t)) for f, t in zip(series.fpr, series.tpr, strict=True)]
    if corners:
        yield curve(corners, i)


def _point(series: RocSeries, frame: Frame, i: int) -> Iterator[Markup]:
    found_there, flagged = series.recall.value, series.flagged.value
    if found_there is None or flagged is None:
        return
    x, y = frame.x(flagged), frame.y(found_there)
    yield svg.marker(i, x, y, series_colour(i))
    ring: dict[str, object] = {"cx": x, "cy": y, "r": 8.5, "fill": "none", "class": "l-ink"}
    yield svg.element("circle", ring | {"stroke": svg.COLOURS["ink"], "stroke-width": 1.5})
