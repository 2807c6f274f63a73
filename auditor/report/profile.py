"""What was measured in many places, as running text: on paper a table of it takes pages, and long to lay out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.measure.measurement import LineChart, Measurement, Series
from auditor.report.details import placed, point
from auditor.report.numbers import interval, number, plain, sample_size
from auditor.report.text import DASH
from auditor.report.words import ROLE


@dataclass(frozen=True)
class Run:
    """Measurements that differ in one key of where they were taken."""

    head: str
    """what they share: place, part, n, note"""
    points: tuple[str, ...]
    """each with its own place, value and interval"""


def runs(group: Sequence[Measurement]) -> tuple[Run, ...]:
    """Measurements of one name, those together that share everything but the key with the most values."""
    keys = dict.fromkeys(key for m in group for key in m.at)
    along = max(keys, key=lambda key: len({m.at.get(key) for m in group}), default="")
    found: dict[tuple[str, ...], list[str]] = {}
    for m in group:
        shared = ", ".join(placed(key, value) for key, value in m.at.items() if key != along)
        head = (shared, ROLE[m.role], sample_size(m.estimate), m.note)
        found.setdefault(head, []).append(_point(m, along))
    return tuple(Run(", ".join(filter(None, head)), tuple(points)) for head, points in found.items())


def line(chart: LineChart, series: Series) -> tuple[str, ...]:
    """The points of one line, each with its place: "21: 0.81 (0.75 to 0.87), chosen"."""
    return tuple(f"{plain(x)}: {point(series, i)}" for i, x in enumerate(chart.x))


def _point(m: Measurement, along: str) -> str:
    between = interval(m.estimate, m.unit)
    told = number(m.estimate.value, m.unit) + ("" if between == DASH else f" ({between})")
    return f"{placed(along, m.at[along])}: {told}" if along in m.at else told
