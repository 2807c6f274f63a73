"""Where an estimate's inputs are stored, and how they are found again: the bench and `verify` read alike. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.errors import VerifyMismatch
from auditor.measure.intervals import ESTIMATORS, ColumnRef, Estimate, estimate

DRAWS = "draws.safetensors"
DIRECTIONS = "directions.safetensors"
Row = Mapping[str, Any]


class Tables(Protocol):
    """What has been stored so far, in memory or in a run folder."""

    def rows(self, table: str) -> Sequence[Row]:
        """Rows of an item table, in file order."""

    def tensor(self, name: str) -> NDArray[np.float64]:
        """One tensor of draws.safetensors."""


def items_table(probe: str) -> str:
    """Path of a probe's item table in the run folder."""
    return f"items/{probe}.jsonl"


def _cell(row: Row, column: str) -> Any:
    return row[column] if column in row else row["values"].get(column)


def _selected(refs: Sequence[ColumnRef], rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    where = refs[0].where
    chosen = [row for row in rows if all(row.get(key) == value for key, value in where.items())]
    cells = [[_cell(row, ref.column) for ref in refs] for row in chosen]
    cells = [line for line in cells if all(cell is not None for cell in line)]
    return {ref.role: np.asarray([line[i] for line in cells]) for i, ref in enumerate(refs)}


def arrays(refs: Sequence[ColumnRef], tables: Tables) -> dict[str, NDArray[Any]]:
    """The inputs of an estimator by role.

    Roles that share a table and its `where` are aligned: a row in which one of them is null is left out of
    all. Roles with another `where`, and tensors, are selected on their own.
    """
    found: dict[str, NDArray[Any]] = {}
    together: dict[str, list[ColumnRef]] = {}
    for ref in refs:
        if ref.table == DRAWS:
            tensor = tables.tensor(ref.column)
            found[ref.role] = tensor if ref.row is None else tensor[ref.row]
        else:
            together.setdefault(f"{ref.table} {sorted(ref.where.items())}", []).append(ref)
    for group in together.values():
        found |= _selected(group, tables.rows(group[0].table))
    return found


def estimated(
    estimator: str, refs: Sequence[ColumnRef], tables: Tables, params: Mapping[str, Any] | None = None
) -> Estimate:
    """The estimate that `estimator` gives on stored columns."""
    if estimator not in ESTIMATORS:
        raise VerifyMismatch(f"unknown estimator {estimator!r}; known: {', '.join(sorted(ESTIMATORS))}")
    return estimate(estimator, columns=refs, arrays=arrays(refs, tables), params=params or {})
