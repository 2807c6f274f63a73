"""The cost model on machines that are not here: `python -m benchmarks.projection` prints the table of docs/cost.md.

Arithmetic alone: no model, no torch, no GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.checkpoint.shape import Shape
from auditor.cli.discover import battery_paths, load_probes
from auditor.cli.forecast import declared_work
from auditor.config import load_config
from auditor.measure.cost import Work
from auditor.measure.forecast import Speed, memory
from auditor.model.plan import Machine

LLAMA = {
    "8B": Shape(8_030_000_000, 32, 4096, 14336, 128_256, 32, 1024, tied=False),
    "70B": Shape(70_550_000_000, 80, 8192, 28672, 128_256, 64, 1024, tied=False),
}
"""shapes of Llama 3.1, from its config.json"""
ROW_TOKENS = 80
"""of a row that is being answered: prompt, and room for the answer"""


@dataclass(frozen=True)
class Card:
    """An accelerator by its data sheet, and the shares of it that are assumed to be reached."""

    name: str
    flops: float
    """a second, dense bfloat16"""
    bandwidth: float
    """bytes a second"""
    reached: float = 0.4
    """of the flops, in batches of tens of thousands of tokens"""
    streamed: float = 0.6
    """of the bandwidth, while weights are read once a written token"""

    def speed(self, shape: Shape, machine: Machine) -> Speed:
        """Feeding is bound by arithmetic, writing by that or by reading the weights, whichever is slower."""
        rows = machine.batch_tokens // ROW_TOKENS
        flops = self.reached * self.flops
        step = max(
            rows * (shape.flops_fed + shape.flops_head) / flops,
            machine.weight_bytes * shape.parameters / (self.streamed * self.bandwidth),
        )
        return Speed(flops / shape.flops_fed, rows / step, self.name)


H100 = Card("H100 SXM", flops=989e12, bandwidth=3.35e12)
CUDA = Machine("cuda", "bfloat16", 32768, compared=True)


def battery_work(name: str, shape: Shape) -> list[Work]:
    """Everything that a battery asks of a model of this shape, at most."""
    config = load_config(None, battery=name, overrides={"model": "none"}, batteries=battery_paths())
    probes = load_probes(list(config.probes))
    found: list[Work] = []
    for probe, settings in config.probes.items():
        found += declared_work(probes[probe], settings.params, 0, shape) or []
    return found


def lines() -> Iterator[str]:
    """A table in Markdown."""
    yield "| model | battery | tokens fed | written | one card | eight cards | weights | measuring | comparing |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for size, shape in LLAMA.items():
        speed, room = H100.speed(shape, CUDA), memory(shape, CUDA)
        for battery in ("quick", "release"):
            work = battery_work(battery, shape)
            seconds = speed.seconds(work, shape)
            fed, written = sum(one.fed for one in work), sum(one.written for one in work)
            sizes = " | ".join(f"{part / 1e9:.0f} GB" for part in (room.weights, room.measuring, room.loading))
            yield f"| {size} | {battery} | {fed:,} | {written:,} | {seconds:.0f} s | {seconds / 8:.0f} s | {sizes} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
