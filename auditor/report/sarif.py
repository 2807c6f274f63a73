"""One record as SARIF 2.1.0: each check a rule, each criterion a result at the config line that declared it.

`render` writes every result with its kind. GitHub code scanning reads no kind and shows every result as an alert, so
`render_alerts` leaves out what is none. What the gate waived keeps its kind and is suppressed. Source: OASIS,
https://docs.oasis-open.org/sarif/sarif/v2.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from auditor.checkpoint.identity import CheckpointIdentity
from auditor.config import Severity
from auditor.findings.assess import SEVERITIES
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report.cases import TOLD, Case, Outcome, battery_name, cases, model_name
from auditor.report.decision import Decision, decision
from auditor.report.exported import address, as_json, instant, line, tool_version
from auditor.report.numbers import bar
from auditor.report.text import full_stop
from auditor.report.words import EVIDENCE

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
KIND: dict[Outcome, str] = {
    "met": "pass",
    "not_met": "fail",
    "undecided": "open",
    "not_measured": "review",
    "crashed": "review",
    "shown": "informational",
    "not_applicable": "notApplicable",
}
LEVEL: dict[Severity, str] = {"high": "error", "medium": "warning", "info": "note"}
SECURITY: dict[Severity, str] = {"high": "8.0", "medium": "5.0"}
"""on GitHub's scale: high from 7.0, medium from 4.0; a check without a bar has none"""


def render(record: AuditRecord, outcome: GateOutcome | None = None) -> str:
    """The record as a SARIF log, by the outcome of its gate: the same record gives the same text."""
    return _log(record, decision(record, outcome), cases(record, outcome))


def render_alerts(record: AuditRecord, outcome: GateOutcome | None = None) -> str:
    """The record as a SARIF log of nothing but what stands in the way of a pass."""
    return _log(record, decision(record, outcome), [case for case in cases(record, outcome) if case.blocks])


def _log(record: AuditRecord, decided: Decision, shown: Sequence[Case]) -> str:
    suppressing = any(case.waiver for case in shown)
    rules = list(dict.fromkeys(case.trace.rule for case in shown))
    run = {
        "tool": {
            "driver": {
                "name": "auditor",
                "version": line(tool_version(record)),
                "rules": [_rule([c for c in shown if c.trace.rule == rule]) for rule in rules],
            }
        },
        "automationDetails": {"id": f"model-audit/{model_name(record)}/{battery_name(record)}/"},
        "invocations": [_invocation(record)],
        "originalUriBaseIds": {
            "CHECKPOINT": {"description": {"text": "the folder of the checkpoint"}},
            "ADAPTER": {"description": {"text": "the folder of the adapter"}},
        },
        "artifacts": [*_files(record.checkpoint, "CHECKPOINT"), *_files(record.checkpoint.adapter, "ADAPTER")],
        "results": [
            _result(case, rules.index(case.trace.rule)) | (_suppressions(case) if suppressing else {}) for case in shown
        ],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": decided.verdict,
            "exitCode": decided.exit_code,
            "summary": decided.line,
            **({"reasons": [line(reason, TOLD) for reason in decided.reasons]} if decided.by_terms else {}),
            "audit": record.digest,
            "checkpoint": line(record.checkpoint.digest),
        },
    }
    return as_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(found: Sequence[Case]) -> dict[str, object]:
    """What a check means, as serious as the most serious of its cases."""
    case = found[0]
    severity = min((c.criterion.severity for c in found), key=SEVERITIES.index)
    finding = case.finding
    means = [case.title, *([EVIDENCE[finding.evidence], finding.limits] if finding else [])]
    properties = {"tags": ["security", *([finding.evidence] if finding else [])]}
    security = {"security-severity": SECURITY[severity]} if severity in SECURITY else {}
    return {
        "id": case.trace.rule,
        "name": line(case.criterion.measurement),
        "shortDescription": {"text": _text(full_stop(case.title))},
        "fullDescription": {"text": _text(" ".join(full_stop(part) for part in means if part))},
        "help": {"text": _text(_help(found))},
        "defaultConfiguration": {"level": LEVEL[severity]},
        "properties": properties | security,
    }


def _help(found: Sequence[Case]) -> str:
    case = found[0]
    asked = {
        full_stop(f"bar: {bar(c.criterion, c.unit)} ({c.criterion.because or 'shown, not judged'})") for c in found
    }
    way = f"`auditor probes {case.trace.probe}` says how it is measured." if case.trace.probe else ""
    return " ".join([*sorted(asked), way]).strip()


def _result(case: Case, index: int) -> dict[str, object]:
    estimate = case.finding.estimate if case.finding else None
    numbers = estimate.model_dump(include={"value", "low", "high", "n", "of", "estimator"}) if estimate else {}
    kind = "fail" if case.fell_behind else KIND[case.outcome]
    return {
        "ruleId": case.trace.rule,
        "ruleIndex": index,
        "kind": kind,
        "level": LEVEL[case.criterion.severity] if kind == "fail" else "none",
        "message": {"text": " ".join(_text(part) for part in (case.told, case.ruled) if part)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": address(case.trace.file)},
                    "region": {"startLine": case.trace.line},
                },
                "logicalLocations": [
                    {
                        "name": line(case.criterion.measurement),
                        "fullyQualifiedName": case.trace.id,
                        "kind": "measurement",
                    }
                ],
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{case.trace.fingerprint}:1"},
        "properties": {
            "status": case.outcome,
            "severity": case.criterion.severity,
            "unit": case.unit,
            **{name: line(value) if isinstance(value, str) else value for name, value in numbers.items()},
        },
    }


def _suppressions(case: Case) -> dict[str, object]:
    """The waiver of a result; an empty list says that it is not suppressed, and SARIF wants all results to say so."""
    waiver = case.waiver
    if waiver is None:
        return {"suppressions": []}
    said = {"owner": line(waiver.owner), "approvedBy": line(waiver.approved_by)}
    days = {"created": waiver.created.isoformat(), "expires": waiver.expires.isoformat()}
    accepted = {"kind": "external", "status": "accepted", "justification": line(waiver.reason, TOLD)}
    return {"suppressions": [accepted | {"properties": said | days | {"acceptUpTo": waiver.accept_up_to}}]}


def _files(checkpoint: CheckpointIdentity | None, base: str) -> Iterator[dict[str, object]]:
    for file in checkpoint.files if checkpoint else ():
        yield {
            "location": {"uri": address(file.path), "uriBaseId": base},
            "length": file.size,
            "roles": ["analysisTarget"],
            "hashes": {"sha-256": file.sha256},
        }


def _invocation(record: AuditRecord) -> dict[str, object]:
    crashed = [result for result in record.results if result.status == "error"]
    told = [f"{result.probe} could not finish: {result.reason}" for result in crashed]
    return {
        "executionSuccessful": not crashed,
        "startTimeUtc": instant(record.environment.started),
        "endTimeUtc": instant(record.environment.finished),
        "toolExecutionNotifications": [{"level": "error", "message": {"text": _text(text)}} for text in told],
    }


def _text(text: str) -> str:
    """A message that is read as written: in SARIF, braces are placeholders and brackets are links."""
    return re.sub(r"([\\\[\]])", r"\\\1", line(text, TOLD)).replace("{", "{{").replace("}", "}}")
