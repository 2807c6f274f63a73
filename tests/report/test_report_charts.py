"""Charts show each number where it lies, and say with marks and words what colour alone would say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from auditor.measure.intervals import Estimate
from auditor.measure.measurement import HeatMap, LineChart, Series
from auditor.report import charts, svg
from auditor.report.numbers import bar_of
from auditor.report.words import STATUS
from tests.report.corpus import HOSTILE, LONG
from tests.report.pages import record

NS = "{http://www.w3.org/2000/svg}"
BARS = [f for f in record().findings if bar_of(f) is not None]


def parsed(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def texts(drawing: str) -> list[str]:
    return ["".join(t.itertext()) for t in parsed(drawing).iter(f"{NS}text")]


@pytest.mark.parametrize("narrow", [False, True])
def test_the_forest_names_every_bar_with_its_status_in_mark_and_word(narrow: bool) -> None:
    drawing = charts.forest(BARS, "k", narrow=narrow)
    told = texts(drawing)
    for finding in BARS:
        sign = STATUS[finding.status]
        assert f"{sign.mark} {sign.word}" in told
        assert finding.plain in (parsed(drawing).find(f"{NS}desc").text or "")  # type: ignore[union-attr]
    assert " ".join(told).count("bar:") == 0
    sizes = [float(t.get("font-size", "13")) for t in parsed(drawing).iter(f"{NS}text")]
    assert min(sizes) >= 12


def test_the_estimate_lies_inside_its_interval_and_the_bar_where_it_was_set() -> None:
    drawing = parsed(charts.forest(BARS[:1], "k"))
    point = next(iter(drawing.iter(f"{NS}polygon"))).get("points", "")
    x = sum(float(p.split(",")[0]) for p in point.split()) / 4
    interval = next(line for line in drawing.iter(f"{NS}line") if line.get("stroke-width") == "2.5")
    limit = next(line for line in drawing.iter(f"{NS}line") if line.get("class") == "l-ink")
    assert float(interval.get("x1", "")) < x < float(interval.get("x2", "")) < float(limit.get("x1", ""))
    assert float(limit.get("x1", "")) == pytest.approx(252 + 0.8 * (520 - 252))


def test_what_was_not_measured_has_no_point() -> None:
    unread = BARS[0].model_copy(update={"status": "not_measured"})
    drawing = charts.forest([unread], "k")
    assert "◌ not measured" in texts(drawing)
    assert not list(parsed(drawing).iter(f"{NS}polygon"))
    assert not [line for line in parsed(drawing).iter(f"{NS}line") if line.get("stroke-width") == "2.5"]


def test_a_number_beyond_the_axis_stays_inside_the_drawing() -> None:
    far = BARS[0].estimate.model_copy(update={"value": 9.0, "low": -9.0, "high": 9.0})  # type: ignore[union-attr]
    drawing = parsed(charts.forest([BARS[0].model_copy(update={"estimate": far})], "k"))
    xs = [float(line.get(k, "0")) for line in drawing.iter(f"{NS}line") for k in ("x1", "x2")]
    assert all(0 <= x <= 720 for x in xs)


def profile(**changes: object) -> LineChart:
    y = (0.5, 0.6, None, 0.8, 0.7)
    series = Series(name="mass_mean", y=y, low=(0.4, 0.5, None, 0.7, 0.6), high=(0.6, 0.7, None, 0.9, 0.8), chosen=3)
    chart = LineChart(title="t", caption="c", x_label="layer", y_label="AUROC", x=(0, 1, 2, 3, 4), series=(series,),
                      reference=0.5)  # fmt: skip
    return chart.model_copy(update=changes)


def test_a_line_breaks_where_a_value_is_unknown_and_rings_the_chosen_point() -> None:
    drawing = parsed(charts.line(profile(), "k"))
    assert len(list(drawing.iter(f"{NS}polyline"))) == 2
    assert len([p for p in drawing.iter(f"{NS}polygon") if p.get("fill-opacity")]) == 2
    rings = [c for c in drawing.iter(f"{NS}circle") if c.get("fill") == "none"]
    assert len(rings) == 1
    assert "mass mean" in texts(charts.line(profile(), "k"))
    assert "chosen 3" in (drawing.find(f"{NS}desc").text or "")  # type: ignore[union-attr]


def test_a_line_without_bounds_has_no_band_and_without_choice_no_ring() -> None:
    bare = Series(name="plain", y=(0.5, 0.6, 0.7, 0.8, 0.7))
    drawing = parsed(charts.line(profile(series=(bare,), reference=None), "k"))
    assert not [p for p in drawing.iter(f"{NS}polygon") if p.get("fill-opacity")]
    assert not [c for c in drawing.iter(f"{NS}circle") if c.get("fill") == "none"]


def test_layers_are_whole_numbers_on_the_axis() -> None:
    three = Series(name="a", y=(0.5, 0.6, 0.7))
    told = texts(charts.line(profile(x=(0.0, 1.0, 2.0), series=(three,)), "k"))
    assert {"0", "1", "2"} <= set(told)
    assert "0.2" not in told[:4]
    assert svg.ticks(0, 29, 11, whole=True) == (0, 5, 10, 15, 20, 25)
    assert svg.ticks(0, 1, 5) == (0, 0.25, 0.5, 0.75, 1)
    assert svg.aligned((0.5, 1.0)) == ("0.5", "1.0")


def test_series_differ_in_dash_and_marker_and_not_only_in_colour() -> None:
    many = tuple(Series(name=str(i), y=(0.5, 0.6, 0.7, 0.8, 0.9)) for i in range(svg.SERIES))
    drawing = parsed(charts.line(profile(series=many), "k"))
    dashes = [line.get("stroke-dasharray") for line in drawing.iter(f"{NS}polyline")]
    assert len(set(dashes)) == svg.SERIES


def test_an_empty_profile_is_drawn_without_lines() -> None:
    nothing = Series(name="n", y=(None,) * 5)
    drawing = parsed(charts.line(profile(series=(nothing,), reference=None), "k"))
    assert not list(drawing.iter(f"{NS}polyline"))


def heat(value: float, low: float | None, high: float | None) -> HeatMap:
    cell = Estimate(value=value, low=low, high=high, n=9, of="groups", estimator="auroc")
    return HeatMap(title="t", caption="c", row_label="fitted on", column_label="read on", rows=("a",),
                   columns=("b", "c"), cells=((cell, None),))  # fmt: skip


def test_a_heat_map_has_its_number_in_every_cell_and_a_dash_where_there_is_none() -> None:
    told = texts(charts.heat(heat(0.91, 0.8, 0.95), "k"))
    assert "0.91" in told
    assert "–" in told


def test_a_sign_flip_is_marked_only_when_the_whole_interval_lies_below_one_half() -> None:
    assert "0.30 ▼" in texts(charts.heat(heat(0.3, 0.2, 0.4), "k"))
    assert "0.45" in texts(charts.heat(heat(0.45, 0.35, 0.55), "k"))
    assert "0.30" in texts(charts.heat(heat(0.3, None, None), "k"))


def test_numbers_in_cells_can_be_read_on_their_colour() -> None:
    for value in (0.0, 0.2, 0.35, 0.5, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0):
        drawing = charts.heat(heat(value, None, None), "k")
        cell = next(iter(parsed(drawing).iter(f"{NS}rect"))).get("fill", "")
        ink = next(t for t in parsed(drawing).iter(f"{NS}text") if t.get("font-weight")).get("fill", "")
        assert contrast(cell, ink) >= 4.5, (value, cell, ink)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("text", [*HOSTILE, LONG, "", " "])
def test_hostile_names_stay_text_and_stay_short(text: str) -> None:
    spoiled = [f.model_copy(update={"plain": text}) for f in BARS]
    line = profile(title=text, x_label=text, y_label=text,
                   series=(Series(name=text, y=(0.1, 0.2, 0.3, 0.4, 0.5)),))  # fmt: skip
    table = heat(0.5, 0.4, 0.6).model_copy(update={"rows": (text,), "columns": (text, text), "row_label": text})
    for drawing in (charts.forest(spoiled, "k"), charts.forest(spoiled, "k", narrow=True), charts.line(line, "k"),
                    charts.line(line, "k", narrow=True), charts.heat(table, "k")):  # fmt: skip
        root = parsed(drawing)
        assert {child.tag.removeprefix(NS) for child in root.iter()} <= {
            "svg", "title", "desc", "text", "line", "rect", "polygon", "polyline", "circle",
        }  # fmt: skip
        assert not [name for child in root.iter() for name in child.attrib if name.startswith("on")]
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", drawing)
        assert all(len(told) < 140 for told in texts(drawing))


def test_charts_are_the_same_each_time() -> None:
    assert charts.forest(BARS, "k") == charts.forest(BARS, "k")
    assert charts.line(profile(), "k") == charts.line(profile(), "k")


def test_long_labels_are_wrapped_and_cut_with_an_ellipsis() -> None:
    lines = svg.wrap("answers to plainly harmless requests that are empty or repeat themselves", 200, lines=2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(svg.text_width(line) <= 200 for line in lines)
    assert svg.wrap("short", 200) == ("short",)


def test_an_interval_that_just_crosses_its_bar_does_not_look_as_if_it_ended_on_it() -> None:
    finding = next(f for f in BARS if f.criterion.at_most == 0.2)
    estimate = finding.estimate.model_copy(update={"value": 0.1, "low": 0.047, "high": 0.2008})
    drawn = charts.forest((finding.model_copy(update={"estimate": estimate, "status": "undecided"}),), "f")
    assert "20.1" in drawn
    clear = finding.estimate.model_copy(update={"value": 0.1, "low": 0.05, "high": 0.18})
    assert "18.0" not in charts.forest((finding.model_copy(update={"estimate": clear}),), "f")
