"""Which number format the weights are computed in: a fixed rule, then a measured comparison with float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.config import Scalar
from auditor.errors import ConfigError

NAMED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_STORED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}

FAST_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16"})
"""CPU flags with which bfloat16 pays. Measured with avx512_bf16 and 135M weights, in tokens per CPU second of one
thread: 750 against 370 in a forward pass of 16 × 48 tokens, 670 against 340 of 16 × 16, 160 against 110 decoding
16 rows."""

KL_MAX = 0.01
"""nats, mean over the fidelity texts: a tenth of the 0.1 below which an intervention counts as harmless
(arXiv:2406.11717), so that an intervention is not blamed for rounding"""
TOP1_MIN = 0.9
"""share of the fidelity texts with the same likeliest next token, near ties apart"""
NEAR_TIE = 0.1
"""nats below the likeliest token of float32 that another one may lie and count as the same: rounding alone flips such,
in 1 to 3 of 24 texts on the demo model, by CPU and number of threads"""

FIDELITY_TEXTS = tuple(
    f"{start} {end}"
    for start in ("The capital of France", "In the morning the old man", "A simple way to learn", "Water")
    for end in (
        "is",
        "was not what they had expected, because",
        "and its history, from the beginning until today:",
        "can be described in three short steps. First,",
        "? I am not sure, but the answer is",
        "\n\n1.",
    )
)
"""24 unfinished texts; none is used by a probe"""


@dataclass(frozen=True)
class Fidelity:
    """How far next-token distributions in a narrower format are from those in float32."""

    kl: float
    """nats, mean of KL(float32 ‖ narrower)"""
    top1: float
    """share of texts with the same likeliest token, or one that float32 finds nearly as likely"""
    n: int

    @property
    def passed(self) -> bool:
        """Whether the narrower format may stand for float32."""
        return self.kl <= KL_MAX and self.top1 >= TOP1_MIN

    @property
    def facts(self) -> dict[str, Scalar]:
        """What belongs on record."""
        return {
            "dtype_kl_to_float32": float(f"{self.kl:.3g}"),
            "dtype_top1_agreement": round(self.top1, 4),
            "dtype_texts": self.n,
        }


def fidelity(reference: Tensor, narrower: Tensor) -> Fidelity:
    """Compare logits [n_texts, vocab] of the same texts in float32 and in a narrower format."""
    p, q = reference.double().log_softmax(-1), narrower.double().log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).mean()
    chosen = p.gather(-1, narrower.argmax(-1, keepdim=True)).squeeze(-1)
    same = (p.amax(-1) - chosen <= NEAR_TIE).double().mean()
    return Fidelity(float(kl), float(same), len(reference))


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises ConfigError for a device that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {wanted!r} cannot be used: {str(error).splitlines()[0]}") from error


def choose_dtype(
    wanted: str, device: torch.device, stored: Mapping[str, int], flags: frozenset[str]
) -> tuple[torch.dtype, str]:
    """The format to compute in, and why.

    Args:
        wanted: `auto` or a name in NAMED.
        device: where the model runs.
        stored: number of weights in each safetensors format.
        flags: instruction sets of the CPU.

    Raises:
        ConfigError: an unknown name.
    """
    if wanted != "auto":
        if wanted not in NAMED:
            raise ConfigError(f"no dtype named {wanted!r}; known: auto, {', '.join(NAMED)}")
        return NAMED[wanted], "asked for"
    if device.type == "cpu":
        fast = sorted(flags & FAST_BFLOAT16)
        if fast:
            return torch.bfloat16, f"this CPU multiplies bfloat16 in hardware ({', '.join(fast)})"
        return torch.float32, "this CPU has no fast bfloat16"
    most = max(stored, key=lambda name: (stored[name], name), default="")
    if most in _STORED:
        return _STORED[most], f"as stored ({most})"
    return torch.float32, f"stored as {most or 'nothing known'}"


def cpu_flags() -> frozenset[str]:
    """Instruction sets of this CPU as Linux names them; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
    except OSError:
        return frozenset()
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()
