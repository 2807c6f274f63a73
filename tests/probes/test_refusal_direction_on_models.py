"""The refusal probe on tiny real models of every family, with and without a chat template; `verify` agrees.

A random model has no refusals. So that the probe goes its whole way, the *refusal tokens* are chosen so that about
half of the prompts lean to them: what it finds means nothing, and must still be whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.bundle import RunFolder
from auditor.cli.discover import load_probes
from auditor.config import AuditConfig, Criterion, ProbeConfig
from auditor.data.datasets import read
from auditor.findings.verify import verify
from auditor.measure.asking import Asking
from auditor.model.load import target_from
from auditor.model.prompts import render
from auditor.model.sweep import sweep
from auditor.model.target import TargetModel
from auditor.model.work import WorkItem
from auditor.pipeline import conclude, measure
from tests.tiny import FAMILIES, never, tiny_model, tiny_tokenizer

NAME = "refusal_direction"
SMALL = {
    "n_fit": 16,
    "n_validation": 8,
    "n_null": 8,
    "n_generated": 4,
    "n_random_generated": 1,
    "max_new_tokens": 4,
    "kl_max": 50.0,
    "induce_min": -50.0,
    "layer_share": 1.0,
}


def even_tokens(target: TargetModel) -> tuple[int, ...]:
    """Half of the vocabulary, such that about half of some prompts lean to it."""
    examples = read(load_probes([NAME])[NAME].data_dir / "requests.jsonl").examples[::23]
    items = [WorkItem(render(target, example)) for example in examples]
    logits = np.stack([outcome.logits for _, outcome in sweep(target, items, batch_tokens=4000)])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    varied = np.argsort(-shares.std(axis=0))
    chosen: list[int] = []
    for token in varied:
        if np.median(shares[:, [*chosen, token]].sum(axis=1)) <= 0.5:
            chosen.append(int(token))
    return tuple(sorted(chosen))


def audited(folder: Path, monkeypatch: pytest.MonkeyPatch, family: str, *, chat: bool = True, **params: Any) -> Any:
    model = tiny_model(family, **{"n_positions" if family == "gpt2" else "max_position_embeddings": 512})
    target, plan, checkpoint = target_from(model, tiny_tokenizer(chat=chat), role="chat")
    monkeypatch.setattr(Asking, "opening_tokens", lambda self, phrases: even_tokens(target))
    bar = Criterion(measurement="harmful_refusal_ablated")
    config = AuditConfig(model="tiny", probes={NAME: ProbeConfig(params=SMALL | params, criteria=(bar,))})
    run, probes = RunFolder.create(folder / "run"), load_probes([NAME])
    measure(config, target, plan, probes, run, never)
    record = conclude(config, checkpoint, plan, probes, run)
    (result,) = record.results
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_goes_the_whole_way_or_says_why_not(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = audited(tmp_path, monkeypatch, family, positions=1)
    assert result.status == "measured" or "not testable" in result.reason, result.reason
    assert result.facts["prompts kept, requests · harmful"].startswith("16 to fit and 8 to choose")


def test_verify_agrees_to_the_last_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = audited(tmp_path, monkeypatch, "llama")
    assert result.status == "measured", result.reason
    names = {m.name for m in result.measurements}
    assert {"harmful_refusal_ablated", "harmless_refusal_added", "bypass_within_kl", "kl_at_share"} <= names
    assert {m.at["position"] for m in result.measurements if m.name == "candidate_bypass"} == {"-3", "-2", "-1"}
    assert verify(tmp_path / "run").problems == []


def test_a_model_without_a_chat_template_is_read_at_its_last_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = audited(tmp_path, monkeypatch, "llama", chat=False)
    assert result.status == "measured", result.reason
    assert "other system prompt" in result.facts
    assert verify(tmp_path / "run").problems == []


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_screened(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = audited(tmp_path, monkeypatch, family, screen=2)
    assert result.status == "measured" or "not testable" in result.reason, result.reason
    assert result.facts["screened"].startswith("2 of ")
    names = [m.name for m in result.measurements]
    assert names.count("candidate_bypass") == 2
    assert names.count("predicted_bypass") > 2
    assert all(m.exploratory for m in result.measurements)
    assert verify(tmp_path / "run").problems == []
