from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.admit import admit
from auditor.data.examples import Example
from auditor.errors import ConfigError, UnsafeCheckpoint, UnsupportedModel
from auditor.model import dtypes, load
from auditor.model.load import load_target, set_threads, target_from
from auditor.model.prompts import render
from auditor.model.sweep import sweep
from auditor.model.work import WorkItem
from tests.tiny import FAMILIES, save_checkpoint, tiny_model, tiny_tokenizer

SINGLE = "model.safetensors"


def logits(target, text="Why do birds sing?"):
    prompt = render(target, Example("x", text, True, "g"))
    return next(iter(sweep(target, [WorkItem(prompt)], batch_tokens=100)))[1].logits


def rewrite(folder, change):
    weights = load_file(folder / SINGLE)
    change(weights)
    save_file(weights, folder / SINGLE, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_checkpoint_is_the_model_that_was_saved(tmp_path, family):
    target, plan = load_target(admit(save_checkpoint(tmp_path, family)), dtype="float32")
    in_memory = target_from(tiny_model(family), tiny_tokenizer())[0]
    assert logits(target) == pytest.approx(logits(in_memory), abs=1e-5)
    assert not target.model.training
    assert not any(parameter.requires_grad for parameter in target.model.parameters())
    assert (plan.role, plan.role_from, plan.dtype, plan.device) == ("chat", "chat template", "float32", "cpu")
    assert plan.facts["points"] == "resid_pre, resid_post, attn_out, mlp_out"
    assert 0 <= plan.facts["padding_error_logits"] < 1e-4
    json.dumps(plan.model_dump(mode="json"))


def test_a_checkpoint_that_lacks_a_weight_is_never_filled_with_random_ones(tmp_path):
    save_checkpoint(tmp_path)
    rewrite(tmp_path, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(UnsupportedModel, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        load_target(admit(tmp_path), dtype="float32")


def test_a_weight_that_the_model_has_no_place_for_is_refused(tmp_path):
    save_checkpoint(tmp_path)
    rewrite(tmp_path, lambda weights: weights.update({"model.layers.1.gate.weight": torch.ones(32, 32)}))
    with pytest.raises(UnsupportedModel, match=r"no place for.*model\.layers\.1\.gate\.weight"):
        load_target(admit(tmp_path), dtype="float32")


def test_a_weight_of_another_shape_is_refused(tmp_path):
    save_checkpoint(tmp_path)
    rewrite(tmp_path, lambda weights: weights.update({"model.layers.1.mlp.up_proj.weight": torch.ones(32, 32)}))
    with pytest.raises(UnsupportedModel, match="in another shape"):
        load_target(admit(tmp_path), dtype="float32")


def test_a_head_that_is_the_embedding_need_not_be_stored(tmp_path):
    model = tiny_model("qwen2", tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / SINGLE)
    target = load_target(admit(tmp_path), dtype="float32")[0]
    assert logits(target) == pytest.approx(logits(target_from(model, tiny_tokenizer())[0]), abs=1e-5)


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    save_checkpoint(tmp_path)
    rewrite(tmp_path, lambda weights: weights["model.layers.1.mlp.up_proj.weight"].fill_(float("nan")))
    with pytest.raises(UnsupportedModel, match="nan"):
        load_target(admit(tmp_path), dtype="float32")


def test_a_file_that_changed_after_it_was_admitted_is_not_loaded(tmp_path):
    admitted = admit(save_checkpoint(tmp_path))
    rewrite(tmp_path, lambda weights: weights["model.norm.weight"].add_(1))
    with pytest.raises(UnsafeCheckpoint, match="changed"):
        load_target(admitted, dtype="float32")


def test_mamba_is_refused_with_the_reason(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"Mamba.*transformer blocks.*hidden state"):
        load_target(admit(save_checkpoint(tmp_path, "mamba")), dtype="float32")


def test_every_end_token_that_the_checkpoint_names_ends_an_answer(tmp_path):
    save_checkpoint(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 9999], "do_sample": True}))
    assert load_target(admit(tmp_path), dtype="float32")[0].eos_ids == (2, 5)


def test_without_a_pad_token_an_end_token_pads(tmp_path):
    target = load_target(admit(save_checkpoint(tmp_path, "gpt2", pad=False)), dtype="float32")[0]
    assert target.tokenizer.pad_token_id is None
    assert target.pad_id == 2


def test_without_a_chat_template_the_role_is_base_unless_declared(tmp_path):
    admitted = admit(save_checkpoint(tmp_path, chat=False))
    target, plan = load_target(admitted, dtype="float32")
    assert (plan.role, plan.role_from, target.has_chat_template) == ("base", "no chat template", False)
    declared = load_target(admitted, dtype="float32", role="chat")[1]
    assert (declared.role, declared.role_from) == ("chat", "config")


def test_the_plan_of_a_resumed_run_is_followed(tmp_path):
    admitted = admit(save_checkpoint(tmp_path))
    plan = load_target(admitted, dtype="bfloat16")[1]
    replayed = plan.model_copy(update={"batch_tokens": 7})
    target, again = load_target(admitted, dtype="float32", replay=replayed)
    assert again is replayed
    assert target.dtype == torch.bfloat16
    assert target.points == ("resid_pre", "resid_post", "attn_out", "mlp_out")


def test_threads_are_what_the_plan_says():
    before = torch.get_num_threads()
    try:
        assert set_threads(1) == torch.get_num_threads() == 1
        assert set_threads(2) == torch.get_num_threads() == 2
        assert set_threads(None) == 2
    finally:
        set_threads(before)


@pytest.mark.parametrize(("asked", "message"), [({"device": "cuda:9"}, "device"), ({"dtype": "int8"}, "no dtype")])
def test_a_device_or_dtype_that_is_not_there_is_refused(tmp_path, asked, message):
    with pytest.raises(ConfigError, match=message):
        load_target(admit(save_checkpoint(tmp_path)), **asked)


def test_a_fast_format_is_taken_when_it_is_close_to_float32_and_left_when_not(tmp_path, monkeypatch):
    admitted = admit(save_checkpoint(tmp_path, dtype=torch.bfloat16))
    monkeypatch.setattr(load, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(dtypes, "TOP1_MIN", 0.0)
    plan = load_target(admitted)[1]
    assert plan.dtype == "bfloat16"
    assert "avx512_bf16" in plan.dtype_reason
    assert 0 < plan.facts["dtype_kl_to_float32"] < dtypes.KL_MAX
    monkeypatch.setattr(dtypes, "KL_MAX", 0.0)
    plan = load_target(admitted)[1]
    assert plan.dtype == "float32"
    assert "too far from float32" in plan.dtype_reason
    asked = load_target(admitted, dtype="bfloat16")[1]
    assert asked.dtype == "bfloat16"
    assert asked.dtype_reason.startswith("asked for; mean KL")


def test_the_dtype_rule():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    stored = {"BF16": 90, "F32": 10}
    none: frozenset[str] = frozenset()
    assert dtypes.choose_dtype("auto", cpu, stored, none)[0] == torch.float32
    assert dtypes.choose_dtype("auto", cpu, stored, frozenset({"amx_bf16"}))[0] == torch.bfloat16
    assert dtypes.choose_dtype("auto", gpu, stored, none)[0] == torch.bfloat16
    assert dtypes.choose_dtype("auto", gpu, {"F16": 1}, none)[0] == torch.float16
    assert dtypes.choose_dtype("auto", gpu, {"F64": 1}, none)[0] == torch.float32
    assert dtypes.choose_dtype("float16", cpu, stored, none)[0] == torch.float16


def test_fidelity_is_kl_and_agreement_on_the_likeliest_token():
    exact = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    same = dtypes.fidelity(exact, exact + 5)
    assert (same.kl, same.top1, same.n) == (pytest.approx(0, abs=1e-12), 1.0, 2)
    off = dtypes.fidelity(exact, torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]))
    p = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    assert off.kl == pytest.approx((p[2] - p[1]) / 2, abs=1e-6)
    assert off.top1 == 0.5
    assert same.passed
    assert not off.passed
    assert not replace(same, top1=0.5).passed


@pytest.mark.parametrize(("lead", "agree"), [(0.09, 1.0), (0.11, 0.0)])
def test_a_near_tie_that_rounding_flips_is_no_other_answer(lead, agree):
    reference = torch.tensor([[0.0, lead, -9.0]])
    assert dtypes.fidelity(reference, reference.flip(-1).roll(-1, -1)).top1 == agree


def test_identity_in_memory_is_that_of_the_weights():
    made = [target_from(tiny_model(seed=seed), tiny_tokenizer(), name="mine")[2] for seed in (0, 0, 1)]
    assert made[0].digest == made[1].digest != made[2].digest
    assert made[0].name == "mine"
    assert made[0].parameters == sum(p.numel() for p in tiny_model().parameters())
    assert made[0].template_digest is not None


@pytest.fixture
def adapter(tmp_path):
    """A LoRA adapter whose products are not zero, and the model it belongs to."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        # peft asks transformers for an attribute under its old name
        warnings.simplefilter("ignore", FutureWarning)
        wrapped = get_peft_model(tiny_model(), settings)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3, generator=generator)
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", wrapped


def test_an_adapter_is_merged(tmp_path, adapter):
    folder, wrapped = adapter
    base = save_checkpoint(tmp_path / "base")
    target = load_target(admit(base, adapter=folder), dtype="float32")[0]
    ids = render(target, Example("x", "Why do birds sing?", True, "g")).ids
    with torch.inference_mode():
        expected = wrapped(torch.tensor([ids])).logits[0, -1].numpy()
    assert logits(target) == pytest.approx(expected, abs=1e-4)
    assert not np.allclose(logits(target), logits(load_target(admit(base), dtype="float32")[0]), atol=1e-2)
    assert "lora" not in " ".join(name for name, _ in target.model.named_modules()).lower()


def test_an_adapter_for_another_model_is_refused(tmp_path, adapter):
    base = save_checkpoint(tmp_path / "base", "gpt2")
    with pytest.raises(UnsupportedModel, match="adapter"):
        load_target(admit(base, adapter=adapter[0]), dtype="float32")


def test_an_adapter_with_a_weight_too_few_is_refused(tmp_path, adapter):
    path = adapter[0] / "adapter_model.safetensors"
    weights = load_file(path)
    weights.pop(next(name for name in weights if "layers.1" in name and "lora_B" in name))
    save_file(weights, path)
    with pytest.raises(UnsupportedModel, match="disagree about weights"):
        load_target(admit(save_checkpoint(tmp_path / "base"), adapter=adapter[0]), dtype="float32")


def failing_in(monkeypatch, *bad):
    """Load checks that a model fails in some dtypes; bfloat16 is what the rule would choose."""
    monkeypatch.setattr(load, "choose_dtype", lambda *_: (torch.bfloat16, "a fast one"))
    monkeypatch.setattr(load, "fidelity", lambda *_: dtypes.Fidelity(kl=0.0, top1=1.0, n=24))
    real = load.checked

    def checks(target):
        if target.dtype in bad:
            raise UnsupportedModel("left padding changes the residual stream")
        return real(target)

    monkeypatch.setattr(load, "checked", checks)


def test_a_dtype_of_our_own_choice_that_fails_a_load_check_gives_way_to_float32(tmp_path, monkeypatch):
    failing_in(monkeypatch, torch.bfloat16)
    target, plan = load_target(admit(save_checkpoint(tmp_path)))
    assert (target.dtype, plan.dtype) == (torch.float32, "float32")
    assert plan.dtype_reason == "bfloat16 fails a load check: left padding changes the residual stream"


def test_a_dtype_that_was_asked_for_is_refused_when_it_fails(tmp_path, monkeypatch):
    failing_in(monkeypatch, torch.bfloat16)
    with pytest.raises(UnsupportedModel, match="left padding"):
        load_target(admit(save_checkpoint(tmp_path)), dtype="bfloat16")


def test_a_model_that_fails_in_float32_too_is_refused(tmp_path, monkeypatch):
    failing_in(monkeypatch, torch.bfloat16, torch.float32)
    with pytest.raises(UnsupportedModel, match="left padding"):
        load_target(admit(save_checkpoint(tmp_path)))
