"""What was computed for a job: tokens that went through a layer, and products with the weights. Counted, not timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from auditor.model.speed import matmul_gflops
from auditor.model.target import TargetModel

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Work of one job. The products inside attention are not in it: on prompts of some fifty tokens they are small."""

    layer_tokens: float
    """rows × layers × tokens, padding counted, that went through a layer"""
    head_tokens: float
    """rows × tokens whose logits were computed"""
    gflop: float
    """of all products with weight matrices, the head's included"""


def counted(target: TargetModel, work: Callable[[], T]) -> tuple[T, Cost | None]:
    """Do the work once and count it, in whatever copy of the model it runs; None where no model was run.

    A layer that was passed over calls none of its linear maps, so it counts for nothing; a layer that was stopped
    half-way counts for the part that ran.
    """
    a_layer = sum(m.weight.numel() for m in target.blocks[0].modules() if isinstance(m, nn.Linear))
    multiplied = {"layers": 0, "head": 0}

    def look(module: nn.Module, args: tuple[Any, ...], _output: Any) -> None:
        if isinstance(module, nn.Linear) and args:
            place = "head" if module.out_features == target.vocab_size else "layers"
            multiplied[place] += args[0].numel() // module.in_features * module.weight.numel()

    handle = register_module_forward_hook(look)
    try:
        found = work()
    finally:
        handle.remove()
    layers, head = multiplied["layers"], multiplied["head"]
    if not layers:
        return found, None
    return found, Cost(layers / a_layer, head / (target.vocab_size * target.d_model), 2e-9 * (layers + head))


def peak_gflops(dtype: torch.dtype, *, size: int = 2048, repeats: int = 5) -> float:
    """The best that this machine does in one square product in a dtype, in gigaflop/s."""
    name = str(dtype).removeprefix("torch.")
    return next(found for device, kind, found in matmul_gflops(size, repeats) if (device, kind) == ("cpu", name))
