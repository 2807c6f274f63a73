"""Records for the tests of what pipelines read: one of every outcome, crashed, of a base model, from a config file."""

from __future__ import annotations

from functools import cache

from auditor.declared import bar_place
from auditor.findings.assess import assess
from auditor.findings.record import AuditRecord
from tests.report.corpus import hostile_record
from tests.report.pages import record
from tests.runfolder import sample_record


@cache
def crashed() -> AuditRecord:
    """The sample, whose refusal probe could not finish."""
    base = record()
    broken = base.results[0].model_copy(update={"status": "error", "reason": "out of memory", "measurements": ()})
    results = (broken, *base.results[1:])
    again = assess(base.config, results, base.probes, plan=base.plan, template_digest=base.checkpoint.template_digest)
    judged = {"findings": again.findings, "verdict": again.verdict, "verdict_reasons": again.verdict_reasons}
    return base.model_copy(update={"results": results, **judged})


@cache
def base_model() -> AuditRecord:
    """A model audited as base: the bars for chat models are not applicable."""
    return sample_record(role="base")


@cache
def from_config() -> AuditRecord:
    """The sample as if a config file had declared each bar on a line of its own, the first on line 11."""
    base = record()
    places = [bar_place(base.config, finding.probe, finding.criterion) for finding in base.findings]
    lines = {place: 11 + i for i, place in enumerate(places)}
    environment = base.environment.model_copy(update={"config_file": "ci/audit one.yaml", "declared_lines": lines})
    return base.model_copy(update={"environment": environment})


RECORDS = {
    "sample": record,
    "crashed": crashed,
    "base model": base_model,
    "from a config": from_config,
    "hostile": hostile_record,
}
"""every writer is tried on each of these"""


def visible_only(text: str) -> bool:
    """Whether no character hides, reorders or controls what is around it, but line feeds."""
    hidden = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2066", "\u2028", "\ufeff"} - {"\n"}
    return not hidden & set(text)
