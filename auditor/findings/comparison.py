"""What changed between two audits: the same findings side by side, with a test on each difference. No torch.

Only audits that asked the same are tested against each other: equal probes, parameters, criteria, seed, data and
template. Items are read only while they are what the record sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditor.bundle import MANIFEST, RunFolder
from auditor.canonical import sha256_file
from auditor.config import Criterion, Severity, Strict
from auditor.errors import ConfigError, IncompleteRun, VerifyMismatch
from auditor.findings.asked import asked_otherwise, told_apart
from auditor.findings.record import AuditRecord, Finding, Status, Verdict, load
from auditor.findings.testing import COUNTED, tested
from auditor.findings.verify import StoredTables
from auditor.measure.changes import Change, Method, holm
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import Unit

ALPHA = 0.05
Outcome = Literal["worse", "better", "changed", "no change shown", "not tested"]
"""`changed` is of what has no bar, so that neither way is worse"""


@dataclass(frozen=True)
class Run:
    """A finished run folder with its record; its tables are read when they are asked for."""

    folder: RunFolder
    record: AuditRecord
    _tables: StoredTables = field(repr=False)

    @classmethod
    def open(cls, place: Path) -> Run:
        """The run in a folder. Raises as `load`, and IncompleteRun for a record without its folder."""
        record = load(place)
        if not place.is_dir():
            raise IncompleteRun(f"{place}: is a record alone; a comparison needs the whole run folder with its items")
        folder = RunFolder(place)
        return cls(folder, record, StoredTables(folder))

    @property
    def manifest(self) -> str:
        """sha256 of manifest.json, by which a baseline is pinned. Raises IncompleteRun when there is none."""
        path = self.folder.file(MANIFEST)
        if not path.is_file():
            raise IncompleteRun(f"{path}: missing, so this is not a complete run folder")
        return sha256_file(path)

    def rows(self, table: str) -> Sequence[Mapping[str, Any]]:
        """Rows of an item table. Raises VerifyMismatch if it is not the one that the record sealed."""
        self._refuse_changed(table)
        return self._tables.rows(table)

    def tensor(self, name: str) -> NDArray[np.float64]:
        """One tensor of draws.safetensors. Raises as `rows`."""
        self._refuse_changed("draws.safetensors")
        return self._tables.tensor(name)

    def _refuse_changed(self, name: str) -> None:
        path = self.folder.file(name)
        if not path.is_file():
            raise IncompleteRun(f"{path}: missing, so this is not a complete run folder")
        if sha256_file(path) != self.record.evidence.get(name):
            raise VerifyMismatch(f"{path}: not what the record was made from; see auditor verify {self.folder.path}")


class Audited(Strict):
    """Which audit is one side of a comparison."""

    model: str
    checkpoint: str
    """sha256"""
    audit: str
    """digest of the record"""
    manifest: str
    """sha256 of manifest.json"""
    verdict: Verdict
    finished: str
    battery: str

    @classmethod
    def of(cls, run: Run) -> Audited:
        """The identity of a run."""
        record = run.record
        return cls(
            model=record.checkpoint.name,
            checkpoint=record.checkpoint.digest,
            audit=record.digest,
            manifest=run.manifest,
            verdict=record.verdict,
            finished=record.environment.finished,
            battery=record.config.battery,
        )


class Difference(Strict):
    """One finding in both audits, and whether its number changed beyond chance."""

    id: str
    plain: str
    unit: Unit | None
    severity: Severity
    criterion: Criterion
    before: Estimate | None
    after: Estimate | None
    status_before: Status | None
    """None where the earlier audit has no such finding"""
    status_after: Status | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    """corrected for all tests of this comparison"""
    n: int | None = None
    of: str = ""
    method: Method | None = None
    paired: bool | None = None
    outcome: Outcome = "not tested"
    reason: str = ""
    """why it was not tested"""

    @property
    def counted(self) -> bool:
        """Whether it is an exact count, which leaves nothing to test."""
        return any(estimate is not None and estimate.estimator in COUNTED for estimate in (self.before, self.after))


class Comparison(Strict):
    """Two audits side by side."""

    before: Audited
    after: Audited
    not_comparable: tuple[str, ...]
    """what differs in what was asked; empty when the comparison digests are equal. Otherwise nothing is tested"""
    notes: tuple[str, ...]
    """what else differs and does not rule out a comparison, such as the code of a probe"""
    alpha: float
    """family-wise error of all tests together"""
    differences: tuple[Difference, ...]


def compare(
    before: Run,
    after: Run,
    *,
    alpha: float = ALPHA,
    severities: Sequence[Severity] = ("high", "medium", "info"),
) -> Comparison:
    """Hold the findings of two audits against each other, the later one minus the earlier one."""
    differs = asked_otherwise(before.record, after.record)
    old, new = ({f.id: f for f in run.record.findings if f.severity in severities} for run in (before, after))
    names = [*new, *(name for name in old if name not in new)]
    changes = {name: tested(old.get(name), new.get(name), before, after, differs) for name in names}
    ps = {name: change.p for name, change in changes.items() if isinstance(change, Change) and change.p is not None}
    corrected = dict(zip(ps, holm(list(ps.values())), strict=True))
    return Comparison(
        before=Audited.of(before),
        after=Audited.of(after),
        not_comparable=differs,
        notes=tuple(told_apart(before.record, after.record)),
        alpha=alpha,
        differences=tuple(
            _difference(old.get(name), new.get(name), changes[name], corrected.get(name), alpha) for name in names
        ),
    )


def _difference(
    old: Finding | None, new: Finding | None, change: Change | str, p_holm: float | None, alpha: float
) -> Difference:
    known = new or old
    assert known is not None
    told: dict[str, Any] = {"reason": change} if isinstance(change, str) else change._asdict()
    return Difference(
        id=known.id,
        plain=known.plain,
        unit=known.unit,
        severity=known.severity,
        criterion=known.criterion,
        before=old.estimate if old else None,
        after=new.estimate if new else None,
        status_before=old.status if old else None,
        status_after=new.status if new else None,
        p_holm=p_holm,
        outcome="not tested" if isinstance(change, str) else _outcome(known.criterion, change.change, p_holm, alpha),
        **told,
    )


def _outcome(criterion: Criterion, change: float, p_holm: float | None, alpha: float) -> Outcome:
    if p_holm is None:
        return "not tested"
    if p_holm > alpha or change == 0:
        return "no change shown"
    if (criterion.at_least is None) == (criterion.at_most is None):
        return "changed"
    return "worse" if (change < 0) == (criterion.at_least is not None) else "better"


def refuse_other_question(comparison: Comparison, place: Path) -> None:
    """A baseline that asked something else is none. Raises ConfigError saying what differs."""
    if comparison.not_comparable:
        what = "".join(f"\n  {line}" for line in comparison.not_comparable)
        raise ConfigError(f"{place}: not a baseline for this run, because it asked something else:{what}")
