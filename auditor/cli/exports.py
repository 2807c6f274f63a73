"""Where machine formats go: a file of the user's choice, GitHub's job summary and log. Never over the evidence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from auditor.atomic import writing
from auditor.bundle import RENDERED, RunFolder, write_atomic
from auditor.config import Strict
from auditor.errors import OutputError
from auditor.findings.files import REPORTS
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report import github
from auditor.report.formats import DECIDED

Told = TypeVar("Told", bound=Strict)
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""the variable in which GitHub Actions names the file of a step's summary"""


def write_export(text: str, output: Path) -> None:
    """Write a machine format or a page; one in a run folder is noted in rendered.json, and may be made again.

    Raises OutputError for a file that belongs to a run, whichever it is.
    """
    home = next((folder for folder in output.resolve().parents if (folder / "audit.json").is_file()), None)
    if home is not None and output.exists():
        name = output.resolve().relative_to(home).as_posix()
        if name in REPORTS or name not in _rendered(home):
            raise OutputError(f"{output}: belongs to the run; name another file")
    write_atomic(output, text.encode())
    if home is not None:
        RunFolder(home).write_rendered([output])


def tell(
    found: Told, *, page: Callable[[Told], str], table: Callable[[Told], None], html_file: Path | None, as_json: bool
) -> None:
    """Write what was found as a page where one is asked for; print it as JSON, or else as a table."""
    if html_file is not None:
        write_export(page(found), html_file)
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json"), indent=1))
    else:
        table(found)


def publish(record: AuditRecord, outcome: GateOutcome, *, outputs: Mapping[str, Path | None], to_github: bool) -> None:
    """Write what the gate decided to a file for each named format; tell GitHub by annotations and a job's summary."""
    for name, output in outputs.items():
        if output is not None:
            write_export(DECIDED[name](record, outcome), output)
    if to_github:
        for command in github.commands(record, outcome):
            click.echo(command)
        if place := os.environ.get(STEP_SUMMARY):
            _append_summary(record, outcome, Path(place))


def _append_summary(record: AuditRecord, outcome: GateOutcome, path: Path) -> None:
    """Add to what earlier commands of the step wrote: GitHub keeps nothing of a summary that is too long."""
    with writing(path):
        before = path.stat().st_size if path.exists() else 0
        with open(path, "ab") as file:
            file.write(github.summary(record, github.SUMMARY_BYTES - before, outcome).encode())


def _rendered(home: Path) -> set[str]:
    known = home / RENDERED
    return set(RunFolder(home).read_json(known.name)["files"]) if known.exists() else set()
