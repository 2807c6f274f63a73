"""Beginnings read once, and rows that start at a later layer, give what every prompt read whole gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.model import stems
from auditor.model.batches import HELD
from auditor.model.edits import Edit
from auditor.model.extract import extract
from auditor.model.load import target_from
from auditor.model.prefix import Prefix
from auditor.model.prompts import Prompt
from auditor.model.sites import POINTS, Site
from auditor.model.sweep import sweep
from auditor.model.work import WorkItem
from tests.tiny import FAMILIES, tiny_model, tiny_target, tiny_tokenizer

BEGINNING = tuple(range(20, 32))
WINDOWED = ("gemma2", "gemma3_text")
ENDINGS = ((40, 41, 42, 43, 44, 45), (50, 51), (60, 61, 62))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A few rows are worth a pass here."""
    monkeypatch.setattr(stems, "PASS", 1)


@pytest.fixture(params=FAMILIES)
def target(request):
    """Every family; windows wide enough for the prompts here."""
    wide = {"sliding_window": 90} if request.param in WINDOWED else {}
    return target_from(tiny_model(request.param, **wide), tiny_tokenizer())[0]


def done(target, items):
    return [outcome for _, outcome in sorted(sweep(target, items, batch_tokens=4096), key=lambda pair: pair[0])]


def arms(target):
    u = np.random.default_rng(0).standard_normal(target.d_model).astype(np.float32)
    u /= np.linalg.norm(u)
    sites = tuple(Site(layer, point) for layer in range(target.n_layers) for point in POINTS if point in target.points)
    return [
        (),
        (Edit("ablate", u, 1.0, 1.0, sites),),
        (Edit("add", u, 3.0, 1.0, (Site(1, "resid_pre"),)),),
        (Edit("add", u, 3.0, 1.0, (Site(1, "resid_pre"),), "last_prompt"),),
        (Edit("add", u, 3.0, 1.0, (Site(0, "resid_post"),), "completion"),),
        (Edit("add", u, 3.0, 1.0, (Site(1, "resid_post"),), "prompt"),),
        (Edit("ablate", u, 1.0, 1.0, (Site(2, "resid_pre"),)),),
        (Edit("ablate", u, 1.0, 1.0, sites, "prompt"), Edit("add", u, 1.0, 2.0, (Site(1, "resid_post"),))),
    ]


def items(target, **wanted):
    made = []
    for ending in ENDINGS:
        ids = (*BEGINNING, *ending)
        long = len(ids) - 1 if "nll" in wanted["want"] else len(ids)
        for edits in arms(target):
            made += [WorkItem(Prompt(ids, long, ""), edits, **wanted)]
    return made * 3


@pytest.mark.parametrize(
    "wanted",
    [
        {"want": frozenset({"logits"}), "sites": (Site(1, "resid_post"),)},
        {"want": frozenset({"logits"})},
        {"want": frozenset({"logits", "text"}), "max_new_tokens": 5},
        {"want": frozenset({"nll"})},
    ],
    ids=["logits, read", "logits", "text", "likelihood"],
)
def test_a_shared_beginning_changes_no_outcome(target, wanted, passes):
    asked = items(target, **wanted)
    whole = done(replace(target, shares_prefixes=False, starts_late=""), asked)
    in_full = passes.pop_all()
    assert target.shares_prefixes
    assert target.starts_late
    shared = done(replace(target, starts_late=""), asked)
    from_prefix = passes.pop_all()
    late = done(target, asked)
    assert from_prefix < 0.7 * in_full
    if "max_new_tokens" not in wanted:
        assert passes.pop_all() < from_prefix
    for found in (shared, late):
        same(found, whole)


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if a.logits is not None:
            assert a.logits == pytest.approx(b.logits, abs=1e-4)
        if a.activations is not None:
            assert a.activations == pytest.approx(b.activations, abs=1e-4)
        assert a.tokens == b.tokens
        assert a.nll == pytest.approx(b.nll, abs=1e-4)


class Passes:
    """Counts the tokens that go through attention or its like, padding too, over all layers."""

    def __init__(self, target):
        self.seen = 0
        for part in target.parts["mlp_out"]:
            part.register_forward_hook(self.look)

    def look(self, _module, _args, output):
        self.seen += output[..., 0].numel()

    def pop_all(self):
        seen, self.seen = self.seen, 0
        return seen


@pytest.fixture
def passes(target):
    return Passes(target)


def test_prompts_that_begin_differently_are_read_whole(target, passes):
    made = [WorkItem(Prompt((start, *range(40, 60)), 21, "")) for start in range(20, 28)]
    done(target, made)
    assert passes.pop_all() == 3 * sum(len(item.prompt.ids) for item in made)


@pytest.mark.parametrize("family", WINDOWED)
def test_a_window_that_the_prompts_outgrow_is_not_risked(family):
    narrow = tiny_target(family)
    assert not narrow.shares_prefixes
    wide = target_from(tiny_model(family, sliding_window=90), tiny_tokenizer())[0]
    assert wide.shares_prefixes
    counted = Passes(wide)
    outgrown = [WorkItem(Prompt((*BEGINNING, *range(40, 60), *[7] * 60), 92, "")) for _ in range(4)]
    done(wide, outgrown)
    assert counted.pop_all() == 3 * 4 * 92


@pytest.mark.parametrize("position", ["last_prompt", "last_completion", "completion_tokens"])
def test_what_is_read_behind_a_shared_beginning_is_what_is_read_of_whole_texts(target, position, passes):
    prompts = [Prompt((*BEGINNING, *ending), len(BEGINNING) + 2, "") for ending in (*ENDINGS, (70, 71, 72))]
    prompts = [prompt for prompt in prompts if len(prompt.ids) > prompt.prompt_len]
    sites = [Site(layer, point) for layer in range(target.n_layers) for point in target.points]

    def read(model):
        found = extract(model, prompts * 3, sites=sites, position=position, batch_tokens=64)
        return found.values, passes.pop_all()

    (whole, in_full), (shared, from_prefix) = read(replace(target, shares_prefixes=False)), read(target)
    assert shared == pytest.approx(whole, abs=1e-4)
    assert from_prefix < 0.7 * in_full


def test_drafts_of_different_lengths_leave_a_window_its_room():
    windowed = target_from(
        tiny_model("mistral", layers=4, sliding_window=64, max_position_embeddings=400), tiny_tokenizer()
    )[0]
    assert windowed.shares_prefixes
    for seed in range(3):
        rng = np.random.default_rng(seed)
        start, *ends = (tuple(rng.integers(6, 300, n).tolist()) for n in (4, 24, 1, 2))
        arms = [()]
        for size in (0.02, 0.05, 0.1, 0.3, 3.0, 6.0):
            u = rng.normal(size=windowed.d_model).astype(np.float32)
            u /= np.linalg.norm(u)
            arms.append((Edit("add", u, 2.0, size, (Site(1, "resid_post"),), "completion"),))
        prompts = [Prompt((*start, *end), len(start) + len(end), "") for end in ends]
        wanted = {"want": frozenset({"logits", "text"}), "max_new_tokens": 32}
        asked = [WorkItem(prompt, edits, **wanted) for prompt in prompts for edits in arms]
        same(done(windowed, asked), done(replace(windowed, shares_prefixes=False), asked))


def test_rows_behind_a_long_beginning_are_few_enough_to_hold_it(llama, monkeypatch):
    held, past = [], Prefix.past

    def watched(self, *asked):
        found = past(self, *asked)
        held.append(0 if found is None else found.mask.numel())
        return found

    monkeypatch.setattr(Prefix, "past", watched)
    long = tuple(range(20, 90))
    prompts = [Prompt((*long, 100 + n % 90, 7), len(long) + 2, "") for n in range(300)]
    extract(llama, prompts, sites=[Site(1, "resid_post")], position="last_prompt", batch_tokens=200)
    assert 200 < max(held) <= HELD * 200


@pytest.mark.parametrize("position", ["completion_tokens", "last_completion"])
def test_texts_without_a_prompt_are_read_at_every_token_that_is_asked(llama, position):
    prompts = [Prompt((*BEGINNING, *ending), 0, "") for ending in ENDINGS]
    asked = {"sites": [Site(1, "resid_post")], "position": position, "batch_tokens": 64}
    whole, shared = (extract(model, prompts * 3, **asked) for model in (replace(llama, shares_prefixes=False), llama))
    assert shared.position.tolist() == whole.position.tolist()
    assert shared.values == pytest.approx(whole.values, abs=1e-4)


def test_a_token_that_is_read_is_no_part_of_the_beginning():
    target = tiny_target("llama")
    prompts = [Prompt((*BEGINNING, 40), len(BEGINNING) + 1, "", suffix_len=3), Prompt((*BEGINNING, 41), 13, "", 3)]
    asked = {"sites": [Site(1, "resid_post")], "position": "template_tail -3", "batch_tokens": 64}
    shared, alone = extract(target, prompts, **asked), extract(target, prompts[:1], **asked)
    assert shared.position.tolist() == [10, 11, 12, 10, 11, 12]
    assert shared.values[:3] == pytest.approx(alone.values, abs=1e-4)
    assert shared.values[2] != pytest.approx(shared.values[5], abs=1e-2)


STEMS = (tuple(range(40, 52)), tuple(range(60, 65)), tuple(range(80, 90)))
TAILS = ((101, 102, 103), (102, 101, 103), (104,))


def twins(target, begun, **wanted):
    """Three texts behind each stem, stems of three lengths: under each arm the three share no more than their stem."""
    made = []
    for edits in arms(target):
        for stem in STEMS:
            for tail in TAILS:
                ids = (*begun, *stem, *tail, 30, 31)
                long = len(ids) - 1 if "nll" in wanted["want"] else len(ids)
                made.append(WorkItem(Prompt(ids, long, ""), edits, **wanted))
    return made


@pytest.mark.parametrize("begun", [(), BEGINNING], ids=["nothing shared by all", "behind a beginning"])
@pytest.mark.parametrize(
    "wanted",
    [
        {"want": frozenset({"logits"}), "sites": (Site(1, "resid_post"),)},
        {"want": frozenset({"logits", "text"}), "max_new_tokens": 4},
        {"want": frozenset({"nll"})},
    ],
    ids=["logits, read", "text", "likelihood"],
)
def test_twins_that_go_on_from_a_stem_give_what_whole_texts_give(target, passes, begun, wanted, monkeypatch):
    asked = twins(target, begun, **wanted)
    whole = done(replace(target, shares_prefixes=False, starts_late=""), asked)
    passes.pop_all()
    found, late = [], []
    for worth in (1 << 30, 1):
        monkeypatch.setattr(stems, "PASS", worth)
        found.append((done(replace(target, starts_late=""), asked), passes.pop_all()))
        late.append((done(target, asked), passes.pop_all()))
    assert found[1][1] < 0.8 * found[0][1]
    assert late[1][1] < 0.9 * late[0][1]
    for outcomes, _ in (*found, *late):
        same(outcomes, whole)


@pytest.mark.parametrize("begun", [(), BEGINNING], ids=["nothing shared by all", "behind a beginning"])
@pytest.mark.parametrize("position", ["last_prompt", "completion_tokens", "template_tail -5"])
def test_what_is_read_of_twins_is_what_is_read_of_whole_texts(target, passes, begun, position, monkeypatch):
    prompts = [Prompt(ids := (*begun, *stem, *tail, 30, 31), len(ids) - 2, "", 5) for stem in STEMS for tail in TAILS]
    sites = [Site(layer, "resid_post") for layer in range(target.n_layers - 1)]

    def read(model, worth):
        monkeypatch.setattr(stems, "PASS", worth)
        found = extract(model, prompts, sites=sites, position=position, batch_tokens=400)
        return found.values, passes.pop_all()

    (whole, _), (shared, fed) = read(replace(target, shares_prefixes=False), 1), read(target, 1)
    assert shared == pytest.approx(whole, abs=1e-4)
    assert fed < 0.9 * read(target, 1 << 30)[1]


@pytest.mark.parametrize("family", WINDOWED)
def test_stems_stay_where_a_window_holds_all_columns(family):
    """Texts of 20 tokens behind nothing, and a window of 26: six of them may lie in a stem."""
    target = target_from(tiny_model(family, sliding_window=26), tiny_tokenizer())[0]
    target = replace(target, shares_prefixes=True)
    asked = [
        WorkItem(Prompt((*range(start, start + 15), *tail), 20, ""))
        for start in (20, 60, 90)
        for tail in ((1, 2, 3, 4, 5), (5, 4, 3, 2, 1), (1, 3, 2, 4, 5))
    ]
    whole, counted = done(replace(target, shares_prefixes=False), asked), Passes(target)
    same(done(target, asked), whole)
    assert counted.pop_all() == 3 * (3 * 6 + 9 * 14)
