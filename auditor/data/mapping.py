"""From rows of somebody's file to examples, by a declared map. No files, no torch, no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from auditor.config_data import Column, DataFile
from auditor.config_file import suggestion
from auditor.data.examples import Example
from auditor.data.tables import Row, Table
from auditor.errors import ConfigError

SHOWN = 60
"""characters of a cell that a message quotes"""


@dataclass(frozen=True)
class Mapped:
    """The examples of one file."""

    examples: tuple[Example, ...]
    left_out: int
    """rows that `keep` left out"""


def require_whole(file: DataFile, place: str) -> None:
    """Raise ConfigError where a map does not say what an example needs: text, label, group, licence."""
    columns = file.columns
    sources = ["label" in columns, file.label is not None, file.options is not None]
    if sum(sources) != 1:
        raise ConfigError(
            f"{place}: say once where the label comes from: columns: {{label: …}} with positive: and negative:, "
            "or label: for the whole file, or options:"
        )
    if "label" in columns and not (file.positive and file.negative):
        raise ConfigError(f"{place}: positive, negative: list the values of the label's column that mean each")
    both = {_plain(value) for value in file.positive} & {_plain(value) for value in file.negative}
    if both:
        raise ConfigError(f"{place}: {min(both)!r} is listed as positive and as negative")
    if not columns.keys() & {"prompt", "completion"}:
        raise ConfigError(f"{place}.columns: map prompt, completion or both")
    if file.options and "completion" in columns:
        raise ConfigError(f"{place}: options give the completion; leave it out of columns")
    if ("group" in columns) == (file.group is not None):
        raise ConfigError(
            f"{place}: groups never straddle a split, so name the column of the topic or entity "
            "(columns: {group: …}), or say group: each, which treats every row as independent"
        )
    if twice := sorted(columns.keys() & file.values.keys()):
        raise ConfigError(f"{place}: {twice[0]} is given by a column and as a value")
    if not file.licence.strip():
        raise ConfigError(f"{place}.licence: say under which terms the data may be used; it goes on record")


def mapped(file: DataFile, table: Table, *, place: str, prefix: str = "") -> Mapped:
    """The examples that a file's map makes of its rows; `prefix` keeps ids of several files apart.

    Raises ConfigError naming the row for a missing column, a value that is not text, a label that is not listed, an
    empty id, group or text, an id that was used before, and options that cannot be told apart.
    """
    _require_columns(file, table, place)
    rows = [(number, where, row) for number, (where, row) in enumerate(table.rows, start=1) if _kept(file, row, where)]
    if not rows:
        raise ConfigError(f"{place}.keep: leaves no row of {len(table.rows)}")
    examples: dict[str, Example] = {}
    first: dict[str, str] = {}
    for number, where, row in rows:
        for example in _examples(file, row, where, (prefix, number)):
            if example.id in examples:
                raise ConfigError(f"{where}: the id {example.id[:SHOWN]!r} was used at {first[example.id]}")
            examples[example.id], first[example.id] = example, where
    return Mapped(tuple(examples.values()), len(table.rows) - len(rows))


def _require_columns(file: DataFile, table: Table, place: str) -> None:
    named = [name for column in file.columns.values() for name in _names(column)] + list(file.keep)
    if file.options:
        named += [file.options.positive, file.options.negative]
    for name in named:
        if name not in table.columns:
            raise ConfigError(f"{place}: no column {name!r}{suggestion(name, [c[:SHOWN] for c in table.columns])}")


def _examples(file: DataFile, row: Row, where: str, number: tuple[str, int]) -> Iterator[Example]:
    """One example, or the two of a contrast pair."""
    prefix, count = number
    parts: dict[str, str] = {str(part): text for part, text in file.values.items()}
    parts |= {part: _cell(row, column, where) for part, column in file.columns.items() if part != "label"}
    own = prefix + parts.pop("id", str(count))
    parts = {"prompt": "", "group": own, **parts}
    if parts.get("pair") and parts.get("polarity"):  # a statement and its negation are no contrast pair
        parts["pair"] = f"{parts['pair']}-{parts['polarity']}"
    if file.options is None:
        made = [Example(id=own, label=_label(file, row, where), chat=file.chat, **parts)]
    else:
        prompt, *completions = _offered(file, parts.pop("prompt"), row, where)
        parts["pair"] = own
        made = [
            Example(id=f"{own}-{name}", prompt=prompt, completion=text, label=label, chat=file.chat, **parts)
            for name, label, text in zip(("positive", "negative"), (True, False), completions, strict=True)
        ]
    for example in made:
        _require_text(example, where)
        yield example


def _label(file: DataFile, row: Row, where: str) -> bool:
    if file.label is not None:
        return file.label == "positive"
    found = _cell(row, file.columns["label"], where)
    for meaning, values in ((True, file.positive), (False, file.negative)):
        if _is_one_of(found, values):
            return meaning
    known = ", ".join(repr(_plain(value)) for value in (*file.positive, *file.negative))
    raise ConfigError(f"{where}: the label {found[:SHOWN]!r} is listed neither as positive nor as negative ({known})")


def _offered(file: DataFile, prompt: str, row: Row, where: str) -> tuple[str, str, str]:
    """The prompt, the completion that is positive, and the one that is negative."""
    if file.options is None:
        raise TypeError("a file without options offers none")
    texts = [_cell(row, column, where).strip() for column in (file.options.positive, file.options.negative)]
    if file.options.lettered:
        prompt, lettered = _parted(prompt, where)
        for letter in texts:
            if letter not in lettered:
                raise ConfigError(f"{where}: {letter[:SHOWN]!r} is neither (A) nor (B)")
        texts = [lettered[letter] for letter in texts]
    if not all(texts) or texts[0] == texts[1]:
        raise ConfigError(f"{where}: the two options are empty or the same")
    return prompt, texts[0], texts[1]


def _parted(prompt: str, where: str) -> tuple[str, dict[str, str]]:
    """A prompt without the two options that it ends in, nor the line that announces them; and the options."""
    lines = prompt.rstrip().split("\n")
    starts = [i for i, line in enumerate(lines) if line.lstrip()[:3] in ("(A)", "(B)", "(C)")]
    if [lines[i].lstrip()[:3] for i in starts] != ["(A)", "(B)"]:
        raise ConfigError(f"{where}: the prompt does not end in exactly two options, a line with (A) and one with (B)")
    first, second = starts
    texts = ("\n".join(lines[first:second]), "\n".join(lines[second:]))
    asked = "\n".join(lines[:first]).rstrip()
    before, _, last = asked.rpartition("\n")
    if last.endswith(":") and len(last.split()) <= 3:
        asked = before.rstrip()
    return asked, {text.lstrip()[:3]: text.lstrip()[3:].strip() for text in texts}


def _kept(file: DataFile, row: Row, where: str) -> bool:
    return all(_is_one_of(_cell(row, column, where), values) for column, values in file.keep.items())


def _cell(row: Row, column: Column, where: str) -> str:
    """The text in a column; of several, in the first that is not empty."""
    found = ""
    for name in _names(column):
        if name not in row:
            raise ConfigError(f"{where}: no column {name!r}")
        value = row[name]
        if value is not None and not isinstance(value, str | int | float):
            raise ConfigError(f"{where}: {name} holds {type(value).__name__}, not text")
        found = "" if value is None else _text(value)
        if found.strip():
            break
    return found


def _require_text(example: Example, where: str) -> None:
    for name, content in (("id", example.id), ("group", example.group), ("text", example.text)):
        if not content.strip():
            raise ConfigError(f"{where}: the {name} is empty")
    try:
        "\x1f".join(v for v in vars(example).values() if isinstance(v, str)).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: holds half a character (a lone surrogate), which is not text") from error


def _names(column: Column) -> Sequence[str]:
    return (column,) if isinstance(column, str) else column


def _text(value: str | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: str | int) -> str:
    return _text(value).strip().casefold()


def _is_one_of(found: str, values: Iterable[str | int]) -> bool:
    return _plain(found) in {_plain(value) for value in values}
