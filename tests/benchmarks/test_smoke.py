"""Every benchmark's contestants find the same numbers; the time is never looked at."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.model.prompts import render
from benchmarks.jobs import JOBS, SMOKE, Bench
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
