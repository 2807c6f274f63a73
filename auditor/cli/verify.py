"""`auditor verify`: recompute a run folder from its stored items and name what does not agree."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.errors import VerifyMismatch
from auditor.findings.verify import verify as verified
from auditor.report.text import visible


@click.command(name="verify")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Recompute every estimate, finding and hash in the run folder DIR; no model is loaded.

    Exit code: 0 everything agrees, 1 something does not (each is named).
    """
    found = verified(folder)
    checked = ", ".join(f"{n} {what}" for what, n in found.checked.items())
    click.echo(f"checked {checked}")
    if found.unlisted:
        click.echo(visible(f"not checked, because no list names them: {', '.join(found.unlisted)}"))
    for problem in found.problems:
        click.echo(visible(problem))
    if found.problems:
        count = len(found.problems)
        raise VerifyMismatch(f"{folder}: {count} {'thing does' if count == 1 else 'things do'} not agree")
    click.echo("everything agrees")
