"""`auditor compare`: what changed between two audits, with a test on each difference."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.exports import tell
from auditor.cli.tables import show
from auditor.findings.comparison import Comparison, Run
from auditor.findings.comparison import compare as compared
from auditor.report.changes import render, rows
from auditor.report.text import one_line, short

_FOLDER = click.Path(path_type=Path)


@click.command(name="compare")
@click.argument("earlier", metavar="DIR_A", type=_FOLDER)
@click.argument("later", metavar="DIR_B", type=_FOLDER)
@click.option("--html", "html_file", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write a page.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(earlier: Path, later: Path, html_file: Path | None, as_json: bool) -> None:
    """What changed from the audit in DIR_A to the one in DIR_B; a test on each difference, corrected by Holm.

    Audits that did not ask the same are shown side by side, marked, without a test. Exit code: 0 whatever
    changed (`auditor gate --baseline` judges it), 1 items are not those of their record, 2 or 3 no whole run.
    """
    found = compared(Run.open(earlier), Run.open(later))
    tell(found, page=render, table=_print, html_file=html_file, as_json=as_json)


def _print(found: Comparison) -> None:
    for which, side in (("earlier", found.before), ("later", found.after)):
        verdict = side.verdict.replace("_", " ").upper()
        said = f"{which}: {side.model} · battery {side.battery} · run {side.audit[:6]} · {verdict}"
        click.echo(short(one_line(said), 200))
    if found.not_comparable:
        click.echo("NOT COMPARABLE: the two audits did not ask the same, so nothing is tested")
    for line in (*found.not_comparable, *found.notes):
        click.echo(short(one_line(f"  {line}"), 200))
    head = ("measured", "severity", "earlier", "later", "change", "95 % interval", "p (Holm)", "outcome")
    told = rows(found)
    shown = [r for r in told if r.difference.p is not None or r.severity != "info"]
    show(head, ((r.title, r.severity, r.before, r.after, r.change, r.interval, r.p, r.sign) for r in shown))
    if more := len(told) - len(shown):
        click.echo(f"{more} more could not be tested; --html F and --json show them, and why")
