from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.data.examples import Example
from auditor.errors import ProbeFailed
from auditor.model import late
from auditor.model import sweep as sweep_module
from auditor.model.edits import Edit
from auditor.model.load import target_from
from auditor.model.prompts import render
from auditor.model.sites import Site
from auditor.model.sweep import sweep
from auditor.model.work import WorkItem
from tests.tiny import tiny_model, tiny_tokenizer

ALL_TOGETHER, ONE_ROW = 10_000, 1


def done(*arguments, **named):
    """Outcomes in the order of the items."""
    return [outcome for _, outcome in sorted(sweep(*arguments, **named), key=lambda pair: pair[0])]


NEW = 6
SITE = Site(1, "resid_post")
EVERYTHING = {"want": frozenset({"logits", "text"}), "max_new_tokens": NEW, "sites": (SITE, Site(2, "attn_out"))}


TEXT = {"want": frozenset({"logits", "text"}), "max_new_tokens": 7}


@pytest.fixture
def items(prompts, u):
    """The same prompts with and without edits, what is wanted varying."""
    steer = Edit("add", u, norm=4.0, coefficient=1.0, sites=(SITE,))
    later = Edit("ablate", u, norm=1.0, coefficient=1.0, sites=(SITE,), positions="completion")
    arms = [(), (steer,), (later, steer)]
    made = [WorkItem(prompt, edits, **EVERYTHING) for prompt in prompts for edits in arms]
    return [*made, *(WorkItem(prompt) for prompt in prompts)]


def test_a_batch_says_what_one_at_a_time_says(target, items):
    together = done(target, items, batch_tokens=ALL_TOGETHER)
    alone = done(target, items, batch_tokens=ONE_ROW)
    for a, b in zip(together, alone, strict=True):
        assert a.logits == pytest.approx(b.logits, abs=1e-4)
        assert (a.text, a.tokens, a.ended) == (b.text, b.tokens, b.ended)
        if a.activations is not None:
            assert a.activations == pytest.approx(b.activations, abs=1e-4)


def test_an_outcome_is_what_the_library_gives_for_that_prompt_alone(target, prompts):
    items = [WorkItem(prompt, **EVERYTHING) for prompt in prompts]
    for item, outcome in zip(items, done(target, items, batch_tokens=ALL_TOGETHER), strict=True):
        ids = torch.tensor([item.prompt.ids[: item.prompt.prompt_len]])
        written = target.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)[
            0, ids.shape[1] :
        ].tolist()
        ended = written[-1] in target.eos_ids
        assert outcome.tokens == tuple(written[:-1] if ended else written)
        assert outcome.ended == ended
        assert outcome.text == target.tokenizer.decode(outcome.tokens, skip_special_tokens=True)
        with torch.inference_mode():
            assert outcome.logits == pytest.approx(target.model(ids).logits[0, -1].numpy(), abs=1e-4)


def test_edits_act_on_the_prompt_and_on_what_is_written(llama, examples, u):
    prompt = render(llama, examples[0])
    site = (Site(1, "resid_post"),)

    def ask(*edits):
        return done(llama, [WorkItem(prompt, edits, **EVERYTHING)], batch_tokens=ALL_TOGETHER)[0]

    plain = ask()
    everywhere = ask(Edit("replace", u, 1.0, 9.0, site))
    written_only = ask(Edit("replace", u, 1.0, 9.0, site, "completion"))
    assert everywhere.activations[0] @ u == pytest.approx(9, abs=1e-4)
    assert not np.allclose(everywhere.logits, plain.logits, atol=1e-2)
    assert np.array_equal(written_only.logits, plain.logits)
    assert written_only.tokens[0] == plain.tokens[0]
    assert written_only.tokens != plain.tokens


def test_outcomes_hold_what_was_wanted_and_nothing_else(llama, examples):
    prompt = render(llama, examples[0])
    logits, text, read = done(
        llama,
        [
            WorkItem(prompt),
            WorkItem(prompt, want=frozenset({"text"}), max_new_tokens=2),
            WorkItem(prompt, sites=(SITE,), want=frozenset()),
        ],
        batch_tokens=ALL_TOGETHER,
    )
    assert logits.logits.shape == (llama.vocab_size,)
    assert (logits.text, logits.tokens, logits.activations) == (None, (), None)
    assert (text.logits, text.activations) == (None, None)
    assert isinstance(text.text, str)
    assert read.activations.shape == (1, llama.d_model)
    assert (read.logits, read.text) == (None, None)


def test_a_completion_is_not_fed(llama, examples):
    with_answer = render(llama, examples[0])
    without = render(llama, Example("x", examples[0].prompt, True, "g", chat=True))
    a, b = done(llama, [WorkItem(with_answer), WorkItem(without)], batch_tokens=ONE_ROW)
    assert np.array_equal(a.logits, b.logits)


def always(token):
    """A target that says one token whatever it is asked."""
    target = target_from(tiny_model(), tiny_tokenizer())[0]
    target.model.lm_head.register_forward_hook(lambda _m, _a, out: out.index_fill(-1, torch.tensor([token]), 1e4))
    return target


def test_an_answer_ends_at_any_end_token_and_only_there(examples):
    for token, ended in ((2, True), (9, False)):
        target = always(token)
        item = WorkItem(render(target, examples[0]), want=frozenset({"text"}), max_new_tokens=4)
        (outcome,) = done(target, [item], batch_tokens=ALL_TOGETHER)
        assert (outcome.ended, outcome.tokens) == (ended, () if ended else (token,) * 4)


def test_rows_that_have_ended_leave_the_batch(prompts, target):
    """Of the rows that are left the first is made to end, one a step."""
    sizes = []

    def end_row(_module, _inputs, logits):
        sizes.append(len(logits))
        said = logits.clone()
        said[..., 2] = -1e4
        said[0, :, 2] = 1e4
        return said

    handle = target.model.get_output_embeddings().register_forward_hook(end_row)
    try:
        items = [WorkItem(prompt, want=frozenset({"text"}), max_new_tokens=9) for prompt in prompts]
        outcomes = done(target, items, batch_tokens=ALL_TOGETHER)
    finally:
        handle.remove()
    assert sizes == [4, 3, 2, 1]
    assert sorted(len(outcome.tokens) for outcome in outcomes) == [0, 1, 2, 3]
    assert all(outcome.ended for outcome in outcomes)


def test_rows_that_left_do_not_disturb_the_others(target, prompts, u):
    """Each row has its own edit and ends where it will: its text is what it says alone."""
    rng = np.random.default_rng(3)
    turned = [np.roll(u, int(rng.integers(len(u)))) for _ in range(3 * len(prompts))]
    edits = [(Edit("add", v, 6.0, 1.0, (SITE,), mask),) for v in turned for mask in ("all", "completion")]
    many = [prompts[i % len(prompts)] for i in range(len(edits))]
    items = [WorkItem(p, e, want=frozenset({"text"}), max_new_tokens=8) for p, e in zip(many, edits, strict=True)]
    free = done(replace(target, eos_ids=()), items, batch_tokens=ONE_ROW)
    ends = tuple({free[0].tokens[0], free[1].tokens[3]})
    together = done(replace(target, eos_ids=ends), items, batch_tokens=ALL_TOGETHER)
    cuts = [next((k for k, token in enumerate(row.tokens) if token in ends), 8) for row in free]
    assert [row.tokens for row in together] == [row.tokens[:cut] for row, cut in zip(free, cuts, strict=True)]
    assert [row.ended for row in together] == [cut < 8 for cut in cuts]
    assert 0 in cuts
    assert max(cuts) > 3


def test_a_text_under_many_edits_is_what_it_is_alone(target, prompts, u):
    """Some edits change the text at once, some later, some never; some prompts have too few for a draft."""
    rng = np.random.default_rng(5)
    items = []
    for prompt, n in zip(prompts, (1, 3, 6, 12), strict=True):
        for norm in np.geomspace(0.05, 8.0, n):
            v = rng.permutation(u)
            mask = ("all", "completion", "last_prompt")[int(rng.integers(3))]
            items.append(WorkItem(prompt, (Edit("add", v, float(norm), 1.0, (SITE,), mask),), **TEXT))
    items += [WorkItem(prompt, **TEXT) for prompt in prompts]
    alone = [done(target, [item], batch_tokens=ONE_ROW)[0] for item in items]
    together = done(target, items, batch_tokens=ALL_TOGETHER)
    assert [(o.tokens, o.text, o.ended) for o in together] == [(o.tokens, o.text, o.ended) for o in alone]
    for a, b in zip(together, alone, strict=True):
        assert a.logits == pytest.approx(b.logits, abs=1e-4)


def test_an_edit_that_changes_nothing_costs_one_pass(llama, examples, u):
    prompt, passes = render(llama, examples[0]), []
    items = [WorkItem(prompt, (Edit("add", np.roll(u, k), 1e-4, 1.0, (SITE,)),), **TEXT) for k in range(6)]
    handle = llama.model.get_output_embeddings().register_forward_hook(lambda _m, _a, out: passes.append(len(out)))
    try:
        plain, *edited = done(llama, [WorkItem(prompt, **TEXT), *items], batch_tokens=ALL_TOGETHER)
    finally:
        handle.remove()
    assert {one.tokens for one in edited} == {plain.tokens}
    assert passes == [1] * len(plain.tokens) + [7]


def test_a_settled_text_under_many_edits_stops_where_it_stops_alone(llama, examples, u):
    prompt = render(llama, examples[0])
    items = [
        WorkItem(prompt, (Edit("add", np.roll(u, k), 0.3 * k, 1.0, (SITE,)),), settled=_five_letters, **TEXT)
        for k in range(8)
    ]
    alone = [done(llama, [item], batch_tokens=ONE_ROW)[0].tokens for item in items]
    assert [one.tokens for one in done(llama, items, batch_tokens=ALL_TOGETHER)] == alone
    assert max(map(len, alone)) < NEW


def _five_letters(text):
    return len(text) >= 5


def test_a_row_that_has_settled_stops_early_and_is_not_said_to_have_ended(llama, examples):
    prompts = [render(llama, example) for example in examples]
    told = []

    def third(text):
        told.append(text)
        return len(told) == 3

    item = {"want": frozenset({"text"}), "max_new_tokens": 8}
    free, other = (done(llama, [WorkItem(p, **item)], batch_tokens=ONE_ROW)[0] for p in prompts[:2])
    asked = [WorkItem(prompts[0], settled=third, **item), WorkItem(prompts[1], **item)]
    stopped, whole = done(llama, asked, batch_tokens=ALL_TOGETHER)
    assert (whole.tokens, whole.ended) == (other.tokens, other.ended)
    assert stopped.tokens == free.tokens[: len(told)]
    assert len(stopped.tokens) < len(free.tokens)
    assert not stopped.ended
    assert stopped.text == told[-1]


def test_sampling_settings_of_the_checkpoint_are_not_used(llama, examples):
    from copy import deepcopy

    item = WorkItem(render(llama, examples[0]), want=frozenset({"text"}), max_new_tokens=NEW)
    plain = done(llama, [item], batch_tokens=ALL_TOGETHER)[0]
    kept = deepcopy(llama.model.generation_config)
    try:
        llama.model.generation_config.update(
            do_sample=True,
            temperature=5.0,
            repetition_penalty=9.0,
            forced_bos_token_id=7,
            suppress_tokens=[plain.tokens[0]],
        )
        assert done(llama, [item], batch_tokens=ALL_TOGETHER)[0].tokens == plain.tokens
    finally:
        llama.model.generation_config = kept


def test_progress_reaches_the_total_and_order_is_kept(llama, examples):
    told = []
    prompts = [render(llama, example) for example in examples]
    items = [WorkItem(p, **EVERYTHING) if i % 2 else WorkItem(p) for i, p in enumerate(prompts)]
    outcomes = done(llama, items, batch_tokens=ONE_ROW, progress=lambda d, t: told.append((d, t)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [outcome.text is None for outcome in outcomes] == [True, False, True, False]
    assert done(llama, [], batch_tokens=ONE_ROW) == []


def test_room_for_the_answer_counts(llama, examples):
    prompt = render(llama, examples[0])
    item = WorkItem(prompt, want=frozenset({"text"}), max_new_tokens=llama.max_tokens)
    with pytest.raises(ProbeFailed, match="longer than"):
        done(llama, [item], batch_tokens=ALL_TOGETHER)


def test_text_without_a_length_and_a_length_without_text_are_refused(llama, examples):
    prompt = render(llama, examples[0])
    with pytest.raises(ValueError, match="text of 0 tokens"):
        WorkItem(prompt, want=frozenset({"text"}))
    with pytest.raises(ValueError, match="text of 5 tokens"):
        WorkItem(prompt, max_new_tokens=5)


def test_the_likelihood_of_a_completion_is_that_of_one_token_at_a_time(llama, u):
    """The oracle feeds the completion token by token and reads the logits of each last position."""
    prompt = render(llama, Example("", "the city of Paris", False, "", completion="is in France . the city"))
    steer = Edit("add", u, norm=4.0, coefficient=1.0, sites=(SITE,))
    for edits in ((), (steer,)):
        nats = []
        for end in range(prompt.prompt_len, len(prompt.ids)):
            fed = replace(prompt, ids=prompt.ids[:end], prompt_len=end)
            (one,) = done(llama, [WorkItem(fed, edits)], batch_tokens=ONE_ROW)
            nats.append(-torch.tensor(one.logits).log_softmax(-1)[prompt.ids[end]].item())
        (whole,) = done(llama, [WorkItem(prompt, edits, want=frozenset({"nll"}))], batch_tokens=ALL_TOGETHER)
        assert whole.nll == pytest.approx(np.mean(nats), abs=1e-4)


def test_likelihoods_do_not_depend_on_what_else_is_in_the_batch(target):
    texts = ["a", "the city of Paris is in", "why do birds sing"]
    items = [
        WorkItem(render(target, Example("", "Question : ", False, "", completion=text)), want=frozenset({"nll"}))
        for text in texts
    ]
    together, alone = (
        [o.nll for o in done(target, items, batch_tokens=budget)] for budget in (8 * ALL_TOGETHER, ONE_ROW)
    )
    assert together == pytest.approx(alone, abs=1e-4)


def test_the_likelihood_of_nothing_is_refused(llama):
    with pytest.raises(ValueError, match="of a completion"):
        WorkItem(render(llama, Example("", "the city", False, "")), want=frozenset({"nll"}))


def late_items(prompts, u, n=5):
    """Every prompt under several edits of the last layer, so that it pays to start there."""
    edits = [Edit("add", u, norm=4.0, coefficient=c, sites=(Site(2, "resid_post"),)) for c in range(1, n)]
    return [WorkItem(prompt, (edit,)) for edit in edits for prompt in prompts]


def test_late_starts_in_portions_give_the_same_and_hold_no_more_than_the_room(llama, examples, u, monkeypatch):
    prompts = [render(llama, replace(example, prompt=f"{example.prompt} {i}")) for example in examples for i in "abcd"]
    items = late_items(prompts, u)
    whole = done(llama, items, batch_tokens=ALL_TOGETHER)
    held, read = [], sweep_module.layer_inputs
    room = 3 * max(len(prompt.ids) for prompt in prompts) * llama.d_model * 4

    def counted(*given):
        found = read(*given)
        held.append(sum(row.numel() * row.element_size() for row in found.rows.values()))
        return found

    monkeypatch.setattr(late, "ROOM", room)
    monkeypatch.setattr(sweep_module, "layer_inputs", counted)
    told = []
    portions = done(llama, items, batch_tokens=ALL_TOGETHER, progress=lambda done, total: told.append((done, total)))
    assert len(held) > 3
    assert max(held) <= room
    assert told[-1] == (len(items), len(items))
    for a, b in zip(whole, portions, strict=True):
        assert a.logits == pytest.approx(b.logits, abs=1e-4)


def test_portions_keep_the_rows_of_one_text_together_and_lose_none(llama, monkeypatch):
    monkeypatch.setattr(late, "ROOM", 4 * 2 * llama.d_model * 4)
    texts = [(1, 2, 3), (1, 2), (1, 2, 3), (4, 5, 6, 7, 8, 9), (1, 2), (7,)]
    assert late.portions(llama, texts, 2) == [[0, 2], [1, 4], [3], [5]]
    assert late.portions(llama, texts, 0) == [[0, 1, 2, 3, 4, 5]]


def test_the_head_is_fed_one_block_of_memory(llama, examples, monkeypatch):
    prompts = [render(llama, example) for example in examples]
    head, seen = llama.model.get_output_embeddings(), []
    forward = head.forward
    monkeypatch.setattr(head, "forward", lambda x: seen.append((x.shape, x.is_contiguous())) or forward(x))
    done(llama, [WorkItem(prompt) for prompt in prompts], batch_tokens=ALL_TOGETHER)
    done(llama, [WorkItem(prompt, want=frozenset({"nll"})) for prompt in prompts], batch_tokens=ALL_TOGETHER)
    assert [contiguous for _, contiguous in seen] == [True] * len(seen)
    assert seen[0][0][1] == 1
    assert not head._forward_pre_hooks
