"""Plan: what the measuring process fixes before its first unit, and replays on resume. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auditor.config import ModelRole, Scalar, Strict

TEXT_SHARE = 3
"""Texts are written with this many times `batch_tokens`: a step is one token a row, and reads the weights once."""


class Plan(Strict):
    """What was fixed before the first unit, and replayed by --resume."""

    role: ModelRole
    role_from: Literal["config", "chat template", "no chat template"]
    device: str
    dtype: str
    dtype_reason: str
    threads: int
    batch_tokens: int
    """batching rule: rows sorted by length, at most this many padded tokens a batch"""
    facts: dict[str, Scalar]
    """n_layers, d_model, points supported, fidelity of the dtype, load checks with their measured errors"""


@dataclass(frozen=True)
class Machine:
    """How a model is run."""

    device: str
    dtype: str
    batch_tokens: int
    """padded tokens a batch"""
    compared: bool
    """whether a float32 copy is loaded, for comparison"""

    @property
    def weight_bytes(self) -> int:
        """Of one weight."""
        return 4 if self.dtype == "float32" else 2
