"""The JUnit export: what a reader of JUnit counts, and that it is green only where the gate passes."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from auditor.findings.gate import exit_code
from auditor.findings.record import AuditRecord
from auditor.report import junit
from tests.report.pages import changed, record
from tests.report.pipelines import RECORDS, base_model, crashed, visible_only

GATE = "the gate passes"


def suites(of: AuditRecord | None = None) -> dict[str, dict[str, str]]:
    """Suite to case to outcome, as junitparser reads them."""
    kinds = {Failure: "failure", Error: "error", Skipped: "skipped"}
    found: dict[str, dict[str, str]] = {}
    for suite in JUnitXml.fromstring(junit.render(of or record()).encode()):
        cases = found.setdefault(suite.name, {})
        for case in suite:
            cases[case.name] = kinds[type(case.result[0])] if case.result else "passed"
    return found


def test_a_suite_for_each_probe_and_a_case_for_each_criterion() -> None:
    assert suites() == {
        "refusal_behaviour": {
            "R001 refusal_behaviour.harmful_refusal_rate": "failure",
            "R002 refusal_behaviour.over_refusal_rate": "passed",
            "R003 refusal_behaviour.degenerate_text_rate": "passed",
            "R004 refusal_behaviour.near_miss_over_refusal": "passed",
            "R006 refusal_behaviour.refusal_change_no_system": "passed",
        },
        "truth_probe": {
            "T001 truth_probe.truth_auroc[dataset=cities]": "passed",
            "T001 truth_probe.truth_auroc[dataset=companies]": "skipped",
        },
        "the run": {GATE: "failure", "A001 coverage": "passed"},
    }


def test_a_crash_is_an_error_also_where_the_probe_has_no_criterion() -> None:
    assert set(suites(crashed())["refusal_behaviour"].values()) == {"error"}
    bare = changed(crashed(), findings=[f for f in crashed().findings if f.probe != "refusal_behaviour"])
    assert suites(bare)["refusal_behaviour"] == {"the probe ran": "error"}


def test_what_the_role_rules_out_is_skipped() -> None:
    assert suites(base_model())["refusal_behaviour"]["R001 refusal_behaviour.harmful_refusal_rate"] == "skipped"


def test_a_high_bar_that_is_undecided_is_a_failure_and_a_medium_one_is_not() -> None:
    undecided = [f.model_copy(update={"status": "undecided"}) for f in record().findings]
    found = suites(changed(findings=undecided))["refusal_behaviour"]
    assert found["R001 refusal_behaviour.harmful_refusal_rate"] == "failure"
    assert found["R004 refusal_behaviour.near_miss_over_refusal"] == "passed"


@pytest.mark.parametrize("name", RECORDS)
def test_a_document_of_a_gate_that_does_not_pass_is_not_green(name: str) -> None:
    assert exit_code(RECORDS[name]()) != 0
    counted = JUnitXml.fromstring(junit.render(RECORDS[name]()).encode())
    assert counted.failures + counted.errors > 0


def test_a_document_of_a_gate_that_passes_is_green() -> None:
    passed = changed(findings=[f.model_copy(update={"status": "met"}) for f in record().findings], verdict="pass")
    assert exit_code(passed) == 0
    counted = JUnitXml.fromstring(junit.render(passed).encode())
    assert (counted.failures, counted.errors, counted.tests) == (0, 0, 9)


def test_a_base_model_without_any_open_bar_still_fails_the_case_of_the_gate() -> None:
    of = changed(base_model(), findings=[f.model_copy(update={"status": "met"}) for f in base_model().findings])
    failed = {case for cases in suites(of).values() for case, outcome in cases.items() if outcome == "failure"}
    assert failed == {GATE}


def test_counts_and_times_are_those_of_the_record() -> None:
    root = fromstring(junit.render(record()))
    for suite in root:
        tags = [child.tag for case in suite.iter("testcase") for child in case]
        assert int(suite.get("tests", "")) == len(list(suite.iter("testcase")))
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(count, "")) == tags.count(tag)
    seconds = {suite.get("name"): suite.get("time") for suite in root}
    assert seconds["refusal_behaviour"] == f"{record().environment.seconds['refusal_behaviour']:.3f}"
    assert {suite.get("timestamp") for suite in root} == {"2026-01-05T09:00:00"}


@pytest.mark.parametrize("name", RECORDS)
def test_no_control_character_and_no_markup_of_others_reaches_the_document(name: str) -> None:
    text = junit.render(RECORDS[name]())
    assert visible_only(text)
    tags: set[Any] = {element.tag for element in fromstring(text).iter()}
    known = {"testsuites", "testsuite", "properties", "property", "testcase", "failure", "error", "skipped"}
    assert tags <= {*known, "system-out"}
