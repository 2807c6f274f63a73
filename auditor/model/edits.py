"""Edit: a change to the residual stream, as data. No torch; `hooks.editing` applies it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from auditor.model.sites import Site

EditKind = Literal["add", "ablate", "replace"]
Mask = Literal["all", "prompt", "completion", "last_prompt"]
MASKS: tuple[Mask, ...] = get_args(Mask)
UNIT_NORM = 1e-4
"""how far the norm of a direction may be from 1 before it is taken for a mistake, not for rounding"""


@dataclass(frozen=True, eq=False)
class Edit:
    """One intervention along a direction u at some sites and tokens.

    Every kind is x − β(x·u)u + γu: activation addition (β = 0, γ = coefficient · norm), ablation
    (β = coefficient, γ = 0; 1 removes the component) and replacement (β = 1, γ = coefficient · norm). Ablation and
    addition as in Arditi et al. (arXiv:2406.11717).
    """

    kind: EditKind
    vector: NDArray[np.float32]
    """[d_model] u, unit norm"""
    norm: float
    """of the raw estimate of the direction, in units of the residual stream; ablation ignores it"""
    coefficient: float
    """multiple of `norm`; for ablation the share of the component that is removed"""
    sites: tuple[Site, ...]
    positions: Mask = "all"
    """tokens that are changed; `completion` are those after the prompt, generated ones included"""

    def __post_init__(self) -> None:
        if self.kind not in get_args(EditKind):
            raise ValueError(f"no kind of edit named {self.kind!r}; known: {', '.join(get_args(EditKind))}")
        if self.positions not in MASKS:
            raise ValueError(f"no positions named {self.positions!r}; known: {', '.join(MASKS)}")
        if not self.sites or len(set(self.sites)) != len(self.sites):
            raise ValueError("an edit names at least one site and none twice")
        if not (math.isfinite(self.norm) and math.isfinite(self.coefficient) and self.norm >= 0):
            raise ValueError("norm and coefficient are finite, and norm is not negative")
        object.__setattr__(self, "vector", _unit(self.vector))

    @property
    def removed(self) -> float:
        """β: the share of the component along u that is taken away."""
        return {"add": 0.0, "ablate": self.coefficient, "replace": 1.0}[self.kind]

    @property
    def added(self) -> float:
        """γ: what is put there instead, in units of the residual stream."""
        return 0.0 if self.kind == "ablate" else self.coefficient * self.norm

    @cached_property
    def where(self) -> frozenset[Site]:
        """`sites`, to look one up: ablation names three for every layer, and a batch asks for every row."""
        return frozenset(self.sites)

    @cached_property
    def digest(self) -> str:
        """sha256 of everything that decides what the edit does."""
        terms = [self.kind, self.norm, self.coefficient, self.positions]
        sites = sorted((site.layer, site.point) for site in self.sites)
        text = json.dumps([*terms, sites], separators=(",", ":"))
        return hashlib.sha256(text.encode() + b"\0" + self.vector.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Edit) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only copy whose norm is 1 to float32 precision."""
    if vector.ndim != 1 or vector.dtype != np.float32:
        raise ValueError(f"the vector of an edit is float32 [d_model], not {vector.dtype} {list(vector.shape)}")
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not abs(norm - 1.0) <= UNIT_NORM:
        raise ValueError(f"the vector of an edit has unit norm, not {norm:.6g}")
    exact = (vector.astype(np.float64) / norm).astype(np.float32)
    exact.flags.writeable = False
    return exact
