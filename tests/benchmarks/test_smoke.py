"""Every benchmark's contestants find the same numbers; the time is never looked at."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.measure.choice import Bounds
from auditor.model.prompts import render
from benchmarks.jobs import JOBS, SMOKE, Bench
from benchmarks.screening import Tables, drawn, told
from benchmarks.timing import Contest, ratio, run
from tests.tiny import tiny_target


@pytest.mark.parametrize("job", JOBS)
def test_the_contestants_agree(job):
    target = tiny_target("llama", chat=True)
    words = ("red", "two words", "a few more words", "one")
    prompts = [render(target, Example(str(i), words[i % 4] * (1 + i // 4), False, "", chat=True)) for i in range(8)]
    contest = JOBS[job](Bench(target, prompts, SMOKE, 256, np.random.default_rng(0)))
    timings = run(contest, repetitions=1)
    assert [timing.name for timing in timings] == list(contest.contestants)
    assert len(timings) >= 2


def test_a_contestant_that_finds_something_else_is_told():
    contest = Contest("sums", "", "ours", {"ours": lambda: np.zeros(3), "theirs": lambda: np.ones(3)}, 0.5)
    with pytest.raises(AssertionError, match="sums: theirs differs from ours by 1"):
        run(contest, repetitions=1)


def test_a_ratio_is_a_geometric_mean_of_pairs():
    middle, low, high = ratio([2.0, 8.0, 4.0], [1.0, 2.0, 1.0])
    assert middle == pytest.approx(np.cbrt(32))
    assert 2.0 <= low <= middle <= high <= 4.0


def tables(predicted, bypass, kl):
    places = [(-1, layer) for layer in range(len(bypass))]
    return Tables(predicted, bypass, kl, np.ones_like(kl), places, Bounds(0.1, 0.0, 1.0), n_layers=len(bypass))


def test_the_share_of_winners_that_screening_keeps():
    """The lowest bypass costs too much to be chosen; predictions are perfect, then upside down."""
    rng = np.random.default_rng(0)
    exact, kl = rng.normal(scale=0.1, size=(30, 12)), np.zeros((30, 9))
    exact[[7, 8]] -= [[5], [3]]
    kl[7] = 50.0
    perfect = drawn(tables(exact, exact, kl), draws=9, size=6, rng=rng)
    assert perfect.rank.tolist() == [[1, 2]] * 9
    upside_down = drawn(tables(-exact, exact, kl), draws=9, size=600, rng=rng)
    assert upside_down.rank.tolist() == [[30, 29]] * 9
    assert upside_down.agreement == pytest.approx(-1)
    assert "| 1 | 1.00 | 0.70 to 1.00 | 0.00 | 0.00 to 0.30 |" in told(perfect)
    assert "| 5 | 1.00 | 0.70 to 1.00 | 1.00 | 0.70 to 1.00 |" in told(perfect)


def test_where_the_rule_leaves_nothing_the_exploratory_choice_is_meant():
    bypass = np.array([[-9.0], [-2.0], [-1.0]])
    assert tables(bypass, bypass, np.array([[9.0], [0.3], [0.4]])).winners(np.array([0]), np.array([0])) == (0, 1)
    assert tables(bypass, bypass, np.full((3, 1), 9.0)).winners(np.array([0]), np.array([0])) == (0, 0)
