"""`auditor probes`: what can be asked, and what one question means."""

from __future__ import annotations

import textwrap

import click
import yaml

from auditor.cli.discover import battery_paths, load_probes
from auditor.config import load_config
from auditor.measure.measurement import LoadedProbe


@click.command()
@click.argument("name", required=False)
def probes(name: str | None) -> int:
    """List the installed probes, or explain the one called NAME."""
    if name:
        click.echo(explained(load_probes([name])[name]))
        return 0
    for probe in load_probes().values():
        click.echo(f"{probe.name:<22}{' '.join(probe.question.split(chr(10) * 2)[0].split())}")
    return 0


def explained(loaded: LoadedProbe) -> str:
    """Question, method and source, measurements with their limits, parameters, and the bars of each battery."""
    lines = [loaded.question, "", f"Source      {loaded.probe.source}"]
    lines += [
        f"From        {loaded.distribution} {loaded.version}, sha256 {loaded.sha256[:12]}",
        "",
        "Measurements",
    ]
    for spec in loaded.probe.measurements:
        at = f" at {', '.join(spec.at)}" if spec.at else ""
        lines.append(f"  {spec.name}{at}: {spec.plain} ({spec.unit}, {spec.evidence})")
        lines += textwrap.wrap(spec.limits, 96, initial_indent="    ", subsequent_indent="    ")
    defaults = loaded.probe.params().model_dump(mode="json")
    lines += ["", "Parameters", textwrap.indent(yaml.safe_dump(defaults, sort_keys=False).rstrip(), "  ")]
    for battery in battery_paths():
        lines += bars(loaded.name, battery)
    return "\n".join(lines)


def bars(probe: str, battery: str) -> list[str]:
    """The bars that a battery sets for a probe, with their reasons."""
    config = load_config(None, battery=battery, overrides={}, batteries=battery_paths())
    if probe not in config.probes:
        return []
    lines = ["", f"Bars in battery {battery}"]
    for criterion in config.probes[probe].criteria:
        sides = [("at least", criterion.at_least), ("at most", criterion.at_most)]
        bar = " and ".join(f"{word} {value:g}" for word, value in sides if value is not None) or "shown, no bar"
        because = f"; {criterion.because}" if criterion.because else ""
        lines.append(f"  {criterion.measurement}: {bar} ({criterion.severity}, n ≥ {criterion.min_n}){because}")
    return lines
