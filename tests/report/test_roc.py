"""A ROC chart draws what is stored, and has its 1 % point only where enough named negatives set the threshold."""

from __future__ import annotations

from itertools import pairwise

import pytest

from auditor.measure.measurement import RocChart
from auditor.report import charts
from tests.report.pages import page, record
from tests.report.test_report_charts import NS, parsed

(CHART,) = [c for result in record().results for c in result.charts if isinstance(c, RocChart)]


@pytest.mark.parametrize("narrow", [False, True])
def test_each_curve_runs_from_nothing_to_everything_and_never_back(narrow: bool) -> None:
    drawing = parsed(charts.roc(CHART, "k", narrow=narrow))
    lines = [line.get("points", "").split() for line in drawing.iter(f"{NS}polyline")]
    assert len(lines) == len(CHART.series) == 2
    for points, series in zip(lines, CHART.series, strict=True):
        corners = [tuple(map(float, point.split(","))) for point in points]
        assert len(corners) == len(series.fpr)
        assert corners == sorted(corners, key=lambda corner: (corner[0], -corner[1]))
        assert (series.fpr[0], series.tpr[0], series.fpr[-1], series.tpr[-1]) == (0, 0, 1, 1)
    dashes = {line.get("stroke-dasharray") for line in drawing.iter(f"{NS}polyline")}
    assert len(dashes) == 2


def test_the_one_percent_point_is_drawn_only_where_it_is_measured() -> None:
    drawing = parsed(charts.roc(CHART, "k"))
    rings = [c for c in drawing.iter(f"{NS}circle") if c.get("fill") == "none"]
    assert len(rings) == 1
    measured, lacking = CHART.series
    assert (measured.negatives, lacking.negatives) == (240, 60)
    assert measured.recall.value is not None
    assert lacking.recall.value is None
    desc = drawing.find(f"{NS}desc")
    assert desc is not None
    assert desc.text is not None
    assert "The 1 % point needs 100 negatives; has 60." in desc.text
    assert "the threshold that 1 % of 240 false statements pass, finds" in desc.text


def test_the_point_lies_on_its_curve() -> None:
    series = CHART.series[0]
    x, y = series.flagged.value, series.recall.value
    assert x is not None
    assert y is not None
    steps = pairwise(zip(series.fpr, series.tpr, strict=True))
    on = [(f, t) for (f, t), (g, u) in steps if f <= x <= g and t <= y <= u and (x - f) * (u - t) == (y - t) * (g - f)]
    assert on


def test_the_page_tells_the_curves_without_the_drawing() -> None:
    figure = page().one("figure", class_="roc")
    told = figure.text
    assert "needs 100 negatives; has 60" in told
    table = figure.one("details").one("table")
    rows = {row.one("th").text: [td.text for td in row.all("td")] for row in table.one("tbody").all("tr")}
    assert len(rows) == 12
    assert rows["100 %"] == ["100 %", "100 %"]
    found = [charts.found(series, 0.2) for series in CHART.series]
    assert rows["20 %"] == [charts_number(value) for value in found]


def charts_number(value: float | None) -> str:
    assert value is not None
    return f"{value:.0%}".replace("%", " %")
