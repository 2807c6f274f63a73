"""A number measured in many places is a table on screen and running text on paper, whole in both."""

from __future__ import annotations

from auditor.findings.record import AuditRecord
from auditor.measure.measurement import Measurement
from auditor.report import html, profile
from auditor.report.details import FEW
from tests.report.pages import changed, read, record

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


def test_paper_has_lines_and_the_screen_a_table_of_the_same_numbers() -> None:
    assert len(measured()) > FEW
    paper, screen = read(html.markup(profiled(), "pdf")), read(html.markup(profiled(), "html"))
    assert len(list(paper.all("p", class_="run"))) == 3
    assert not list(paper.all("table", class_="profile"))
    assert len(list(screen.one("table", class_="profile").one("tbody").all("tr"))) == len(measured())
    assert not list(screen.all("p", class_="run"))
    assert paper.text.count("0.91 (0.85 to 0.95)") >= len(measured()) - 1
