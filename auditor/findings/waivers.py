"""Waivers: known misses that somebody accepts, by name and until a day. Applied at gate time, never to the record.

A waiver covers a number that was measured. What was not measured, the coverage of the run and the refusal of an unsafe
checkpoint cannot be waived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from auditor.config import Number, Strict
from auditor.config_file import in_plain_words, read_mapping, suggestion
from auditor.errors import ConfigError
from auditor.findings.record import Finding

NEVER = ("coverage", "load_safety")
"""rules that no waiver may name"""
LONG = 366
"""days after which a waiver is called over-broad"""


def _a_day(value: object) -> object:
    if not isinstance(value, str | date) or isinstance(value, datetime):
        raise ValueError("must be a day, such as 2026-11-30")
    return value


Day = Annotated[date, BeforeValidator(_a_day)]
Words = Annotated[str, Field(pattern=r"\S")]


class Waiver(Strict):
    """One accepted miss."""

    rule: Words
    """probe.measurement, exactly"""
    subject: Words = "*"
    """glob over where it was measured, as in the finding's id: dataset=cities,layer=16"""
    model: Words
    """glob over the name of the checkpoint"""
    reason: Words
    owner: Words
    """who answers for it"""
    approved_by: Words
    created: Day
    expires: Day
    """the last day on which it is in force"""
    accept_up_to: Number
    """the worst value that is accepted, in the unit of the measurement; a worse one is not waived"""

    def matches(self, finding: Finding, model: str) -> bool:
        """Whether it is about this finding of this model."""
        rule, subject = _parts(finding.id)
        return self.rule == rule and fnmatchcase(subject, self.subject) and fnmatchcase(model, self.model)

    def accepts(self, finding: Finding) -> bool:
        """Whether the measured value lies no further beyond its bar than is accepted."""
        value = finding.estimate.value if finding.estimate else None
        low, high = finding.criterion.at_least, finding.criterion.at_most
        if value is None:
            return False
        return (low is None or value >= min(low, self.accept_up_to)) and (
            high is None or value <= max(high, self.accept_up_to)
        )

    @property
    def words(self) -> str:
        """Up to what, until when, by whom and why, as its file says; not made harmless."""
        by = f"owner {self.owner}, approved by {self.approved_by}"
        return f"accepted up to {self.accept_up_to:g} until {self.expires}; {by}: {self.reason}"

    def out_of_force(self, today: date) -> str:
        """Why it does not hold today; empty if it does."""
        if today > self.expires:
            return f"expired on {self.expires}"
        return f"not in force before {self.created}" if today < self.created else ""


class WaiverFile(Strict):
    """What a waivers file holds."""

    waivers: tuple[Waiver, ...] = ()


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers in a YAML file. Raises ConfigError naming the key and the way out."""
    try:
        waivers = WaiverFile.model_validate(read_mapping(path)).waivers
    except ValidationError as error:
        raise in_plain_words(error, WaiverFile, str(path)) from error
    if problems := [f"{path}: waivers.{i}: {p}" for i, w in enumerate(waivers) for p in _problems(w)]:
        raise ConfigError("\n".join(problems))
    return waivers


def _problems(waiver: Waiver) -> Iterator[str]:
    if waiver.rule in NEVER:
        yield f"rule: {waiver.rule} can never be waived"
    if waiver.expires < waiver.created:
        yield f"expires: {waiver.expires} is before it was created ({waiver.created})"


def broad(waiver: Waiver, findings: Sequence[Finding], model: str) -> Iterator[str]:
    """What makes a waiver wider than one known miss of one model."""
    covered = sum(waiver.matches(finding, model) for finding in findings)
    if covered > 1:
        yield f"covers {covered} findings; name one with subject"
    if not waiver.model.strip("*?"):
        yield "covers every model; name the one it was approved for"
    if (waiver.expires - waiver.created).days > LONG:
        yield "runs for more than a year"


def unused(waiver: Waiver, findings: Sequence[Finding], model: str) -> str:
    """Why a waiver was of no use here."""
    rules = sorted({_parts(finding.id)[0] for finding in findings})
    if waiver.rule not in rules:
        return f"no finding of that rule{suggestion(waiver.rule, rules)}"
    if not any(waiver.matches(finding, model) for finding in findings):
        return f"is about another subject or model than {model}"
    return "nothing here needs it"


def _parts(finding_id: str) -> tuple[str, str]:
    """probe.measurement, and the place in brackets without them."""
    rule, _, place = finding_id.partition("[")
    return rule, place.removesuffix("]")
