"""Recorder: what a probe puts on record, beside numbers that the bench makes. No torch, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.config import Scalar
from auditor.measure.directions import Direction
from auditor.measure.evidence import Evidence
from auditor.measure.intervals import UNMEASURED, Estimate
from auditor.measure.measurement import Axes, LineChart, Measurement, MeasurementSpec, Role, Series


class Recorder:
    """One probe's side of the record."""

    def __init__(self, evidence: Evidence, specs: Sequence[MeasurementSpec]) -> None:
        self._evidence = evidence
        self._specs = {spec.name: spec for spec in specs}
        self._exploratory = False

    def fact(self, name: str, value: Scalar | list[Scalar]) -> None:
        """Put something found on the way on record."""
        self._evidence.facts[name] = value

    def decline(self, name: str, reason: str, *, at: Mapping[str, Scalar] | None = None) -> None:
        """Put on record that a declared measurement was not taken, and why."""
        self._record(name, UNMEASURED, "primary", at, reason)

    def explore(self, why: str) -> None:
        """From here on what is recorded is exploratory: it is shown, and meets no criterion."""
        self._exploratory = True
        self.fact("exploratory", why)

    def keep(self, name: str, direction: Direction) -> None:
        """Put a direction on record."""
        self._evidence.directions[f"{self._evidence.probe}/{name}"] = direction.vector

    def plot(self, measurement: str, axes: Axes, *, at: tuple[str, str]) -> None:
        """Draw what was recorded of a measurement: a line for each value of the first key, over the second."""
        lines: dict[str, dict[float, Estimate]] = {}
        for m in self._evidence.measurements:
            if m.name == measurement and set(at) <= set(m.at):
                lines.setdefault(str(m.at[at[0]]), {})[float(m.at[at[1]] or 0)] = m.estimate
        x = sorted(set.intersection(*(set(points) for points in lines.values()))) if lines else []
        if len(x) < 2:
            return
        series = [
            Series(
                name=name,
                y=tuple(points[i].value for i in x),
                low=tuple(points[i].low for i in x),
                high=tuple(points[i].high for i in x),
            )
            for name, points in lines.items()
        ]
        self._evidence.charts.append(
            LineChart(**axes._asdict(), x=tuple(x), series=tuple(series), measurement=measurement, at=at)
        )

    def _record(self, name: str, found: Estimate, role: Role, at: Mapping[str, Scalar] | None, note: str) -> None:
        spec = self._specs[name]
        self._evidence.measurements.append(
            Measurement(
                name=name,
                estimate=found,
                unit=spec.unit,
                at=dict(at or {}),
                role=role,
                note=note,
                exploratory=self._exploratory,
            )
        )
