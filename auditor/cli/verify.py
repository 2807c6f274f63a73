"""`auditor verify`: recompute a run folder from its stored items and name what does not agree."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.bundle import RunFolder
from auditor.errors import VerifyMismatch
from auditor.findings.verify import verify as verified
from auditor.report import signature
from auditor.report.text import visible


@click.command(name="verify")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--key",
    metavar="PUBLIC.pem",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Public key: the folder must be signed with its private key, as it is.",
)
def verify(folder: Path, key: Path | None) -> None:
    """Recompute every estimate, finding and hash in the run folder DIR; no model is loaded.

    Exit code: 0 everything agrees, 1 something does not (each is named).
    """
    found = verified(folder)
    problems = list(found.problems)
    if key is not None:
        problems += signature.problems(RunFolder(folder), key)
    checked = ", ".join(f"{n} {what}" for what, n in found.checked.items())
    click.echo(f"checked {checked}{', the signature' if key else ''}")
    unchecked = [name for name in found.unlisted if key is None or name != signature.ATTESTATION]
    if signature.ATTESTATION in unchecked:
        click.echo(f"{signature.ATTESTATION}: the signature is checked with --key PUBLIC.pem")
        unchecked.remove(signature.ATTESTATION)
    if unchecked:
        click.echo(visible(f"not checked, because no list names them: {', '.join(unchecked)}"))
    for problem in problems:
        click.echo(visible(problem))
    if problems:
        count = len(problems)
        raise VerifyMismatch(f"{folder}: {count} {'thing does' if count == 1 else 'things do'} not agree")
    click.echo("everything agrees")
