"""Tables for a terminal: no markup of others is obeyed, plain text where nobody looks at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditor.report.text import one_line, short
from auditor.report.words import Sign

_PLAIN_WIDTH = 140
"""columns where the output is not a terminal"""
_LONGEST = 120
"""characters of a cell"""
_STYLE = {"good": "green", "bad": "red", "open": "cyan", "none": "dim"}


def show(head: Sequence[str], rows: Iterable[Sequence[str | Sign]]) -> None:
    """Print a table to stdout; the marks say in shape and word what the colours say."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    table = Table(*head, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(_cell, row))
    console.print(table)


def _cell(content: str | Sign) -> Text:
    if isinstance(content, Sign):
        return Text(f"{content.mark} {content.word}", style=_STYLE[content.tone])
    return Text(short(one_line(content), _LONGEST), overflow="fold")
