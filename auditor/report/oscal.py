"""One record as OSCAL assessment results: what was tested, which bars are satisfied, what is open and until when.

Every criterion is an observation. One with a bar is also a finding, whose objective is that bar: satisfied when it
is met, and in every other case not satisfied, with the status as a property and a risk that stays open. The model is
that of OSCAL 1.2.1, https://pages.nist.gov/OSCAL/ (assessment results).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from auditor.canonical import sha256_hex
from auditor.findings import gate, wording
from auditor.findings.record import AuditRecord, Finding
from auditor.report.exported import (
    NAMESPACE,
    TOOL,
    address,
    as_json,
    evidence_of,
    identity,
    instant,
    line,
    said,
    tool_version,
    written,
)
from auditor.report.text import visible
from auditor.report.words import title

OSCAL = "1.2.1"
DAYS = {"high": 30, "medium": 90}
"""how long a risk may stay open, from the end of the audit; a default of auditor that a policy may shorten"""
DEADLINE = "{days} days after the audit, the default of auditor for a bar of {severity} severity"
SIGN_OFF = (
    "Computed by the tool; no person has signed. Whoever audited, reviewed or decided signs the report of this audit, "
    "which is named by its identity."
)
_REASONS = {"met": "pass", "not_met": "fail"}
_NOT_A_TOKEN = re.compile(r"[^A-Za-z0-9_.-]+")
Json = dict[str, Any]
Ids = Callable[..., str]


def render(record: AuditRecord) -> str:
    """The assessment results of `record` as JSON; the same record gives the same text."""
    audit = record.digest
    uuid = partial(identity, audit, "oscal")
    document = {
        "uuid": uuid("document"),
        "metadata": {
            "title": line(f"Audit of {record.checkpoint.name}"),
            "last-modified": written(record),
            "version": audit[:12],
            "oscal-version": OSCAL,
            "props": [_prop("audit-digest", audit), _prop("schema-version", record.schema_version)],
        },
        "import-ap": {"href": f"#{uuid('plan')}", "remarks": "The battery as it was declared before the run."},
        "results": [_result(record, uuid)],
        "back-matter": {"resources": _resources(record, uuid)},
    }
    return as_json({"assessment-results": document})


def _result(record: AuditRecord, uuid: Ids) -> Json:
    barred = [finding for finding in record.findings if finding.severity != "info"]
    risks = [_risk(finding, record, uuid) for finding in barred if finding.status != "met"]
    result = {
        "uuid": uuid("result"),
        "title": line(f"Battery {record.config.battery}"),
        "description": visible(" ".join((f"{gate.line(record)}.", *record.verdict_reasons))),
        "start": instant(record.environment.started),
        "end": instant(record.environment.finished),
        "props": [_prop("verdict", record.verdict.replace("_", "-")), _prop("config-digest", record.config_digest)],
        "local-definitions": {"components": _components(record, uuid)},
        "reviewed-controls": _reviewed(record, barred),
        "attestations": [_attestation(record, uuid)],
        "observations": [_observation(finding, record, uuid) for finding in record.findings],
        "risks": risks,
        "findings": [_finding(finding, uuid) for finding in barred],
        "remarks": visible("\n\n".join((*record.would_change, *record.not_applicable))),
    }
    return {key: value for key, value in result.items() if value}


def _reviewed(record: AuditRecord, barred: list[Finding]) -> Json:
    """Probes as controls, and bars as their objectives."""
    controls = sorted({*(probe.name for probe in record.probes), *(finding.probe for finding in record.findings)})
    reviewed: Json = {
        "description": "Controls are the probes of the battery and the run as a whole, objectives the declared bars.",
        "control-selections": [{"include-controls": [{"control-id": _control(name)} for name in controls]}],
    }
    if barred:
        objectives = [{"objective-id": _token(finding.id)} for finding in barred]
        reviewed["control-objective-selections"] = [{"include-objectives": objectives}]
    return reviewed


def _components(record: AuditRecord, uuid: Ids) -> list[Json]:
    checkpoint = record.checkpoint
    model = {
        "uuid": uuid("model"),
        "type": "software",
        "title": line(checkpoint.name),
        "description": f"Checkpoint of {checkpoint.parameters} weights, {len(checkpoint.files)} files.",
        "props": [_prop("sha256", checkpoint.digest), _prop("model-type", checkpoint.model_type)],
        "status": {"state": "other", "remarks": "Under audit."},
    }
    tool = {
        "uuid": uuid("tool"),
        "type": "software",
        "title": TOOL,
        "description": "Measures a checkpoint and holds each number against a bar that was declared before the run.",
        "props": [_prop("version", tool_version(record))],
        "status": {"state": "operational"},
    }
    return [model, tool]


def _attestation(record: AuditRecord, uuid: Ids) -> Json:
    """The place of the sign-off, which a tool cannot give."""
    part = {
        "uuid": uuid("sign-off"),
        "name": "sign-off",
        "ns": NAMESPACE,
        "title": "Sign-off",
        "props": [_prop("state", "unsigned"), _prop("audit-digest", record.digest)],
        "prose": SIGN_OFF,
    }
    return {"parts": [part]}


def _observation(finding: Finding, record: AuditRecord, uuid: Ids) -> Json:
    files = evidence_of(finding, record) or {"audit.json": ""}
    evidence = [
        {
            "href": address(path),
            "description": "The stored items that the number is computed from."
            if digest
            else "The record of the audit.",
            **({"props": [_prop("sha256", digest)]} if digest else {}),
        }
        for path, digest in files.items()
    ]
    return {
        "uuid": uuid("observation", finding.id),
        "title": line(title(finding)),
        "description": visible(wording.sentence(finding)),
        "props": _facts(finding),
        "methods": ["TEST"],
        "types": ["control-objective" if finding.severity != "info" else "discovery"],
        "origins": [{"actors": [{"type": "tool", "actor-uuid": uuid("tool")}]}],
        "subjects": [{"subject-uuid": uuid("model"), "type": "component"}],
        "relevant-evidence": evidence,
        "collected": instant(record.environment.finished),
        "remarks": visible(f"{finding.reason}. Scope: {finding.scope}. {finding.limits}"),
    }


def _facts(finding: Finding) -> list[Json]:
    estimate = finding.estimate
    facts = {"status": said(finding.status), "severity": finding.severity, "evidence-class": finding.evidence}
    if estimate is not None:
        facts |= {"n": str(estimate.n), "unit": finding.unit or "", "estimator": estimate.estimator}
        numbers = {"value": estimate.value, "interval-low": estimate.low, "interval-high": estimate.high}
        shown = numbers if finding.status != "not_measured" else {}
        facts |= {name: repr(number) for name, number in shown.items() if number is not None}
    return [_prop(name, value) for name, value in facts.items()]


def _finding(finding: Finding, uuid: Ids) -> Json:
    satisfied = finding.status == "met"
    state = {
        "state": "satisfied" if satisfied else "not-satisfied",
        "reason": _REASONS.get(finding.status, "other"),
        "remarks": visible(finding.reason),
    }
    found = {
        "uuid": uuid("finding", finding.id),
        "title": line(title(finding)),
        "description": visible(wording.sentence(finding)),
        "props": [_prop("status", said(finding.status)), _prop("severity", finding.severity)],
        "target": {"type": "objective-id", "target-id": _token(finding.id), "status": state},
        "related-observations": [{"observation-uuid": uuid("observation", finding.id)}],
    }
    return found if satisfied else found | {"related-risks": [{"risk-uuid": uuid("risk", finding.id)}]}


def _risk(finding: Finding, record: AuditRecord, uuid: Ids) -> Json:
    """What an unmet bar leaves open: a missed one is open, one without an answer is being investigated."""
    days = DAYS[finding.severity]
    return {
        "uuid": uuid("risk", finding.id),
        "title": line(f"Bar not met: {title(finding)}" if finding.status == "not_met" else f"Open: {title(finding)}"),
        "description": visible(wording.sentence(finding)),
        "statement": visible(finding.criterion.because) or "No reason for the bar was declared.",
        "props": [
            _prop("severity", finding.severity),
            _prop("status", said(finding.status)),
            _prop("deadline-basis", DEADLINE.format(days=days, severity=finding.severity)),
        ],
        "status": "open" if finding.status == "not_met" else "investigating",
        "deadline": instant(record.environment.finished, days),
        "related-observations": [{"observation-uuid": uuid("observation", finding.id)}],
    }


def _resources(record: AuditRecord, uuid: Ids) -> list[Json]:
    plan = {
        "uuid": uuid("plan"),
        "title": "Declared battery",
        "props": [_prop("config-digest", record.config_digest)],
        "rlinks": [{"href": "run.json", "media-type": "application/json"}],
    }
    files = [
        {
            "uuid": uuid("evidence", path),
            "title": line(path),
            "rlinks": [{"href": address(path), "hashes": [{"algorithm": "SHA-256", "value": digest}]}],
        }
        for path, digest in sorted(record.evidence.items())
    ]
    return [plan, *files]


def _prop(name: str, value: str) -> Json:
    return {"name": name, "ns": NAMESPACE, "value": line(value)}


def _control(probe: str) -> str:
    return _token(probe or "run")


def _token(name: str) -> str:
    """`name` as an OSCAL token; one that has to be changed keeps a piece of its hash, so that no two become one."""
    plain = _NOT_A_TOKEN.sub("-", name)
    if plain == name and re.match("[A-Za-z_]", name):
        return name
    return f"_{plain[:80].strip('-')}-{sha256_hex(name.encode('utf-8', 'replace'))[:8]}"
