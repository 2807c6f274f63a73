"""What a config may say about other defensible choices: a probe's multiverse, and the runs that it comes to.

A specification is one set of choices that a competent analyst could have made instead. Sources: Steegen et al. 2016,
doi:10.1177/1745691616658637 (multiverse); Simonsohn et al. 2020, doi:10.1038/s41562-020-0912-z (specification curve).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from auditor.config_file import Strict

if TYPE_CHECKING:
    from auditor.config import AuditConfig

NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,39}", re.ASCII)
MARK = "@"
"""between a probe and a specification, in the name of a run; no name of a probe holds one"""


class Specification(Strict):
    """What is chosen otherwise; all else stays as the probe declares it."""

    params: dict[str, Any] = {}
    seed_offset: int = Field(default=0, ge=0, strict=True)
    """added to the seed of the audit: other splits, other items drawn, other nulls"""
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, exclude_if=lambda dtype: dtype is None
    )
    """the number format to compute in, for which the model is loaded once more; none is that of the audit"""
    measurements: tuple[str, ...] = ()
    """what it is another way to measure; none named is everything. What it cannot change would agree for no reason"""

    def is_of(self, measurement: str, dtype: str) -> bool:
        """Whether it is another way to measure this than an audit that computes in `dtype`."""
        return self.is_other(dtype) and (not self.measurements or measurement in self.measurements)

    def is_other(self, dtype: str) -> bool:
        """Whether it chooses anything otherwise than an audit that computes in `dtype`."""
        return bool(self.params or self.seed_offset or self.dtype not in (None, dtype))


class Multiverse(Strict):
    """Under which other choices the findings of a probe are held against their bars too."""

    same_status: float = Field(gt=0, le=1, strict=True)
    """share of specifications, the declared one among them, that must agree; below it, met and not met are undecided"""
    because: str = Field(min_length=1)
    """the reason for that share"""
    specifications: dict[str, Specification] = Field(min_length=1)
    """by a name for the report, such as another_split"""

    @field_validator("specifications")
    @classmethod
    def _named(cls, specifications: dict[str, Specification]) -> dict[str, Specification]:
        for name in specifications:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r}: a name is made of a-z, 0-9 and _, and has at most 40")
        return dict(sorted(specifications.items()))  # as canonical JSON gives them back


def run_name(probe: str, specification: str) -> str:
    """What a probe's run under a specification is called in the run folder and in the record."""
    return f"{probe}{MARK}{specification}"


def probe_of(run: str) -> str:
    """The probe that a run is of."""
    return run.partition(MARK)[0]


def specification_of(run: str) -> str:
    """The specification that a run is under; empty for the declared one."""
    return run.partition(MARK)[2]


class Run(NamedTuple):
    """One run of a probe."""

    name: str
    config: AuditConfig
    """under a specification it asks this one probe, under the run's name, with the run's parameters and seed"""
    other: Specification
    """under which it is run; as declared, one that chooses nothing"""


def runs(config: AuditConfig, probe: str) -> Iterator[Run]:
    """Each run of a probe: as declared, then under each specification."""
    declared = config.probes[probe]
    yield Run(probe, config, Specification())
    for name, other in declared.multiverse.specifications.items() if declared.multiverse else ():
        run = run_name(probe, name)
        settings = declared.model_copy(update={"params": {**declared.params, **other.params}, "multiverse": None})
        under = config.model_copy(update={"probes": {run: settings}, "seed": config.seed + other.seed_offset})
        yield Run(run, under, other)
