"""How fast this machine multiplies matrices, by device and dtype."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

DTYPES = (torch.float32, torch.bfloat16)


def matmul_gflops(size: int, repeats: int) -> Iterator[tuple[str, str, float]]:
    """Best of `repeats` square products: (device, dtype, gigaflop/s)."""
    for device in ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]:
        for dtype in DTYPES:
            matrix = torch.ones(size, size, dtype=dtype, device=device)
            matrix @ matrix
            best = min(_seconds(matrix) for _ in range(repeats))
            yield device, str(dtype).removeprefix("torch."), 2 * size**3 / best / 1e9


def _seconds(matrix: torch.Tensor) -> float:
    start = time.perf_counter()
    product = matrix @ matrix
    product[0, 0].item()
    return time.perf_counter() - start
