"""One record as the `model-index` of a Hugging Face model card: YAML for the front matter of its README.md.

Only what has a value can stand there; a comment above it names the rest. Format:
https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

from typing import Any

import yaml

from auditor.findings import gate, wording
from auditor.findings.record import AuditRecord, Finding
from auditor.report.exported import TOOL, instant, line, tool_version
from auditor.report.text import visible
from auditor.report.words import title

WIDTH = 100
"""characters of a comment line"""
Json = dict[str, Any]


def render(record: AuditRecord) -> str:
    """The `model-index` of `record` as YAML; the same record gives the same text."""
    by_data: dict[str, list[Finding]] = {}
    for finding in record.findings:
        if finding.status != "not_measured" and finding.estimate and finding.estimate.value is not None:
            by_data.setdefault(_data(finding), []).append(finding)
    results = [_result(name, findings, record) for name, findings in by_data.items()]
    index = {"model-index": [{"name": line(record.checkpoint.name), "results": results}]}
    return "".join(f"# {said}\n" for said in _head(record)) + yaml.safe_dump(
        index, allow_unicode=True, sort_keys=False, width=WIDTH
    )


def _head(record: AuditRecord) -> list[str]:
    """What the form has no place for."""
    missing = [finding.id for finding in record.findings if finding.status == "not_measured"]
    return [
        line(f"{TOOL} {tool_version(record)}, audit {record.digest}, {instant(record.environment.finished)}"),
        line(f"battery {record.config.battery}: {gate.line(record)}"),
        line(f"not measured: {', '.join(missing) or 'nothing that was asked'}", 2000),
    ]


def _data(finding: Finding) -> str:
    """The data set that a number is of; the probe, or the run, where it is of none."""
    columns = finding.estimate.columns if finding.estimate else ()
    named = next((column.where["dataset"] for column in columns if "dataset" in column.where), None)
    return str(named or finding.probe or "run")


def _result(name: str, findings: list[Finding], record: AuditRecord) -> Json:
    digests = {data.name: data.sha256 for data in record.datasets}
    data: Json = {"name": line(name), "type": line(f"{TOOL}-{name}")}
    if name in digests:
        data["revision"] = digests[name]
    return {
        "task": {"type": "text-generation", "name": "Audit"},
        "dataset": data,
        "metrics": [_metric(finding) for finding in findings],
    }


def _metric(finding: Finding) -> Json:
    estimate = finding.estimate
    if estimate is None:
        raise TypeError("a finding without a value has no metric")
    about: Json = {
        "finding": visible(finding.id),
        "status": finding.status,
        "bar": wording.bar(finding.criterion, finding.unit) or "none",
        "interval": [estimate.low, estimate.high],
        "n": estimate.n,
        "of": visible(estimate.of),
        "unit": finding.unit,
        "evidence": finding.evidence,
    }
    return {
        "type": line(finding.criterion.measurement),
        "value": estimate.value,
        "name": line(title(finding)),
        "args": {key: value for key, value in about.items() if value is not None},
    }
