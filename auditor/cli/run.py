"""`auditor run`: admit the checkpoint, measure it in a child process, judge, render."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import click

from auditor.bundle import RunFolder, write_atomic
from auditor.checkpoint.admit import Admitted, admit
from auditor.checkpoint.resolve import default_cache, resolve
from auditor.cli.child import PLAN, Job, measure_in_child
from auditor.cli.discover import battery_paths, load_probes
from auditor.cli.forecast import loaded_forecast
from auditor.cli.report import manifest
from auditor.cli.summary import summary
from auditor.config import AuditConfig, config_digest, load_config, validate_against
from auditor.data.declared import read_declared
from auditor.data.examples import Dataset
from auditor.declared import declared_in
from auditor.errors import AuditorError, ConfigError, OutputError
from auditor.findings.gate import exit_code
from auditor.findings.record import AuditRecord
from auditor.measure.measurement import LoadedProbe
from auditor.pipeline import conclude
from auditor.report import html, pdf


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--model", help="Folder of the checkpoint to judge, or a Hub id[@revision].")
@click.option("--adapter", type=click.Path(path_type=Path), help="PEFT adapter folder, applied to --model.")
@click.option("--battery", help="Which battery: quick, release, deep.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Run folder to write.")
@click.option("--role", type=click.Choice(["chat", "base"]), help="Default: chat if there is a chat template.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run in --out.")
@click.option("--dry-run", is_flag=True, help="Load and time the model, say what a run would cost, write nothing.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of splits, samples and nulls.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="auto measures that nothing is lost.",
)
def run(  # noqa: PLR0913, one argument an option
    config: Path | None,
    model: str | None,
    adapter: Path | None,
    battery: str | None,
    out: Path,
    role: str | None,
    resume: bool,
    dry_run: bool,
    seed: int | None,
    device: str,
    dtype: str,
) -> int:
    """Measure a checkpoint against a battery and write the audit to --out.

    CONFIG is a YAML file that extends a battery; without one, --model and --battery are enough. The exit code
    is the verdict.
    """
    options = {"model": model, "adapter": str(adapter) if adapter else None, "role": role, "seed": seed}
    declared, probes, data = declared_audit(config, battery, {k: v for k, v in options.items() if v is not None})
    places = declared_in(config, declared)
    admitted = admitted_checkpoint(declared)
    declared = nameable(declared, admitted)
    job = Job(config=declared, checkpoint=admitted, device=device, dtype=dtype, data=data)
    if dry_run:
        click.echo("\n".join(loaded_forecast(job.model_copy(update={"dry_run": True}), probes)))
        return 0
    folder = RunFolder.create(out, resume=resume)
    pin(folder, declared, admitted, probes, resume=resume)
    if resume:
        refuse_other_format(folder, device=device, dtype=dtype)
        folder.log("resumed")
    plan = measure_in_child(folder, job)
    record = conclude(declared, admitted.identity, plan, probes, folder, declared=places)
    render(record, folder)
    click.echo(summary(record, folder.path))
    return exit_code(record)


def declared_audit(
    path: Path | None, battery: str | None, options: dict[str, object]
) -> tuple[AuditConfig, dict[str, LoadedProbe], dict[str, Dataset]]:
    """The validated config, the probes it names, and the data sets it declares."""
    config = load_config(path, battery=battery, overrides=options, batteries=battery_paths())
    probes = load_probes(list(config.probes))
    config = validate_against(config, probes)
    config, data = read_declared(config, probes, root=path.parent if path else Path(), source=str(path or "config"))
    return config, probes, data


def admitted_checkpoint(config: AuditConfig) -> Admitted:
    """The checkpoint that the config names, listed, hashed and found safe to load."""
    if not config.model:
        raise ConfigError("no model: give --model FOLDER, or `model:` in the config")
    folder, revision = resolve(config.model, default_cache())
    adapter = Path(config.adapter) if config.adapter else None
    return admit(folder, name=config.model if revision else None, adapter=adapter, revision=revision)


def nameable(config: AuditConfig, admitted: Admitted) -> AuditConfig:
    """The config as it goes on record: names, not paths of this machine."""
    adapter = Path(config.adapter).name if config.adapter else None
    return config.model_copy(update={"model": admitted.identity.name, "adapter": adapter})


def pin(
    folder: RunFolder, config: AuditConfig, admitted: Admitted, probes: Mapping[str, LoadedProbe], *, resume: bool
) -> None:
    """Write what this run is about; a resumed run must be about the same, with the same code."""
    about = {
        "code": {"auditor": version("checkpoint-auditor"), **{name: probe.sha256 for name, probe in probes.items()}},
        "config": config.model_dump(mode="json"),
        "config_digest": config_digest(config),
        "checkpoint": admitted.identity.model_dump(mode="json"),
    }
    if resume and (folder.path / PLAN).exists():
        before = folder.read_json("run.json")
        for part in ("checkpoint", "config", "code"):
            if before.get(part) != about[part]:
                raise OutputError(
                    f"{folder.path}: holds a run with another {part}; resume it as it was started, "
                    "or name a new folder with --out"
                )
    folder.write_json("run.json", about)


def refuse_other_format(folder: RunFolder, *, device: str, dtype: str) -> None:
    """A resumed run goes on in the device and dtype that it was started with."""
    plan = folder.read_json(PLAN) if (folder.path / PLAN).exists() else {}
    for option, wanted in (("device", device), ("dtype", dtype)):
        if plan and wanted not in ("auto", plan[option]):
            raise OutputError(f"{folder.path}: was started with --{option} {plan[option]}, not {wanted}; leave it out")


def render(record: AuditRecord, folder: RunFolder) -> None:
    """Write the report files that the config asks for; a missing PDF library costs the PDF only."""
    written = []
    for name in record.config.report.formats:
        path = folder.path / f"report.{name}"
        try:
            data = html.render(record).encode() if name == "html" else pdf.render(record, manifest(folder.path))
        except AuditorError as error:
            click.echo(f"auditor: no report.{name}: {error}", err=True)
            continue
        write_atomic(path, data)
        written.append(path)
    folder.write_rendered(written)
