"""`auditor probes`: what can be asked, and what one question means."""

from __future__ import annotations

import textwrap

import click
import yaml

from auditor.cli.discover import battery_paths, load_probes
from auditor.config import load_config
from auditor.findings.chances import beforehand
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
        lines += bars(loaded, battery)
    return "\n".join(lines)


def bars(loaded: LoadedProbe, battery: str) -> list[str]:
    """The bars that a battery sets for a probe, with their reasons and how often a good model passes them."""
    config = load_config(None, battery=battery, overrides={}, batteries=battery_paths())
    if loaded.name not in config.probes:
        return []
    units = {spec.name: spec.unit for spec in loaded.probe.measurements}
    lines = ["", f"Bars in battery {battery}"]
    for criterion in config.probes[loaded.name].criteria:
        sides = [("at least", criterion.at_least), ("at most", criterion.at_most)]
        bar = " and ".join(f"{word} {value:g}" for word, value in sides if value is not None) or "shown, no bar"
        because = f"; {criterion.because}" if criterion.because else ""
        lines.append(f"  {criterion.measurement}: {bar} ({criterion.severity}, n ≥ {criterion.min_n}){because}")
        if passes := beforehand(criterion, units[criterion.measurement]):
            lines.append(f"    {passes}")
    return lines
