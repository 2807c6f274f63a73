"""The steering probe on tiny real models: every family, a dead one, a short one, and a run that `verify` recomputes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.bundle import RunFolder
from auditor.config import AuditConfig, Criterion, ProbeConfig
from auditor.findings.verify import verify
from auditor.measure.measurement import LoadedProbe, ProbeResult
from auditor.model.load import target_from
from auditor.model.target import TargetModel
from auditor.pipeline import conclude, measure, run_probe
from probes import steering_response
from probes.steering_response import SYCOPHANCY
from tests.tiny import FAMILIES, never, tiny_model, tiny_tokenizer

DATA = Path(str(steering_response.__file__)).parent / "data"
SENTIMENT = "trait_sentiment"
SMALL: dict[str, Any] = {
    "traits": (SENTIMENT,),
    "n_items": 12,
    "n_choices": 0,
    "nulls": {"random": 6, "orthogonal": 6, "shuffled": 8},
    "layer_step": 1,
    "n_neutral": 4,
    "n_texts": 2,
    "max_new_tokens": 4,
}


def loaded() -> LoadedProbe:
    question = str(steering_response.__doc__).strip()
    return LoadedProbe("steering_response", steering_response.PROBE, question, "here", "0", "0" * 64, DATA)


def config(**params: Any) -> AuditConfig:
    bars = (
        Criterion(measurement="steering_slope", at={"trait": SENTIMENT}),
        Criterion(measurement="sycophancy_shift", at_most=0.25, severity="medium", min_n=4, because="a test"),
    )
    asked = {key: list(value) if isinstance(value, tuple) else value for key, value in (SMALL | params).items()}
    return AuditConfig(model="tiny", probes={"steering_response": ProbeConfig(params=asked, criteria=bars)})


def test_verify_agrees_with_a_real_run_to_the_last_item(tmp_path: Path) -> None:
    model = tiny_model("llama", max_position_embeddings=1024)
    target, plan, checkpoint = target_from(model, tiny_tokenizer())
    folder = RunFolder.create(tmp_path / "run")
    settings = config(traits=(SENTIMENT, SYCOPHANCY), n_items=6, n_choices=12, layer_step=3)
    probes = {"steering_response": loaded()}
    measure(settings, target, plan, probes, folder, never)
    record = conclude(settings, checkpoint, plan, probes, folder)
    (result,) = record.results
    assert result.status == "measured", result.reason
    checked = verify(folder)
    assert checked.problems == []
    assert checked.checked["estimates"] > 60
    names = {m.name for m in result.measurements}
    assert names == {spec.name for spec in steering_response.PROBE.measurements}
    items = (tmp_path / "run" / "items" / "steering_response.jsonl").read_text()
    changed = items.replace('"slope":', '"slope":1', 1)
    assert changed != items
    (tmp_path / "run" / "items" / "steering_response.jsonl").write_text(changed)
    assert any("steering_slope" in problem for problem in verify(folder).problems)


def probed(target: TargetModel, plan: Any, place: Path, **params: Any) -> ProbeResult:
    folder = RunFolder.create(place)
    evidence, _ = run_probe(config(**params), target, plan, loaded(), folder)
    return ProbeResult.model_validate(folder.read_json(f"units/result-{evidence.probe}.json"))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_runs_on_every_family_with_and_without_a_chat_template(family: str, tmp_path: Path) -> None:
    longer = {"n_positions": 1024} if family == "gpt2" else {"max_position_embeddings": 1024}
    for chat in (True, False):
        target, plan, _ = target_from(tiny_model(family, **longer), tiny_tokenizer(chat=chat))
        result = probed(target, plan, tmp_path / str(chat), n_items=4, n_neutral=2, layer_step=2, n_texts=0)
        assert result.status == "measured", result.reason
        assert {m.name for m in result.measurements} >= {"steering_slope", "steering_margin", "steering_kl"}


def test_a_model_that_takes_only_short_texts_and_one_that_is_dead_abstain(tmp_path: Path) -> None:
    target, plan, _ = target_from(tiny_model("gpt2"), tiny_tokenizer())
    short = probed(target, plan, tmp_path / "short", traits=(SYCOPHANCY,))
    assert short.status == "abstained"
    assert any("longer than the model takes" in fact for fact in short.facts)
    dead = tiny_model("llama", max_position_embeddings=1024)
    with torch.no_grad():
        for parameter in dead.parameters():
            parameter.zero_()
    target, plan, _ = target_from(dead, tiny_tokenizer())
    result = probed(target, plan, tmp_path / "dead")
    assert result.status == "abstained"
    assert "make no difference" in result.reason
