"""One record as JUnit XML: a suite for each probe, a case for each criterion.

A bar that is missed is a failure, and so is a high bar that is undecided, because the gate does not pass with it. A
crash is an error. What was not measured, is waived or is not applicable, is skipped. The suite of the run has one case
more, the gate itself: a document without a failure or an error is one of a gate that passes. Given the outcome of the
gate, the converse holds too: where it passes all the same, a crash is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.measure.measurement import ProbeResult
from auditor.report.cases import TOLD, Case, battery_name, cases, model_name
from auditor.report.decision import Decision, decision
from auditor.report.exported import instant, line

RUN = "the run"
"""the suite of what is asked of the run as a whole"""
_SKIPPED = ("not_measured", "not_applicable")


def render(record: AuditRecord, outcome: GateOutcome | None = None) -> str:
    """The record as one JUnit document, by the outcome of its gate: the same record gives the same text."""
    root = Element("testsuites", name=f"{model_name(record)} · {battery_name(record)}")
    found, decided = cases(record, outcome), decision(record, outcome)
    for result in record.results:
        own = [case for case in found if case.trace.probe == line(result.probe)]
        _suite(root, record, decided, name=line(result.probe), found=own, result=result)
    reported = {line(result.probe) for result in record.results}
    for name in dict.fromkeys(case.trace.probe for case in found):
        if name and name not in reported:
            _suite(root, record, decided, name=name, found=[case for case in found if case.trace.probe == name])
    _suite(root, record, decided, name=RUN, found=[case for case in found if not case.trace.probe])
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(
    root: Element,
    record: AuditRecord,
    decided: Decision,
    *,
    name: str,
    found: Sequence[Case],
    result: ProbeResult | None = None,
) -> None:
    seconds = record.environment.seconds.get(result.probe, 0.0) if result else 0.0
    suite = SubElement(root, "testsuite", name=name, timestamp=instant(record.environment.started).rstrip("Z"))
    suite.set("time", f"{seconds:.3f}")
    if name == RUN:
        _gate(suite, decided, record.digest)
    for case in found:
        _case(suite, name, case, decided)
    if result and result.status == "error" and not any(case.outcome == "crashed" for case in found):
        crash = SubElement(suite, "testcase", name="the probe ran", classname=name, time="0.000")
        _crash(crash, decided, line(result.reason, TOLD))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{tag}"))))


def _gate(suite: Element, decided: Decision, audit: str) -> None:
    properties = SubElement(suite, "properties")
    for key, value in (
        ("verdict", decided.verdict),
        ("exit code", str(decided.exit_code)),
        ("summary", decided.line),
        ("audit", audit),
    ):
        SubElement(properties, "property", name=key, value=value)
    made = SubElement(suite, "testcase", name="the gate passes", classname=RUN, time="0.000")
    if decided.exit_code:
        told = line(decided.because, TOLD) if decided.by_terms else decided.line
        SubElement(made, "failure", message=told, type=decided.verdict)


def _case(suite: Element, name: str, case: Case, decided: Decision) -> None:
    made = SubElement(suite, "testcase", name=f"{case.trace.rule} {case.trace.id}", classname=name, time="0.000")
    if case.outcome == "crashed":
        _crash(made, decided, case.message)
    elif case.outcome in _SKIPPED or case.waiver:
        SubElement(made, "skipped", message=case.message)
    elif case.blocks:
        SubElement(made, "failure", message=case.message, type="worse" if case.fell_behind else case.outcome)
    else:
        SubElement(made, "system-out").text = case.message


def _crash(made: Element, decided: Decision, why: str) -> None:
    """An error, unless the gate passes all the same."""
    if decided.gated and not decided.exit_code:
        SubElement(made, "skipped", message=why)
    else:
        SubElement(made, "error", message=why, type="crashed")
