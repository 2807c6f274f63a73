"""How much each job does, by the size of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How much is done. The defaults are those of the demo model."""

    texts: int = 128
    """prompts whose residual stream is read"""
    fit: int = 128
    """prompts of a class from which candidate directions are made; this and the grid are those of the quick battery"""
    validation: int = 16
    """prompts of a class on which candidates are tried"""
    positions: int = 2
    """last tokens of the prompt at which candidates lie"""
    layer_step: int = 2
    """every how manieth layer has candidates"""
    rows: int = 430
    """of the probe sweep"""
    sites: int = 30
    folds: int = 5
    permutations: int = 20
    coefficients: int = 7
    directions: int = 21
    prompts: int = 32
    """that are steered"""
    tokens: int = 24
    """that are written to each"""


SIZES: Mapping[str, Sizes] = {
    "demo": Sizes(),
    "half-billion": Sizes(
        texts=32, fit=16, validation=4, positions=1, layer_step=3, coefficients=3, directions=5, prompts=8, tokens=8
    ),
}
TRIAL = Sizes(
    texts=12, fit=16, validation=4, positions=1, layer_step=5, rows=120, sites=2, folds=2, permutations=5,
    coefficients=2, directions=2, prompts=4, tokens=6,
)  # fmt: skip
"""to see that everything runs; its figures say nothing"""
SMOKE = Sizes(
    texts=6, fit=3, validation=2, positions=1, layer_step=1, rows=60, sites=2, folds=2, permutations=3,
    coefficients=2, directions=2, prompts=3, tokens=3,
)  # fmt: skip
"""of the test on a tiny model"""
