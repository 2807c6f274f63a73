"""Every benchmark's contestants find the same numbers; the time is never looked at."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.model.load import target_from
from auditor.model.sweep import sweep
from auditor.model.work import WorkItem
from benchmarks import peers
from benchmarks.cost import counted
from benchmarks.jobs import JOBS
from benchmarks.models import Bench
from benchmarks.sizes import SMOKE
from benchmarks.steering import NOTHING, share_of_other_texts, until_end
from benchmarks.tables import tables
from benchmarks.timing import Contest, ratio, run
from tests.tiny import tiny_model, tiny_tokenizer

WORDS = ("red", "two words", "a few more words", "one", "green and blue", "a")


@pytest.fixture(scope="module")
def bench():
    target, plan, _ = target_from(tiny_model("llama"), tiny_tokenizer(chat=True))
    harmful, plain = (
        [Example(f"{kind} {i}", f"{kind} {WORDS[i]}", False, "", chat=True) for i in range(6)]
        for kind in ("two", "more")
    )
    return Bench(target, plan, harmful, plain, SMOKE, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def _no_peers(monkeypatch):
    monkeypatch.setattr(peers, "PEERS", {"a-library-nobody-has": None})


@pytest.mark.parametrize("job", JOBS)
def test_the_contestants_agree(job, bench, tmp_path):
    contest = JOBS[job](bench, tmp_path)
    timings = run(contest, 1, lambda work: counted(bench.target, work))
    assert [timing.name for timing in timings] == list(contest.contestants)
    assert len(timings) >= 2
    assert contest.ours in tables(contest, timings, peak=1.0)


def test_the_loops_over_candidates_choose_the_same_and_compute_more(bench, tmp_path):
    ours, pruned, fair, published = run(
        JOBS["direction_selection"](bench, tmp_path), 1, lambda work: counted(bench.target, work)
    )
    assert ours.choice == pruned.choice == fair.choice == published.choice
    assert ours.choice.startswith("position -1, layer ")
    assert ours.cost.layer_tokens < fair.cost.layer_tokens < published.cost.layer_tokens
    assert fair.cost.head_tokens < published.cost.head_tokens


def test_a_peer_that_is_not_installed_is_said(bench, tmp_path):
    contest = JOBS["extraction"](bench, tmp_path)
    assert contest.notes == ("a-library-nobody-has is not installed and was left out",)
    assert not list(tmp_path.iterdir())


def test_work_is_counted_where_it_is_done(bench):
    target, prompt = bench.target, bench.prompts(1)[0]
    (_, cost) = counted(target, lambda: list(sweep(target, [WorkItem(prompt)], batch_tokens=256)))
    assert cost.layer_tokens == target.n_layers * len(prompt.ids)
    assert cost.head_tokens == 1
    assert counted(target, lambda: None)[1] is None


def test_a_contestant_that_finds_something_else_is_told():
    contest = Contest("sums", "", "ours", {"ours": lambda: np.zeros(3), "theirs": lambda: np.ones(3)}, 0.5)
    with pytest.raises(AssertionError, match="sums: theirs differs from ours by 1"):
        run(contest, repetitions=1)


def test_a_contestant_that_chooses_something_else_is_told():
    works = {"ours": lambda: np.array([0.0, 0.1]), "theirs": lambda: np.array([0.1, 0.0])}
    contest = Contest("least", "", "ours", works, 0.5, choice=lambda found: f"number {found.argmin()}")
    with pytest.raises(AssertionError, match="least: theirs chooses number 1; ours: number 0"):
        run(contest, repetitions=1)


def test_what_was_not_tried_is_not_compared_and_what_is_not_kept_is_not_either():
    works = {"ours": lambda: np.array([1.0, np.nan]), "theirs": lambda: np.array([1.0, 9.0]), "bare": lambda: None}
    timings = run(Contest("some", "", "ours", works, 0.0), repetitions=1)
    assert [timing.difference for timing in timings] == [0.0, 0.0, None]


def test_a_ratio_is_a_geometric_mean_of_pairs():
    middle, low, high = ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0])
    assert middle == pytest.approx(np.cbrt(32))
    assert 2.0 <= low <= middle <= high <= 4.0


def test_answers_are_compared_up_to_their_end():
    assert until_end([5, 2, 7], (2,), 3) == [5, NOTHING, NOTHING]
    assert until_end([5, 6, 7], (2,), 3) == [5, 6, 7]
    assert share_of_other_texts(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]])) == 0.5
