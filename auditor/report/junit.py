"""One record as JUnit XML: a suite for each probe, a case for each criterion.

A bar that is missed is a failure, and so is a high bar that is undecided, because the gate does not pass with it. A
crash is an error. What was not measured, and what is not applicable, is skipped. The suite of the run has one case
more, the gate itself: a document without a failure or an error is one of a gate that passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from auditor.findings.gate import exit_code
from auditor.findings.gate import line as verdict_line
from auditor.findings.record import AuditRecord
from auditor.measure.measurement import ProbeResult
from auditor.report.cases import TOLD, Case, battery_name, cases, model_name
from auditor.report.exported import instant, line

RUN = "the run"
"""the suite of what is asked of the run as a whole"""
_SKIPPED = ("not_measured", "not_applicable")


def render(record: AuditRecord) -> str:
    """The record as one JUnit document: the same record gives the same text."""
    root = Element("testsuites", name=f"{model_name(record)} · {battery_name(record)}")
    found = cases(record)
    for result in record.results:
        own = [case for case in found if case.trace.probe == line(result.probe)]
        _suite(root, record, line(result.probe), own, result)
    reported = {line(result.probe) for result in record.results}
    for name in dict.fromkeys(case.trace.probe for case in found):
        if name and name not in reported:
            _suite(root, record, name, [case for case in found if case.trace.probe == name], None)
    _suite(root, record, RUN, [case for case in found if not case.trace.probe], None)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: Element, record: AuditRecord, name: str, found: Sequence[Case], result: ProbeResult | None) -> None:
    seconds = record.environment.seconds.get(result.probe, 0.0) if result else 0.0
    suite = SubElement(root, "testsuite", name=name, timestamp=instant(record.environment.started).rstrip("Z"))
    suite.set("time", f"{seconds:.3f}")
    if name == RUN:
        _gate(suite, record)
    for case in found:
        _case(suite, name, case)
    if result and result.status == "error" and not any(case.outcome == "crashed" for case in found):
        crash = SubElement(suite, "testcase", name="the probe ran", classname=name, time="0.000")
        SubElement(crash, "error", message=line(result.reason, TOLD), type="crashed")
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{tag}"))))


def _gate(suite: Element, record: AuditRecord) -> None:
    properties = SubElement(suite, "properties")
    for key, value in (
        ("verdict", record.verdict),
        ("exit code", str(exit_code(record))),
        ("summary", verdict_line(record)),
        ("audit", record.digest),
    ):
        SubElement(properties, "property", name=key, value=value)
    made = SubElement(suite, "testcase", name="the gate passes", classname=RUN, time="0.000")
    if exit_code(record):
        SubElement(made, "failure", message=verdict_line(record), type=record.verdict)


def _case(suite: Element, name: str, case: Case) -> None:
    made = SubElement(suite, "testcase", name=f"{case.trace.rule} {case.trace.id}", classname=name, time="0.000")
    if case.outcome == "crashed":
        SubElement(made, "error", message=case.told, type="crashed")
    elif case.outcome in _SKIPPED:
        SubElement(made, "skipped", message=case.told)
    elif case.blocks:
        SubElement(made, "failure", message=case.told, type=case.outcome)
    else:
        SubElement(made, "system-out").text = case.told
