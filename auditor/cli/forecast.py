"""What a run would cost: the lines of --dry-run, from sizes alone or with the speed of the loaded model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from auditor.bundle import RunFolder
from auditor.checkpoint.admit import Admitted
from auditor.checkpoint.shape import Shape
from auditor.cli.child import SPEED, Job, measure_in_child
from auditor.config import AuditConfig
from auditor.config_multiverse import runs
from auditor.data.declared import reader
from auditor.data.examples import Dataset
from auditor.errors import ConfigError
from auditor.findings.assess import applies
from auditor.measure.cost import Survey, Work
from auditor.measure.forecast import FED_SHARE, Memory, Speed, memory
from auditor.measure.library import Library
from auditor.measure.measurement import LoadedProbe
from auditor.model.plan import Machine

GIB = 1 << 30


def loaded_forecast(job: Job, probes: Mapping[str, LoadedProbe]) -> list[str]:
    """Load the model in a child process, time it, and say what the battery would cost."""
    with tempfile.TemporaryDirectory(prefix="auditor-dry-run-") as scratch:
        folder = RunFolder.create(Path(scratch) / "run")
        plan = measure_in_child(folder, job)
        seen = folder.read_json(SPEED)
    speed = Speed(seen["fed"], seen["written"], "timed on this machine just now, on a few batches")
    machine = Machine(plan.device, plan.dtype, plan.batch_tokens, "dtype_kl_to_float32" in plan.facts)
    return list(told(job.config, job.checkpoint, probes, machine, speed, job.data))


def unloaded_forecast(
    config: AuditConfig, admitted: Admitted, probes: Mapping[str, LoadedProbe], data: Mapping[str, Dataset]
) -> list[str]:
    """The same without loading a weight: the speed is a share of that of a matrix product."""
    from auditor.model.load import expected_machine  # torch: only when asked
    from auditor.model.speed import product_flops

    machine = expected_machine(admitted)
    how = f"{FED_SHARE:.0%} of a matrix product's speed, timed on this machine; nothing was loaded"
    speed = Speed.of_matmul(product_flops(machine.device, machine.dtype), shape_of(admitted), how)
    return list(told(config, admitted, probes, machine, speed, data))


def shape_of(admitted: Admitted) -> Shape:
    """The model's sizes. Raises ConfigError where its config does not give them."""
    try:
        return Shape.of(admitted)
    except KeyError as error:
        raise ConfigError(f"{admitted.identity.name}: config.json has no {error.args[0]}; no forecast") from error


def told(
    config: AuditConfig,
    admitted: Admitted,
    probes: Mapping[str, LoadedProbe],
    machine: Machine,
    speed: Speed,
    data: Mapping[str, Dataset],
) -> Iterator[str]:
    """The lines."""
    shape = shape_of(admitted)
    role = config.role or ("chat" if admitted.has_chat_template else "base")
    yield f"{admitted.identity.name}: {machine.dtype} on {machine.device}; nothing was measured, nothing written"
    yield f"  {'probe':<22}{'rows':>8}{'tokens fed':>12}{'written':>9}{'minutes':>9}"
    total, unknown = 0.0, []
    for name, settings in config.probes.items():
        if not applies(settings, role):
            continue
        if probes[name].probe.cost is None:
            unknown.append(name)
            continue
        for what, declared in work_by_run(config, name, probes[name], shape, data):
            seconds = speed.seconds(declared, shape)
            total += seconds
            rows, fed, written = (sum(getattr(one, part) for one in declared) for part in ("rows", "fed", "written"))
            yield f"  {what:<22}{rows:>8,}{fed:>12,}{written:>9,}{seconds / 60:>9.1f}"
    yield f"  time: about {total / 60:.1f} minutes, if every probe goes to its end and every answer uses its room;"
    yield f"    at {speed.fed:,.0f} tokens fed and {speed.written:,.0f} written a second ({speed.how})"
    yield "    loading, statistics and reports come on top"
    if any(settings.multiverse for settings in config.probes.values()):
        yield "    specifications are counted whole, at this speed whatever their dtype; what was asked before is not"
        yield "    asked again, so they may take less"
    if unknown:
        yield f"    not counted, because they declare no cost: {', '.join(unknown)}"
    yield from memory_lines(memory(shape, machine))


def work_by_run(
    config: AuditConfig, name: str, loaded: LoadedProbe, shape: Shape, data: Mapping[str, Dataset]
) -> Iterator[tuple[str, list[Work]]]:
    """What a probe will ask as it was declared, and under all its specifications together, each with its heading."""
    declared, *others = (
        declared_work(loaded, under.probes[run].params, under.seed, shape, data) or []
        for run, under, _ in runs(config, name)
    )
    yield name, declared
    if others:
        yield f"  {len(others)} specifications", [work for other in others for work in other]


def declared_work(
    loaded: LoadedProbe,
    params: Mapping[str, object],
    seed: int,
    shape: Shape,
    data: Mapping[str, Dataset] | None = None,
) -> list[Work] | None:
    """What a probe will ask of the model; None where it does not say."""
    if loaded.probe.cost is None:
        return None
    survey = Survey(Library(reader(loaded.data_dir, data), seed), shape)
    return list(loaded.probe.cost(survey, loaded.probe.params.model_validate(params)))


def memory_lines(found: Memory) -> Iterator[str]:
    """The peak and its parts."""
    parts = {
        "libraries": found.libraries,
        "weights": found.weights,
        "batch": found.batch,
        "buffers": found.held,
    }
    shown = " + ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items())
    yield f"  memory: about {found.peak / GIB:.2f} GiB at the peak, however many prompts there are"
    yield f"    measuring {found.measuring / GIB:.2f} = {shown}"
    yield f"    loading {found.loading / GIB:.2f}" + (
        ", with a float32 copy to compare with" if found.comparison else ""
    )
