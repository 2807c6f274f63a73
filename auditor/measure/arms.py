"""Arm: what is different while the target answers. No torch, no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from auditor.model.edits import Edit

Edits = tuple[Edit, ...]


@dataclass(frozen=True)
class Arm:
    """One condition under which questions are asked."""

    name: str
    system: str | None = None
    """system prompt; None leaves what the template adds by itself"""
    edits: Edits = ()
    settled: Callable[[str], bool] | None = None
    """told the text so far: whether the rest of it is not wanted"""


DEFAULT = Arm("default")
