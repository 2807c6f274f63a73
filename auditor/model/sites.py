"""Where a model is read or written: a layer and a point in its block. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Point = Literal["resid_pre", "resid_post", "attn_out", "mlp_out"]
POINTS: tuple[Point, ...] = get_args(Point)
"""resid_pre and resid_post are the input and output of a block; attn_out and mlp_out are what it *adds*"""


@dataclass(frozen=True, order=True)
class Site:
    """One place in the residual stream of every token."""

    layer: int
    """from 0; resid_pre of layer 0 is the embedding"""
    point: Point

    def __post_init__(self) -> None:
        if type(self.layer) is not int or self.layer < 0:
            raise ValueError(f"layer {self.layer!r}: layers count from 0")
        if self.point not in POINTS:
            raise ValueError(f"no point named {self.point!r}; known: {', '.join(POINTS)}")
