"""The gate's policy: what a finding does to the verdict. Moves no bar and measures nothing.

A policy can tighten everything. It can loosen only how a medium bar counts: a high bar that is missed fails, one that
is open holds back, whatever a policy says. What it lets through is a waiver's work, which has a name and an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from auditor.config import Number, Strict
from auditor.config_file import in_plain_words, read_mapping, suggestion
from auditor.errors import ConfigError

Effect = Literal["warn", "insufficient", "fail"]
"""what a finding does to the gate: is only shown, holds a pass back (exit 3), fails it (exit 1)"""
Event = Literal["not_met", "undecided", "not_measured", "worse"]
"""what a finding can come to; `worse` is worse than in the baseline, by a test on the difference"""
RUN = "run"
"""the family of findings that are about no probe but about the run as a whole"""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Rules(Strict):
    """Effects by event; what is left out falls back on the general rules, and those on the shipped ones."""

    not_met: Effect | None = None
    undecided: Effect | None = None
    not_measured: Effect | None = None
    worse: Effect | None = None


class Family(Strict):
    """Rules for the findings of one probe."""

    high: Rules = Rules()
    medium: Rules = Rules()


class BaselineRule(Strict):
    """What is asked of the earlier run that this one is held against."""

    required: bool = False
    manifest_sha256: Digest | None = None
    """sha256 of the baseline's manifest.json"""
    alpha: Annotated[Number, Field(gt=0, lt=1)] = 0.05
    """family-wise error of all tests against the baseline together (Holm)"""


class Policy(Strict):
    """How findings add up to a verdict. The default gives the record's own verdict."""

    high: Rules = Rules()
    medium: Rules = Rules()
    families: dict[str, Family] = {}
    """by probe; `run` for what is about the run as a whole"""
    coverage_at_least: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """share of applicable probes that must have run, on top of the battery's own bar; below it no pass"""
    baseline: BaselineRule = BaselineRule()

    @model_validator(mode="after")
    def _keeps_high_bars(self) -> Self:
        if problems := [*_loosened(self), *_out_of_order(self)]:
            raise ValueError("; ".join(problems))
        return self

    def effect(self, severity: str, probe: str, event: Event) -> Effect:
        """What an event does to the gate, by the most particular rule that says so."""
        if severity not in ("high", "medium"):
            return "warn"
        family = self.families.get(probe or RUN, Family())
        for rules in (getattr(family, severity), getattr(self, severity)):
            if (effect := getattr(rules, event)) is not None:
                return effect  # type: ignore[no-any-return]
        return SHIPPED[severity][event]


WEIGHT: dict[Effect | None, int] = {None: 0, "warn": 1, "insufficient": 2, "fail": 3}
"""the heavier effect decides"""
SHIPPED: dict[str, dict[Event, Effect]] = {
    "high": {"not_met": "fail", "undecided": "insufficient", "not_measured": "insufficient", "worse": "fail"},
    "medium": {"not_met": "fail", "undecided": "warn", "not_measured": "warn", "worse": "warn"},
}
"""what holds where a policy says nothing; without a baseline it is the record's own rule"""
_MISSES: tuple[Event, Event] = ("not_met", "undecided")
_LEAST: dict[str, tuple[Effect, ...]] = {
    "not_met": ("fail",),
    "undecided": ("fail", "insufficient"),
    "not_measured": ("fail", "insufficient"),
}
"""what a policy may say of a high bar"""


def read_policy(path: Path) -> Policy:
    """The policy in a YAML file. Raises ConfigError naming the key and the way out."""
    try:
        return Policy.model_validate(read_mapping(path))
    except ValidationError as error:
        raise in_plain_words(error, Policy, str(path)) from error


def refuse_unknown_families(policy: Policy, probes: Iterable[str], source: str) -> None:
    """A rule for a probe that nobody knows would be a bar that nobody keeps. Raises ConfigError."""
    known = {*probes, RUN}
    for name in policy.families:
        if name not in known:
            raise ConfigError(f"{source}: families: no probe named {name!r}{suggestion(name, known)}")


def _loosened(policy: Policy) -> Iterator[str]:
    places = {"high": policy.high, **{f"families.{name}.high": family.high for name, family in policy.families.items()}}
    for place, rules in places.items():
        for event, allowed in _LEAST.items():
            effect = getattr(rules, event)
            if effect is not None and effect not in allowed:
                yield (
                    f"{place}.{event}: {effect!r} would let a high bar pass unmet; "
                    f"allowed: {', '.join(allowed)}. To accept a known miss, write a waiver"
                )


def _out_of_order(policy: Policy) -> Iterator[str]:
    """A bar that is clearly missed must not count for less than one that may be missed."""
    for probe, severity in product(("", *policy.families), ("high", "medium")):
        missed, unclear = (policy.effect(severity, probe, event) for event in _MISSES)
        if WEIGHT[unclear] > WEIGHT[missed]:
            place = f"families.{probe}.{severity}" if probe else severity
            yield f"{place}: undecided ({unclear}) must not weigh more than not_met ({missed})"
