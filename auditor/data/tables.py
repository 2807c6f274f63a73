"""Rows of a CSV, JSON or JSON Lines file that somebody else wrote: read whole, bounded, hashed. No torch, no model.

What the columns mean is for `mapping`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.canonical import parse_json, sha256_hex
from auditor.errors import ConfigError

MAX_BYTES, MAX_LINE, MAX_ROWS = 64 << 20, 1 << 20, 200_000
"""of a file, of one line of it, and rows: far above any set of prompts, far below what hurts"""
BOM = b"\xef\xbb\xbf"

Row = Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """The rows of one source, with where each stands."""

    rows: tuple[tuple[str, Row], ...]
    """(place in words, column -> value); a place names the file and the line or row"""
    columns: tuple[str, ...]
    """of the first row"""
    sha256: str
    """of the bytes that were read"""


def read_table(path: Path, shown: str, kind: str, sha256: str = "") -> Table:
    """Read a file of rows, called `shown` in messages; `kind` is csv, jsonl or json.

    Raises ConfigError, naming the file and the row, for what cannot be read or is not whole: another sha256 than the
    one given, more than MAX_BYTES, MAX_LINE or MAX_ROWS, text that is not UTF-8, a byte order mark, broken JSON, rows
    of different lengths, a column named twice, no rows.
    """
    data = _bytes(path, shown)
    digest = sha256_hex(data)
    if sha256 and digest != sha256.lower():
        raise ConfigError(f"{shown}: is not the file that was declared (its sha256 is {digest}, declared is {sha256})")
    if data.startswith(BOM):
        raise ConfigError(f"{shown}: begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    parsed = {"csv": _csv, "jsonl": _jsonl, "json": _json}[kind](text, shown)
    return table_of(parsed, shown, digest)


def table_of(parsed: Iterator[tuple[str, Row]], shown: str, sha256: str) -> Table:
    """A table of rows from anywhere. Raises ConfigError for none, or more than MAX_ROWS."""
    rows: list[tuple[str, Row]] = []
    for row in parsed:
        if len(rows) == MAX_ROWS:
            raise ConfigError(f"{shown}: more than {MAX_ROWS:,} rows; take a part of it")
        rows.append(row)
    if not rows:
        raise ConfigError(f"{shown}: holds no rows")
    return Table(tuple(rows), tuple(rows[0][1]), sha256)


def _bytes(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{shown}: larger than {MAX_BYTES >> 20} MiB; take a part of it")
    return data


def _lines(text: str, shown: str) -> Iterator[str]:
    """Lines with their ends; a line that is too long is refused before anything parses it."""
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if len(line) > MAX_LINE:
            raise ConfigError(f"{shown}:{number}: a line of more than {MAX_LINE:,} characters")
        yield line


def _csv(text: str, shown: str) -> Iterator[tuple[str, Row]]:
    reader = csv.reader(_lines(text, shown), strict=True)
    header: list[str] | None = None
    end = 0
    try:
        for cells in reader:
            place, end = f"{shown}:{end + 1}", reader.line_num
            if not cells:
                continue  # an empty line
            if header is None:
                header = _header(cells, place)
            elif len(cells) != len(header):
                raise ConfigError(f"{place}: {len(cells)} cells, and the header has {len(header)}")
            else:
                yield place, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise ConfigError(f"{shown}:{end + 1}: not CSV ({error})") from error


def _header(cells: list[str], place: str) -> list[str]:
    for name in cells:
        if cells.count(name) > 1:
            raise ConfigError(f"{place}: two columns are named {name[:60]!r}")
    return cells


def _jsonl(text: str, shown: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(_lines(text, shown), start=1):
        yield f"{shown}:{number}", _object(_parsed(line, f"{shown}:{number}"), f"{shown}:{number}")


def _json(text: str, shown: str) -> Iterator[tuple[str, Row]]:
    listed = _parsed(text, shown)
    if not isinstance(listed, list):
        raise ConfigError(f"{shown}: one list of objects is needed; with one object a line, say format: jsonl")
    for number, value in enumerate(listed, start=1):
        place = f"{shown}: entry {number}"
        yield place, _object(value, place)


def _parsed(text: str, place: str) -> object:
    try:
        return parse_json(text.encode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: not JSON ({str(error)[:120]})") from error


def _object(value: object, place: str) -> Row:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: a JSON object with the columns as keys is needed")
    return value
