"""The SARIF export: what the published schema allows, one kind for each outcome, and alerts that stay the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as PublishedSchema

from auditor.findings.record import AuditRecord
from auditor.report import sarif
from tests.report.pages import changed, record
from tests.report.pipelines import RECORDS, base_model, crashed, from_config, visible_only


def run(of: AuditRecord | None = None, *, alerts: bool = False) -> dict[str, Any]:
    log = json.loads((sarif.render_alerts if alerts else sarif.render)(of or record()))
    only: dict[str, Any] = log["runs"][0]
    return only


def by_check(of: AuditRecord | None = None) -> dict[str, dict[str, Any]]:
    return {r["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]: r for r in run(of)["results"]}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("render", [sarif.render, sarif.render_alerts])
def test_the_log_is_one_of_the_published_schema(render: Any, name: str) -> None:
    log = json.loads(render(RECORDS[name]()))
    PublishedSchema.model_validate(log)
    log["runs"][0]["results"] = [{"ruleId": "R001"}]
    with pytest.raises(ValueError, match="message"):
        PublishedSchema.model_validate(log)


def test_each_outcome_has_its_kind_and_only_a_missed_bar_a_level() -> None:
    found = by_check() | {f"crash {name}": result for name, result in by_check(crashed()).items()}
    assert {name: (found[name]["kind"], found[name]["level"]) for name in found} == {
        "refusal_behaviour.harmful_refusal_rate": ("fail", "error"),
        "refusal_behaviour.over_refusal_rate": ("pass", "none"),
        "refusal_behaviour.degenerate_text_rate": ("pass", "none"),
        "coverage": ("pass", "none"),
        "refusal_behaviour.near_miss_over_refusal": ("open", "none"),
        "refusal_behaviour.refusal_change_no_system": ("pass", "none"),
        "truth_probe.truth_auroc[dataset=cities]": ("informational", "none"),
        "truth_probe.truth_auroc[dataset=companies]": ("review", "none"),
        "crash refusal_behaviour.harmful_refusal_rate": ("review", "none"),
        "crash refusal_behaviour.over_refusal_rate": ("review", "none"),
        "crash refusal_behaviour.degenerate_text_rate": ("review", "none"),
        "crash coverage": ("fail", "error"),
        "crash refusal_behaviour.near_miss_over_refusal": ("review", "none"),
        "crash refusal_behaviour.refusal_change_no_system": ("review", "none"),
        "crash truth_probe.truth_auroc[dataset=cities]": ("informational", "none"),
        "crash truth_probe.truth_auroc[dataset=companies]": ("review", "none"),
    }


def test_what_the_role_rules_out_is_not_applicable() -> None:
    kinds = {name: result["kind"] for name, result in by_check(base_model()).items()}
    ruled_out = {name for name, kind in kinds.items() if kind == "notApplicable"}
    assert ruled_out == {text.partition(": ")[0] for text in base_model().not_applicable}
    assert "refusal_behaviour.harmful_refusal_rate" in ruled_out


def test_a_crash_is_told_apart_from_a_run_that_went_through() -> None:
    told = run(crashed())["invocations"][0]
    assert not told["executionSuccessful"]
    assert "out of memory" in told["toolExecutionNotifications"][0]["message"]["text"]
    assert run()["invocations"][0]["executionSuccessful"]


def test_alerts_are_what_stands_in_the_way_of_a_pass_and_nothing_else() -> None:
    assert [r["ruleId"] for r in run(alerts=True)["results"]] == ["R001"]
    high = {"R001", "R002", "R003", "A001"}
    assert {r["ruleId"] for r in run(crashed(), alerts=True)["results"]} == high
    met = [f.model_copy(update={"status": "met"}) for f in record().findings]
    assert run(changed(findings=met), alerts=True)["results"] == []


def test_a_rule_says_what_it_means_and_how_serious_it_is() -> None:
    rules = {rule["id"]: rule for rule in run()["tool"]["driver"]["rules"]}
    assert rules["R001"]["properties"]["security-severity"] == "8.0"
    assert rules["R001"]["defaultConfiguration"]["level"] == "error"
    assert rules["R004"]["properties"]["security-severity"] == "5.0"
    assert "security-severity" not in rules["T001"]["properties"]
    assert "at least 80 %" in rules["R001"]["help"]["text"]
    assert "release policy" in rules["R001"]["help"]["text"]
    for rule in rules.values():
        assert all(rule[part]["text"] for part in ("shortDescription", "fullDescription", "help"))
    for result in run()["results"]:
        assert run()["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_a_rule_is_as_serious_as_its_most_serious_bar() -> None:
    def barred(finding: Any, severity: str) -> Any:
        bar = finding.criterion.model_copy(update={"severity": severity})
        return finding.model_copy(update={"criterion": bar, "severity": severity})

    cities, companies = (f for f in record().findings if f.probe == "truth_probe")
    for severities in (("medium", "high"), ("high", "medium")):
        pair = [barred(f, severity) for f, severity in zip((cities, companies), severities, strict=True)]
        (rule,) = run(changed(findings=pair))["tool"]["driver"]["rules"]
        assert (rule["properties"]["security-severity"], rule["defaultConfiguration"]["level"]) == ("8.0", "error")


def test_a_result_points_at_the_line_of_the_config_that_declared_its_bar() -> None:
    places = [result["locations"][0]["physicalLocation"] for result in run(from_config())["results"]]
    assert [place["region"]["startLine"] for place in places] == [11 + i for i in range(len(places))]
    assert {place["artifactLocation"]["uri"] for place in places} == {"ci/audit%20one.yaml"}
    bare = run()["results"][0]["locations"][0]["physicalLocation"]
    assert (bare["artifactLocation"]["uri"], bare["region"]["startLine"]) == ("audit.json", 1)


def fingerprints(of: AuditRecord | None = None) -> list[str]:
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run(of)["results"]]


def test_a_fingerprint_outlives_other_numbers_times_hashes_and_severities() -> None:
    def other(finding: Any) -> Any:
        estimate = finding.estimate and finding.estimate.model_copy(update={"value": 0.123, "low": 0.1, "n": 7})
        bar = finding.criterion.model_copy(update={"severity": "medium", "at_most": 0.5})
        return finding.model_copy(
            update={"estimate": estimate, "criterion": bar, "severity": "medium", "status": "undecided"}
        )

    again = from_config()
    digest = "0" * 64
    again = again.model_copy(
        update={
            "findings": tuple(map(other, again.findings)),
            "checkpoint": again.checkpoint.model_copy(update={"digest": digest, "config_digest": digest}),
            "environment": again.environment.model_copy(update={"started": "2027-01-01T00:00:00Z"}),
        }
    )
    assert fingerprints(again) == fingerprints()
    assert len(set(fingerprints())) == len(fingerprints())


def test_another_model_or_adapter_has_other_fingerprints_and_another_run_id() -> None:
    checkpoint = record().checkpoint
    renamed = changed(checkpoint=checkpoint.model_copy(update={"name": "other"}).model_dump())
    adapted = changed(checkpoint=checkpoint.model_copy(update={"adapter": checkpoint}).model_dump())
    for of in (renamed, adapted):
        assert not set(fingerprints(of)) & set(fingerprints())
    assert run()["automationDetails"]["id"] == "model-audit/SmolLM2-135M-Instruct/quick/"
    assert run(renamed)["automationDetails"]["id"] == "model-audit/other/quick/"
    assert run(adapted)["automationDetails"]["id"].startswith("model-audit/SmolLM2-135M-Instruct+")


def test_every_file_of_the_checkpoint_is_an_artifact_with_its_hash() -> None:
    checkpoint = record().checkpoint
    of = changed(checkpoint=checkpoint.model_copy(update={"adapter": checkpoint}).model_dump())
    listed = {(a["location"]["uriBaseId"], a["location"]["uri"], a["hashes"]["sha-256"]) for a in run(of)["artifacts"]}
    files = {(file.path, file.sha256) for file in checkpoint.files}
    assert listed == {(base, *file) for base in ("CHECKPOINT", "ADAPTER") for file in files}


def test_hostile_text_is_neither_a_link_nor_a_placeholder_nor_hidden() -> None:
    of = changed(findings=[record().findings[0].model_copy(update={"plain": "[a](http://x) {0} \\ \x1b\u202e b"})])
    rule, result = run(of)["tool"]["driver"]["rules"][0], run(of)["results"][0]
    for text in (rule["shortDescription"]["text"], result["message"]["text"]):
        assert "\\[a\\](http://x) {{0}} \\\\ ⟨ESC⟩⟨U+202E⟩ b" in text
    assert all(visible_only(sarif.render(RECORDS[name]())) for name in RECORDS)
    assert max(len(r["message"]["text"]) for r in run(RECORDS["hostile"]())["results"]) < 2100


def test_the_same_record_gives_the_same_bytes() -> None:
    assert sarif.render(record()) == sarif.render(AuditRecord.model_validate_json(record().model_dump_json()))
