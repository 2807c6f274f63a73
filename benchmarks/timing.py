"""Alternating repetitions of contestants that do the same work, and the ratios between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import Cost

Numbers = NDArray[np.floating]
Work = Callable[[], Numbers | None]
"""does the whole job and returns the numbers that every contestant must agree on; None where it keeps none"""
Count = Callable[[Work], tuple[Numbers | None, Cost | None]]
"""does a job once, not timed, and says what was computed for it"""


def largest(ours: Numbers, theirs: Numbers) -> float:
    """Largest absolute difference, over the entries that both have (not NaN)."""
    both = ~(np.isnan(ours) | np.isnan(theirs))
    return float(np.abs(ours[both] - theirs[both]).max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Contest:
    """One job, done by us and by others."""

    name: str
    what: str
    """the job with its sizes"""
    ours: str
    contestants: Mapping[str, Work]
    tolerance: float
    """largest difference between the numbers of two contestants"""
    difference: Callable[[Numbers, Numbers], float] = largest
    choice: Callable[[Numbers], str] | None = None
    """what is decided by the numbers; must be the same for all, whatever the tolerance"""
    notes: tuple[str, ...] = ()
    """what a reader must know beside the table, such as who was left out"""


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant, and how many times slower than ours it is."""

    name: str
    seconds: tuple[float, ...]
    ratio: tuple[float, float, float]
    """geometric mean over the repetitions, with its 95 % interval"""
    difference: float | None
    """of its numbers from ours; None where it keeps none"""
    choice: str | None
    cost: Cost | None


def uncounted(work: Work) -> tuple[Numbers | None, Cost | None]:
    """The job done once, with nothing counted."""
    return work(), None


def run(contest: Contest, repetitions: int, count: Count = uncounted) -> list[Timing]:
    """Each repetition times every contestant once, back and forth; a round before them warms up and counts.

    Raises AssertionError, before anything is timed, where numbers or choices differ.
    """
    first = {name: count(work) for name, work in contest.contestants.items()}
    differences = _agreed(contest, {name: numbers for name, (numbers, _) in first.items()})
    seconds: dict[str, list[float]] = {name: [] for name in contest.contestants}
    for turn in range(repetitions):
        for name in list(contest.contestants)[:: -1 if turn % 2 else 1]:
            start = time.perf_counter()
            contest.contestants[name]()
            seconds[name].append(time.perf_counter() - start)
    return [
        Timing(
            name,
            tuple(seconds[name]),
            ratio(seconds[name], seconds[contest.ours]),
            differences[name],
            None if contest.choice is None or numbers is None else contest.choice(numbers),
            cost,
        )
        for name, (numbers, cost) in first.items()
    ]


def _agreed(contest: Contest, found: Mapping[str, Numbers | None]) -> dict[str, float | None]:
    """How far each contestant's numbers are from ours. Raises AssertionError."""
    ours = found[contest.ours]
    if ours is None:
        raise AssertionError(f"{contest.name}: {contest.ours} keeps no numbers")
    told: dict[str, float | None] = {}
    for name, numbers in found.items():
        told[name] = None if numbers is None else contest.difference(ours, numbers)
        if numbers is None:
            continue
        if not contest.difference(ours, numbers) <= contest.tolerance:
            raise AssertionError(f"{contest.name}: {name} differs from {contest.ours} by {told[name]:.3g}")
        if contest.choice is not None and contest.choice(numbers) != contest.choice(ours):
            both = f"{contest.choice(numbers)}; {contest.ours}: {contest.choice(ours)}"
            raise AssertionError(f"{contest.name}: {name} chooses {both}")
    return told


def ratio(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Geometric mean of the paired ratios with a percentile bootstrap interval."""
    logs = np.log(np.array(theirs) / np.array(ours))
    drawn = np.random.default_rng(0).choice(logs, size=(2000, len(logs))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high))
