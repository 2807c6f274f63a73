"""The runner pairs every question with its own answer, whatever else is asked."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import log_softmax

from auditor.bundle import RunFolder
from auditor.data.examples import Example
from auditor.errors import ProbeFailed
from auditor.measure.effects import KL
from auditor.measure.runner import Asked, Runner, _sha256_of
from auditor.model.edits import Edit
from auditor.model.load import target_from
from auditor.model.sites import Site
from tests.tiny import D_MODEL, tiny_model, tiny_tokenizer


@dataclass(frozen=True)
class Logit:
    """The logit of one token."""

    token: int

    def value(self, reading):
        return float(reading.logits[self.token])


@dataclass(frozen=True)
class Never:
    """An effect that finds no number."""

    def value(self, reading):
        raise ProbeFailed("the logits are not numbers")


@pytest.fixture(scope="module")
def made():
    target, plan, _ = target_from(tiny_model("llama", max_position_embeddings=512), tiny_tokenizer())
    return target, plan


@pytest.fixture
def runner(made, tmp_path):
    return Runner(*made, RunFolder.create(tmp_path / "run"), "a probe")


def edit(seed, kind="add"):
    u = np.random.default_rng(seed).standard_normal(D_MODEL).astype(np.float32)
    return Edit(kind, u / np.linalg.norm(u), 3.0, 1.0, (Site(1, "resid_pre"),))


QUESTIONS = [
    Asked(Example("", prompt, False, "", completion="Well ,", chat=True), system, edits, prefilled)
    for prompt in ("How do birds sing?", "Why?")
    for system in (None, "You are brief .")
    for prefilled in (False, True)
    for edits in ((), (edit(1),), (edit(2, "ablate"),))
]


def alone(made, folder, one, effect):
    """One question, asked by itself."""
    return Runner(*made, folder, "alone").ask([one], {"x": effect})[0].values["x"]


def test_each_question_gets_its_own_reading(made, runner, tmp_path):
    together = runner.ask(QUESTIONS, {"x": Logit(7).value})
    for i, one in enumerate(QUESTIONS):
        folder = RunFolder.create(tmp_path / f"alone-{i}")
        assert together[i].values["x"] == pytest.approx(alone(made, folder, one, Logit(7).value), abs=1e-4)


def test_a_question_is_held_against_itself_without_edits(made, runner, tmp_path):
    found = runner.ask(QUESTIONS, {"kl": KL().nats}, beside_unedited=True)
    for i, one in enumerate(QUESTIONS):
        if not one.edits:
            assert found[i].values["kl"] == pytest.approx(0.0, abs=1e-6)
            continue
        logits = []
        for edits in ((), one.edits):
            asked = replace(one, edits=edits)
            folder = RunFolder.create(tmp_path / f"{i}-{len(edits)}")
            values = [Logit(t).value for t in range(made[0].vocab_size)]
            read = Runner(*made, folder, "alone").ask([asked], {str(t): v for t, v in enumerate(values)})[0].values
            logits.append([read[str(t)] for t in range(made[0].vocab_size)])
        before, after = (log_softmax(np.array(x)) for x in logits)
        assert found[i].values["kl"] == pytest.approx(np.sum(np.exp(before) * (before - after)), abs=1e-4)
        assert found[i].values["kl"] > 1e-3


def test_an_edit_that_breaks_the_target_leaves_a_gap_and_a_broken_target_is_a_failure(runner):
    (found,) = runner.ask([QUESTIONS[1]], {"x": Never().value})
    assert found.values["x"] is None
    with pytest.raises(ProbeFailed):
        runner.ask([QUESTIONS[0]], {"x": Never().value})


def test_what_was_asked_once_is_not_asked_again(made, tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run")
    first = Runner(*made, folder, "a probe").ask(QUESTIONS[:2], {"x": Logit(7).value})
    monkeypatch.setattr(Runner, "_sweep", None)
    assert Runner(*made, folder, "a probe").ask(QUESTIONS[:2], {"x": Logit(7).value}) == first


def test_logits_without_edits_lie_on_disk(tmp_path):
    model = tiny_model("llama", max_position_embeddings=512, vocab_size=20_000)
    target, plan, _ = target_from(model, tiny_tokenizer())
    folder = RunFolder.create(tmp_path / "run")
    runner = Runner(target, plan.model_copy(update={"batch_tokens": 200}), folder, "a probe")
    asked = [Asked(Example("", f"How {i}?", False, "", chat=True), edits=(edit(1),)) for i in range(300)]
    tracemalloc.start()
    found = runner.ask(asked, {"kl": KL().nats}, beside_unedited=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(one.values["kl"] > 0 for one in found)
    assert peak < 300 * 20_000 * 4 / 3
    assert [path.suffix for path in folder.units.path.iterdir()] == [".json"]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_questions_are_hashed_one_by_one_as_the_list_that_they_are(n):
    digests = [one.digest for one in QUESTIONS[:n]]
    assert _sha256_of(digests) == hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def test_activations_come_back_mapped_from_their_unit(made, runner):
    examples = [replace(one.example, prompt=f"Why {i}?") for i, one in enumerate(QUESTIONS)]
    sites = (Site(0, "resid_post"), Site(2, "resid_pre"))
    fresh = runner.activations(examples, sites, "last_completion")
    again = runner.activations(examples, sites, "last_completion")
    assert isinstance(again, np.memmap)
    assert again.shape == (len(examples), 2, D_MODEL)
    assert np.array_equal(fresh, again)
    one = runner.activations(examples[3:4], sites[1:], "last_completion")
    assert one[0, 0] == pytest.approx(again[3, 1], abs=1e-4)


def test_the_mean_over_a_completion_is_a_position_of_its_own(made, runner):
    examples = [replace(QUESTIONS[0].example, completion="the city of Paris is in France .")]
    sites = (Site(1, "resid_post"),)
    tokens, _ = runner.token_activations(examples, sites, "completion_tokens")
    mean = runner.activations(examples, sites, "completion_mean")
    assert len(tokens) > 1
    assert mean[0] == pytest.approx(np.mean(tokens, axis=0), abs=1e-5)
    assert mean[0] != pytest.approx(runner.activations(examples, sites, "last_completion")[0], abs=1e-3)
