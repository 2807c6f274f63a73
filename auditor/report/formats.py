"""The machine formats of `auditor report --format`: each a function of the record alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auditor.findings.record import AuditRecord
from auditor.report import cyclonedx, intoto, model_index, oscal

FORMATS: Mapping[str, Callable[[AuditRecord], str]] = {
    "oscal": oscal.render,
    "intoto": intoto.render,
    "cyclonedx": cyclonedx.render,
    "modelindex": model_index.render,
}
