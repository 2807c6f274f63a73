"""`auditor check`: is a config right, and what would it cost, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.checkpoint.admit import admit
from auditor.checkpoint.resolve import default_cache, resolve
from auditor.cli.discover import battery_paths, load_probes
from auditor.cli.forecast import unloaded_forecast
from auditor.config import AuditConfig, config_digest, load_config, validate_against
from auditor.errors import ConfigError
from auditor.measure.measurement import LoadedProbe


@click.command()
@click.argument("configs", metavar="CONFIG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--battery", help="Which battery the config extends.")
@click.option("--model", help="Folder of the checkpoint, or a Hub id[@revision]; for --dry-run.")
@click.option("--dry-run", is_flag=True, help="Say what a run would cost in time and memory; loads no weights.")
def check(configs: tuple[Path, ...], battery: str | None, model: str | None, dry_run: bool) -> int:
    """Validate CONFIG: keys, probes, parameters, and that every criterion names a declared measurement."""
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
    overrides = {"model": model} if model else {}
    declared = load_config(path, battery=battery, overrides=overrides, batteries=battery_paths())
    probes = load_probes(list(declared.probes))
    declared = validate_against(declared, probes)
    criteria = sum(len(probe.criteria) for probe in declared.probes.values()) + len(declared.criteria)
    valid = (
        f"{path}: valid; {len(declared.probes)} probes, {criteria} criteria, "
        f"config digest {config_digest(declared)[:12]}"
    )
    return [valid, *(forecast_of(declared, probes) if dry_run else [])]


def forecast_of(config: AuditConfig, probes: dict[str, LoadedProbe]) -> list[str]:
    """What the config would cost on the model that it names."""
    if not config.model:
        raise ConfigError("no model to forecast for: give --model FOLDER, or `model:` in the config")
    folder, revision = resolve(config.model, default_cache())
    return unloaded_forecast(config, admit(folder, name=config.model if revision else None), probes)
