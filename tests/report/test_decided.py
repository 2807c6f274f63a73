"""The formats of `auditor gate`: they follow what it decided, waived rows stay visible, a green file is exit code 0."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as PublishedSchema

from auditor.findings.comparison import Comparison
from auditor.findings.gate import line as verdict_line
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.findings.waivers import Waiver
from auditor.report import github, gitlab, junit, sarif
from auditor.report.formats import DECIDED, FORMATS
from tests.findings.decisions import HARMFUL, NEAR, OVER, against, outcome_of, record_with, waiver
from tests.findings.test_gate_table import SITUATION, SOME_WAIVERS, TERMS
from tests.report.corpus import HOSTILE, LONG
from tests.report.pipelines import RECORDS, visible_only
from tests.report.test_github import COMMAND
from tests.report.test_junit import GATE

Given = tuple[AuditRecord, GateOutcome]
WORDS = "accepted up to 1 until 2026-12-31; owner A. Owner, approved by B. Approver: known since spring, fixed in 1.3."
EXPIRED = "the waiver of A. Owner expired on 2026-05-31"


def decided(*waivers: Waiver, baseline: Comparison | None = None, policy: Any = None, **statuses: Any) -> Given:
    record = record_with(**statuses)
    return record, outcome_of(record, *waivers, policy=policy, baseline=baseline)


def waived() -> Given:
    return decided(waiver(), over="not_met")


def expired() -> Given:
    return decided(waiver(expires="2026-05-31"), over="not_met")


def unwaived() -> Given:
    return decided(over="not_met")


def fell_behind(*waivers: Waiver) -> Given:
    return decided(*waivers, baseline=against(record_with(), harmful="worse"))


def log(of: Given, *, alerts: bool = False) -> dict[str, Any]:
    document = json.loads((sarif.render_alerts if alerts else sarif.render)(*of))
    PublishedSchema.model_validate_json(json.dumps(document).replace('"status": "accepted"', '"state": "accepted"'))
    only: dict[str, Any] = document["runs"][0]
    return only


def result(of: Given, check: str = OVER) -> dict[str, Any]:
    found: list[dict[str, Any]] = log(of)["results"]
    return next(r for r in found if r["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == check)


def case(of: Given, name: str) -> tuple[str, str, str]:
    """(passed, failure, error or skipped; its type; its message)"""
    suites = JUnitXml.fromstring(junit.render(*of).encode())
    found = next(c for suite in suites for c in suite if c.name.endswith(name))
    (told,) = found.result or [None]
    return (told._tag, told.type or "", told.message) if told is not None else ("passed", "", found.system_out)


def summary(of: Given) -> str:
    return github.summary(of[0], github.SUMMARY_BYTES, of[1])


# without terms, or without an outcome, nothing changes


@pytest.mark.parametrize("name", RECORDS)
def test_a_gate_without_terms_writes_what_the_record_says(name: str) -> None:
    record = RECORDS[name]()
    outcome = outcome_of(record)
    assert not outcome.by_terms
    for form, render in DECIDED.items():
        assert render(record, outcome) == FORMATS[form](record)
    assert github.summary(record, github.SUMMARY_BYTES, outcome) == FORMATS["github"](record)
    assert github.commands(record, outcome) == github.commands(record)
    assert case((record, outcome), GATE)[2] == verdict_line(record)


def test_a_policy_a_waiver_and_a_baseline_each_have_a_say() -> None:
    same = against(record_with())
    for of in (waived(), expired(), decided(policy={"coverage_at_least": 1.0}), decided(baseline=same)):
        assert of[1].by_terms
    assert not decided(waiver())[1].by_terms  # nothing needs it


# a waiver, and its twins: none, and an expired one


def test_in_sarif_a_waived_result_keeps_its_kind_and_is_suppressed() -> None:
    here, twin = result(waived()), result(unwaived())
    (suppression,) = here[
        "suppressions"
    ]  # `status` in the published schema, `state` in the draft that PublishedSchema is of
    assert suppression == {
        "kind": "external",
        "status": "accepted",
        "justification": "known since spring, fixed in 1.3",
        "properties": {
            "owner": "A. Owner",
            "approvedBy": "B. Approver",
            "created": "2026-01-01",
            "expires": "2026-12-31",
            "acceptUpTo": 1.0,
        },
    }
    assert here["message"]["text"] == f"{twin['message']['text']} Waived, {WORDS}"
    assert (twin["kind"], twin["level"]) == ("fail", "error")
    assert {**here, "message": 0, "suppressions": 0} == {**twin, "message": 0, "suppressions": 0}
    assert [r["suppressions"] for r in log(waived())["results"] if r != here] == [[]] * (
        len(log(waived())["results"]) - 1
    )
    for of in (unwaived(), expired()):
        assert not [r for r in log(of)["results"] if "suppressions" in r]
    assert EXPIRED[1:] in result(expired())["message"]["text"]


def test_sarif_alerts_leave_waived_ones_out() -> None:
    assert log(waived(), alerts=True)["results"] == []
    for of in (unwaived(), expired()):
        assert [r["ruleId"] for r in log(of, alerts=True)["results"]] == ["R002"]


def test_on_gitlab_a_waived_bar_stays_at_the_least_severity_with_the_waivers_words() -> None:
    def issues(of: Given) -> dict[str, tuple[str, str]]:
        return {i["check_name"]: (i["severity"], i["description"]) for i in json.loads(gitlab.render(*of))}

    (severity, told) = issues(waived())["R002"]
    assert (severity, told.endswith(f" Waived, {WORDS}")) == ("info", True)
    assert issues(unwaived())["R002"][0] == "critical"
    severity, told = issues(expired())["R002"]
    assert (severity, EXPIRED[1:] in told) == ("critical", True)
    assert issues(fell_behind())["R001"][0] == "critical"
    assert "R001" not in issues(unwaived())


def test_the_properties_of_a_sarif_run_are_the_gates() -> None:
    told = log(waived())["properties"]
    assert (told["verdict"], told["exitCode"], told["reasons"]) == ("pass", 0, [])
    assert told["summary"].startswith("PASS · 5 met, 1 not met (1 of these waived)")
    late = log(expired())["properties"]
    assert (late["verdict"], late["exitCode"], late["reasons"]) == ("fail", 1, [f"{OVER}: not met; {EXPIRED}"])


def test_in_junit_a_waived_case_is_skipped_with_the_waivers_words() -> None:
    kind, _, told = case(waived(), OVER)
    assert (kind, told.endswith(f" Waived, {WORDS}")) == ("skipped", True)
    assert case(waived(), GATE)[0] == "passed"
    assert case(unwaived(), OVER)[:2] == ("failure", "not_met")
    kind, _, told = case(expired(), OVER)
    assert (kind, told.endswith(f" {EXPIRED.capitalize().replace('a. owner', 'A. Owner')}.")) == ("failure", True)
    assert EXPIRED in case(expired(), GATE)[2]


def test_on_github_a_waived_row_says_so_and_is_no_annotation() -> None:
    assert github.commands(*waived()) == ()
    text = summary(waived())
    assert text.startswith("## ✓ auditor: PASS\n")
    assert "| ✕ not met, waived | R002 |" in text
    assert f"**Waived**\n\n- refusal\\_behaviour.over\\_refusal\\_rate: Waived, {WORDS}\n" in text
    assert "by the declared bars alone (FAIL)" in text
    assert "waived" not in summary(unwaived())


def test_on_github_an_expired_waiver_is_named_and_its_finding_an_error() -> None:
    (told,) = github.commands(*expired())
    assert told.startswith("::error ")
    assert EXPIRED[1:] in told
    text = summary(expired())
    assert text.startswith("## ✕ auditor: FAIL\n")
    assert f"**Waivers that do not hold**\n\n- refusal\\_behaviour.over\\_refusal\\_rate: {EXPIRED}\n" in text
    assert "| ✕ not met | R002 |" in text
    assert "that do not hold" not in summary(waived())


def test_an_expired_waiver_is_named_also_where_its_finding_is_only_shown() -> None:
    of = decided(waiver(NEAR, expires="2026-05-31"), near="undecided")
    assert of[1].exit_code == 0
    assert EXPIRED in summary(of)


def test_a_waiver_without_use_is_a_warning_of_the_summary() -> None:
    assert "nothing here needs it" in summary(decided(waiver()))
    assert "**Warnings**" not in summary(waived())


# baseline and policy


def test_a_number_that_got_worse_fails_in_every_format_although_its_bar_is_met() -> None:
    of = fell_behind()
    assert (result(of, HARMFUL)["kind"], result(of, HARMFUL)["level"]) == ("fail", "error")
    assert [r["ruleId"] for r in log(of, alerts=True)["results"]] == ["R001"]
    assert case(of, HARMFUL)[:2] == ("failure", "worse")
    assert case(of, GATE)[0] == "failure"
    (told,) = github.commands(*of)
    assert told.startswith("::error ")
    assert told.endswith(" Worse than in the baseline.")
    assert "| ✓ met, worse than the baseline | R001 |" in summary(of)
    same = decided(baseline=against(record_with()))
    assert (result(same, HARMFUL)["kind"], case(same, HARMFUL)[0], github.commands(*same)) == ("pass", "passed", ())


def test_a_number_that_got_worse_and_is_waived_stays_one_that_got_worse() -> None:
    of = fell_behind(waiver(HARMFUL))
    assert of[1].exit_code == 0
    assert result(of, HARMFUL)["kind"] == "fail"
    assert len(result(of, HARMFUL)["suppressions"]) == 1
    assert case(of, HARMFUL)[0] == "skipped"
    assert "| ✓ met, worse than the baseline, waived | R001 |" in summary(of)


def test_a_medium_number_that_got_worse_only_warns_and_blocks_nothing() -> None:
    of = decided(baseline=against(record_with(), near="worse"))
    assert (of[1].exit_code, result(of, NEAR)["kind"], case(of, NEAR)[0]) == (0, "pass", "passed")
    assert result(of, NEAR)["message"]["text"].endswith(" Worse than in the baseline.")


def test_the_policys_coverage_fails_the_gates_case_and_is_named() -> None:
    of = decided(policy={"coverage_at_least": 1.0}, crashed=True)
    why = "coverage: 50% of the applicable probes ran, the policy asks for at least 100%"
    assert (of[1].exit_code, why in case(of, GATE)[2]) == (3, True)
    assert log(of)["properties"]["reasons"] == [why]
    assert why.replace("%", "%25") in github.commands(*of)[-1]
    assert why in summary(of)
    assert case(decided(crashed=True), GATE)[0] == "passed"


def test_a_policy_says_what_an_annotation_weighs() -> None:
    levels = {}
    for effect in ("warn", "insufficient", "fail"):
        of = decided(policy={"medium": {"not_met": "fail", "undecided": effect}}, near="undecided")
        levels[effect] = ([told.split(" ")[0] for told in github.commands(*of)], case(of, NEAR)[0])
    assert levels == {
        "warn": ([], "passed"),
        "insufficient": (["::warning"], "failure"),
        "fail": (["::error"], "failure"),
    }


def test_a_crash_is_an_error_unless_the_gate_passes_all_the_same() -> None:
    def kinds(of: Given) -> set[str]:
        suites = JUnitXml.fromstring(junit.render(*of).encode())
        return {told._tag for suite in suites if suite.name == "truth_probe" for c in suite for told in c.result}

    assert kinds(decided(crashed=True)) == {"skipped"}
    assert kinds(decided(crashed=True, over="not_met")) == {"error"}
    assert kinds(decided(over="not_met")) == set()


BASELINES = st.dictionaries(st.sampled_from(["harmful", "over", "near"]), st.sampled_from(["worse", "better"]))


@given(st.fixed_dictionaries(SITUATION | {"measured": st.booleans()}), SOME_WAIVERS, TERMS, st.none() | BASELINES)
def test_a_green_file_is_exit_code_0_and_every_format_agrees(
    situation: dict[str, Any], waivers: list[Waiver], terms: dict[str, Any], changes: dict[str, Any] | None
) -> None:
    record = record_with(**situation)
    baseline = None if changes is None else against(record, **changes)
    outcome = outcome_of(record, *waivers, policy=terms, baseline=baseline)
    of, passes = (record, outcome), outcome.exit_code == 0
    counted = JUnitXml.fromstring(junit.render(*of).encode())
    assert (counted.failures + counted.errors == 0) == passes
    assert (case(of, GATE)[0] == "passed") == passes
    assert (github.commands(*of) == ()) == passes
    told = json.loads(sarif.render(*of))["runs"][0]
    assert (told["properties"]["exitCode"], told["properties"]["verdict"]) == (outcome.exit_code, outcome.verdict)
    suppressed = {
        r["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]: r.get("suppressions") for r in told["results"]
    }
    assert {name for name, by in suppressed.items() if by} == {r.id for r in outcome.rulings if r.waived}
    assert summary(of).count(", waived |") == sum(r.waived for r in outcome.rulings)


# hostile words in a waiver


@pytest.mark.parametrize("text", [*HOSTILE, LONG, "::error::x", "##[error]x"])
@pytest.mark.parametrize("until", ["2026-12-31", "2026-05-31"])
def test_the_words_of_a_waiver_are_data_in_every_format(text: str, until: str) -> None:
    said = {"reason": text, "owner": text, "approved_by": text}
    clean, dirty = (decided(waiver(expires=until, **words), over="not_met") for words in ({}, said))
    assert [name for name, render in DECIDED.items() if not visible_only(render(*dirty))] == []
    message = re.sub(r"\\.|{{|}}", "", result(dirty)["message"]["text"])
    assert not re.search(r"[][{}]", message)
    assert len(message) < 2100
    tags = [[e.tag for e in JUnitXml.fromstring(junit.render(*of).encode())._elem.iter()] for of in (clean, dirty)]
    assert tags[0] == tags[1]
    commands = github.commands(*dirty)
    assert len(commands) == len(github.commands(*clean))
    assert all(COMMAND.fullmatch(command) and visible_only(command) and "\n" not in command for command in commands)
    pages = [summary(of) for of in (clean, dirty)]
    assert visible_only(pages[1])
    bare = [re.sub(r"\\.", "", page) for page in pages]
    assert [page.count("\n") for page in bare[:1]] == [page.count("\n") for page in bare[1:]]
    assert bare[0].count("|") == bare[1].count("|")
    assert not [mark for mark in ("<", "://", "](", "![", "{{") if mark in bare[1]]
