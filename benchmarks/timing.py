"""Alternating repetitions of contestants that do the same work, and the ratios between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
Work = Callable[[], Numbers]
"""does the whole job and returns the numbers that every contestant must agree on"""


@dataclass(frozen=True, eq=False)
class Contest:
    """One job, done by us and by others."""

    name: str
    what: str
    """the job with its sizes"""
    ours: str
    contestants: Mapping[str, Work]
    tolerance: float
    """largest absolute difference between the numbers of two contestants"""


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant, and how many times slower than ours it is."""

    name: str
    seconds: tuple[float, ...]
    ratio: tuple[float, float, float]
    """geometric mean over the repetitions, with its 95 % interval"""
    difference: float
    """largest absolute difference of its numbers from ours"""


def run(contest: Contest, repetitions: int) -> list[Timing]:
    """Each repetition times every contestant once, in turn; the first round warms up and is not counted.

    Raises AssertionError where the numbers differ by more than the tolerance.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contest.contestants}
    found: dict[str, Numbers] = {}
    for turn in range(repetitions + 1):
        for name, work in contest.contestants.items():
            start = time.perf_counter()
            found[name] = work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    ours = found[contest.ours]
    timings = []
    for name in contest.contestants:
        difference = float(np.abs(found[name] - ours).max())
        if not difference <= contest.tolerance:
            raise AssertionError(f"{contest.name}: {name} differs from {contest.ours} by {difference:.3g}")
        timings.append(Timing(name, tuple(seconds[name]), ratio(seconds[name], seconds[contest.ours]), difference))
    return timings


def ratio(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Geometric mean of the paired ratios with a percentile bootstrap interval."""
    logs = np.log(np.array(theirs) / np.array(ours))
    drawn = np.random.default_rng(0).choice(logs, size=(2000, len(logs))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))
