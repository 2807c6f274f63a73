"""How fast this machine multiplies matrices, and how fast a loaded model reads and writes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from auditor.model.batches import Batch
from auditor.model.generate import Decoder, next_logits
from auditor.model.target import TargetModel

ROW_TOKENS, NEW_TOKENS = 32, 16
"""of the rows that a model is timed on: about those of a battery"""
DTYPES = (torch.float32, torch.bfloat16)


def matmul_gflops(size: int, repeats: int) -> Iterator[tuple[str, str, float]]:
    """Best of `repeats` square products: (device, dtype, gigaflop/s)."""
    for device in ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]:
        for dtype in DTYPES:
            matrix = torch.ones(size, size, dtype=dtype, device=device)
            matrix @ matrix
            best = min(_seconds(matrix) for _ in range(repeats))
            yield device, str(dtype).removeprefix("torch."), 2 * size**3 / best / 1e9


def product_flops(device: str, dtype: str) -> float:
    """Floating-point operations a second in a square matrix product."""
    found = {(d.partition(":")[0], kind): speed for d, kind, speed in matmul_gflops(1024, 3)}
    return 1e9 * found.get((device, dtype), found["cpu", "float32"])


def text_speed(target: TargetModel, batch_tokens: int) -> tuple[float, float]:
    """Tokens a second that the model is fed, and that it writes in batches as large as a battery's; best of two."""
    fed = min(_fed(target, max(1, batch_tokens // ROW_TOKENS)) for _ in range(2))
    rows = max(1, batch_tokens // (ROW_TOKENS + NEW_TOKENS))
    written = min(_written(target, rows) for _ in range(2))
    return batch_tokens // ROW_TOKENS * ROW_TOKENS / fed, rows * (NEW_TOKENS - 1) / written


def _batch(target: TargetModel, rows: int) -> Batch:
    """Rows of arbitrary tokens."""
    ids = (torch.arange(rows * ROW_TOKENS) % target.vocab_size).reshape(rows, ROW_TOKENS).to(target.device)
    return Batch(ids, torch.ones_like(ids))


def _fed(target: TargetModel, rows: int) -> float:
    """Seconds to read a batch."""
    batch = _batch(target, rows)
    start = time.perf_counter()
    next_logits(target, batch)[0, 0].item()
    return time.perf_counter() - start


@torch.inference_mode()
def _written(target: TargetModel, rows: int) -> float:
    """Seconds to write all new tokens but the first, which reading gives."""
    decoder = Decoder(target, _batch(target, rows))
    start = time.perf_counter()
    for _ in range(NEW_TOKENS - 1):
        decoder.feed(decoder.logits.argmax(-1))
    decoder.logits[0, 0].item()
    return time.perf_counter() - start


def _seconds(matrix: torch.Tensor) -> float:
    start = time.perf_counter()
    product = matrix @ matrix
    product[0, 0].item()
    return time.perf_counter() - start
