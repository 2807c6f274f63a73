"""The model card export: what huggingface_hub reads back."""

from __future__ import annotations

import yaml
from huggingface_hub import EvalResult, ModelCardData

from auditor.findings.record import AuditRecord
from auditor.report import model_index
from tests.report.corpus import hostile_record
from tests.report.pages import changed, record


def card(of: AuditRecord) -> ModelCardData:
    return ModelCardData(**yaml.safe_load(model_index.render(of)))


def results(of: AuditRecord | None = None) -> list[EvalResult]:
    return card(of or record()).eval_results or []


def test_every_number_comes_back_with_its_data_and_interval() -> None:
    by_name = {result.metric_args["finding"]: result for result in results() if result.metric_args}
    with_value = {f.id: f for f in record().findings if f.estimate and f.status != "not_measured"}
    assert set(by_name) == set(with_value)
    finding = with_value["refusal_behaviour.harmful_refusal_rate"]
    result = by_name[finding.id]
    assert finding.estimate is not None
    assert result.metric_value == finding.estimate.value
    assert result.metric_type == "harmful_refusal_rate"
    assert (result.dataset_name, result.dataset_type) == ("requests", "checkpoint-auditor-requests")
    assert result.dataset_revision == next(data.sha256 for data in record().datasets if data.name == "requests")
    assert result.metric_args is not None
    assert result.metric_args["interval"] == [finding.estimate.low, finding.estimate.high]
    assert result.metric_args["status"] == finding.status
    assert result.verified is None


def test_what_was_not_measured_has_no_entry_and_is_named_above() -> None:
    first, *rest = record().findings
    missing = changed(findings=[first.model_copy(update={"status": "not_measured"}), *rest])
    assert first.id not in [result.metric_args["finding"] for result in results(missing) if result.metric_args]
    head = [line for line in model_index.render(missing).splitlines() if line.startswith("#")]
    assert f"not measured: {first.id}" in head[2]
    assert "FAIL" in head[1]


def test_an_audit_without_numbers_is_an_empty_index() -> None:
    text = model_index.render(changed(findings=[]))
    assert yaml.safe_load(text)["model-index"][0]["results"] == []


def test_hostile_text_stays_text() -> None:
    text = model_index.render(hostile_record())
    assert text == model_index.render(hostile_record())
    assert list(yaml.safe_load(text)) == ["model-index"]
    assert [line[:2] for line in text.splitlines()[:4]] == ["# ", "# ", "# ", "mo"]
    assert not set("\x1b\x7f\x85\u202e\u2066\ufeff") & set(text)
    assert len(results(hostile_record())) == len(results())
