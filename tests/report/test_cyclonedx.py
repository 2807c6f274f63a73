"""The CycloneDX export: what the library's bundled schema accepts, and what the model card says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from auditor.findings.record import AuditRecord
from auditor.report import cyclonedx
from tests.report.corpus import hostile_record
from tests.report.pages import changed, record

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_7)


def document(of: AuditRecord | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cyclonedx.render(of or record()))
    return found


def model(of: AuditRecord | None = None) -> dict[str, Any]:
    found: dict[str, Any] = document(of)["components"][0]
    return found


def refs(components: list[dict[str, Any]]) -> list[str]:
    return [ref for c in components for ref in (c["bom-ref"], *refs(c.get("components", [])))]


def adapted() -> AuditRecord:
    checkpoint = record().checkpoint
    return changed(checkpoint=checkpoint.model_copy(update={"adapter": checkpoint}))


@pytest.mark.parametrize(
    "of",
    [record(), hostile_record(), adapted(), changed(findings=[], datasets=[])],
    ids=["sample", "hostile", "adapter", "bare"],
)
def test_the_bundled_schema_accepts_it_and_no_two_parts_share_a_name(of: AuditRecord) -> None:
    assert VALIDATOR.validate_str(cyclonedx.render(of)) is None
    found = refs(document(of)["components"])
    assert len(found) == len(set(found))


def test_the_bundled_schema_refuses_a_number_that_is_no_string() -> None:
    spoilt = document()
    spoilt["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = 0.5
    assert VALIDATOR.validate_str(json.dumps(spoilt)) is not None


def test_the_model_is_a_component_with_its_files_and_evidence() -> None:
    found = model()
    assert found["type"] == "machine-learning-model"
    hashes = {part["name"]: part["hashes"][0]["content"] for part in found["components"]}
    assert hashes == {file.path: file.sha256 for file in record().checkpoint.files}
    evidence = {ref["url"]: ref["hashes"][0]["content"] for ref in found["externalReferences"]}
    assert evidence == record().evidence


def test_metrics_are_strings_with_their_interval() -> None:
    metrics = {m["type"]: m for m in model()["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    first = record().findings[0]
    assert first.estimate is not None
    metric = metrics[first.id]
    assert float(metric["value"]) == first.estimate.value
    assert float(metric["confidenceInterval"]["lowerBound"]) == first.estimate.low
    assert float(metric["confidenceInterval"]["upperBound"]) == first.estimate.high
    assert metric["slice"] == first.scope


def test_what_was_not_measured_is_a_limitation_and_no_metric() -> None:
    first, *rest = record().findings
    missing = first.model_copy(update={"status": "not_measured", "reason": "too few items"})
    card = model(changed(findings=[missing, *rest]))["modelCard"]
    assert first.id not in [m["type"] for m in card["quantitativeAnalysis"]["performanceMetrics"]]
    assert "too few items" in card["considerations"]["technicalLimitations"][0]
    unbounded = first.model_copy(update={"estimate": first.estimate.model_copy(update={"low": None, "high": None})})  # type: ignore[union-attr]
    metric = model(changed(findings=[unbounded]))["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]
    assert "confidenceInterval" not in metric


def test_same_record_same_text_and_the_time_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cyclonedx.render(record()) == cyclonedx.render(record())
    assert document()["serialNumber"] != document(changed(findings=[]))["serialNumber"]
    assert document()["metadata"]["timestamp"] == "2026-01-05T09:04:40Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert document()["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"


def test_hostile_text_is_shown() -> None:
    text = cyclonedx.render(hostile_record())
    assert not set("\x7f\x85\u202e\u2066\ufeff") & set(text)
    assert "\\u001b" not in text
    assert "⟨ESC⟩" in text
