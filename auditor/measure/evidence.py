"""Evidence: what one probe puts on record, item by item, as it is made. No torch, no model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditor.config import Scalar
from auditor.data.examples import Example, Split
from auditor.measure.intervals import ColumnRef, Estimate
from auditor.measure.measurement import Chart, Measurement, ProbeResult, Qualification, Sample, TokenScores
from auditor.measure.stored import DRAWS, Row, estimated, items_table

Redaction = Literal["full", "excerpt", "hash"]
EXCERPT = 160
"""characters of a text that an excerpt keeps"""
SAMPLES = 5
"""random items shown beside a behavioural measurement (GPAI Code of Practice, Measure 7.3(1)(f))"""


def redact(text: str, mode: Redaction) -> str:
    """The text as the report may show it."""
    if mode == "full" or (mode == "excerpt" and len(text) <= EXCERPT):
        return text
    if mode == "excerpt":
        return text[:EXCERPT] + f" … [{len(text)} characters]"
    return f"[sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}, {len(text)} characters]"


def redact_tokens(texts: Sequence[str], mode: Redaction) -> tuple[str, ...]:
    """The texts of an answer's tokens as far as the report may show them: all, those of the excerpt, or none."""
    if mode == "full":
        return tuple(texts)
    shown = EXCERPT if mode == "excerpt" else 0
    ends = accumulate(map(len, texts))
    return tuple(text for text, end in zip(texts, ends, strict=True) if end <= shown)


class Evidence:
    """One probe's items, draws, directions and what was measured from them."""

    def __init__(self, probe: str, redaction: Redaction) -> None:
        self.probe = probe
        self.redaction = redaction
        self.tensors: dict[str, NDArray[np.float64]] = {}
        self.directions: dict[str, NDArray[np.float32]] = {}
        self.measurements: list[Measurement] = []
        self.qualifications: list[Qualification] = []
        self.charts: list[Chart] = []
        self.samples: list[Sample] = []
        self.facts: dict[str, Scalar | list[Scalar]] = {}
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}

    def rows(self, table: str) -> Sequence[Row]:
        """Item rows made so far (the `Tables` protocol)."""
        if table != items_table(self.probe):
            raise KeyError(table)
        return list(self._rows.values())

    def tensor(self, name: str) -> NDArray[np.float64]:
        """A stored draw (the `Tables` protocol)."""
        return self.tensors[name]

    def row(self, dataset: str, example: Example, split: Split) -> dict[str, Any]:
        """The item row of an example, made when first asked for."""
        key = (dataset, example.id)
        if key not in self._rows:
            self._rows[key] = {
                "dataset": dataset,
                "id": example.id,
                "kind": example.kind,
                "split": split,
                "group": example.group,
                "label": int(example.label),
                "polarity": example.polarity,
                "text": redact(example.text, self.redaction),
                "text_sha256": hashlib.sha256(example.text.encode()).hexdigest(),
                "answers": {},
                "values": {},
            }
        return self._rows[key]

    def known(self, dataset: str, example_id: str) -> Row:
        """An item row that was made before."""
        return self._rows[dataset, example_id]

    def store_tokens(self, item: tuple[str, str], found: TokenScores) -> TokenScores:
        """Put an answer's scores token by token into the row of an item (data set, id); returns what may be shown."""
        shown = found.model_copy(update={"texts": redact_tokens(found.texts, self.redaction)})
        kept = {"scores": list(shown.scores), "texts": list(shown.texts)}
        self._rows[item].setdefault("tokens", {})[found.detector] = kept
        return shown

    def store(self, name: str, values: NDArray[Any]) -> str:
        """Keep a null draw or a table of candidate scores; returns its name in draws.safetensors."""
        full = f"{self.probe}/{name}"
        if full in self.tensors:
            raise ValueError(f"{full} is on record already")
        self.tensors[full] = np.ascontiguousarray(values, dtype=np.float64)
        return full

    def item_refs(self, roles: Mapping[str, str], where: Mapping[str, Scalar]) -> list[ColumnRef]:
        """References to columns of this probe's item table: estimator role to column name."""
        table = items_table(self.probe)
        return [ColumnRef(role=r, table=table, column=c, where=dict(where)) for r, c in roles.items()]

    def draw_refs(self, roles: Mapping[str, str], row: int | None = None) -> list[ColumnRef]:
        """References to stored tensors: estimator role to tensor name."""
        return [ColumnRef(role=r, table=DRAWS, column=c, row=row) for r, c in roles.items()]

    def estimate(self, estimator: str, refs: Sequence[ColumnRef], params: Mapping[str, Any] | None = None) -> Estimate:
        """An estimate made from what is stored, exactly as `verify` will make it again."""
        return estimated(estimator, refs, self, params)

    def result(self, status: Literal["measured", "abstained", "error"], reason: str = "") -> ProbeResult:
        """What the probe reports, with everything recorded until now."""
        return ProbeResult(
            probe=self.probe,
            status=status,
            reason=reason,
            measurements=tuple(self.measurements),
            qualifications=tuple(self.qualifications),
            charts=tuple(self.charts),
            samples=tuple(self.samples),
            facts=dict(self.facts),
        )
