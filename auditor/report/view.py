"""What the pages say, worked out of a record once: the answer, the gaps, the sections. Decides no status."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from auditor.findings.outcome import GateOutcome, Ruling
from auditor.findings.record import AuditRecord, Finding, ProbeIdentity, Status
from auditor.findings.waivers import Waiver
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import ProbeResult
from auditor.report.coverage import Sheet, sheets
from auditor.report.gaps import Gap, gaps, unanswered
from auditor.report.numbers import bar_of
from auditor.report.text import words
from auditor.report.words import STATUS, VERDICT, Sign, title

Medium = Literal["html", "pdf"]
GAPS_ON_PAGE_ONE = 6
KEY_FINDINGS = 5


@dataclass(frozen=True)
class Section:
    """One part of the report, in the contents and the bookmarks."""

    id: str
    title: str
    number: int

    @property
    def template(self) -> str:
        """File name of its template."""
        return f"{self.id}.html.j2"


@dataclass(frozen=True)
class NumberedFinding:
    """A finding and the anchor by which the report refers to it."""

    anchor: str
    finding: Finding
    ruling: Ruling | None = None
    """the gate's, where its outcome is shown"""

    @property
    def title(self) -> str:
        """What was measured, and where."""
        return title(self.finding)

    @property
    def estimate(self) -> Estimate | None:
        """The number to show; None where it was not measured, even if a value came out on too few items."""
        return None if self.finding.status == "not_measured" else self.finding.estimate

    @property
    def sign(self) -> Sign:
        """Mark, word and tone of its status."""
        return STATUS[self.finding.status]

    @property
    def waiver(self) -> Waiver | None:
        """By which it is waived."""
        return self.ruling.waiver if self.ruling else None

    @property
    def turned_down(self) -> tuple[str, ...]:
        """Why waivers that are about it do not cover it."""
        return self.ruling.turned_down if self.ruling else ()


@dataclass(frozen=True)
class ProbePage:
    """Everything about one question of the battery."""

    anchor: str
    title: str
    identity: ProbeIdentity | None
    result: ProbeResult | None
    """None for the run as a whole"""
    findings: tuple[NumberedFinding, ...]

    @property
    def question(self) -> tuple[str, ...]:
        """The paragraphs of the probe's own description."""
        text = self.identity.question if self.identity else ""
        return tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())

    def meaning(self, name: str) -> str:
        """A measurement's name in plain words, starting with a capital letter."""
        meanings = self.identity.measurements if self.identity else {}
        told = meanings[name].plain if name in meanings else words(name)
        return told[:1].upper() + told[1:]


@dataclass(frozen=True)
class Page:
    """The whole report of one record, for one medium."""

    record: AuditRecord
    medium: Medium
    digest: str
    findings: tuple[NumberedFinding, ...]
    probes: tuple[ProbePage, ...]
    gaps: tuple[Gap, ...]
    """all of them, in the order of the battery"""
    frameworks: tuple[Sheet, ...]
    sections: tuple[Section, ...]
    outcome: GateOutcome | None = None
    """what a gate decided, where it is shown"""
    undrawable: str = ""
    """characters that are written out, because no font of the machine that prints the page has them"""

    @property
    def pdf(self) -> bool:
        """Whether this is the printed form: everything folded out, contents with page numbers."""
        return self.medium == "pdf"

    @property
    def sign(self) -> Sign:
        """Mark, word and tone of the verdict."""
        return VERDICT[self.record.verdict]

    @property
    def battery(self) -> str:
        """Name of the battery, never a path."""
        return PurePath(self.record.config.battery).name or "unnamed"

    @property
    def screen_only(self) -> bool:
        """Whether the battery is too small for a release decision."""
        return self.battery == "quick"

    @property
    def bars(self) -> tuple[NumberedFinding, ...]:
        """The findings that were held against a bar."""
        return tuple(f for f in self.findings if bar_of(f.finding) is not None)

    @property
    def waived(self) -> tuple[NumberedFinding, ...]:
        """The findings that a waiver in force covers."""
        return tuple(f for f in self.findings if f.waiver)

    @property
    def turned_down(self) -> tuple[NumberedFinding, ...]:
        """The findings that a waiver is about and does not cover."""
        return tuple(f for f in self.findings if f.turned_down)

    @property
    def worse(self) -> tuple[NumberedFinding, ...]:
        """The findings that fell behind the gate's baseline, waived or not."""
        return tuple(f for f in self.findings if f.ruling and f.ruling.worse)

    @property
    def key_findings(self) -> tuple[NumberedFinding, ...]:
        """The five that matter most: bars by weight, then one of each probe that has none, then the others."""
        told: set[str] = set()
        others: list[NumberedFinding] = []
        first: list[NumberedFinding] = []
        for f in sorted(self.findings, key=_weight):
            barred = bar_of(f.finding) is not None and bool(f.finding.probe)
            (first if barred or (f.finding.probe and f.finding.probe not in told) else others).append(f)
            told.add(f.finding.probe)
        return tuple([*first, *others][:KEY_FINDINGS])

    @property
    def counts(self) -> tuple[tuple[Sign, int], ...]:
        """How many bars have which status: met, not met, undecided, not measured."""
        seen = Counter(f.finding.status for f in self.bars)
        order: tuple[Status, ...] = ("met", "not_met", "undecided", "not_measured")
        return tuple((STATUS[status], seen[status]) for status in order if seen[status])

    @property
    def answer(self) -> str:
        """The answer to "May this checkpoint ship?" in one sentence."""
        seen = Counter(f.finding.status for f in self.bars)
        total = len(self.bars)
        if self.record.verdict == "fail":
            return f"Not by the declared bars: {seen['not_met']} of {total} {_are(seen['not_met'])} not met."
        if self.record.verdict == "pass":
            rest = "" if seen["met"] == total else ", and none of the others is missed"
            return f"By the declared bars, yes: {seen['met']} of {total} {_are(seen['met'])} met{rest}."
        if not total:
            return "It cannot be said: no bar was declared."
        return f"It cannot be said: {seen['met']} of {total} bars {_are(seen['met'])} met, and that is not enough."

    @property
    def instruments(self) -> str:
        """How many instruments proved themselves on this model; empty when the battery uses none."""
        found = [q for result in self.record.results for q in result.qualifications]
        return f"{sum(q.qualified for q in found)} of {len(found)} instruments qualified" if found else ""

    @property
    def gaps_in_brief(self) -> tuple[Gap, ...]:
        """What page one has room for, in its words: one line for each question without an answer, then the rest."""
        answers = {probe.anchor: unanswered(probe) for probe in self.probes}
        silent = {f.anchor for p in self.probes if answers[p.anchor] for f in p.findings}
        single = [gap for gap in self.gaps if gap.kind == "not measured" and gap.anchor.startswith("finding")]
        lines = [gap for gap in answers.values() if gap]
        return (*lines, *(gap for gap in single if gap.anchor not in silent))

    @property
    def command(self) -> str:
        """The command that repeats the audit."""
        config, checkpoint = self.record.config, self.record.checkpoint
        parts = ["auditor", "run", "--model", checkpoint.name]
        if checkpoint.adapter:
            parts += ["--adapter", checkpoint.adapter.name]
        parts += ["--battery", self.battery] if config.battery else ["CONFIG"]
        parts += ["--role", config.role] if config.role else []
        parts += ["--seed", str(config.seed), "--dtype", self.record.plan.dtype]
        return shlex.join([*parts, "--out", "DIR"])

    @property
    def limits(self) -> tuple[str, ...]:
        """What the findings cannot show, each sentence once."""
        return tuple(dict.fromkeys(f.finding.limits for f in self.findings if f.finding.limits))


def page(record: AuditRecord, medium: Medium, outcome: GateOutcome | None = None, *, undrawable: str = "") -> Page:
    """Work out what the report of `record` says, and what a gate decided by terms of its own."""
    rulings = outcome.rulings if outcome else (None,) * len(record.findings)
    findings = tuple(
        NumberedFinding(f"finding-{i}", f, ruling)
        for i, (f, ruling) in enumerate(zip(record.findings, rulings, strict=True), 1)
    )
    probes = tuple(_probe_pages(record, findings))
    anchors = {p.result.probe: p.anchor for p in probes if p.result} | {f.finding.id: f.anchor for f in findings}
    return Page(
        record=record,
        medium=medium,
        digest=record.digest,
        findings=findings,
        probes=probes,
        gaps=tuple(gaps(record, findings, probes)),
        frameworks=sheets(record, anchors),
        sections=tuple(_sections(findings, probes, gated=outcome is not None)),
        outcome=outcome,
        undrawable=undrawable,
    )


def _weight(f: NumberedFinding) -> tuple[bool, bool, int]:
    """Bars before what only shows, missed before open before met, what has no number last."""
    unmeasured = f.finding.severity == "info" and f.finding.status == "not_measured"
    return unmeasured, bar_of(f.finding) is None, list(STATUS).index(f.finding.status)


def _are(amount: int) -> str:
    return "is" if amount == 1 else "are"


def _sections(
    findings: tuple[NumberedFinding, ...], probes: tuple[ProbePage, ...], *, gated: bool
) -> Iterator[Section]:
    titles = {
        "findings": "Findings" if findings else "",
        "gate": "What the gate decided, and waivers" if gated else "",
        "scope": "Scope and what was not measured",
        "card": "Who audited, and how",
        "checkpoint": "The checkpoint",
        "method": "Method and declared bars",
        "results": "Results" if probes else "",
        "limits": "Limits and validity",
        "frameworks": "Laws, standards and threat lists",
        "signoff": "Sign-off",
        "reproduce": "Reproduce and verify",
        "glossary": "Glossary",
    }
    present = [(name, title) for name, title in titles.items() if title]
    return (Section(name, title, i) for i, (name, title) in enumerate(present, 1))


def _probe_pages(record: AuditRecord, findings: tuple[NumberedFinding, ...]) -> Iterator[ProbePage]:
    identities = {probe.name: probe for probe in record.probes}
    for i, result in enumerate(record.results, 1):
        own = tuple(f for f in findings if f.finding.probe == result.probe)
        yield ProbePage(f"probe-{i}", words(result.probe), identities.get(result.probe), result, own)
    reported = {result.probe for result in record.results}
    rest = tuple(f for f in findings if f.finding.probe not in reported)
    if rest:
        yield ProbePage("probe-run", "the run as a whole", None, None, rest)
