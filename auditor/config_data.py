"""What a config may say about data: data sets of one's own, and which parameters of a probe name one.

The declaration alone; files are read by `auditor.data.declared`. No torch, no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from auditor.config_file import Strict


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("YAML reads yes, no, on, off, true and false as switches; put the value in quotes")
    return value


Cell = Annotated[str | int, BeforeValidator(_no_switch)]
"""a value as it stands in a file; compared as text, without regard to case and outer spaces"""
ClassName = Annotated[str, BeforeValidator(_no_switch)]
Column = str | tuple[str, ...]
"""a column's name, or several: then the first that is not empty counts"""
Mapped = Literal["id", "prompt", "completion", "label", "group", "kind", "domain", "polarity", "template", "pair"]
Constant = Literal["kind", "domain", "polarity", "template"]


class Options(Strict):
    """Two columns that make one row a contrast pair: a positive and a negative example of one prompt."""

    positive: str
    """column of the completion that shows the trait, or is true"""
    negative: str
    lettered: bool = False
    """whether the prompt itself ends in its options, a line with (A) and one with (B), and the columns name one"""


class DataFile(Strict):
    """One file, or one split of a data set on the Hub, and how its rows become examples."""

    path: str = ""
    """relative to the config"""
    hub: str = ""
    """org/name or org/name@revision; needs the `datasets` extra and the network"""
    subset: str = ""
    """on the Hub: which configuration of the data set"""
    split: str = ""
    """on the Hub: which split, such as train"""
    format: Literal["csv", "jsonl", "json"] | None = None
    """None: by the file's ending; json is one list of objects"""
    sha256: str = ""
    """what the file must hash to; filled in when it is read"""
    preset: str = ""
    """a known public set, whose columns and labels need not be written down again"""
    licence: str = ""
    origin: str = ""
    columns: dict[Mapped, Column] = {}
    """part of an example -> column"""
    values: dict[Constant, str] = {}
    """part of an example -> the same text for every row"""
    options: Options | None = None
    label: Literal["positive", "negative"] | None = None
    """of every row, where no column says it"""
    positive: tuple[Cell, ...] = ()
    """values of the label's column that mean positive"""
    negative: tuple[Cell, ...] = ()
    keep: dict[str, tuple[Cell, ...]] = {}
    """column -> values: other rows are left out, and counted"""
    group: Literal["each"] | None = None
    """each: every row is a group of its own, so rows are treated as independent"""
    chat: bool = False
    """whether the prompt is a user's turn (chat template) or raw text"""


class DataSet(Strict):
    """A data set of one's own. A probe may name it as it names a shipped one."""

    files: tuple[DataFile, ...] = Field(min_length=1)
    language: str = Field(min_length=2)
    """BCP 47 tag; judges decline languages they do not know"""
    class_names: tuple[ClassName, ClassName]
    """(negative, positive)"""
    about: str = ""


@dataclass(frozen=True)
class NamesData:
    """Marks a parameter of a probe, or each entry of it, as the name of a data set."""

    both_classes: bool
    """whether the probe fits to the labels"""


LabelledData = Annotated[str, NamesData(both_classes=True)]
"""name of a data set that something is fitted to or judged by"""
Requests = Annotated[str, NamesData(both_classes=False)]
"""name of a data set of requests, told apart by their kind"""


def data_named(params: Strict) -> Iterator[tuple[str, str, NamesData]]:
    """(parameter, data set's name, mark) for every data set that a probe's parameters name."""
    for name, field in type(params).model_fields.items():
        value: Any = getattr(params, name)
        yield from ((name, value, mark) for mark in field.metadata if isinstance(mark, NamesData))
        for part in get_args(field.annotation):
            for mark in getattr(part, "__metadata__", ()):
                if isinstance(mark, NamesData):
                    yield from ((f"{name}.{i}", one, mark) for i, one in enumerate(value))
