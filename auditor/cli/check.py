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
from auditor.findings.chances import beforehand
from auditor.measure.measurement import LoadedProbe


@click.command()
@click.argument("configs", metavar="CONFIG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--battery", help="Which battery the config extends.")
@click.option("--model", help="Folder of the checkpoint, or a Hub id[@revision]; for --dry-run.")
@click.option("--dry-run", is_flag=True, help="Say what a run would cost in time and memory; loads no weights.")
def check(configs: tuple[Path, ...], battery: str | None, model: str | None, dry_run: bool) -> int:
    """Validate CONFIG: keys, probes, parameters, data sets, and that every criterion names a declared measurement."""
    problems = []
    for config in configs:
        try:
            click.echo("\n".join(checked(config, battery, model, dry_run=dry_run)))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return 0


def checked(path: Path, battery: str | None, model: str | None, *, dry_run: bool) -> list[str]:
    """What there is to say of one valid config. Raises ConfigError for one that is not."""
    declared, probes, data = declared_audit(path, battery, {"model": model} if model else {})
    criteria = sum(len(probe.criteria) for probe in declared.probes.values()) + len(declared.criteria)
    valid = (
        f"{path}: valid; {len(declared.probes)} probes, {criteria} criteria, "
        f"config digest {config_digest(declared)[:12]}"
    )
    sets = [line for found in data.values() for line in described(found)]
    return [valid, *chances_of(declared, probes), *sets, *(forecast_of(declared, probes, data) if dry_run else [])]


def chances_of(config: AuditConfig, probes: dict[str, LoadedProbe]) -> list[str]:
    """How often a good model passes each bar that declares a good value."""
    lines = []
    for name, settings in config.probes.items():
        units = {spec.name: spec.unit for spec in probes[name].probe.measurements}
        told = ((c.measurement, beforehand(c, units[c.measurement])) for c in settings.criteria)
        lines += [f"  {name}.{measurement}: {passes}" for measurement, passes in told if passes]
    return lines


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
