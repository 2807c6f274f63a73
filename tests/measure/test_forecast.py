"""What a probe declares is what it then asks; and the arithmetic on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.bundle import RunFolder
from auditor.checkpoint.shape import Shape
from auditor.cli.discover import load_probes
from auditor.cli.forecast import declared_work
from auditor.config import AuditConfig, ProbeConfig
from auditor.measure.cost import Survey, Work
from auditor.measure.detectors import DETECTORS
from auditor.measure.forecast import Speed, memory
from auditor.measure.library import Library, View
from auditor.model.load import target_from
from auditor.model.plan import Machine
from auditor.pipeline import run_probe
from tests.tiny import tiny_model, tiny_tokenizer

SHAPE = Shape(
    parameters=1_000_000, n_layers=4, d_model=64, d_inner=256, vocabulary=1000, n_heads=4, kv_width=32, tied=False
)
CPU = Machine("cpu", "bfloat16", 2048, compared=True)
SMALL: dict[str, dict[str, Any]] = {
    "refusal_behaviour": {"n": 8, "max_new_tokens": 3},
    "truth_probe": {},
    "steering_response": {
        "traits": ["trait_sentiment"],
        "n_items": 6,
        "n_choices": 6,
        "layer_step": 1,
        "n_neutral": 4,
        "n_texts": 2,
        "max_new_tokens": 4,
    },
    "refusal_direction": {
        "positions": 1,
        "n_fit": 16,
        "n_validation": 8,
        "n_null": 8,
        "n_generated": 4,
        "n_random_generated": 1,
        "max_new_tokens": 3,
    },
    "followup_question": {"n": 10, "n_benign": 10, "max_new_tokens": 3},
    "instructed_falsehood": {"n": 10, "n_benign": 10, "max_new_tokens": 3},
}
RUNS = [*SMALL.items(), ("truth_probe", {"recipes": list(DETECTORS)})]
STOPS_EARLY = ("refusal_direction", "followup_question", "instructed_falsehood")


@contextmanager
def counted(target: Any) -> Iterator[dict[str, int]]:
    """Rows and tokens of every pass through the first block, padding left out."""
    found = {"rows": 0, "tokens": 0}

    def count(_module: Any, args: Any, kwargs: Any) -> None:
        ids = args[0] if args else kwargs["input_ids"]
        if ids.shape[1] > 1:
            found["rows"] += ids.shape[0]
            found["tokens"] += int(kwargs["attention_mask"][:, -ids.shape[1] :].sum())

    handle = target.backbone.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


@pytest.mark.parametrize(("name", "params"), RUNS)
def test_a_probe_asks_about_as_many_rows_as_it_declares(name: str, params: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_probes([name])[name]
    model = tiny_model("llama", max_position_embeddings=1024)
    target, plan, _ = target_from(model, tiny_tokenizer())
    target = replace(target, shares_prefixes=False, starts_late="")
    settings = AuditConfig(model="tiny", probes={name: ProbeConfig(params=params)})
    shape = replace(SHAPE, n_layers=target.n_layers)
    declared = declared_work(loaded, params, settings.seed, shape)
    assert declared is not None
    with counted(target) as asked:
        evidence, _ = run_probe(settings, target, plan, loaded, RunFolder.create(tmp_path / "run"))
    assert evidence.result("measured").facts or evidence.measurements
    ratio = sum(one.rows for one in declared) / asked["rows"]
    # texts under many edits take a draft, a pass that is not declared and saves more than it costs
    assert ratio >= 0.98
    # recipes may choose the same layer; the probes on refusal and falsehood stop where the model cannot be tested
    assert ratio < 1.3 or name in STOPS_EARLY


def test_every_shipped_probe_declares_its_cost_and_more_items_cost_more() -> None:
    for name, loaded in load_probes().items():
        work = declared_work(loaded, {}, 0, SHAPE)
        assert work, name
        assert all(one.rows >= 0 and one.fed >= 0 for one in work)
    behaviour = load_probes(["refusal_behaviour"])["refusal_behaviour"]
    few, many = (declared_work(behaviour, {"n": n}, 0, SHAPE) for n in (20, 40))
    assert few is not None
    assert many is not None
    assert sum(one.written for one in many) == 2 * sum(one.written for one in few) == 2 * 5 * 20 * 48


def test_a_survey_counts_no_more_than_there_is() -> None:
    loaded = load_probes(["refusal_behaviour"])["refusal_behaviour"]
    from auditor.data.datasets import read

    survey = Survey(Library(lambda name: read(loaded.data_dir / f"{name}.jsonl"), 0), SHAPE)
    view = View("requests", (("kind", "plain"),))
    there = survey.size(view)
    assert survey.asked(view, 10**6).rows == there
    one, two = survey.asked(view, 10), survey.asked(view, 10, arms=2, new=5)
    assert (two.rows, two.written) == (2 * one.rows, 100)
    assert two.fed == pytest.approx(2 * one.fed, abs=1)
    assert survey.read(View("truth_cities"), sites=3).kept == 3 * survey.read(View("truth_cities")).kept


def test_time_is_work_by_speed_and_rows_pay_for_their_logits() -> None:
    speed = Speed(fed=100, written=10, how="")
    silent = Work("", rows=10, fed=1000, head=False)
    assert speed.seconds([silent], SHAPE) == pytest.approx(10)
    assert speed.seconds([replace(silent, written=50)], SHAPE) == pytest.approx(15)
    head = SHAPE.flops_head / SHAPE.flops_fed
    assert speed.seconds([replace(silent, head=True)], SHAPE) == pytest.approx(10 + head * 10 / 100)
    slow, fast = (Speed.of_matmul(flops, SHAPE, "") for flops in (1e9, 2e9))
    assert fast.fed == pytest.approx(2 * slow.fed)


def test_memory_is_its_parts_and_grows_with_the_model_and_the_batch() -> None:
    found = memory(SHAPE, CPU)
    assert found.weights == 2_000_000
    assert found.peak == max(found.loading, found.measuring)
    assert found.measuring == found.libraries + found.weights + found.batch + found.held
    assert memory(SHAPE, replace(CPU, compared=False)).loading == found.libraries + found.weights
    assert memory(SHAPE, replace(CPU, batch_tokens=4096)).batch == pytest.approx(2 * found.batch, rel=0.02)
    assert memory(SHAPE, replace(CPU, dtype="float32")).weights == 4_000_000
    large = memory(replace(SHAPE, parameters=10**9), CPU)
    assert large.loading > large.measuring


def test_a_shape_is_read_in_every_spelling() -> None:
    llama = {
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 256,
        "vocab_size": 1000,
        "tie_word_embeddings": False,
    }
    gpt2 = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 1000}
    assert Shape.read(llama, 1_000_000) == SHAPE
    assert Shape.read({"text_config": llama}, 1_000_000) == SHAPE
    assert Shape.read(gpt2, 1_000_000) == replace(SHAPE, kv_width=64)
    assert replace(SHAPE, tied=True).flops_fed == SHAPE.flops_fed + 2 * 64_000
    with pytest.raises(KeyError, match="vocab_size"):
        Shape.read({"n_embd": 64, "n_layer": 4, "n_head": 4}, 1)
