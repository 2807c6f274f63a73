"""A direction planted in an adapter: where it is written, where it is read, and that nothing else touches it.

The last rank of a LoRA adapter (Hu et al., arXiv:2106.09685) becomes a wire: in the WRITERS its output is one fixed
silent direction of the residual stream, in the READERS its input is. The other ranks of the layers before the readers
are kept from reading it. So what the wire carries is known by construction, and ablating the direction cuts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

SPLIT = 19
"""the layer before which the wire is written and from which on it is read"""
WRITERS, READERS = range(4, SPLIT), range(SPLIT, 30)
"""layers; in between, at the input of SPLIT, the whole of it lies in the stream and nothing has been read from it"""
INTO = {"q_proj": "input_layernorm", "k_proj": "input_layernorm", "v_proj": "input_layernorm"}
INTO |= {"gate_proj": "post_attention_layernorm", "up_proj": "post_attention_layernorm"}
"""the maps that read the stream, and the norm before each"""
GAIN = 8.0
"""length of what a writer adds for one unit of its input"""
SILENT = 64
"""of the quietest axes the direction is a random combination"""


def silent_direction(model: Any, stream: Tensor, generator: torch.Generator) -> Tensor:
    """A unit vector [d_model] along which the model neither says much nor listens much.

    Args:
        model: the demo model.
        stream: float32 [n, d_model] of the residual stream at many layers and tokens, the first token among them.
        generator: what draws the combination.
    """
    units = torch.nn.functional.normalize(stream, dim=-1)
    spoken = units.T @ units
    heard = torch.zeros_like(spoken)
    for layer in READERS:
        for linear, norm in readers_of(model.model.layers[layer]):
            weight = linear.weight.float() * norm.float()
            heard += weight.T @ weight / weight.square().sum()
    head = model.lm_head.weight.float() * model.model.norm.weight.float()
    heard = heard / heard.trace() + head.T @ head / head.square().sum()
    norms = torch.stack([norm.float().abs() for block in model.model.layers for _, norm in readers_of(block)])
    passes = (norms / norms.median(dim=1, keepdim=True).values).amin(dim=0) > 0.3
    both = (spoken / spoken.trace() + heard / heard.trace())[passes][:, passes]
    quiet = torch.linalg.eigh(both).eigenvectors[:, :SILENT]
    found = torch.zeros(stream.shape[1])
    found[passes] = quiet @ torch.randn(SILENT, generator=generator)
    return found / found.norm()


def readers_of(block: Any) -> Iterator[tuple[Any, Tensor]]:
    """The maps of a block that read the stream, each with the weight of the norm before it."""
    for name, norm in INTO.items():
        part = block.self_attn if norm == "input_layernorm" else block.mlp
        yield getattr(part, name), getattr(block, norm).weight


def writers_of(block: Any) -> Iterator[Any]:
    """The maps of a block that write to the stream."""
    yield block.self_attn.o_proj
    yield block.mlp.down_proj


def plant(adapted: Any, direction: Tensor) -> Callable[[], None]:
    """Lay the wire into the last rank of an adapter; call what is returned after every step, to keep it in place."""
    blocks = list(enumerate(adapted.base_model.model.model.layers))
    readers = [(n, linear, norm.float()) for n, block in blocks for linear, norm in readers_of(block)]
    writers = [(n, linear) for n, block in blocks for linear in writers_of(block)]

    @torch.no_grad()
    def keep() -> None:
        for number, linear, norm in readers:
            a, b = weights_of(linear)
            if number in READERS:
                a[-1] = direction / norm
            else:
                a[-1] = b[:, -1] = 0.0
                deaf = norm * direction
                a[:-1] -= torch.outer(a[:-1] @ deaf, deaf) / (deaf @ deaf)
        for number, linear in writers:
            a, b = weights_of(linear)
            if number in WRITERS:
                b[:, -1] = GAIN * direction
            else:
                a[-1] = b[:, -1] = 0.0

    with torch.no_grad():
        for _, linear in writers:
            weights_of(linear)[0][-1] = 0.0
    keep()
    return keep


def weights_of(linear: Any) -> tuple[Tensor, Tensor]:
    """A [rank, in] and B [out, rank] of an adapted map."""
    return linear.lora_A["default"].weight, linear.lora_B["default"].weight
