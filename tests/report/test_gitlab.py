"""The GitLab export: the documented fields, unique fingerprints, nothing that is not a problem."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from auditor.findings.record import AuditRecord
from auditor.report import gitlab
from tests.report.pages import changed, record
from tests.report.pipelines import RECORDS, crashed, from_config, visible_only

DOCUMENTED = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^(?!\\./|/)."},
                    "lines": {"type": "object", "required": ["begin"], "properties": {"begin": {"type": "integer"}}},
                },
            },
        },
    },
}
"""what docs.gitlab.com/ci/testing/code_quality asks of a report; GitLab publishes no schema"""


def issues(of: AuditRecord | None = None) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(gitlab.render(of or record()))
    return read


@pytest.mark.parametrize("name", RECORDS)
def test_a_report_has_the_documented_form(name: str) -> None:
    found = issues(RECORDS[name]())
    Draft202012Validator(DOCUMENTED).validate(found)
    assert len({issue["fingerprint"] for issue in found}) == len(found)
    assert visible_only(gitlab.render(RECORDS[name]()))


def test_missed_and_open_bars_are_issues_by_weight_and_nothing_else_is() -> None:
    assert [(i["check_name"], i["severity"]) for i in issues()] == [("R001", "critical"), ("R004", "minor")]
    assert {(i["check_name"], i["severity"]) for i in issues(crashed())} == {
        ("A001", "critical"), ("R001", "major"), ("R002", "major"), ("R003", "major"), ("R004", "minor"),
        ("R006", "minor"),
    }  # fmt: skip
    medium = [f.model_copy(update={"status": "not_met"}) for f in record().findings if f.severity == "medium"]
    assert {i["severity"] for i in issues(changed(findings=medium))} == {"major"}
    met = [f.model_copy(update={"status": "met"}) for f in record().findings]
    assert issues(changed(findings=met)) == []


def test_an_issue_lies_where_its_bar_was_declared() -> None:
    assert issues(from_config())[0]["location"] == {"path": "ci/audit one.yaml", "lines": {"begin": 11}}
    assert issues()[0]["location"] == {"path": "audit.json", "lines": {"begin": 1}}
