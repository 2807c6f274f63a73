"""`auditor gate`: the verdict of a finished run as one line and one exit code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from auditor.cli.exports import publish
from auditor.errors import ConfigError
from auditor.findings import gate as gating
from auditor.findings.assess import probes_ran
from auditor.findings.record import load

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="gate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.option("--sarif", metavar="F", type=_FILE, help="Write every finding as SARIF 2.1.0 to F, whatever the verdict.")
@click.option("--junit", metavar="F", type=_FILE, help="Write JUnit XML to F, whatever the verdict.")
@click.option("--github", is_flag=True, help="Annotate the log of a GitHub job, and add to its summary.")
def gate(folder: Path, as_json: bool, sarif: Path | None, junit: Path | None, github: bool) -> int:
    """May this checkpoint ship? Reads the run folder DIR and exits with its verdict.

    Exit code: 0 pass, 1 the gate fails, 3 insufficient evidence or an incomplete run, 5 nothing was measured.
    """
    if as_json and github:
        raise ConfigError("--json and --github both write to standard output; give one of them")
    record = load(folder)
    publish(record, folder, {"sarif": sarif, "junit": junit}, to_github=github)
    code = gating.exit_code(record)
    ran, applicable = probes_ran(record.config, record.results, record.plan.role)
    if as_json:
        told = {
            "verdict": record.verdict,
            "exit_code": code,
            "counts": gating.counts(record),
            "probes_ran": ran,
            "probes_applicable": applicable,
            "reasons": record.verdict_reasons,
            "would_change": record.would_change,
            "findings": {finding.id: finding.status for finding in record.findings},
            "checkpoint": record.checkpoint.digest,
            "audit": record.digest,
        }
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        click.echo(gating.line(record))
    return code
