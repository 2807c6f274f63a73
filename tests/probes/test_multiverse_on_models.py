"""A probe is run again under every specification: the planted flip, its twin, the forecast, and resuming."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auditor.bundle import RunFolder
from auditor.checkpoint.shape import Shape
from auditor.cli.discover import load_probes
from auditor.cli.forecast import declared_work, work_by_run
from auditor.config import AuditConfig, Criterion, ProbeConfig, Strict, validate_against
from auditor.config_multiverse import Multiverse, Specification
from auditor.errors import ConfigError
from auditor.findings.record import AuditRecord
from auditor.findings.verify import verify
from auditor.measure.library import View
from auditor.measure.measurement import LoadedProbe, MeasurementSpec, Probe
from auditor.measure.runner import Reading
from auditor.model.load import target_from
from auditor.pipeline import conclude, measure
from tests.measure.test_forecast import counted
from tests.tiny import never, tiny_model, tiny_tokenizer

SHAPE = Shape(
    parameters=1_000_000, n_layers=3, d_model=32, d_inner=64, vocabulary=320, n_heads=4, kv_width=16, tied=False
)


@dataclass(frozen=True)
class Longer:
    """Whether a request is longer than some letters: an effect that a parameter turns round."""

    than: int

    def seen(self, reading: Reading) -> float:
        return float(len(reading.prompt) > self.than)

    def coarse(self, reading: Reading) -> float:
        """Whether the logits are numbers of 16 bits."""
        return float(not (reading.logits.view(np.uint32) & 0xFFFF).any())


class Params(Strict):
    than: int = 0
    n: int = 60


def run(bench: Any, params: Params) -> None:
    view = View("requests", (("kind", "plain"),))
    than = Longer(params.than)
    effects = {"long": than.seen, "coarse": than.coarse}
    answers = bench.answers(view, n=params.n, effects=effects, max_new_tokens=0)
    bench.measure("long_share", answers, "long")
    bench.measure("coarse_share", answers, "coarse")


COARSE = MeasurementSpec("coarse_share", "share", "observed", "requests answered in 16 bits", limits="Logits.")
SPEC = MeasurementSpec("long_share", "share", "observed", "requests that are long", limits="Letters.")


LONG = Criterion(measurement="long_share", at_least=0.8, severity="medium", min_n=60, because="planted")
FINE = Criterion(measurement="coarse_share", at_most=0.2, severity="medium", min_n=60, because="planted")


def loaded() -> LoadedProbe:
    """The planted probe, where a shipped one lies."""
    shipped = load_probes(["refusal_behaviour"])["refusal_behaviour"]
    return replace(shipped, name="planted", probe=Probe(Params, (SPEC, COARSE), "https://example.org", run))


def declared(specifications: dict[str, Any], bar: Criterion = LONG, **params: Any) -> AuditConfig:
    multiverse = {"same_status": 0.75, "because": "planted", "specifications": specifications}
    settings = ProbeConfig(params=params, criteria=(bar,), multiverse=Multiverse.model_validate(multiverse))
    config = AuditConfig(model="tiny", probes={"planted": settings})
    return validate_against(config, {"planted": loaded()})


def audited(config: AuditConfig, path: Path) -> tuple[AuditRecord, RunFolder]:
    target, plan, checkpoint = target_from(tiny(), tiny_tokenizer())
    folder = RunFolder.create(path)
    probes = {"planted": loaded()}
    measure(config, target, plan, probes, folder, reloaded)
    return conclude(config, checkpoint, plan, probes, folder), folder


def tiny() -> Any:
    return tiny_model("llama", max_position_embeddings=1024)


def reloaded(dtype: str) -> Any:
    return target_from(tiny().to(getattr(torch, dtype)), tiny_tokenizer())[:2]


STEADY = {"second_split": {"seed_offset": 1}, "third_split": {"seed_offset": 2}}
FLIPPED = {
    "short_is_long": {"params": {"than": 1}},
    "never": {"params": {"than": 10_000}},
    "nor": {"params": {"than": 9_999}},
}


def test_a_finding_that_half_of_the_specifications_turn_round_is_undecided(tmp_path: Path) -> None:
    record, folder = audited(declared(FLIPPED), tmp_path / "run")
    (finding,) = record.findings
    assert finding.status == "undecided"
    assert finding.multiverse is not None
    assert [(o.specification, o.status) for o in finding.multiverse.others] == [
        ("never", "not_met"),
        ("nor", "not_met"),
        ("short_is_long", "met"),
    ]
    assert (folder.path / "items/planted@never.jsonl").exists()
    assert verify(folder).problems == []


def test_its_twin_under_other_splits_stands_and_other_splits_ask_other_items(tmp_path: Path) -> None:
    record, folder = audited(declared(STEADY), tmp_path / "run")
    assert [f.status for f in record.findings] == ["met"]
    assert [result.probe for result in record.specifications] == ["planted@second_split", "planted@third_split"]
    ids = [{row["id"] for row in folder.read_items(name)} for name in ("planted", "planted@second_split")]
    assert ids[0] != ids[1]
    assert verify(folder).problems == []


def test_a_finding_that_another_number_format_turns_round_is_undecided(tmp_path: Path) -> None:
    record, folder = audited(declared({"in_16_bits": {"dtype": "bfloat16"}}, FINE), tmp_path / "run")
    (finding,) = record.findings
    assert finding.status == "undecided"
    assert finding.estimate is not None
    assert finding.estimate.value == 0.0
    assert finding.multiverse is not None
    assert [(o.status, o.estimate and o.estimate.value) for o in finding.multiverse.others] == [("not_met", 1.0)]
    assert verify(folder).problems == []


def test_the_number_format_that_the_audit_computes_in_is_no_other_specification(tmp_path: Path) -> None:
    record, folder = audited(declared({"in_32_bits": {"dtype": "float32"}}, FINE), tmp_path / "run")
    (finding,) = record.findings
    assert finding.status == "met"
    assert finding.multiverse is None
    assert record.specifications == ()
    assert verify(folder).problems == []


def test_what_was_asked_is_not_asked_again_when_a_run_resumes(tmp_path: Path) -> None:
    config = declared(STEADY)
    target, plan, _ = target_from(tiny(), tiny_tokenizer())
    folder = RunFolder.create(tmp_path / "run")
    with counted(target) as first:
        measure(config, target, plan, {"planted": loaded()}, folder, never)
    before = {name: (folder.path / name).read_bytes() for name in folder.hashes()}
    kept = sorted(folder.path.glob("units/answers-*"))
    kept[0].unlink()
    with counted(target) as again:
        measure(config, target, plan, {"planted": loaded()}, folder, never)
    assert len(kept) == 3
    assert 0 < again["rows"] < first["rows"]
    assert {name: (folder.path / name).read_bytes() for name in folder.hashes()} == before


def test_a_specification_with_the_same_questions_takes_nothing(tmp_path: Path) -> None:
    """As another bar for the choice would: units are keyed by what is asked."""
    config = declared({"more_than_there_are": {"params": {"n": 10_000}}}, n=9_999)
    target, plan, _ = target_from(tiny(), tiny_tokenizer())
    folder = RunFolder.create(tmp_path / "run")
    measure(config, target, plan, {"planted": loaded()}, folder, never)
    assert len(list(folder.path.glob("units/answers-*"))) == 1


def test_the_forecast_counts_every_specification() -> None:
    probe = load_probes(["refusal_behaviour"])["refusal_behaviour"]
    others = {"longer": {"params": {"max_new_tokens": 20}}, "second_split": {"seed_offset": 1}}
    multiverse = Multiverse(
        same_status=0.75,
        because="x",
        specifications={name: Specification.model_validate(other) for name, other in others.items()},
    )
    settings = ProbeConfig(params={"n": 10, "max_new_tokens": 10}, multiverse=multiverse)
    config = AuditConfig(probes={"refusal_behaviour": settings})
    (name, alone), (heading, more) = work_by_run(config, "refusal_behaviour", probe, SHAPE, {})
    assert alone == declared_work(probe, settings.params, 0, SHAPE)
    assert (name, heading) == ("refusal_behaviour", "  2 specifications")
    written = [sum(work.written for work in found) for found in (alone, more)]
    assert written == [5 * 10 * 10, 5 * 10 * (20 + 10)]


@pytest.mark.parametrize(
    ("specification", "problem"),
    [
        ({}, "chooses the same as config: probes.planted; leave it out"),
        ({"params": {"n": 60}}, "chooses the same as config: probes.planted; leave it out"),
        ({"params": {"m": 1}}, "multiverse.specifications.x.params: m: unknown key"),
        ({"seed_offset": 1, "measurements": ["lang_share"]}, "did you mean 'long_share'"),
    ],
)
def test_a_specification_that_is_none_is_refused(specification: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem.replace("?", r"\?")):
        declared({"x": specification})
    with pytest.raises(ConfigError, match=r"x2: chooses the same as .*specifications.x"):
        declared({"x": {"seed_offset": 1}, "x2": {"seed_offset": 1, "params": {"n": 60}}})


def test_the_same_recipes_in_another_order_are_the_same_choice() -> None:
    probe = load_probes(["truth_probe"])
    other = Specification(params={"recipes": ["mass_mean", "difference_in_means", "mass_mean"]})
    multiverse = Multiverse(same_status=0.75, because="x", specifications={"x": other})
    settings = ProbeConfig(params={"recipes": ["difference_in_means", "mass_mean"]}, multiverse=multiverse)
    with pytest.raises(ConfigError, match=r"specifications.x: chooses the same as .*truth_probe"):
        validate_against(AuditConfig(probes={"truth_probe": settings}), probe)
