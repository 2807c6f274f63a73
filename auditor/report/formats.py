"""The machine formats: functions of the record alone, and those that follow what the gate decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report import cyclonedx, github, gitlab, intoto, junit, model_index, oscal, sarif, tabular

FORMATS: Mapping[str, Callable[[AuditRecord], str]] = {
    "sarif": sarif.render,
    "sarif-alerts": sarif.render_alerts,
    "junit": junit.render,
    "github": github.render,
    "gitlab": gitlab.render,
    "csv": tabular.measurements,
    "csv-findings": tabular.findings,
    "oscal": oscal.render,
    "intoto": intoto.render,
    "cyclonedx": cyclonedx.render,
    "modelindex": model_index.render,
}
DECIDED: Mapping[str, Callable[[AuditRecord, GateOutcome | None], str]] = {
    "sarif": sarif.render,
    "sarif-alerts": sarif.render_alerts,
    "junit": junit.render,
    "github": github.render,
    "gitlab": gitlab.render,
}
"""those that know what a gate decided by a policy, waivers and a baseline"""
