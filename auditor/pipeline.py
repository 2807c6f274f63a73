"""The whole pipeline on one screen.

    config → checkpoint → target → activations → measurements → findings → record → report

`measure` runs where the model is (the measuring process of the command line, or a notebook); `conclude` runs
where no model is. Between them lies the run folder and nothing else.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.bundle import RunFolder
from auditor.checkpoint.identity import CheckpointIdentity
from auditor.config import AuditConfig, comparison_digest, config_digest, stable_seed
from auditor.config_multiverse import Run, probe_of, runs
from auditor.data.declared import reader
from auditor.data.examples import Dataset
from auditor.declared import NOWHERE, Declared
from auditor.errors import Abstention, AuditError
from auditor.findings.assess import applies, assess
from auditor.findings.record import (
    AuditRecord,
    DatasetIdentity,
    Environment,
    MeasurementMeaning,
    ProbeIdentity,
    load,
)
from auditor.measure.evidence import Evidence
from auditor.measure.library import Library
from auditor.measure.measurement import LoadedProbe, ProbeResult
from auditor.measure.stored import DIRECTIONS, DRAWS, items_table
from auditor.model.plan import Plan

if TYPE_CHECKING:
    from auditor.model.target import TargetModel

    Reload = Callable[[str], tuple[TargetModel, Plan]]
    """the target once more, in the dtype that is named"""

LIBRARIES = ("checkpoint-auditor", "torch", "transformers", "safetensors", "numpy", "scipy", "scikit-learn")


def measure(
    config: AuditConfig,
    target: TargetModel,
    plan: Plan,
    probes: Mapping[str, LoadedProbe],
    folder: RunFolder,
    reload: Reload,
    data: Mapping[str, Dataset] | None = None,
) -> None:
    """Run every probe of the battery against the target; results, items and draws go to the run folder.

    `reload`: for specifications in another dtype, which come last. `data`: the data sets that the config declares, as
    they were read.
    """
    tensors: dict[str, Any] = {}
    directions: dict[str, Any] = {}
    datasets: dict[str, DatasetIdentity] = {}
    started = datetime.now(UTC)
    seconds = {}
    in_use = target, plan
    for name, under, other in sorted(all_runs(config, plan), key=lambda run: run.other.dtype or ""):
        if other.dtype and other.dtype != in_use[1].dtype:
            in_use = reload(other.dtype)
        clock = time.monotonic()
        folder.log("probe", probe=name)
        loaded = replace(probes[probe_of(name)], name=name)
        evidence, library = run_probe(under, *in_use, loaded, folder, data)
        folder.write_items(name, evidence.rows(items_table(name)))
        tensors |= evidence.tensors
        directions |= evidence.directions
        datasets |= {data.name: DatasetIdentity.of(data) for data in library.opened.values()}
        seconds[name] = round(time.monotonic() - clock, 1)
    folder.write_tensors(DRAWS, tensors)
    folder.write_tensors(DIRECTIONS, directions)
    folder.write_json(
        "units/measured.json",
        {
            "datasets": [datasets[name].model_dump(mode="json") for name in sorted(datasets)],
            "started": started.isoformat(timespec="seconds"),
            "seconds": seconds,
        },
    )


def all_runs(config: AuditConfig, plan: Plan) -> list[Run]:
    """Every run of every probe that applies: as declared, then under the specifications that are others here."""
    asked = [name for name, settings in config.probes.items() if applies(settings, plan.role)]
    found = [run for name in asked for run in runs(config, name)]
    return [run for run in found if run.name in config.probes or run.other.is_other(plan.dtype)]


def run_probe(
    config: AuditConfig,
    target: TargetModel,
    plan: Plan,
    loaded: LoadedProbe,
    folder: RunFolder,
    data: Mapping[str, Dataset] | None = None,
) -> tuple[Evidence, Library]:
    """Run one probe. What it declines or fails to do becomes its result; any other error is ours and ends the run.

    Under a specification of the same seed the probe draws the same random numbers, so that only the choice differs.
    """
    from auditor.measure.bench import Bench  # with torch, which concluding does without
    from auditor.measure.runner import Runner

    evidence = Evidence(loaded.name, config.report.redaction)
    library = Library(reader(loaded.data_dir, data), config.seed)
    runner = Runner(target, plan, folder, loaded.name)
    rng = np.random.default_rng(stable_seed(config.seed, probe_of(loaded.name)))
    bench = Bench(evidence, library, runner, loaded.probe.measurements, rng)
    params = loaded.probe.params.model_validate(config.probes[loaded.name].params)
    try:
        loaded.probe.run(bench, params)
        result = evidence.result("measured")
    except Abstention as reason:
        result = evidence.result("abstained", str(reason))
    except AuditError as error:
        result = evidence.result("error", str(error))
    folder.write_json(f"units/result-{loaded.name}.json", result.model_dump(mode="json"))
    return evidence, library


def conclude(
    config: AuditConfig,
    checkpoint: CheckpointIdentity,
    plan: Plan,
    probes: Mapping[str, LoadedProbe],
    folder: RunFolder,
    *,
    declared: Declared = NOWHERE,
) -> AuditRecord:
    """Hold what was measured against the criteria; write the record and the manifest; return the record as written."""
    measured = folder.read_json("units/measured.json")
    datasets = tuple(DatasetIdentity.model_validate(data) for data in measured["datasets"])
    ran = [run.name for run in all_runs(config, plan)]
    found = [ProbeResult.model_validate(folder.read_json(f"units/result-{name}.json")) for name in ran]
    results = tuple(result for result in found if result.probe in config.probes)
    specifications = tuple(result for result in found if result.probe not in config.probes)
    identities = tuple(probe_identity(probes[name]) for name in config.probes)
    judged = assess(
        config,
        results,
        identities,
        plan=plan,
        template_digest=checkpoint.template_digest,
        specifications=specifications,
    )
    record = AuditRecord(
        config=config,
        config_digest=config_digest(config),
        comparison_digest=comparison_digest(
            config, {data.name: data.sha256 for data in datasets}, checkpoint.template_digest
        ),
        checkpoint=checkpoint,
        plan=plan,
        probes=identities,
        datasets=datasets,
        results=results,
        specifications=specifications,
        not_applicable=judged.not_applicable,
        findings=judged.findings,
        verdict=judged.verdict,
        verdict_reasons=judged.verdict_reasons,
        would_change=judged.would_change,
        evidence=folder.hashes(),
        environment=environment(measured["started"], measured["seconds"], declared),
    )
    folder.write_json("audit.json", record.model_dump(mode="json"))
    folder.write_manifest()
    return load(folder.path)  # what was written, so that rendering again gives the same bytes


def probe_identity(loaded: LoadedProbe) -> ProbeIdentity:
    """Which code asked the question, and what its measurements mean."""
    meanings = {
        spec.name: MeasurementMeaning(unit=spec.unit, evidence=spec.evidence, plain=spec.plain, limits=spec.limits)
        for spec in loaded.probe.measurements
    }
    return ProbeIdentity(
        name=loaded.name,
        question=loaded.question,
        source=loaded.probe.source,
        distribution=loaded.distribution,
        version=loaded.version,
        sha256=loaded.sha256,
        measurements=meanings,
    )


def environment(started: str, seconds: Mapping[str, float], declared: Declared) -> Environment:
    """When and where: the only part of a record that may differ between two runs."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed"
    return Environment(
        started=started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions,
        machine=f"{platform.system()} {platform.machine()}",
        seconds=dict(seconds),
        config_file=declared.file,
        declared_lines=dict(declared.lines),
    )
