"""attn_out and mlp_out: what a block adds to the stream, found by arithmetic and not by name.

Two parts of a block for which resid_pre + a + b = resid_post at every layer are what it adds, whether a norm follows
attention (gemma) or both read the same input (neox). Otherwise both points are unsupported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from auditor.model.batches import inputs, left_padded
from auditor.model.edits import Edit
from auditor.model.hooks import editing, outputs_of, recording
from auditor.model.sites import Point, Site
from auditor.model.target import TargetModel

ADDED: tuple[Point, Point] = ("attn_out", "mlp_out")
MIXING = 1e-3
"""relative change of a part's output at a token when only the tokens before it change; without attention it is 0"""


def with_parts(target: TargetModel, ids: tuple[int, ...]) -> TargetModel:
    """The target with attn_out and mlp_out, or with the reason why it has neither."""
    for depth in (1, 2):
        for pair in _pairs(target, ids, depth):
            attention, mlp = _in_order(target, ids, pair) or (None, None)
            if attention is None or mlp is None:
                return _without(target, "neither of the two parts that a block adds up mixes tokens")
            modules = [tuple(b.get_submodule(name) for b in target.blocks) for name in (attention, mlp)]
            found = replace(target, parts=dict(zip(ADDED, modules, strict=True)))
            if _writes(found, ids):
                return found
    parts = ", ".join(name for name, _ in target.blocks[0].named_children())
    return _without(target, f"no two parts of a block ({parts}) add up to what every block adds to the stream")


def _without(target: TargetModel, reason: str) -> TargetModel:
    return replace(target, parts={}, unsupported=dict.fromkeys(ADDED, reason))


def _pairs(target: TargetModel, ids: tuple[int, ...], depth: int) -> list[tuple[str, str]]:
    """Names of parts with resid_pre + a + b = resid_post at every layer, first those that run last in a block.

    Nothing but dropout, which does nothing here, may stand between two fitting parts of one branch.
    """
    outputs = _run(target, ids, depth)
    fitting: list[tuple[str, str]] = []
    for layer, (pre, post, parts) in enumerate(outputs):
        names = [name for name, output in parts.items() if output.shape == pre.shape]
        candidates = combinations(names, 2) if layer == 0 else fitting
        fitting = [
            (a, b) for a, b in candidates if a in parts and b in parts and adds_up(pre, parts[a], parts[b], post)
        ]
    return fitting[::-1]


def _run(target: TargetModel, ids: tuple[int, ...], depth: int) -> list[tuple[Tensor, Tensor, Mapping[str, Tensor]]]:
    """For each layer: input, output, and the outputs of its parts in the order in which they run."""
    modules = {
        f"{layer}.{name}": module
        for layer, block in enumerate(target.blocks)
        for name, module in block.named_modules()
        if name and name.count(".") < depth
    }
    sites = [Site(layer, point) for layer in range(target.n_layers) for point in ("resid_pre", "resid_post")]
    with recording(target, sites, [range(len(ids))]) as seen, outputs_of(modules) as outputs:
        _forward(target, ids)
    found: list[tuple[Tensor, Tensor, Mapping[str, Tensor]]] = []
    for layer in range(target.n_layers):
        pre, post = (torch.from_numpy(seen.at(site))[None] for site in sites[2 * layer : 2 * layer + 2])
        start = f"{layer}."
        parts = {name.removeprefix(start): out for name, out in outputs.items() if name.startswith(start)}
        found.append((pre.to(target.dtype), post.to(target.dtype), {n: o.cpu() for n, o in parts.items()}))
    return found


def _forward(target: TargetModel, ids: tuple[int, ...]) -> None:
    batch = left_padded(target, [ids])
    target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)


def adds_up(pre: Tensor, a: Tensor, b: Tensor, post: Tensor) -> bool:
    """Whether pre + a + b = post, up to the rounding of two additions in the tensors' own format.

    Each addition rounds by at most eps/2 of its result, so the bound holds entry by entry and needs no tolerance.
    """
    eps = max(torch.finfo(pre.dtype).eps, torch.finfo(torch.float32).eps)
    wide = [tensor.double() for tensor in (pre, a, b, post)]
    error = (wide[0] + wide[1] + wide[2] - wide[3]).abs()
    return bool((error <= eps * sum(tensor.abs() for tensor in wide)).all())


def _in_order(target: TargetModel, ids: tuple[int, ...], pair: tuple[str, str]) -> tuple[str, str] | None:
    """The pair with attention first: the part whose output at a token depends on the tokens before it.

    Where both do, the second one reads what the first one wrote.
    """
    other = (*((token + 1) % target.vocab_size for token in ids[:-1]), ids[-1])
    block: nn.Module = target.blocks[0]
    seen = []
    for text in (ids, other):
        with outputs_of({name: block.get_submodule(name) for name in pair}) as outputs:
            _forward(target, text)
        seen.append({name: output[0, -1].double() for name, output in outputs.items()})
    mixes = [float((seen[0][n] - seen[1][n]).norm()) > MIXING * float(seen[0][n].norm()) for n in pair]
    if not any(mixes):
        return None
    return pair if mixes[0] else (pair[1], pair[0])


def _writes(target: TargetModel, ids: tuple[int, ...]) -> bool:
    """Whether changing what the parts return changes the stream by as much, at every layer."""
    vector = np.random.default_rng(0).normal(size=target.d_model)
    sites = [Site(layer, point) for layer in range(target.n_layers) for point in ADDED]
    u = (vector / np.linalg.norm(vector)).astype(np.float32)
    edit = Edit("add", u, norm=1.0, coefficient=1.0, sites=tuple(sites))
    around = [Site(layer, point) for layer in range(target.n_layers) for point in ("resid_pre", "resid_post")]
    with editing(target, [edit]), recording(target, [*sites, *around], [range(len(ids))]) as seen:
        _forward(target, ids)

    def at(layer: int, point: Point) -> Tensor:
        return torch.from_numpy(seen.at(Site(layer, point))).to(target.dtype)

    return all(
        adds_up(at(i, "resid_pre"), at(i, "attn_out"), at(i, "mlp_out"), at(i, "resid_post"))
        for i in range(target.n_layers)
    )
