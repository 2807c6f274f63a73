"""Every check refuses a model that breaks its promise, and accepts the twin that keeps it."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from transformers import AutoModel

from auditor.errors import UnsupportedModel
from auditor.model.load import target_from
from auditor.model.parts import adds_up
from auditor.model.target import find_blocks
from tests.tiny import LAYERS, tiny_model, tiny_tokenizer


class Wrapped(nn.Module):
    """A block around a block."""

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale
        self.attention_type = getattr(inner, "attention_type", None)

    def forward(self, hidden_states, *args, **kwargs):
        return self.scale * self.inner(hidden_states, *args, **kwargs)


def wrapped(scale):
    model = tiny_model()
    model.model.layers[1] = Wrapped(model.model.layers[1], scale)
    return model


def checked(model):
    return target_from(model, tiny_tokenizer())[0]


def test_a_block_whose_output_is_not_the_library_hidden_state_is_refused():
    assert checked(wrapped(1.0)).n_layers == LAYERS
    with pytest.raises(UnsupportedModel, match=r"hidden state 2 \(relative error 0\.\d+, must be 0"):
        checked(wrapped(1.1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_that_shifts_positions_is_refused(dtype):
    assert checked(tiny_model("gpt2").to(dtype)).n_layers == LAYERS
    model = tiny_model("gpt2").to(dtype)
    plain = model.transformer.forward
    model.transformer.forward = lambda input_ids=None, attention_mask=None, use_cache=None, **more: plain(
        input_ids=input_ids,
        attention_mask=attention_mask,
        use_cache=use_cache,
        output_hidden_states=more.get("output_hidden_states"),
    )
    with pytest.raises(UnsupportedModel, match=r"left padding changes the residual stream \(relative error"):
        checked(model)


@pytest.mark.parametrize(("dtype", "refused"), [(torch.float32, True), (torch.bfloat16, False)])
def test_one_vector_that_padding_moves_is_rounding_in_16_bits_and_wrong_in_32(dtype, refused):
    model = tiny_model().to(dtype)
    last = model.model.layers[-1]
    plain = last.forward

    def forward(hidden_states, *args, **more):
        output = plain(hidden_states, *args, **more)
        if len(output) > 1 and output.shape[1] > 3:
            output[0, -3] *= 1.2
        return output

    last.forward = forward
    if refused:
        with pytest.raises(UnsupportedModel, match="left padding changes the residual stream"):
            checked(model)
    else:
        assert checked(model).n_layers == LAYERS


def test_padding_that_changes_only_the_logits_is_refused():
    model = tiny_model()
    plain = model.forward

    def forward(input_ids=None, attention_mask=None, position_ids=None, **more):
        output = plain(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **more)
        output.logits = output.logits + attention_mask.argmax(-1)[:, None, None] * output.logits.flip(-1)
        return output

    model.forward = forward
    with pytest.raises(UnsupportedModel, match="left padding changes the logits"):
        checked(model)


def test_a_cache_that_forgets_is_refused():
    model = tiny_model()
    plain = model.forward

    def forward(input_ids=None, past_key_values=None, **more):
        if input_ids.shape[1] == 1 and past_key_values is not None:
            for layer in past_key_values.layers:
                layer.keys = torch.zeros_like(layer.keys)
        return plain(input_ids=input_ids, past_key_values=past_key_values, **more)

    forward.__signature__ = inspect.signature(plain)
    model.forward = forward
    with pytest.raises(UnsupportedModel, match="key-value cache changes the logits"):
        checked(model)


def test_a_model_that_breaks_when_it_is_run_is_refused():
    model = tiny_model()
    model.model.layers[2].mlp.down_proj = nn.Linear(3, 32)
    with pytest.raises(UnsupportedModel, match="cannot be run on short texts: RuntimeError"):
        checked(model)


def test_a_branch_that_is_scaled_before_it_is_added_has_no_parts():
    assert checked(tiny_model("granite", residual_multiplier=1.0)).points[2:] == ("attn_out", "mlp_out")
    scaled = checked(tiny_model("granite", residual_multiplier=0.5))
    assert scaled.points == ("resid_pre", "resid_post")
    assert "self_attn, mlp" in scaled.unsupported["attn_out"]
    assert "no two parts" in scaled.facts["mlp_out_unsupported"]


def test_a_block_that_adds_in_place_has_parts():
    """Falcon adds attention into the tensor that its MLP returned."""
    falcon = checked(tiny_model("falcon"))
    assert falcon.parts["mlp_out"] == tuple(block.mlp for block in falcon.blocks)
    assert falcon.parts["attn_out"] == tuple(block.self_attention for block in falcon.blocks)


def test_a_layer_that_differs_from_the_others_is_seen():
    """The parts must add up at every layer, not at most of them."""
    model = tiny_model("granite", residual_multiplier=1.0)
    model.model.layers[2].residual_multiplier = 0.5
    assert checked(model).points == ("resid_pre", "resid_post")


def test_a_part_whose_returned_tensor_is_not_what_is_added_is_not_taken():
    """The MLP returns a copy and the block adds the original: an edit of the copy would do nothing."""
    model = tiny_model()
    for block in model.model.layers:
        plain, inner = block.forward, block.mlp.forward

        def copying(x, block=block, inner=inner):
            block.original = inner(x)
            return block.original.clone()

        def bypassing(hidden_states, *args, block=block, plain=plain, **kwargs):
            returned = []
            handle = block.mlp.register_forward_hook(lambda _m, _a, out: returned.append(out))
            found = plain(hidden_states, *args, **kwargs)
            handle.remove()
            return found - returned[0] + block.original

        block.mlp.forward, block.forward = copying, bypassing
    target = checked(model)
    assert target.parts["mlp_out"] == tuple(block.mlp.down_proj for block in model.model.layers)
    assert checked(tiny_model()).parts["mlp_out"][0].__class__.__name__ == "LlamaMLP"


def test_attention_and_mlp_are_told_apart_by_what_they_read():
    """In a parallel block that runs its MLP first, order would give the wrong names."""
    model = tiny_model("gpt_neox")
    for block in model.gpt_neox.layers:
        assert block.use_parallel_residual
        plain = block.forward

        def mlp_first(hidden_states, *args, block=block, plain=plain, **kwargs):
            written = block.post_mlp_dropout(block.mlp(block.post_attention_layernorm(hidden_states)))
            found = block.attention(block.input_layernorm(hidden_states), *args, **kwargs)
            attention = block.post_attention_dropout(found[0])
            return written + attention + hidden_states

        block.forward = mlp_first
    target = checked(model)
    assert target.parts["attn_out"][0] in (
        model.gpt_neox.layers[0].attention,
        model.gpt_neox.layers[0].post_attention_dropout,
    )
    assert target.parts["mlp_out"][0] in (model.gpt_neox.layers[0].mlp, model.gpt_neox.layers[0].post_mlp_dropout)


def test_blocks_are_the_one_list_with_as_many_entries_as_layers():
    model = tiny_model()
    assert find_blocks(model) == tuple(model.model.layers)
    model.model.layers[0].experts = nn.ModuleList(nn.Identity() for _ in range(LAYERS))
    assert find_blocks(model) == tuple(model.model.layers)
    model.others = nn.ModuleList(nn.Identity() for _ in range(LAYERS))
    with pytest.raises(UnsupportedModel, match=r"2 lists fit.*model\.layers \(3\).*others \(3\)"):
        find_blocks(model)
    model = tiny_model()
    model.config.num_hidden_layers = 5
    with pytest.raises(UnsupportedModel, match=r"no single list of 5 blocks .*0 lists fit.*model\.layers \(3\)"):
        find_blocks(model)


def test_a_model_without_a_head_is_refused():
    model = AutoModel.from_config(tiny_model().config)
    with pytest.raises(UnsupportedModel, match="no head"):
        checked(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_holds_to_rounding_and_not_beyond(dtype):
    generator = torch.Generator().manual_seed(0)
    pre, a, b = (torch.randn(1, 5, 64, generator=generator).to(dtype) for _ in range(3))
    pre[..., 0] *= 1000
    post = (pre + a) + b
    assert adds_up(pre, a, b, post)
    off = b.clone()
    off[0, 3, 7] += 0.25
    assert not adds_up(pre, a, off, post)
    assert not adds_up(pre, a, 0.9 * b, post)


def test_quietness_is_taken_back():
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    checked(tiny_model())
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
