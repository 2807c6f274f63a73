"""Where in a config file each bar was declared, so that a pipeline can point at the line. No torch, no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from auditor.canonical import canonical_json
from auditor.config import AuditConfig, Criterion
from auditor.config_file import read_mapping


@dataclass(frozen=True)
class Declared:
    """A config file and its lines, read before the run: nobody waits for a run with a file held still."""

    file: str
    """its path below the working folder, else its name alone: never a path of this machine"""
    lines: Mapping[str, int]
    """line that put each bar there, by `bar_place`"""


NOWHERE = Declared("", {})
"""for what the command line alone declared"""


def declared_in(path: Path | None, config: AuditConfig) -> Declared:
    """Where the file at `path` declares each bar of the `config` that was read from it.

    A bar that the file does not state itself came with the battery: the line that names it, or the first one.
    """
    if path is None:
        return NOWHERE
    own, lines = read_mapping(path), _lines(path)
    battery = lines.get("battery", 1)
    found = {}
    for section, criteria in _sections(config):
        stated = {_subject(criterion): i for i, criterion in enumerate(_at(own, section))}
        for i, criterion in enumerate(criteria):
            said = stated.get(_subject(criterion.model_dump()))
            found[f"{section}.{i}"] = battery if said is None else lines[f"{section}.{said}"]
    return Declared(_name(path), found)


def bar_place(config: AuditConfig, probe: str, criterion: Criterion) -> str:
    """Dotted path of a criterion in a config: "probes.refusal_behaviour.criteria.0"; empty if it is not there."""
    section = f"probes.{probe}.criteria" if probe else "criteria"
    criteria = dict(_sections(config)).get(section, ())
    return f"{section}.{criteria.index(criterion)}" if criterion in criteria else ""


def _name(path: Path) -> str:
    given = path if path.is_absolute() else Path.cwd() / path
    below = given.is_relative_to(Path.cwd()) and ".." not in path.parts
    return given.relative_to(Path.cwd()).as_posix() if below else path.name


def _sections(config: AuditConfig) -> Iterator[tuple[str, tuple[Criterion, ...]]]:
    yield "criteria", config.criteria
    for name, probe in config.probes.items():
        yield f"probes.{name}.criteria", probe.criteria


def _at(document: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    """The criteria that a document states in a section; none where the section is absent or switched off."""
    here: Any = document
    for key in section.split("."):
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, list) else []


def _subject(criterion: Mapping[str, Any]) -> bytes:
    return canonical_json([criterion["measurement"], criterion.get("at", {})])


def _lines(path: Path) -> dict[str, int]:
    """Line, from 1, of every key and list entry of a YAML file by its dotted path."""
    root = yaml.compose(path.read_bytes(), Loader=yaml.SafeLoader)
    return dict(_below(root, ""))


def _below(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        entries = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        entries = [(str(i), value, value) for i, value in enumerate(node.value)]
    else:
        return
    for name, mark, value in entries:
        place = f"{path}.{name}" if path else str(name)
        yield place, mark.start_mark.line + 1
        yield from _below(value, place)
