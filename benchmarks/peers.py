"""Other libraries that read a residual stream. Each is optional, and is given a checkpoint on this machine.

A sparing reader does only what the job asks, in the way its library offers for that: no head where it can be left out,
no block after the last one that is read, one token kept where it can be. A plain one is what its library's first
example shows: the whole model, every token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.model.batches import Batch, inputs
from auditor.model.hooks import library_hidden_states
from auditor.model.target import TargetModel

Reader = Callable[[Batch], Tensor]
"""a left-padded batch -> resid_post of the last token at every layer but the last, [rows, n_layers − 1, d_model]"""


def transformers_reader(target: TargetModel, *, sparing: bool) -> Reader:
    """`output_hidden_states=True`; its lasting hooks are taken out each time."""
    model = target.backbone if sparing else target.model

    def read(batch: Batch) -> Tensor:
        states = library_hidden_states(model, inputs(model, batch.ids, batch.mask))
        if states is None:
            raise LookupError("the library listed no hidden states")
        return torch.stack([state[:, -1].float() for state in states[1:-1]], dim=1)

    return read


def _steering_vectors(target: TargetModel, _folder: Path, sparing: bool) -> Reader:
    """`record_activations`; it keeps every token."""
    record = import_module("steering_vectors").record_activations
    layers, model = range(target.n_layers - 1), target.backbone if sparing else target.model

    def read(batch: Batch) -> Tensor:
        with record(model, layer_nums=layers) as seen:
            model(**inputs(model, batch.ids, batch.mask), use_cache=False)
        return torch.stack([seen[layer][0][:, -1].float() for layer in layers], dim=1)

    return read


def _nnsight(target: TargetModel, folder: Path, sparing: bool) -> Reader:
    """A trace that saves the last token; a sparing one stops behind the last block that is read."""
    wrapper: Any = import_module("nnsight.modeling.transformers").TransformersModel
    how = {"task": "text-generation", "dtype": target.dtype, "attn_implementation": "eager"}
    model = wrapper(str(folder), dispatch=True, **how)
    blocks = list(model.model.layers)[: target.n_layers - 1]

    def read(batch: Batch) -> Tensor:
        saved = []
        with model.trace(inputs(target.model, batch.ids, batch.mask), use_cache=False) as tracer:
            for block in blocks:
                saved.append(block.output[:, -1].save())
            if sparing:
                tracer.stop()
        return torch.stack([one.float() for one in saved], dim=1)

    return read


def _transformer_lens(target: TargetModel, folder: Path, sparing: bool) -> Reader:
    """`TransformerBridge.run_with_cache`; a sparing one with a slice of one token, stopped before the last block."""
    bridge: Any = import_module("transformer_lens.model_bridge").TransformerBridge
    model = bridge.boot_transformers(str(folder), device=str(target.device), dtype=target.dtype)
    names = [f"blocks.{layer}.hook_out" for layer in range(target.n_layers - 1)]
    spared: dict[str, Any] = {"pos_slice": -1, "stop_at_layer": target.n_layers - 1} if sparing else {}

    def read(batch: Batch) -> Tensor:
        given = inputs(target.model, batch.ids, batch.mask)
        _, cache = model.run_with_cache(
            given.pop("input_ids"), return_cache_object=False, names_filter=names, **spared, **given
        )
        return torch.stack([cache[name][:, -1].float() for name in names], dim=1)

    return read


PEERS: Mapping[str, Callable[[TargetModel, Path, bool], Reader]] = {
    "steering-vectors": _steering_vectors,
    "nnsight": _nnsight,
    "transformer-lens": _transformer_lens,
}
"""by the name of the distribution"""


@dataclass(frozen=True)
class Found:
    """The peers that are here, and what is to be said of those that are not."""

    sparing: Mapping[str, Reader]
    """name with version -> reader"""
    plain: Mapping[str, Reader]
    missing: tuple[str, ...]


def find_peers(target: TargetModel, folder: Path) -> Found:
    """Readers of the peers that are installed. `folder` is empty; those that load by themselves get the model there."""
    installed, missing = {}, []
    for name in PEERS:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            missing.append(f"{name} is not installed and was left out")
    if installed:
        target.model.save_pretrained(folder)
        target.tokenizer.save_pretrained(folder)
    sparing, plain = (
        {f"{name} {v}": PEERS[name](target, folder, one) for name, v in installed.items()} for one in (True, False)
    )
    return Found(sparing, plain, tuple(missing))
