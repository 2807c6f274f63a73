"""Attention by groups of heads gives what the library's eager attention gives, or is not used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.llama import modeling_llama

from auditor.model.attention import EAGER, GROUPED, attend_in_groups
from auditor.model.edits import Edit
from auditor.model.extract import extract
from auditor.model.gradient import first_order
from auditor.model.load import target_from
from auditor.model.prompts import Prompt
from auditor.model.sites import Site
from auditor.model.sweep import sweep
from auditor.model.target import TargetModel
from auditor.model.work import Outcome, WorkItem
from tests.tiny import FAMILIES, LAYERS, tiny_model, tiny_tokenizer

OTHERWISE = ("gemma2", "gpt_oss", "falcon")
"""families with a cap on scores, with sinks, and with attention of their own"""
SITES = [Site(i, "resid_post") for i in range(LAYERS)]


def prompts() -> list[Prompt]:
    """Longer than the windows of the tiny models, and of different lengths."""
    rng = np.random.default_rng(0)
    texts = [tuple(rng.integers(6, 300, size=n).tolist()) for n in (5, 9, 14, 23)]
    return [Prompt(ids, len(ids), "") for ids in texts]


def fresh(family: str, dtype: torch.dtype) -> TargetModel:
    return target_from(tiny_model(family).to(dtype), tiny_tokenizer())[0]


def used(target: TargetModel) -> str:
    return str(target.model.config._attn_implementation)


def read(target: TargetModel) -> np.ndarray:
    return extract(target, prompts(), sites=SITES, position="last_prompt", batch_tokens=64).values


def written(target: TargetModel) -> list[Outcome]:
    """Texts with and without an edit, whose rows differ in length."""
    u = np.eye(target.d_model, dtype=np.float32)[3]
    edits = (Edit("add", u, 1.0, 2.0, (Site(1, "resid_pre"),)),)
    want = frozenset({"text", "logits"})
    items = [WorkItem(p, arm, want=want, max_new_tokens=6) for arm in ((), edits) for p in prompts()]  # type: ignore[arg-type]
    return [outcome for _, outcome in sorted(sweep(target, items, batch_tokens=64), key=lambda pair: pair[0])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in OTHERWISE])
def test_nothing_but_time_changes(family: str, dtype: torch.dtype) -> None:
    target = fresh(family, dtype)
    before, said = read(target), written(target)
    attend_in_groups(target)
    assert used(target) == GROUPED
    scale = np.abs(before).max()
    np.testing.assert_allclose(read(target), before, atol=1e-5 * scale if dtype == torch.float32 else 0)
    for now, then in zip(written(target), said, strict=True):
        assert now.tokens == then.tokens
        assert now.logits is not None
        assert then.logits is not None
        np.testing.assert_allclose(now.logits, then.logits, atol=1e-4 if dtype == torch.float32 else 0)


@pytest.mark.parametrize("family", OTHERWISE)
def test_what_attends_otherwise_is_left_as_it_is(family: str) -> None:
    target = fresh(family, torch.float32)
    before = read(target)
    attend_in_groups(target)
    assert used(target) == EAGER
    np.testing.assert_array_equal(read(target), before)


def test_a_cap_counts_where_the_scores_are_too_small_to_show_it() -> None:
    target = target_from(tiny_model("gemma2", attn_logit_softcapping=1e6), tiny_tokenizer())[0]
    attend_in_groups(target)
    assert used(target) == EAGER


def test_a_model_that_does_not_run_is_left_to_the_load_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    target = fresh("llama", torch.float32)

    def fails(*_given: object, **_more: object) -> None:
        raise KeyError("no such table")

    monkeypatch.setattr(target.model, "forward", fails)
    attend_in_groups(target)
    assert used(target) == EAGER


def test_a_difference_that_no_argument_tells_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family may hold what it does to its scores in its modules, where no argument names it."""
    target = fresh("llama", torch.float32)
    before = read(target)
    plain = modeling_llama.eager_attention_forward

    def louder(module: object, query: torch.Tensor, *rest: object, **more: object) -> object:
        return plain(module, 1.01 * query, *rest, **more)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", louder)
    attend_in_groups(target)
    assert used(target) == EAGER
    monkeypatch.undo()
    np.testing.assert_array_equal(read(target), before)


def test_gradients_go_through_it() -> None:
    target = fresh("llama", torch.float32)
    u = np.eye(target.d_model, dtype=np.float32)[:2]
    edits = [Edit("add", one, 1.0, 1.0, (Site(1, "resid_pre"),)) for one in u]
    before = first_order(target, prompts(), [7, 9], edits, batch_tokens=64)
    attend_in_groups(target)
    after = first_order(target, prompts(), [7, 9], edits, batch_tokens=64)
    assert np.abs(before.slopes).max() > 1e-3
    np.testing.assert_allclose(after.slopes, before.slopes, atol=1e-6)
