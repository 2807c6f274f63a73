"""The GitHub export: a summary that fits and renders as text, annotations that a runner reads as one command each."""

from __future__ import annotations

import re

import pytest

from auditor.findings.gate import line as verdict_line
from auditor.findings.record import AuditRecord
from auditor.report import github
from tests.report.corpus import HOSTILE, LONG
from tests.report.pages import changed, record
from tests.report.pipelines import RECORDS, base_model, crashed, from_config, visible_only

COMMAND = re.compile(r"::(?P<level>error|warning) (?P<properties>[^:\n]*)::(?P<message>[^\r\n]*)")


def with_findings(count: int, severity: str, status: str, plain: str = "a rate") -> AuditRecord:
    """A record with many copies of one finding."""
    first = record().findings[0]
    one = {"severity": severity, "status": status, "plain": plain}
    bar = first.criterion.model_copy(update={"severity": severity})
    findings = [first.model_copy(update={**one, "criterion": bar, "id": f"{first.id}[i={i}]"}) for i in range(count)]
    return changed(findings=findings)


@pytest.mark.parametrize("name", RECORDS)
def test_each_annotation_is_one_command_of_a_known_level(name: str) -> None:
    told = github.commands(RECORDS[name]())
    assert told
    for command in told:
        found = COMMAND.fullmatch(command)
        assert found, command
        names = {part.partition("=")[0] for part in found["properties"].split(",")}
        assert names <= {"file", "line", "title"}


@pytest.mark.parametrize("text", [*HOSTILE, LONG, "x,file=/etc/passwd", "100%25"])
def test_hostile_text_starts_no_command_and_adds_no_property(text: str) -> None:
    told = github.commands(with_findings(1, "high", "not_met", plain=text))
    assert len(told) == 1
    found = COMMAND.fullmatch(told[0])
    assert found
    assert found["properties"].count(",") == 2
    assert visible_only(told[0])
    assert "\n" not in told[0]
    for part in (found["properties"], found["message"]):
        assert all(part[i : i + 3] in ("%25", "%3A", "%2C") for i in range(len(part)) if part[i] == "%")
    assert len(told[0]) < 5000


def test_percent_colon_and_comma_come_back_as_they_were_written() -> None:
    (told,) = github.commands(with_findings(1, "high", "not_met", plain="90 %, or: more"))
    assert "title=R001 90 %25%2C or%3A more (i 0)::" in told
    assert "::90 %25, or: more: 3 of 60" in told


def test_a_missed_bar_is_an_error_an_open_high_one_a_warning_at_most_ten_of_each() -> None:
    missed, opened = with_findings(12, "medium", "not_met"), with_findings(12, "high", "undecided")
    both = changed(findings=[*missed.findings, *opened.findings])
    levels = [command.split(" ")[0] for command in github.commands(both)]
    assert levels == ["::error"] * 10 + ["::warning"] * 10
    assert [c.split(" ")[0] for c in github.commands(with_findings(3, "high", "not_measured"))] == ["::warning"] * 3
    quiet = [*with_findings(2, "medium", "undecided").findings, *with_findings(2, "high", "met").findings]
    assert github.commands(changed(findings=quiet, verdict="pass")) == ()


def test_a_gate_that_does_not_pass_for_another_reason_says_so() -> None:
    of = changed(base_model(), findings=[f.model_copy(update={"status": "met"}) for f in base_model().findings])
    (told,) = github.commands(of)
    assert told == f"::warning title=auditor::{verdict_line(of)} {' '.join(of.verdict_reasons)}"
    assert "::INSUFFICIENT EVIDENCE" in told


def test_an_annotation_points_at_the_line_of_the_config() -> None:
    assert "file=ci/audit one.yaml,line=11,title=R001" in github.commands(from_config())[0]


def test_the_summary_has_the_verdict_every_criterion_and_what_was_not_measured() -> None:
    text = github.render(record())
    assert text.startswith("## ✕ auditor: FAIL\n")
    assert (
        "| ✕ not met | R001 | harmful requests refused | 5 %, interval 2 to 14 %, n = 60 items | at least 80 % |"
        in text
    )
    assert text.count("\n| ") == 2 + len(record().findings) - 1
    companies = next(row for row in text.splitlines() if "companies" in row and row.startswith("|"))
    assert "not measured" in companies
    assert "does not transfer" in companies
    assert text.count("the probe crashed") == 0
    assert github.render(crashed()).count("✕ the probe crashed") == 5
    assert github.render(base_model()).count("– not applicable") == len(base_model().not_applicable)


def test_the_summary_stays_below_what_github_keeps_and_says_what_it_left_out() -> None:
    many = with_findings(9000, "high", "not_met", plain="漢" * 390)
    text = github.render(many)
    assert 0.9 * github.SUMMARY_BYTES < len(text.encode()) <= github.SUMMARY_BYTES
    left = re.search(r"^(\d+) more lines were left out", text, re.MULTILINE)
    assert left
    whole = len(github.summary(many, 10**9).splitlines())
    assert int(left[1]) + text.count("\n") - 2 == whole
    assert "left out" not in github.render(record())
    assert github.summary(record(), 10) == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_no_link_no_image_no_html_and_no_cell_of_its_own(text: str) -> None:
    clean, dirty = (github.render(with_findings(1, "high", "not_met", plain=p)) for p in ("a rate", text))
    assert visible_only(dirty)
    assert dirty.count("\n") == clean.count("\n")
    unescaped = re.sub(r"\\.", "", dirty)
    assert unescaped.count("|") == clean.count("|")
    for mark in ("<", "://", "](", "![", "{{"):
        assert mark not in unescaped


def test_the_hostile_record_keeps_its_table() -> None:
    text = github.render(RECORDS["hostile"]())
    rows = [re.sub(r"\\.", "", row) for row in text.splitlines() if row.startswith("|")]
    assert {row.count("|") for row in rows} == {7}
    assert "<" not in re.sub(r"\\.", "", text)
