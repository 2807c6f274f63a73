"""The beginning that prompts share, such as a system prompt: read once for every edit, then gone on from.

With edits that touch the beginning it is another one for each of them; without, there is one for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix

import torch
from torch import Tensor
from transformers import DynamicCache

from auditor.model.batches import Batch, left_padded
from auditor.model.edits import Edit
from auditor.model.generate import forward
from auditor.model.hooks import editing
from auditor.model.prompts import Prompt
from auditor.model.target import TargetModel

SHORTEST = 4
"""tokens below which a beginning is not worth a pass of its own"""

Edits = tuple[Edit, ...]


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of the shared tokens, under each of several edits."""

    length: int
    """tokens; every prompt has at least one more"""
    rows: dict[Edits, int]
    """which row of the states belongs to which edits"""
    states: tuple[tuple[Tensor, Tensor], ...]
    """of each layer, [n_edits, n_heads, length, d_head]"""

    def cache(self, target: TargetModel, edits: Sequence[Edits]) -> DynamicCache:
        """What rows under these edits go on from."""
        index = torch.tensor([self.rows[reaching(one)] for one in edits])
        cache = DynamicCache(config=target.model.config)
        for layer, (keys, values) in enumerate(self.states):
            chosen = index.to(keys.device)
            cache.update(keys[chosen], values[chosen], layer)
        return cache


def reaching(edits: Edits) -> Edits:
    """Those of some edits that touch tokens before the last one of the prompt."""
    return tuple(edit for edit in edits if edit.positions in ("all", "prompt"))


def shared_prefix(  # noqa: PLR0913, each is a choice of its own
    target: TargetModel,
    prompts: Sequence[Prompt],
    edits: Sequence[Edits],
    *,
    room: int,
    batch_tokens: int,
    before: int | None = None,
) -> Prefix | None:
    """Read what all prompts begin with; None where the target cannot go on from it, or little would be saved.

    `room`: columns that may follow the beginning, padding counted. Layers with a sliding window see columns, not
    tokens, so they must hold all of them. `before`: a token that must still be fed, as must the last of every prompt.
    """
    length = len(commonprefix([prompt.ids[: prompt.prompt_len - 1] for prompt in prompts])[:before])
    different = list(dict.fromkeys(map(reaching, edits)))
    window = getattr(target.model.config.get_text_config(), "sliding_window", None)
    if not target.shares_prefixes or length < SHORTEST or 2 * len(different) > len(prompts):
        return None
    if isinstance(window, int) and length + room > window:
        return None
    parts: list[list[tuple[Tensor, Tensor]]] = []
    at_once = max(1, batch_tokens // length)
    for start in range(0, len(different), at_once):
        chunk = different[start : start + at_once]
        batch = left_padded(target, [prompts[0].ids[:length]] * len(chunk))
        with editing(target, chunk, prompt_lens=[length + 1] * len(chunk)):
            parts.append(read_states(target, batch))
    states = tuple(
        (torch.cat([keys for keys, _ in layer]), torch.cat([values for _, values in layer]))
        for layer in zip(*parts, strict=True)
    )
    return Prefix(length, {one: row for row, one in enumerate(different)}, states)


@torch.inference_mode()
def read_states(target: TargetModel, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of every layer. Raises TypeError for layers that keep something else."""
    cache = DynamicCache(config=target.model.config)
    forward(target, batch.ids, batch.mask, keep=1, cache=cache)
    found = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if not (isinstance(keys, Tensor) and isinstance(values, Tensor)):
            raise TypeError(f"the layers of {type(target.model).__name__} do not all keep keys and values")
        found.append((keys, values))
    return found
