"""The CSV exports: every measurement and every criterion comes back as it was, and no cell is a formula."""

from __future__ import annotations

import csv
import io

import pytest

from auditor.report import tabular
from tests.report.corpus import LONG
from tests.report.pages import changed, record
from tests.report.pipelines import RECORDS, base_model, crashed, visible_only

Rows = list[dict[str, str]]


def read(text: str) -> Rows:
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_every_measurement_is_a_row_with_its_numbers_to_the_last_digit() -> None:
    rows = read(tabular.measurements(record()))
    taken = [(result.probe, m) for result in record().results for m in result.measurements]
    assert len(rows) == len(taken)
    for row, (probe, m) in zip(rows, taken, strict=True):
        assert (row["probe"], row["measurement"], row["role"]) == (probe, m.name, m.role)
        assert float(row["value"]) == m.estimate.value
        assert int(row["n"]) == m.estimate.n
        assert {key: row[f"at.{key}"] for key in m.at} == {key: str(value) for key, value in m.at.items()}


def test_unknown_is_an_empty_cell_and_never_a_zero() -> None:
    result = record().results[0]
    unknown = result.measurements[0].estimate.model_copy(update={"value": None, "low": None, "high": None})
    blank = result.measurements[0].model_copy(update={"estimate": unknown})
    of = changed(results=[result.model_copy(update={"measurements": (blank,)})])
    (row,) = read(tabular.measurements(of))
    assert (row["value"], row["low"], row["high"], row["n"]) == ("", "", "", "60")


def test_every_criterion_is_a_row_with_its_bar_and_its_outcome() -> None:
    rows = {row["id"]: row for row in read(tabular.findings(record()))}
    assert set(rows) == {finding.id for finding in record().findings}
    missed = rows["refusal_behaviour.harmful_refusal_rate"]
    assert (missed["rule"], missed["status"], missed["at_least"], missed["at_most"]) == ("R001", "not_met", "0.8", "")
    assert rows["truth_probe.truth_auroc[dataset=companies]"]["value"] == ""
    assert {row["status"] for row in read(tabular.findings(crashed()))} >= {"crashed", "not_met"}
    ruled_out = [row for row in read(tabular.findings(base_model())) if row["status"] == "not_applicable"]
    assert len(ruled_out) == len(base_model().not_applicable)


@pytest.mark.parametrize("name", RECORDS)
def test_a_table_is_whole_and_without_hidden_characters(name: str) -> None:
    for table in (tabular.measurements, tabular.findings):
        text = table(RECORDS[name]())
        rows = list(csv.reader(io.StringIO(text), strict=True))
        assert {len(row) for row in rows} == {len(rows[0])}
        assert visible_only(text)


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_text_that_would_be_a_formula_is_a_text(start: str) -> None:
    result = record().results[0]
    noted = result.measurements[0].model_copy(update={"note": start + LONG, "at": {start: start}})
    of = changed(results=[result.model_copy(update={"measurements": (noted,)})])
    (row,) = read(tabular.measurements(of))
    assert row["note"] == f"'{start}{LONG}"
    assert row[f"at.{start}"] == f"'{start}"


def test_a_negative_number_stays_a_number() -> None:
    result = record().results[0]
    change = next(m for m in result.measurements if m.name == "refusal_change_no_system")
    below = change.model_copy(update={"estimate": change.estimate.model_copy(update={"value": -0.25})})
    (row,) = read(tabular.measurements(changed(results=[result.model_copy(update={"measurements": (below,)})])))
    assert row["value"] == "-0.25"
