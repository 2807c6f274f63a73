"""`auditor gate`: the verdict of a finished run as one line and one exit code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from auditor.cli.exports import publish
from auditor.cli.terms import decided, lines
from auditor.errors import ConfigError
from auditor.findings import gate as gating
from auditor.findings.assess import probes_ran
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord, load

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="gate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--policy", metavar="F", type=_FILE, help="Decide by the policy in F (YAML, docs/ci.md).")
@click.option("--baseline", metavar="DIR", type=click.Path(path_type=Path), help="Fail what got worse since that run.")
@click.option("--waivers", metavar="F", type=_FILE, help="Known misses that somebody accepts until a day (YAML).")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, with every ruling.")
@click.option("--sarif", metavar="F", type=_FILE, help="Write every finding as SARIF 2.1.0 to F, whatever the verdict.")
@click.option("--junit", metavar="F", type=_FILE, help="Write JUnit XML to F, whatever the verdict.")
@click.option("--github", is_flag=True, help="Annotate the log of a GitHub job, and add to its summary.")
def gate(  # noqa: PLR0913 one parameter an option
    folder: Path,
    policy: Path | None,
    baseline: Path | None,
    waivers: Path | None,
    as_json: bool,
    sarif: Path | None,
    junit: Path | None,
    github: bool,
) -> int:
    """May this checkpoint ship? Reads the run folder DIR and exits with its verdict; measures nothing.

    Exit code: 0 pass, 1 the gate fails, 2 policy, waivers or baseline cannot be used, 3 insufficient evidence or
    an incomplete run, 5 nothing was measured.
    """
    if as_json and github:
        raise ConfigError("--json and --github both write to standard output; give one of them")
    named = [path.resolve() for path in (policy, waivers, sarif, junit) if path is not None]
    if len(set(named)) < len(named):
        raise ConfigError("--policy, --waivers, --sarif and --junit name one file twice; give each its own")
    record = load(folder)
    outcome = decided(folder, record, policy_file=policy, waivers_file=waivers, baseline=baseline)
    publish(record, outcome, outputs={"sarif": sarif, "junit": junit}, to_github=github)
    if as_json:
        click.echo(json.dumps(told(record, outcome), indent=1))
    else:
        waived = sum(ruling.waived for ruling in outcome.rulings)
        click.echo("\n".join([gating.line(record, outcome.verdict, waived=waived), *lines(outcome)]))
    return outcome.exit_code


def told(record: AuditRecord, outcome: GateOutcome) -> dict[str, object]:
    """The outcome as a script reads it: how it counts, what each finding came to, and the whole decision."""
    ran, applicable = probes_ran(record.config, record.results, record.plan.role)
    return {
        "verdict": outcome.verdict,
        "exit_code": outcome.exit_code,
        "counts": gating.counts(record),
        "probes_ran": ran,
        "probes_applicable": applicable,
        "reasons": outcome.reasons if outcome.by_terms else record.verdict_reasons,
        "declared_bars": {"verdict": record.verdict, "would_change": record.would_change},
        "findings": {finding.id: finding.status for finding in record.findings},
        "waived": {ruling.id: ruling.waiver.owner for ruling in outcome.rulings if ruling.waiver},
        "checkpoint": record.checkpoint.digest,
        "audit": record.digest,
        "gate": outcome.model_dump(mode="json"),
    }
