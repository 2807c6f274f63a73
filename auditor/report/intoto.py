"""One record as in-toto statements about every file of the checkpoint: test result v0.1 and verification result v0.2.

A criterion is passed when it is met and failed when it stands in the way of a pass; one that is open without doing so
is a warning. Only a verdict of pass is PASSED or WARNED: not enough evidence is FAILED, so that a policy that reads
nothing else fails closed. Formats: https://github.com/in-toto/attestation, spec/v1 and spec/predicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auditor.canonical import canonical_json
from auditor.errors import ConfigError
from auditor.findings.record import AuditRecord, Finding
from auditor.report.exported import NAMESPACE, instant, tool_version
from auditor.report.text import visible

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VERIFICATION = "https://in-toto.io/attestation/svr/v0.2"
PASS = "AUDITOR_PASS"
MET = "AUDITOR_MET:"
"""followed by the id of the finding"""
SEALED = "runFolder"
"""our extension field: the lists of hashes of the run folder that a signature covers"""
Json = dict[str, Any]


def render(record: AuditRecord) -> str:
    """Both statements, one JSON document a line; the same record gives the same text. Raises as `statements`."""
    return "".join(f"{canonical_json(statement).decode()}\n" for statement in statements(record))


def statements(record: AuditRecord, sealed: Mapping[str, str] | None = None) -> list[Json]:
    """The test result, then the verification result.

    `sealed` are the files of the run folder (path to sha256) that the statements are to vouch for as well. Raises
    ConfigError for a model that was audited in memory, which has no files to speak of.
    """
    about = subjects(record)
    extension = {SEALED: [_descriptor(path, digest) for path, digest in sorted(sealed.items())]} if sealed else {}
    predicates = {TEST_RESULT: _test_result(record), VERIFICATION: _verification(record)}
    return [
        {"_type": STATEMENT, "subject": about, "predicateType": kind, "predicate": predicate | extension}
        for kind, predicate in predicates.items()
    ]


def subjects(record: AuditRecord) -> list[Json]:
    """Every file of the checkpoint, and of the adapter below `adapter/`, by path and sha256."""
    adapter = record.checkpoint.adapter
    files = [(file.path, file.sha256) for file in record.checkpoint.files]
    files += [(f"adapter/{file.path}", file.sha256) for file in adapter.files] if adapter else []
    if not files:
        raise ConfigError("in-toto: the model was audited in memory and has no files to make a statement about")
    return [_descriptor(path, digest) for path, digest in sorted(files)]


def _test_result(record: AuditRecord) -> Json:
    outcome: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for finding in record.findings:
        if finding.severity != "info":
            outcome[_outcome(finding)].append(visible(finding.id))
    passed = "WARNED" if outcome["warnedTests"] else "PASSED"
    return {
        "result": passed if record.verdict == "pass" else "FAILED",
        "configuration": [_configuration(record)],
        **outcome,
    }


def _outcome(finding: Finding) -> str:
    if finding.status == "met":
        return "passedTests"
    return "failedTests" if finding.status == "not_met" or finding.severity == "high" else "warnedTests"


def _verification(record: AuditRecord) -> Json:
    """What was verified, as properties; a property that is not there was not verified."""
    return {
        "verifier": {"id": f"{NAMESPACE}@{tool_version(record)}", "policies": [_configuration(record)]},
        "timeCreated": instant(record.environment.finished),
        "properties": list(_properties(record)),
    }


def _properties(record: AuditRecord) -> Iterator[str]:
    if record.verdict == "pass":
        yield PASS
    for finding in record.findings:
        if finding.severity != "info" and finding.status == "met":
            yield MET + visible(finding.id)


def _configuration(record: AuditRecord) -> Json:
    """The declared bars: sha256 of their canonical JSON, which is `config` in the record."""
    about = {"battery": visible(record.config.battery), "role": record.plan.role, "audit": record.digest}
    return {**_descriptor("audit.json#/config", record.config_digest), "annotations": about}


def _descriptor(name: str, digest: str) -> Json:
    return {"name": visible(name), "digest": {"sha256": digest}}
