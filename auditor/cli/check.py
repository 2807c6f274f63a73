"""`auditor check`: is a config right, and what would it cost, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.checkpoint.admit import admit
from auditor.checkpoint.resolve import default_cache, resolve
from auditor.cli.forecast import unloaded_forecast
from auditor.cli.run import declared_audit
from auditor.config import AuditConfig, config_digest
from auditor.data.examples import Dataset
from auditor.errors import ConfigError
from auditor.measure.measurement import LoadedProbe


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--battery", help="Which battery the config extends.")
@click.option("--model", help="Folder of the checkpoint, or a Hub id[@revision]; for --dry-run.")
@click.option("--dry-run", is_flag=True, help="Say what a run would cost in time and memory; loads no weights.")
def check(config: Path, battery: str | None, model: str | None, dry_run: bool) -> int:
    """Validate CONFIG: keys, probes, parameters, data sets, and that every criterion names a declared measurement."""
    declared, probes, data = declared_audit(config, battery, {"model": model} if model else {})
    criteria = sum(len(probe.criteria) for probe in declared.probes.values()) + len(declared.criteria)
    click.echo(
        f"{config}: valid; {len(declared.probes)} probes, {criteria} criteria, "
        f"config digest {config_digest(declared)[:12]}"
    )
    for found in data.values():
        click.echo("\n".join(described(found)))
    if dry_run:
        click.echo("\n".join(forecast_of(declared, probes, data)))
    return 0


def described(data: Dataset) -> list[str]:
    """What a report will say of a data set that the config declares."""
    lines = [f"  {data.name}: {len(data.examples)} examples, sha256 {data.sha256[:12]}"]
    files = data.card["file"]
    told = list(files.values()) if isinstance(files, dict) else []
    return lines + [
        f"    {line}" for line in [*told, f"groups: {data.card['groups']}", f"checks: {data.card['checks']}"]
    ]


def forecast_of(config: AuditConfig, probes: dict[str, LoadedProbe], data: dict[str, Dataset]) -> list[str]:
    """What the config would cost on the model that it names."""
    if not config.model:
        raise ConfigError("no model to forecast for: give --model FOLDER, or `model:` in the config")
    folder, revision = resolve(config.model, default_cache())
    return unloaded_forecast(config, admit(folder, name=config.model if revision else None), probes, data)
