"""Slopes from one backward pass are the central differences of the exact edits, on every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.measure.interventions import ablation_sites, separate_writes
from auditor.measure.judges import refusal_metric
from auditor.model.edits import Edit
from auditor.model.gradient import first_order
from auditor.model.load import target_from
from auditor.model.prompts import render
from auditor.model.sites import Site
from auditor.model.sweep import sweep
from auditor.model.work import WorkItem
from tests.tiny import D_MODEL, FAMILIES, tiny_model, tiny_tokenizer

TOKENS = (5, 17, 40, 41, 200)
STEP = 0.004
ALL_TOGETHER, ONE_ROW = 10_000, 1


def metric(target, prompts, edits):
    """[n_prompts, n_edits] by the sweep, one pass for every edit."""
    items = [WorkItem(prompt, (edit,)) for prompt in prompts for edit in edits]
    found = dict(sweep(target, items, batch_tokens=ALL_TOGETHER))
    values = [refusal_metric(found[i].logits, TOKENS) for i in range(len(items))]
    return np.array(values).reshape(len(prompts), len(edits))


def edits_of(target, coefficient=1.0):
    """Ablations of the whole stream, and additions at one layer each, along a few directions."""
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(4, D_MODEL))
    units = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    whole = separate_writes(ablation_sites(target.points, target.n_layers))
    removed = [Edit("ablate", u, 1.0, coefficient, whole) for u in units]
    sites = [
        Site(layer, point) for layer, point in ((0, "resid_pre"), (1, "resid_pre"), (1, "attn_out"), (2, "mlp_out"))
    ]
    return removed + [Edit("add", u, 2.0, coefficient, (site,)) for u, site in zip(units, sites, strict=True)]


def test_slopes_are_central_differences_of_the_edits(target, prompts):
    found = first_order(target, prompts, TOKENS, edits_of(target), batch_tokens=ALL_TOGETHER)
    up, down = (metric(target, prompts, edits_of(target, c)) for c in (STEP, -STEP))
    # float32 rounding of the metric over the step, and the curvature of a small random model
    assert found.slopes == pytest.approx((up - down) / (2 * STEP), rel=0.01, abs=2e-3)
    plain = metric(target, prompts, [Edit("add", edits_of(target)[0].vector, 0.0, 1.0, (Site(0, "resid_pre"),))])
    assert found.values == pytest.approx(plain[:, 0], abs=1e-4)


def test_ablating_the_embedding_and_every_write_is_ablating_everywhere(target, prompts):
    everywhere = ablation_sites(target.points, target.n_layers)
    alone = separate_writes(everywhere)
    assert len(alone) == 1 + 2 * target.n_layers
    u = edits_of(target)[0].vector
    both = metric(target, prompts, [Edit("ablate", u, 1.0, 1.0, sites) for sites in (everywhere, alone)])
    assert both[:, 0] == pytest.approx(both[:, 1], abs=1e-4)


def test_slopes_at_all_reads_would_count_what_is_written_again_and_again(target, prompts):
    """The twin of the above: by derivatives the two are not the same, which is why the reads are left out."""
    everywhere = ablation_sites(target.points, target.n_layers)
    u = edits_of(target)[0].vector
    arms = [Edit("ablate", u, 1.0, 1.0, sites) for sites in (everywhere, separate_writes(everywhere))]
    slopes = first_order(target, prompts, TOKENS, arms, batch_tokens=ALL_TOGETHER).slopes
    assert np.abs(slopes[:, 0] - slopes[:, 1]).max() > 0.01


def test_writes_that_cannot_be_told_apart_are_not_screened_by():
    assert separate_writes(ablation_sites(("resid_pre", "resid_post"), 3)) is None


def test_a_batch_says_what_one_at_a_time_says(target, prompts):
    told = []
    together = first_order(target, prompts, TOKENS, edits_of(target), batch_tokens=ALL_TOGETHER)
    alone = first_order(
        target, prompts, TOKENS, edits_of(target), batch_tokens=ONE_ROW, progress=lambda *done: told.append(done)
    )
    assert together.slopes == pytest.approx(alone.slopes, abs=1e-4)
    assert together.values == pytest.approx(alone.values, abs=1e-4)
    assert told == [(i + 1, len(prompts)) for i in range(len(prompts))]


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_ranks_as_float32_does(family, examples):
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        target = target_from(tiny_model(family).to(dtype), tiny_tokenizer())[0]
        prompts = [render(target, example) for example in examples]
        rows.append(first_order(target, prompts, TOKENS, edits_of(target), batch_tokens=ALL_TOGETHER).slopes)
    assert rows[1].dtype == np.float32
    assert np.corrcoef(rows[0].ravel(), rows[1].ravel())[0, 1] > 0.98


def test_nothing_is_left_behind(examples):
    """A notebook's model may ask for gradients of its weights: they are not computed, and no hook stays."""
    model = tiny_model()
    target = target_from(model, tiny_tokenizer())[0]
    model.requires_grad_(True)
    prompts = [render(target, example) for example in examples]
    found = first_order(target, prompts, TOKENS, edits_of(target), batch_tokens=ALL_TOGETHER)
    assert np.isfinite(found.slopes).all()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_edits_that_have_no_slope_are_refused(llama, examples, u):
    prompts = [render(llama, example) for example in examples]
    site = (Site(1, "resid_pre"),)
    for edit in (Edit("replace", u, 1.0, 1.0, site), Edit("add", u, 1.0, 1.0, site, "prompt")):
        with pytest.raises(ValueError, match="slopes are of additions and ablations of all tokens"):
            first_order(llama, prompts, TOKENS, [edit], batch_tokens=ALL_TOGETHER)
