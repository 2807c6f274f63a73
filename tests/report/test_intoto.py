"""The in-toto export: what the attestation library parses, who the subjects are, and when it says PASSED."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict, ParseError
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Outcome
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from auditor.errors import ConfigError
from auditor.findings.record import AuditRecord
from auditor.report import intoto
from tests.report.corpus import hostile_record
from tests.report.pages import changed, record


def exported(of: AuditRecord | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in intoto.render(of or record()).splitlines()]


def outcome(of: AuditRecord) -> dict[str, Any]:
    predicate: dict[str, Any] = exported(of)[0]["predicate"]
    return predicate


def judged(verdict: str, *statuses: tuple[str, str]) -> AuditRecord:
    """The sample with a verdict, and its findings cut to those of the given severity and status."""
    findings = [
        finding.model_copy(update={"severity": severity, "status": status})
        for finding, (severity, status) in zip(record().findings, statuses, strict=False)
    ]
    return changed(verdict=verdict, findings=findings)


@pytest.mark.parametrize("of", [record(), hostile_record()], ids=["sample", "hostile"])
def test_the_library_parses_both_statements(of: AuditRecord) -> None:
    test, verification = exported(of)
    for statement in (test, verification):
        Statement.copy_from_pb(ParseDict(statement, StatementMessage())).validate()
    parsed = ParseDict(test["predicate"], Outcome())
    assert [descriptor.name for descriptor in parsed.configuration] == ["audit.json#/config"]
    for descriptor in (*parsed.configuration,):
        ResourceDescriptor.copy_from_pb(descriptor).validate()


def test_the_library_refuses_what_is_no_test_result() -> None:
    with pytest.raises(ParseError, match="no field"):
        ParseDict(exported()[1]["predicate"], Outcome())


def test_subjects_are_every_file_of_the_checkpoint_whatever_its_use() -> None:
    files = {file.path: file.sha256 for file in record().checkpoint.files}
    assert "pytorch_model.bin" in files
    for statement in exported():
        assert {s["name"]: s["digest"]["sha256"] for s in statement["subject"]} == files


def test_the_adapter_is_a_subject_too() -> None:
    checkpoint = record().checkpoint
    adapted = checkpoint.model_copy(update={"adapter": checkpoint})
    names = [subject["name"] for subject in exported(changed(checkpoint=adapted))[0]["subject"]]
    assert "adapter/model.safetensors" in names
    assert "model.safetensors" in names
    assert len(names) == len(set(names)) == 2 * len(checkpoint.files)


def test_a_model_in_memory_has_no_subject_and_is_refused() -> None:
    bare = record().checkpoint.model_copy(update={"files": ()})
    with pytest.raises(ConfigError, match="in memory"):
        intoto.render(changed(checkpoint=bare))


@pytest.mark.parametrize(
    ("of", "result"),
    [
        (judged("pass", ("high", "met"), ("medium", "met")), "PASSED"),
        (judged("pass", ("high", "met"), ("medium", "undecided")), "WARNED"),
        (judged("pass", ("high", "met"), ("medium", "not_measured")), "WARNED"),
        (judged("pass", ("high", "met"), ("info", "not_measured")), "PASSED"),
        (judged("fail", ("high", "met"), ("medium", "not_met")), "FAILED"),
        (judged("insufficient_evidence", ("high", "undecided")), "FAILED"),
        (judged("insufficient_evidence", ("medium", "met")), "FAILED"),
    ],
)
def test_only_a_pass_is_passed(of: AuditRecord, result: str) -> None:
    assert outcome(of)["result"] == result
    assert (intoto.PASS in exported(of)[1]["predicate"]["properties"]) is (result != "FAILED")


def test_every_bar_is_in_one_list_and_what_has_none_is_in_no_list() -> None:
    cases = (("high", "met"), ("high", "undecided"), ("medium", "undecided"), ("medium", "not_met"), ("info", "shown"))
    found = outcome(judged("fail", *cases))
    ids = [finding.id for finding in record().findings]
    assert found["passedTests"] == [ids[0]]
    assert found["failedTests"] == [ids[1], ids[3]]
    assert found["warnedTests"] == [ids[2]]


def test_the_verification_lists_met_bars_only_and_names_the_policy() -> None:
    of = judged("fail", ("high", "met"), ("high", "not_met"), ("medium", "undecided"))
    verification = exported(of)[1]
    predicate = verification["predicate"]
    assert verification["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    assert predicate["properties"] == [f"AUDITOR_MET:{record().findings[0].id}"]
    assert predicate["verifier"]["id"].startswith("pkg:pypi/checkpoint-auditor@")
    assert predicate["verifier"]["policies"][0]["digest"] == {"sha256": of.config_digest}
    assert predicate["timeCreated"] == "2026-01-05T09:04:40Z"


def test_same_record_same_text_and_hidden_characters_are_shown() -> None:
    assert intoto.render(hostile_record()) == intoto.render(hostile_record())
    first = (
        record().findings[0].model_copy(update={"id": "p.m[at=\x1b[31m\u202e\n]", "severity": "high", "status": "met"})
    )
    text = intoto.render(changed(findings=[first]))
    assert outcome(changed(findings=[first]))["passedTests"] == ["p.m[at=⟨ESC⟩[31m⟨U+202E⟩\n]"]
    assert len(text.splitlines()) == 2
    assert not set("\x1b\u202e") & set(text)
