"""The OSCAL export: compliance-trestle accepts it, every reference leads somewhere, no status is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from trestle.oscal import OSCAL_VERSION
from trestle.oscal.assessment_results import Model

from auditor.errors import ConfigError
from auditor.findings.record import AuditRecord
from auditor.report import oscal
from auditor.report.exported import TITLE, line
from tests.report.corpus import hostile_record
from tests.report.pages import changed, record


def document(of: AuditRecord | None = None) -> dict[str, Any]:
    """The exported assessment results, accepted by the library."""
    text = oscal.render(of or record())
    Model.model_validate_json(text)
    found: dict[str, Any] = json.loads(text)["assessment-results"]
    return found


def result(of: AuditRecord | None = None) -> dict[str, Any]:
    return document(of)["results"][0]


def props(of: dict[str, Any]) -> dict[str, str]:
    return {prop["name"]: prop["value"] for prop in of["props"]}


def with_status(status: str, severity: str = "high") -> AuditRecord:
    """The sample with its first finding of one status and severity."""
    first, *rest = record().findings
    return changed(findings=[first.model_copy(update={"status": status, "severity": severity}), *rest])


def strings(value: Any, key: str) -> Iterator[str]:
    """Every string below a key of that name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and isinstance(inner, str):
                yield inner
            yield from strings(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)


def test_the_library_accepts_it_in_its_own_version_and_refuses_it_spoilt() -> None:
    assert document()["metadata"]["oscal-version"] == OSCAL_VERSION
    spoilt = json.loads(oscal.render(record()))
    spoilt["assessment-results"]["results"][0]["findings"][0]["target"]["status"]["state"] = "compliant"
    with pytest.raises(ValueError, match="state"):
        Model.model_validate(spoilt)


@pytest.mark.parametrize("of", [record(), hostile_record()], ids=["sample", "hostile"])
def test_every_uuid_is_said_once_and_every_reference_leads_to_one(of: AuditRecord) -> None:
    found = document(of)
    uuids = list(strings(found, "uuid"))
    assert len(uuids) == len(set(uuids))
    for key in ("observation-uuid", "risk-uuid", "actor-uuid", "subject-uuid"):
        referred = set(strings(found, key))
        assert referred
        assert referred <= set(uuids)
    assert found["import-ap"]["href"].removeprefix("#") in uuids
    objectives = set(strings(found["results"][0]["reviewed-controls"], "objective-id"))
    assert set(strings(found["results"][0], "target-id")) == objectives


def test_a_criterion_is_a_tested_observation_with_its_hashed_evidence() -> None:
    observations = result()["observations"]
    assert len(observations) == len(record().findings)
    first = observations[0]
    assert first["methods"] == ["TEST"]
    (evidence,) = first["relevant-evidence"]
    assert evidence["href"] == "items/refusal_behaviour.jsonl"
    assert props(evidence)["sha256"] == record().evidence["items/refusal_behaviour.jsonl"]
    estimate = record().findings[0].estimate
    assert estimate is not None
    assert props(first)["value"] == repr(estimate.value)
    assert props(first)["interval-low"] == repr(estimate.low)
    assert props(first)["n"] == str(estimate.n)


@pytest.mark.parametrize(
    ("status", "state", "reason", "risk"),
    [
        ("met", "satisfied", "pass", None),
        ("not_met", "not-satisfied", "fail", "open"),
        ("undecided", "not-satisfied", "other", "investigating"),
        ("not_measured", "not-satisfied", "other", "investigating"),
    ],
)
def test_a_bar_is_a_finding_and_leaves_a_risk_unless_it_is_met(
    status: str, state: str, reason: str, risk: str | None
) -> None:
    found = result(with_status(status))
    finding = found["findings"][0]
    assert (finding["target"]["status"]["state"], finding["target"]["status"]["reason"]) == (state, reason)
    assert props(finding)["status"] == status.replace("_", "-")
    related = {entry["risk-uuid"] for entry in finding.get("related-risks", [])}
    risks = {entry["uuid"]: entry["status"] for entry in found["risks"] if entry["uuid"] in related}
    assert list(risks.values()) == ([risk] if risk else [])


def test_what_was_not_measured_has_no_number() -> None:
    first = result(with_status("not_measured"))["observations"][0]
    assert "value" not in props(first)
    assert props(first)["status"] == "not-measured"


@pytest.mark.parametrize(
    ("severity", "deadline"), [("high", "2026-02-04T09:04:40Z"), ("medium", "2026-04-05T09:04:40Z")]
)
def test_a_risk_has_a_deadline_and_says_whose_it_is(severity: str, deadline: str) -> None:
    risk = result(with_status("not_met", severity))["risks"][0]
    assert risk["deadline"] == deadline
    assert "default of auditor" in props(risk)["deadline-basis"]


def test_what_only_shows_is_observed_and_is_no_finding() -> None:
    shown = with_status("shown", "info")
    before, after = result(), result(shown)
    assert len(after["observations"]) == len(before["observations"])
    assert len(after["findings"]) == len(before["findings"]) - 1


def test_the_sign_off_is_an_attestation_that_nobody_has_signed() -> None:
    (attestation,) = result()["attestations"]
    (part,) = attestation["parts"]
    assert part["name"] == "sign-off"
    assert props(part) == {"state": "unsigned", "audit-digest": record().digest}


def test_same_record_same_text_and_another_audit_other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    assert oscal.render(record()) == oscal.render(record())
    other = set(strings(document(with_status("undecided")), "uuid"))
    assert not other & set(strings(document(), "uuid"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    dated = document()
    assert dated["metadata"]["last-modified"] == "1970-01-02T00:00:00Z"
    assert dated["results"][0]["end"] == "2026-01-05T09:04:40Z"


@pytest.mark.parametrize("seconds", ["soon", "", "9" * 30])
def test_a_date_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        oscal.render(record())


def test_a_time_that_is_none_becomes_the_start_of_1970() -> None:
    spoilt = record().environment.model_copy(update={"finished": "yesterday", "started": ""})
    found = result(changed(environment=spoilt))
    assert found["start"] == found["end"] == datetime.fromtimestamp(0, UTC).isoformat().replace("+00:00", "Z")


def test_an_audit_without_any_bar_is_still_a_document() -> None:
    found = result(changed(findings=[]))
    assert "findings" not in found
    assert "risks" not in found
    assert found["reviewed-controls"]["control-selections"][0]["include-controls"]


def test_hostile_text_is_shown_and_cut() -> None:
    text = oscal.render(hostile_record())
    assert "x" * 400 not in text
    assert "\\u001b" not in text
    assert "⟨ESC⟩" in text
    assert "\u202e" not in text
    assert not {"compliant", "safe"} & set(text.lower().replace('"', " ").split())


def test_a_title_is_one_short_line() -> None:
    assert line("a\x1b[31m\nb\u202e") == "a⟨ESC⟩[31m b⟨U+202E⟩"
    assert line(" \n") == "–"
    assert len(line("x" * 20_000)) == TITLE


def test_two_ids_that_differ_only_in_odd_characters_stay_two() -> None:
    first, second, *rest = record().findings
    pair = [first.model_copy(update={"id": "p.m[at=1]"}), second.model_copy(update={"id": "p.m(at 1)"})]
    targets = [finding["target"]["target-id"] for finding in result(changed(findings=[*pair, *rest]))["findings"]]
    assert len(targets) == len(set(targets))
