"""What two audits asked differently, which rules out a test between them, and what else tells them apart."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.config import ProbeConfig
from auditor.findings.record import AuditRecord


def asked_otherwise(before: AuditRecord, after: AuditRecord) -> tuple[str, ...]:
    """What was asked differently, one line each; nothing when the comparison digests are equal."""
    if before.comparison_digest == after.comparison_digest:
        return ()
    return (*_config(before, after), *_material(before, after)) or ("the comparison digests differ",)


def _config(before: AuditRecord, after: AuditRecord) -> Iterator[str]:
    old, new = before.config, after.config
    if old.seed != new.seed:
        yield f"seed: {old.seed} and {new.seed}"
    if old.criteria != new.criteria:
        yield "criteria: those of the run as a whole differ"
    for name in sorted({*old.probes, *new.probes}):
        if name in old.probes and name in new.probes:
            yield from _settings(f"probes.{name}", old.probes[name], new.probes[name])
        else:
            yield f"probes.{name}: only in the {'later' if name in new.probes else 'earlier'} audit"


def _settings(place: str, old: ProbeConfig, new: ProbeConfig) -> Iterator[str]:
    for key in sorted({*old.params, *new.params}):
        then, now = old.params.get(key), new.params.get(key)
        if then != now:
            yield f"{place}.params.{key}: {then} and {now}"
    if old.criteria != new.criteria:
        yield f"{place}.criteria: differ"
    if old.multiverse != new.multiverse:
        yield f"{place}.multiverse: differ"


def _material(before: AuditRecord, after: AuditRecord) -> Iterator[str]:
    old, new = ({dataset.name: dataset.sha256 for dataset in record.datasets} for record in (before, after))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"data set {name}: another version, or only in one audit"
    if before.checkpoint.template_digest != after.checkpoint.template_digest:
        yield "chat template: another one"


def told_apart(before: AuditRecord, after: AuditRecord) -> Iterator[str]:
    """What differs without ruling out a comparison, but must be known to read it."""
    if before.plan.role != after.plan.role:
        yield f"role: audited as {before.plan.role} and as {after.plan.role}"
    if before.plan.dtype != after.plan.dtype:
        yield f"dtype: {before.plan.dtype} and {after.plan.dtype}"
    old, new = ({probe.name: probe.sha256 for probe in record.probes} for record in (before, after))
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            yield f"probe {name}: its code changed between the two audits"
