"""Activations: what was read from a model, as float32 NumPy on disk, mapped. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.model.sites import Site


@dataclass(frozen=True, eq=False)
class Activations:
    """Rows of the residual stream at several sites; each row knows its example and token."""

    values: NDArray[np.float32]
    """[n_rows, n_sites, d_model]; mapped, with all rows of a site side by side"""
    sites: tuple[Site, ...]
    """[n_sites] in the order of the second axis"""
    example: NDArray[np.int64]
    """[n_rows] index of the example in the order asked"""
    position: NDArray[np.int64]
    """[n_rows] token position in the example, from 0; the last one where several were averaged"""

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.dtype != np.float32:
            found = f"{self.values.dtype} {list(self.values.shape)}"
            raise ValueError(f"activations are float32 [n_rows, n_sites, d_model], not {found}")
        rows, sites, _ = self.values.shape
        if sites != len(self.sites) or len(set(self.sites)) != sites:
            raise ValueError(f"{sites} columns for {len(self.sites)} sites, each named once")
        if self.example.shape != (rows,) or self.position.shape != (rows,):
            raise ValueError("example and position have one entry a row")

    def at(self, site: Site) -> NDArray[np.float32]:
        """[n_rows, d_model] at one site. Raises KeyError when it was not read."""
        if site not in self.sites:
            raise KeyError(f"{site} was not read; read: {', '.join(map(str, self.sites))}")
        found: NDArray[np.float32] = self.values[:, self.sites.index(site)]
        return found

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Activations:
        """The rows with these indices (or where a mask is true), in that order."""
        chosen = np.asarray(rows)
        return Activations(self.values[chosen], self.sites, self.example[chosen], self.position[chosen])
