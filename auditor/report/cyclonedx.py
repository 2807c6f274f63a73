"""One record as a CycloneDX 1.7 bill of materials: the checkpoint with a model card, its files, and the data used.

Format: https://cyclonedx.org/docs/1.7/json/. The numbers of a model card are strings there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from auditor.checkpoint.identity import CheckpointIdentity
from auditor.findings import gate, wording
from auditor.findings.record import AuditRecord, DatasetIdentity, Finding
from auditor.report.exported import TOOL, address, as_json, identity, line, said, tool_version, written
from auditor.report.text import full_stop, visible

VERSION = "1.7"
PREFIX = "checkpoint-auditor:"
"""of the names of properties"""
Json = dict[str, Any]


def render(record: AuditRecord) -> str:
    """The bill of materials of `record` as JSON; the same record gives the same text."""
    audit = record.digest
    uuid = partial(identity, audit, "cyclonedx")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "serialNumber": f"urn:uuid:{uuid('document')}",
        "version": 1,
        "metadata": {
            "timestamp": written(record),
            "tools": {"components": [{"type": "application", "name": TOOL, "version": tool_version(record)}]},
            "properties": [_property("audit", audit), _property("config", record.config_digest)],
        },
        "components": [_model(record), *(_dataset(data) for data in record.datasets)],
    }
    return as_json(document)


def _model(record: AuditRecord) -> Json:
    checkpoint = record.checkpoint
    parts = [*_files(checkpoint), *([_adapter(checkpoint.adapter)] if checkpoint.adapter else [])]
    evidence = [
        {"type": "evidence", "url": address(path), "hashes": [_hash(digest)]}
        for path, digest in sorted(record.evidence.items())
    ]
    model = {
        **_checkpoint("model", checkpoint),
        "components": parts,
        "externalReferences": evidence,
        "modelCard": _model_card(record),
    }
    return {key: value for key, value in model.items() if value}


def _adapter(adapter: CheckpointIdentity) -> Json:
    return {**_checkpoint("adapter", adapter), "components": _files(adapter, "adapter/")}


def _checkpoint(ref: str, checkpoint: CheckpointIdentity) -> Json:
    facts = {
        "sha256 of the list of files": checkpoint.digest,
        "weights": str(checkpoint.parameters),
        **{f"weights stored as {name}": str(n) for name, n in sorted(checkpoint.stored_dtypes.items())},
        **{f"note {i}": note for i, note in enumerate(checkpoint.notes, start=1)},
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": line(checkpoint.name),
        "version": line(checkpoint.revision or checkpoint.digest[:12]),
        "properties": [_property(name, value) for name, value in facts.items()],
    }


def _files(checkpoint: CheckpointIdentity, below: str = "") -> list[Json]:
    return [
        {
            "type": "file",
            "bom-ref": f"file:{below}{file.path}",
            "name": visible(below + file.path),
            "hashes": [_hash(file.sha256)],
            "properties": [_property("use", file.use), _property("bytes", str(file.size))],
        }
        for file in checkpoint.files
    ]


def _dataset(data: DatasetIdentity) -> Json:
    card = [_property(f"card:{name}", str(value)) for name, value in sorted(data.card.items())]
    return {
        "type": "data",
        "bom-ref": f"data:{data.name}",
        "name": line(data.name),
        "hashes": [_hash(data.sha256)],
        "data": [{"type": "dataset", "name": line(data.name)}],
        "properties": [_property("examples", str(data.n)), *card],
    }


def _model_card(record: AuditRecord) -> Json:
    missing = [visible(wording.sentence(f)) for f in record.findings if f.status == "not_measured"]
    limits = dict.fromkeys(full_stop(visible(f.limits)) for f in record.findings if f.limits.strip())
    facts = {
        "verdict": record.verdict,
        "gate": gate.line(record),
        "role": record.plan.role,
        "numbers": f"{record.plan.dtype} on {record.plan.device}",
        **{f"finding:{finding.id}": _told(finding) for finding in record.findings},
    }
    return {
        "modelParameters": {
            "task": "text-generation",
            "architectureFamily": line(record.checkpoint.model_type),
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(f) for f in record.findings if _value(f) is not None]},
        "considerations": {"technicalLimitations": [*missing, *limits]},
        "properties": [_property(name, value) for name, value in facts.items()],
    }


def _metric(finding: Finding) -> Json:
    estimate = finding.estimate
    metric: Json = {"type": visible(finding.id), "value": repr(_value(finding)), "slice": visible(finding.scope)}
    if estimate and estimate.low is not None and estimate.high is not None:
        metric["confidenceInterval"] = {"lowerBound": repr(estimate.low), "upperBound": repr(estimate.high)}
    return metric


def _value(finding: Finding) -> float | None:
    """The number of a finding; none where it says that it was not measured."""
    return finding.estimate.value if finding.estimate and finding.status != "not_measured" else None


def _told(finding: Finding) -> str:
    bar = wording.bar(finding.criterion, finding.unit)
    return f"{said(finding.status)}; severity {finding.severity}; {finding.reason}" + (f"; bar {bar}" if bar else "")


def _hash(digest: str) -> Json:
    return {"alg": "SHA-256", "content": digest}


def _property(name: str, value: str) -> Json:
    return {"name": f"{PREFIX}{line(name)}", "value": visible(value)}
