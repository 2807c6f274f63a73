"""`auditor check`: is a config right, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.discover import battery_paths, load_probes
from auditor.config import config_digest, load_config, validate_against


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--battery", help="Which battery the config extends.")
def check(config: Path, battery: str | None) -> int:
    """Validate CONFIG: keys, probes, parameters, and that every criterion names a declared measurement."""
    declared = load_config(config, battery=battery, overrides={}, batteries=battery_paths())
    declared = validate_against(declared, load_probes(list(declared.probes)))
    criteria = sum(len(probe.criteria) for probe in declared.probes.values()) + len(declared.criteria)
    click.echo(
        f"{config}: valid; {len(declared.probes)} probes, {criteria} criteria, "
        f"config digest {config_digest(declared)[:12]}"
    )
    return 0
