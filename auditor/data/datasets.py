"""Reads a data set: NAME.jsonl, one example a line, beside its card NAME.card.yaml. No model, no torch.

What is read is held to the promises of the card; whether the data is any good is for `checks`.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path

from pydantic import Field, ValidationError

from auditor.canonical import sha256_hex
from auditor.config import Strict
from auditor.config_file import in_plain_words, read_mapping, suggestion
from auditor.data.examples import Dataset, Example
from auditor.errors import ConfigError

_TYPES: dict[str, type] = {f.name: bool if f.type == "bool" else str for f in fields(Example)}
_REQUIRED = tuple(f.name for f in fields(Example) if f.default is MISSING)


class Card(Strict):
    """What a data set says about itself."""

    name: str
    about: str
    """what the examples are, in one sentence"""
    origin: str
    licence: str
    language: str = Field(min_length=2)
    """BCP 47 tag"""
    class_names: tuple[str, str]
    """(negative, positive)"""
    sha256: str
    """of the jsonl file"""
    built: str = ""
    """how it was made, with the seed"""
    sizes: dict[str, int] = {}
    balance: str = ""
    text_auroc: dict[str, dict[str, float]] = {}
    """what the text alone gives away: comparison -> baseline -> AUROC with whole groups held out, unfolded"""
    limits: str = ""


def card_path(path: Path) -> Path:
    """Where the card of a data set lies."""
    return path.with_name(f"{path.stem}.card.yaml")


def read(path: Path) -> Dataset:
    """Read a data set and its card.

    Raises ConfigError, naming file and line, for a missing file, a file that is not the one its card
    describes, and an example that is not whole: broken JSON, an unknown or missing field, an empty id, group
    or text, an id that was used before.
    """
    card = _read_card(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    digest = sha256_hex(data)
    if digest != card.sha256:
        raise ConfigError(
            f"{path}: is not the file that {card_path(path).name} describes "
            f"(sha256 {digest}, the card says {card.sha256})"
        )
    return Dataset(
        name=path.stem,
        examples=_examples(path, data),
        class_names=card.class_names,
        language=card.language,
        sha256=digest,
        card=card.model_dump(),
    )


def _read_card(path: Path) -> Card:
    source = card_path(path)
    try:
        card = Card.model_validate(read_mapping(source))
    except ValidationError as error:
        raise in_plain_words(error, Card, str(source)) from error
    if card.name != path.stem:
        raise ConfigError(f"{source}: name: the card is of {card.name!r}, the file is {path.name}")
    return card


def _examples(path: Path, data: bytes) -> tuple[Example, ...]:
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise ConfigError(f"{path}: holds no examples")
    seen: dict[str, int] = {}
    examples = []
    for number, line in enumerate(lines, start=1):
        example = _example(line, f"{path}:{number}")
        if example.id in seen:
            raise ConfigError(f"{path}:{number}: the id {example.id!r} was used on line {seen[example.id]}")
        seen[example.id] = number
        examples.append(example)
    return tuple(examples)


def _example(line: str, place: str) -> Example:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: one JSON object a line is needed")
    for name, content in value.items():
        if name not in _TYPES:
            raise ConfigError(f"{place}: unknown field {name!r}{suggestion(name, _TYPES)}")
        if not isinstance(content, _TYPES[name]):
            needed = "true or false" if _TYPES[name] is bool else "text"
            raise ConfigError(f"{place}: {name} must be {needed}, not {json.dumps(content)[:60]}")
    for name in _REQUIRED:
        if name not in value:
            raise ConfigError(f"{place}: the field {name!r} is needed")
    example = Example(**value)
    for name, content in (("id", example.id), ("group", example.group), ("text", example.text)):
        if not content.strip():
            raise ConfigError(f"{place}: the {name} is empty")
    return example
