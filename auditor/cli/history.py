"""`auditor history`: verdicts and key measurements over many run folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditor.cli.exports import tell
from auditor.cli.tables import show
from auditor.findings.history import History, Past, read_history
from auditor.report.numbers import date, number
from auditor.report.text import DASH, one_line, short, words
from auditor.report.trend import render, verdict
from auditor.report.words import STATUS, Sign

_COLUMNS = 4
"""measurements in the terminal; the page and --json have all"""


@click.command(name="history")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--html", "html_file", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write a page.")
@click.option("--json", "as_json", is_flag=True, help="Print all audits as JSON.")
def history(folder: Path, html_file: Path | None, as_json: bool) -> None:
    """Verdicts and judged numbers of every run folder below DIR, the oldest first.

    Audits with the same number under "question" asked the same and may be compared. Exit code: 0 whatever the
    verdicts were, 2 without any run folder.
    """
    tell(read_history(folder), page=render, table=_print, html_file=html_file, as_json=as_json)


def _print(found: History) -> None:
    columns = [tracked.criterion.measurement for tracked in found.tracked[:_COLUMNS]]
    head = ("run", "finished", "model", "battery", "question", "verdict", *map(words, columns))
    show(head, (_row(past, found) for past in found.audits))
    if (more := len(found.tracked) - _COLUMNS) > 0:
        click.echo(f"{more} more bars: --html F and --json show them")
    for line in found.unread:
        click.echo(short(one_line(f"not read: {line}"), 200))


def _row(past: Past, found: History) -> list[str | Sign]:
    cells = list(_cells(past, found))
    return [past.folder, date(past.finished), past.model, past.battery, str(past.question), verdict(past), *cells]


def _cells(past: Past, found: History) -> Iterator[str]:
    for tracked in found.tracked[:_COLUMNS]:
        point = past.points.get(tracked.id)
        yield DASH if point is None else f"{number(point.value, tracked.unit)} {STATUS[point.status].mark}"
