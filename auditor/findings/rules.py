"""The stable id of every check, under which pipelines, waivers and alerts know it. One table, in rules.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from auditor.config_file import read_mapping


@cache
def rule_table() -> Mapping[str, str]:
    """Rule id to the check it names, `probe.measurement`, in the order of the table."""
    return read_mapping(Path(__file__).with_name("rules.yaml"))


def rule_id(probe: str, measurement: str) -> str:
    """The id of a check, such as "R001"; one that is not in the table, as of a third-party probe, goes by its name."""
    name = ".".join(part for part in (probe, measurement) if part)
    return next((rule for rule, check in rule_table().items() if check == name), name)
