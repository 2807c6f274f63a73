"""Forecast: how long a battery takes and how much memory, by arithmetic on declared work. No torch, no weights.

docs/cost.md has the formulas, what is assumed, and how they were checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.checkpoint.shape import Shape
from auditor.measure.cost import Work
from auditor.model.plan import TEXT_SHARE, Machine

MIB = 1 << 20
LIBRARIES = 400 * MIB
"""Python with torch, transformers, SciPy and scikit-learn, before a model is loaded"""
KEPT_BY_STATISTICS = 120 * MIB
"""data sets, item tables, refits on shuffled labels, and what the allocator does not give back"""
PREFIX_TOKENS = 32
"""of a shared beginning, in the cache of every row"""
SHORTEST_ROW = 12
"""tokens of the shortest questions: how many rows a batch has at most"""
ACTIVATIONS_READ = LAYER_INPUTS = 64 * MIB
"""bounds kept by `model.extract` and `model.late`"""


@dataclass(frozen=True)
class Speed:
    """How fast a model runs on a machine, and how that is known."""

    fed: float
    """tokens a second through all blocks"""
    written: float
    """tokens a second generated, all rows of a batch together"""
    how: str

    @classmethod
    def of_matmul(cls, flops: float, shape: Shape, how: str) -> Speed:
        """From the speed of a square matrix product [flop/s]: a model reaches a share of it."""
        fed = FED_SHARE * flops / shape.flops_fed
        return cls(fed, WRITTEN_SHARE * flops / (shape.flops_fed + shape.flops_head), how)

    def seconds(self, work: Sequence[Work], shape: Shape) -> float:
        """Of some work. A row of logits costs as many tokens as the head has weights in tokens of the blocks."""
        head = shape.flops_head / shape.flops_fed
        fed = sum(one.fed + head * one.rows * one.head for one in work)
        return fed / self.fed + sum(one.written for one in work) / self.written


FED_SHARE, WRITTEN_SHARE = 0.5, 0.15
"""of the speed of a square matrix product, measured with 135M weights on two CPU cores"""


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak, by what they are for. Every part is there at the same time, but for the comparison."""

    libraries: int
    weights: int
    comparison: int
    """the float32 copy with which the number format is compared while loading, and the file that it is made from;
    0 where that is not done"""
    batch: int
    """of one batch: cache, temporaries, logits"""
    held: int
    """bounded buffers: activations read, layer inputs, statistics"""

    @property
    def loading(self) -> int:
        """While the model is loaded and compared."""
        return self.libraries + max(self.weights, self.comparison)

    @property
    def measuring(self) -> int:
        """While the battery runs."""
        return self.libraries + self.weights + self.batch + self.held

    @property
    def peak(self) -> int:
        """The larger of the two."""
        return max(self.loading, self.measuring)


def memory(shape: Shape, machine: Machine) -> Memory:
    """What a run holds; it does not depend on the number of prompts."""
    batch_tokens, weight_bytes = machine.batch_tokens, machine.weight_bytes
    rows = batch_tokens // SHORTEST_ROW
    cache = TEXT_SHARE * (batch_tokens + rows * PREFIX_TOKENS) * shape.n_layers * 2 * shape.kv_width * weight_bytes
    blocks = batch_tokens * (8 * shape.d_model + 4 * shape.d_inner) * weight_bytes
    logits = rows * shape.vocabulary * (weight_bytes + 4)
    read = min(ACTIVATIONS_READ, 4 * batch_tokens * shape.n_layers * shape.d_model)
    return Memory(
        libraries=LIBRARIES,
        weights=shape.parameters * weight_bytes,
        comparison=shape.parameters * (4 + weight_bytes) if machine.compared else 0,
        batch=cache + blocks + logits,
        held=read + LAYER_INPUTS + KEPT_BY_STATISTICS,
    )
