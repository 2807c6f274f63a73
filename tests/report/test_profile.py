"""What was measured in many places is a table on screen and running text on paper, whole in both."""

from __future__ import annotations

import pytest

from auditor.findings.record import AuditRecord
from auditor.measure.measurement import LineChart, Measurement, Series
from auditor.report import html, profile
from auditor.report.details import FEW, FEW_ON_PAPER, point
from tests.report.pages import Node, changed, read, record

LAYERS = 20


def measured() -> list[Measurement]:
    """One number at twenty layers for two recipes, one of them with fewer items at the last layer."""
    (base,) = [m for m in record().results[1].measurements if m.name == "truth_auroc"]
    found = [
        base.model_copy(update={"at": {"layer": layer, "recipe": recipe}, "role": "alternative"})
        for recipe in ("lat_way", "ccs")
        for layer in range(LAYERS)
    ]
    fewer = found[-1].estimate.model_copy(update={"n": 7, "value": None, "low": None, "high": None})
    return [*found[:-1], found[-1].model_copy(update={"estimate": fewer, "note": "too few"})]


def profiled() -> AuditRecord:
    first, second = record().results
    return changed(results=[first, second.model_copy(update={"measurements": tuple(measured())})])


def test_what_differs_in_one_key_is_one_run_and_nothing_is_lost() -> None:
    first, second, apart = profile.runs(measured())
    n = f"n = {measured()[0].estimate.n} groups".replace(" ", "\xa0", 2)
    assert first.head == f"recipe lat_way, other method, {n}"
    assert [len(run.points) for run in (first, second, apart)] == [LAYERS, LAYERS - 1, 1]
    assert [point.partition(":")[0] for point in first.points] == [f"layer {layer}" for layer in range(LAYERS)]
    assert first.points[3] == "layer 3: 0.91 (0.85 to 0.95)"
    assert apart.head.endswith("too few")
    assert apart.points == (f"layer {LAYERS - 1}: –",)


def test_measurements_without_a_place_are_one_run() -> None:
    bare = [m.model_copy(update={"at": {}}) for m in measured()[:3]]
    (run,) = profile.runs(bare)
    assert run.points == ("0.91 (0.85 to 0.95)",) * 3
    assert profile.runs([]) == ()


def told(page: Node, title: str) -> list[str]:
    """The running text under the titles that end so."""
    behind = [fold for fold in page.all("details") if next(fold.all("summary")).text.endswith(title)]
    return [run.text for fold in behind for run in fold.all("p", class_="run")]


def test_paper_has_lines_and_the_screen_a_table_of_the_same_numbers() -> None:
    assert len(measured()) > FEW
    paper, screen = read(html.markup(profiled(), "pdf")), read(html.markup(profiled(), "html"))
    assert len(told(paper, "numbers")) == 3
    assert not list(paper.all("table", class_="profile"))
    assert len(list(screen.one("table", class_="profile").one("tbody").all("tr"))) == len(measured())
    assert not list(screen.all("p", class_="run"))
    assert paper.text.count("0.91 (0.85 to 0.95)") >= len(measured()) - 1


@pytest.mark.parametrize(("many", "runs"), [(FEW_ON_PAPER, 0), (FEW_ON_PAPER + 1, 1)])
def test_paper_has_a_row_for_each_of_a_few_places(many: int, runs: int) -> None:
    first, second = record().results
    of = changed(results=[first, second.model_copy(update={"measurements": tuple(measured()[:many])})])
    paper = read(html.markup(of, "pdf"))
    rows = [row for table in paper.all("table", class_="measurements") for row in table.one("tbody").all("tr")]
    taken = len(first.measurements) + (0 if runs else many)
    assert len(rows) == taken
    assert len(told(paper, "numbers")) == runs


def test_paper_tells_every_point_of_a_long_line_and_the_screen_tabulates_it() -> None:
    (chart,) = [chart for chart in record().results[1].charts if isinstance(chart, LineChart)]
    assert len(chart.x) > FEW
    runs = told(read(html.markup(record(), "pdf")), "The numbers in this chart")
    assert len(runs) == len(chart.series)
    for run, series in zip(runs, chart.series, strict=True):
        assert [run.count(f"{x:.0f}: {point(series, i)}") for i, x in enumerate(chart.x)] == [1] * len(chart.x)
    short = LineChart.model_validate(
        chart.model_dump() | {"x": chart.x[:FEW], "series": [_cut(s) for s in chart.series]}
    )
    first, second = record().results
    of = changed(results=[first, second.model_copy(update={"charts": (short,)})])
    assert not told(read(html.markup(of, "pdf")), "The numbers in this chart")
    assert not told(read(html.markup(record(), "html")), "The numbers in this chart")


def _cut(series: Series) -> Series:
    return series.model_copy(
        update={key: getattr(series, key)[:FEW] for key in ("y", "low", "high")} | {"chosen": None}
    )
