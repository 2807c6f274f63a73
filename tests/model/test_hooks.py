"""The algebra of every edit, at every point and on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.errors import UnsupportedModel
from auditor.model.batches import inputs, left_padded
from auditor.model.edits import MASKS, Edit
from auditor.model.hooks import editing, library_hidden_states, recording
from auditor.model.prompts import render
from auditor.model.sites import POINTS, Site
from tests.tiny import tiny_target

LAYER = 1
NORM, COEFFICIENT = 3.0, -0.5
ROUNDING = 2e-5


def forward(target, prompts):
    batch = left_padded(target, [prompt.ids for prompt in prompts])
    with torch.inference_mode():
        return target.model(**inputs(target.model, batch.ids, batch.mask), use_cache=False).logits


def read(target, prompts, sites, edits=()):
    """[tokens of all prompts, sites, d_model], with edits active."""
    lens = [prompt.prompt_len for prompt in prompts]
    everywhere = [range(len(prompt.ids)) for prompt in prompts]
    with editing(target, edits, prompt_lens=lens), recording(target, sites, everywhere) as seen:
        forward(target, prompts)
    return np.stack([seen.at(site) for site in sites], axis=1)


def masked(prompts, mask):
    """The same tokens, true where the mask touches; written again from what the words say."""
    rows = []
    for prompt in prompts:
        for token in range(len(prompt.ids)):
            in_prompt = token < prompt.prompt_len
            rows.append(
                {
                    "all": True,
                    "prompt": in_prompt,
                    "completion": not in_prompt,
                    "last_prompt": token == prompt.prompt_len - 1,
                }[mask]
            )
    return np.array(rows)


def count_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["add", "ablate", "replace"])
def test_an_edit_does_what_its_formula_says_and_only_where_it_should(target, prompts, u, kind, mask, point):
    site = Site(LAYER, point)
    before = read(target, prompts, [site])[:, 0]
    coefficient = 1.0 if kind == "ablate" else COEFFICIENT
    edit = Edit(kind, u, norm=NORM, coefficient=coefficient, sites=(site,), positions=mask)
    after = read(target, prompts, [site], [edit])[:, 0]
    touched = masked(prompts, mask)
    along = before @ u
    wanted = {
        "add": before + coefficient * NORM * u,
        "ablate": before - along[:, None] * u,
        "replace": before - along[:, None] * u + coefficient * NORM * u,
    }[kind]
    assert touched.any()
    scale = np.abs(before).max()
    # later tokens of attn_out and mlp_out see no earlier edit: the site itself is the first thing that changes
    assert np.abs(after[touched] - wanted[touched]).max() < ROUNDING * scale
    assert np.array_equal(after[~touched], before[~touched])
    assert np.abs(wanted[touched] - before[touched]).max() > 100 * ROUNDING * scale


def test_ablation_leaves_no_component_and_half_of_it_leaves_half(target, prompts, u):
    sites = [Site(layer, point) for layer in range(target.n_layers) for point in POINTS]
    before = read(target, prompts, sites) @ u
    whole = read(target, prompts, sites, [Edit("ablate", u, 1.0, 1.0, tuple(sites))]) @ u
    assert np.abs(whole).max() < 1e-5 < np.abs(before).max()
    first = [Site(0, "resid_pre")]
    half = read(target, prompts, first, [Edit("ablate", u, 1.0, 0.5, tuple(first))])[:, 0] @ u
    assert half == pytest.approx(before[:, 0] / 2, abs=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("parts", [True, False])
def test_work_that_an_ablation_does_not_need_changes_nothing(target, prompts, u, share, parts):
    """Beside an edit that does nothing every site is worked at."""
    points = ("resid_pre", "attn_out", "mlp_out") if parts else ("resid_pre", "resid_post")
    sites = tuple(Site(layer, point) for layer in range(target.n_layers) for point in points)
    ablation = Edit("ablate", u, 1.0, share, sites)
    idle = Edit("add", u, 0.0, 1.0, (Site(0, "resid_post"),))
    reads = [Site(layer, "resid_pre") for layer in range(1, target.n_layers)]
    alone, beside = (read(target, prompts, reads, edits) for edits in ((ablation,), (ablation, idle)))
    assert alone == pytest.approx(beside, abs=ROUNDING)
    assert (np.abs(alone @ u).max() < ROUNDING) == (share == 1.0)


def test_an_edit_that_puts_back_what_is_ablated_is_worked_against(llama, examples, u):
    prompts = [render(llama, example) for example in examples]
    sites = tuple(Site(n, point) for n in range(llama.n_layers) for point in ("resid_pre", "attn_out", "mlp_out"))
    put = Edit("add", u, 5.0, 1.0, (Site(1, "resid_post"),))
    seen = read(llama, prompts, [Site(2, "resid_pre"), Site(2, "attn_out")], (put, Edit("ablate", u, 1.0, 1.0, sites)))
    assert np.abs(seen @ u).max() < ROUNDING


def test_parts_add_up_with_and_without_an_edit(target, prompts, u):
    assert target.points == POINTS
    edits = [Edit("add", u, 1.0, 1.0, (Site(layer, "mlp_out"),)) for layer in range(target.n_layers)]
    for active in ([], edits):
        for layer in range(target.n_layers):
            pre, post, attention, mlp = read(
                target, prompts, [Site(layer, point) for point in POINTS], active
            ).transpose(1, 0, 2)
            assert pre + attention + mlp == pytest.approx(post, abs=1e-4)
            assert np.abs(attention).min(axis=0).max() > 0
            assert np.abs(mlp).min(axis=0).max() > 0


def test_attention_reads_other_tokens_and_mlp_of_layer_0_in_parallel_blocks_does_not():
    neox = tiny_target("gpt_neox")
    texts = [(5, 6, 7, 8), (9, 10, 11, 8)]
    batch = left_padded(neox, texts)
    sites = [Site(0, "attn_out"), Site(0, "mlp_out")]
    with torch.inference_mode(), recording(neox, sites, [(3,), (3,)]) as seen:
        neox.backbone(**inputs(neox.backbone, batch.ids, batch.mask))
    assert np.abs(np.subtract(*seen.at(sites[0]))).max() > 0.01
    assert np.abs(np.subtract(*seen.at(sites[1]))).max() < 1e-5


def test_each_row_has_its_own_edits(target, prompts, u):
    first, second = Site(0, "resid_post"), Site(2, "resid_pre")
    rows = [
        [Edit("ablate", u, 1.0, 1.0, (first, second))],
        [],
        [Edit("add", u, NORM, 1.0, (first,), "last_prompt"), Edit("replace", -u, NORM, 2.0, (first,), "prompt")],
        [Edit("add", u, NORM, 1.0, (second,), "completion")],
    ]
    sites = [first, second]
    together = read(target, prompts, sites, rows)
    start = 0
    for prompt, edits in zip(prompts, rows, strict=True):
        alone = read(target, [prompt], sites, edits)
        assert together[start : start + len(prompt.ids)] == pytest.approx(alone, abs=1e-4)
        start += len(prompt.ids)
    plain = read(target, prompts, sites)
    untouched = slice(len(prompts[0].ids), len(prompts[0].ids) + len(prompts[1].ids))
    assert np.array_equal(together[untouched], plain[untouched])


def test_edits_at_one_site_act_in_the_order_given(llama, examples, u):
    prompts, site = [render(llama, examples[0])], Site(1, "resid_pre")
    add = Edit("add", u, NORM, 1.0, (site,))
    ablate = Edit("ablate", u, 1.0, 1.0, (site,))
    assert read(llama, prompts, [site], [add, ablate])[:, 0] @ u == pytest.approx(0, abs=1e-5)
    assert read(llama, prompts, [site], [ablate, add])[:, 0] @ u == pytest.approx(NORM, abs=1e-5)


@pytest.mark.parametrize("point", POINTS)
def test_reads_see_the_edits_whichever_block_was_entered_first(target, prompts, u, point):
    site = Site(LAYER, point)
    edit = Edit("replace", u, NORM, 1.0, (site,))
    everywhere = [range(len(prompt.ids)) for prompt in prompts]
    with recording(target, [site], everywhere) as outside, editing(target, [edit]):
        forward(target, prompts)
    with editing(target, [edit]), recording(target, [site], everywhere) as inside:
        forward(target, prompts)
    assert np.array_equal(outside.at(site), inside.at(site))
    assert inside.at(site) @ u == pytest.approx(NORM, abs=1e-5)


def test_recording_changes_nothing_and_an_edit_changes_the_logits(target, prompts, u):
    plain = forward(target, prompts)
    sites = [Site(layer, point) for layer in range(target.n_layers) for point in POINTS]
    with recording(target, sites, [(0,), (0,), (0,), (0,)]):
        assert torch.equal(forward(target, prompts), plain)
    with editing(target, [Edit("add", u, NORM, 1.0, (Site(1, "resid_post"),))]):
        assert not torch.allclose(forward(target, prompts), plain, atol=1e-3)
    assert torch.equal(forward(target, prompts), plain)


def test_an_edit_does_not_reach_back_into_what_was_read_before_it(llama, examples, u):
    prompts = [render(llama, example) for example in examples]
    upstream, site = Site(0, "resid_post"), Site(1, "resid_pre")
    before = read(llama, prompts, [upstream])
    after = read(llama, prompts, [upstream], [Edit("add", u, NORM, 1.0, (site,))])
    assert np.array_equal(before, after)


def test_a_cache_and_the_library_own_loop_keep_prompt_and_completion_apart(target, examples, u):
    """The library's `generate` drives the model here, which knows nothing of prompts."""
    prompts = [render(target, example) for example in examples]
    texts = [prompt.ids[: prompt.prompt_len] for prompt in prompts]
    batch, site = left_padded(target, texts), Site(LAYER, "resid_post")
    edit = Edit("replace", u, NORM, 1.0, (site,), "completion")
    new = 3
    asked = [range(len(ids) + new - 1) for ids in texts]
    lens = [len(ids) for ids in texts]
    with editing(target, [edit], prompt_lens=lens), recording(target, [site], asked) as seen:
        target.model.generate(
            batch.ids, attention_mask=batch.mask, min_new_tokens=new, max_new_tokens=new, do_sample=False
        )
    along, start = seen.at(site) @ u, 0
    for ids in texts:
        prompt_part, written = np.split(along[start : start + len(ids) + new - 1], [len(ids)])
        assert written == pytest.approx(NORM, abs=1e-5)
        assert np.abs(prompt_part - NORM).min() > 1e-3
        start += len(ids) + new - 1


def test_hooks_are_gone_afterwards_and_foreign_ones_stay(target, prompts, u):
    calls = []
    foreign = target.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        before = count_hooks(target.model)
        edit = Edit("add", u, 1.0, 1.0, (Site(0, "resid_post"), Site(1, "resid_pre")))
        with editing(target, [edit]), recording(target, [Site(0, "resid_post")], [(0,)]):
            assert count_hooks(target.model) > before
            forward(target, prompts[:1])
        assert count_hooks(target.model) == before
        with pytest.raises(ZeroDivisionError), editing(target, [edit]), recording(target, edit.sites, [(0,)]):
            1 / 0  # noqa: B018, any exception inside the block
        with pytest.raises(UnsupportedModel), editing(target, [edit, Edit("add", u, 1, 1, (Site(9, "resid_pre"),))]):
            forward(target, prompts[:1])
        assert count_hooks(target.model) == before
        forward(target, prompts[:1])
        assert len(calls) == 2
    finally:
        foreign.remove()


def test_asking_the_library_for_hidden_states_leaves_no_hook_and_can_be_done_again(target, prompts):
    calls = []
    foreign = target.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    batch = left_padded(target, [prompts[0].ids])
    before = count_hooks(target.model)
    try:
        with torch.inference_mode():
            first, again = (
                library_hidden_states(target.backbone, inputs(target.backbone, batch.ids, batch.mask)) for _ in range(2)
            )
            by_itself = target.model(batch.ids, output_hidden_states=True).hidden_states
    finally:
        foreign.remove()
        for module in target.model.modules():
            vars(module).pop("_output_capturing_hooks_installed", None)
            module._forward_hooks.clear()
    assert len(first) == len(again) == len(by_itself) == target.n_layers + 1
    assert all(torch.equal(a, b) for a, b in zip(first, by_itself, strict=True))
    assert len(calls) == 3
    assert count_hooks(target.model) < before


def test_disagreement_about_rows_width_or_prompts_is_refused(llama, examples, u):
    prompts = [render(llama, example) for example in examples]
    site = Site(0, "resid_post")
    edit = Edit("add", u, 1.0, 1.0, (site,))
    with pytest.raises(ValueError, match="a batch of 4"), editing(llama, [[edit], [edit]]):
        forward(llama, prompts)
    with pytest.raises(ValueError, match="a batch of 4"), editing(llama, [edit], prompt_lens=[3]):
        forward(llama, prompts)
    with pytest.raises(ValueError, match="a batch of 4"), recording(llama, [site], [(0,)]):
        forward(llama, prompts)
    with pytest.raises(ValueError, match="lengths of the prompts"):
        editing(llama, [Edit("add", u, 1.0, 1.0, (site,), "prompt")]).__enter__()
    narrow = np.array([1, 0], np.float32)
    with pytest.raises(ValueError, match="residual stream of 32"):
        editing(llama, [Edit("add", narrow, 1.0, 1.0, (site,))]).__enter__()
    with pytest.raises(ValueError, match="one list for all rows"):
        editing(llama, [edit, [edit]]).__enter__()


def test_a_token_that_never_came_by_is_not_read_as_zero(llama, examples):
    prompt, site = render(llama, examples[0]), Site(0, "resid_post")
    with recording(llama, [site], [(0, len(prompt.ids) + 5)]) as seen:
        forward(llama, [prompt])
    with pytest.raises(LookupError, match="1 tokens were never seen"):
        seen.at(site)
