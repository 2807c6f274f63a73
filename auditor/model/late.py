"""Starting late: rows whose edits begin at some layer go on from what the unedited model feeds that layer.

The blocks before it are run once a prompt instead of once a row: prefix reuse along the layers instead of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.model.batches import in_batches, left_padded
from auditor.model.edits import Edit
from auditor.model.generate import next_logits
from auditor.model.hooks import recording, stopping_behind
from auditor.model.prefix import Prefix
from auditor.model.sites import Site
from auditor.model.target import TargetModel

ROOM = 1 << 26
"""bytes of layer inputs that memory holds; a sweep of more prompts is done in portions"""
STEPS = 16
"""layers at which rows start, spread over the depth: more of them make smaller batches"""

Ids = tuple[int, ...]


def start_layer(target: TargetModel, edits: Sequence[Edit], sites: Sequence[Site]) -> int:
    """The layer at which a row may start: nothing before it is changed or read. 0 for a row without edits."""
    edited = [site.layer for edit in edits for site in edit.sites]
    if not edited or not target.starts_late:
        return 0
    first = min([*edited, *(site.layer for site in sites)])
    return first - first % max(1, target.n_layers // STEPS)


def portions(target: TargetModel, texts: Sequence[Ids], n_layers: int) -> list[list[int]]:
    """Which rows go together, so that their layer inputs at `n_layers` layers fit into ROOM.

    Rows of one text stay together, because its inputs are read once for all of them.
    """
    size = n_layers * target.d_model * target.dtype.itemsize
    part: dict[Ids, int] = {}
    found: list[list[int]] = [[]]
    left = ROOM
    for row, text in enumerate(texts):
        if text not in part:
            if left < len(text) * size and found[-1]:
                found.append([])
                left = ROOM
            left -= len(text) * size
            part[text] = len(found) - 1
        found[part[text]].append(row)
    return found


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """What the unedited model feeds some layers, for several texts."""

    layers: tuple[int, ...]
    rows: Mapping[Ids, Tensor]
    """of each text, [n_tokens, n_layers, d_model] in the dtype of the target, on the CPU"""

    def padded(self, layer: int, texts: Sequence[Ids], parts: Sequence[slice]) -> Tensor:
        """Of a part of each text: [rows, columns, d_model], padded on the left with zeros."""
        index = self.layers.index(layer)
        found = [self.rows[text][part, index] for text, part in zip(texts, parts, strict=True)]
        x = found[0].new_zeros((len(texts), max(map(len, found)), found[0].shape[-1]))
        for row, one in zip(x, found, strict=True):
            row[-len(one) :] = one
        return x


def layer_inputs(
    target: TargetModel, texts: Sequence[Ids], layers: Sequence[int], prefix: Prefix, batch_tokens: int
) -> LayerInputs:
    """Read them for every different text. `texts`: tokens behind the prefix."""
    different = list(dict.fromkeys(texts))
    sites = [Site(layer, "resid_pre") for layer in layers]
    known = len(prefix.ids)
    rows: dict[Ids, Tensor] = {}
    for chunk in in_batches([len(text) for text in different], batch_tokens):
        some = [different[i] for i in chunk]
        batch = left_padded(target, some, room_for=known)
        past = prefix.past(target, [()] * len(some), [prefix.ids] * len(some))
        tokens = [range(known, known + len(text)) for text in some]
        with recording(target, sites, tokens) as seen, stopping_behind(target, max(layers)):
            next_logits(target, batch, past)
        cuts = np.cumsum([len(text) for text in some])[:-1]
        read = np.split(seen.whole, cuts)
        rows.update(
            (text, torch.from_numpy(one).to(target.dtype, copy=True)) for text, one in zip(some, read, strict=True)
        )
    return LayerInputs(tuple(layers), rows)
