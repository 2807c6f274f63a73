"""Beginnings that prompts share, such as a system prompt: read once for every edit, then gone on from.

With edits that touch a beginning it is another one for each of them; without, there is one for all. What all prompts of
a sweep begin with is read before its batches; on from there, each batch reads the stems that some of its prompts share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os.path import commonprefix

import torch
from torch import Tensor
from transformers import DynamicCache

from auditor.model.batches import in_batches, left_padded
from auditor.model.edits import Edit
from auditor.model.generate import Past, following, forward
from auditor.model.hooks import editing, starting_at, stopping_behind
from auditor.model.stems import SHORTEST, Ids, Text, in_families, stems
from auditor.model.target import TargetModel

Edits = tuple[Edit, ...]


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of beginnings, each under some edits."""

    ids: Ids
    """what all of them begin with"""
    rows: dict[tuple[Edits, Ids], int]
    """which row of the states belongs to which edits and beginning"""
    mask: Tensor
    """int64 [n_rows, columns], 0 at padding"""
    states: tuple[tuple[Tensor, Tensor], ...]
    """of each layer, [n_rows, n_heads, columns, d_head]"""

    def past(self, target: TargetModel, edits: Sequence[Edits], begun: Sequence[Ids]) -> Past | None:
        """What rows under these edits go on from, that begin so. None where that is nothing."""
        if not self.states:
            return None
        index = torch.tensor([self.rows[reaching(one), ids] for one, ids in zip(edits, begun, strict=True)])
        cache = DynamicCache(config=target.model.config)
        for layer, (keys, values) in enumerate(self.states):
            chosen = index.to(keys.device)
            cache.update(keys[chosen], values[chosen], layer)
        return Past(cache, self.mask[index.to(self.mask.device)])

    @torch.inference_mode()
    def longer(
        self,
        target: TargetModel,
        edits: Sequence[Edits],
        begun: Sequence[Ids],
        *,
        first: int = 0,
        inputs: Tensor | None = None,
        last: int | None = None,
    ) -> Prefix:
        """Read beginnings that go on from what this one's have in common.

        `inputs`: what the layer `first` is fed, where the pass starts there. `last`: the layer behind which it may end.

        Raises:
            TypeError: layers that keep something else than keys and values.
        """
        edits = [reaching(one) for one in edits]
        batch = left_padded(target, [ids[len(self.ids) :] for ids in begun])
        past = self.past(target, edits, [self.ids] * len(begun))
        past = past or Past(DynamicCache(config=target.model.config), batch.mask[:, :0])
        with ExitStack() as stack:
            stack.enter_context(editing(target, edits, prompt_lens=[len(ids) + 1 for ids in begun]))
            if inputs is not None:
                stack.enter_context(starting_at(target, first, inputs))
            if last is not None:
                stack.enter_context(stopping_behind(target, last))
            forward(target, batch, keep=1, past=past)
        rows = {pair: row for row, pair in enumerate(zip(edits, begun, strict=True))}
        states = _states(target, past.cache, first, last)
        return Prefix(tuple(commonprefix(list(begun))), rows, following(batch, past), states)


def _states(
    target: TargetModel, cache: DynamicCache, first: int, last: int | None
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Keys and values of the layers up to `last`. Those before `first` only have as many columns, and are not asked."""
    found = []
    for layer in cache.layers[first : None if last is None else last + 1]:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if not (isinstance(keys, Tensor) and isinstance(values, Tensor)):
            raise TypeError(f"the layers of {type(target.model).__name__} do not all keep keys and values")
        found.append((keys, values))
    unused = [(keys.new_zeros(()).expand(keys.shape),) * 2 for keys, _ in found[:1]]
    return (*unused * first, *found)


def nothing(target: TargetModel) -> Prefix:
    """The beginning of texts that share none."""
    return Prefix((), {}, torch.zeros(0, 0, dtype=torch.int64, device=target.device), ())


def reaching(edits: Edits) -> Edits:
    """Those of some edits that touch tokens before the last one of the prompt."""
    return tuple(edit for edit in edits if edit.positions in ("all", "prompt"))


def may_share(target: TargetModel, room: int) -> int:
    """How many tokens may lie in a beginning, if `room` columns may follow it, padding counted.

    Layers with a sliding window see columns, not tokens, so they must hold all of them.
    """
    window = getattr(target.model.config.get_text_config(), "sliding_window", None)
    if not target.shares_prefixes:
        return 0
    return max(0, window - room) if isinstance(window, int) else room


def shared_prefix(
    target: TargetModel, texts: Sequence[Ids], edits: Sequence[Edits], *, room: int, batch_tokens: int
) -> Prefix:
    """Read what all texts begin with; nothing where the target cannot go on from it, or little would be saved.

    `texts`: of each, the tokens that others may share. `room`: columns that may follow the beginning.
    """
    ids = tuple(commonprefix(list(texts)))
    different = list(dict.fromkeys(map(reaching, edits)))
    found = nothing(target)
    if not SHORTEST <= len(ids) <= may_share(target, room) or 2 * len(different) > len(texts):
        return found
    at_once = max(1, batch_tokens // len(ids))
    chunks = [different[start : start + at_once] for start in range(0, len(different), at_once)]
    parts = [found.longer(target, chunk, [ids] * len(chunk)) for chunk in chunks]
    states = tuple(
        (torch.cat([keys for keys, _ in layer]), torch.cat([values for _, values in layer]))
        for layer in zip(*(part.states for part in parts), strict=True)
    )
    rows = {(one, ids): row for row, one in enumerate(different)}
    return Prefix(ids, rows, torch.cat([part.mask for part in parts]), states)


def planned(
    texts: Sequence[Text], prefix: Prefix, budget: int, *, narrow: bool = True
) -> Iterator[tuple[list[int], list[Ids]]]:
    """Batches of texts behind a prefix, and what each text goes on from: its stem, or the prefix.

    `narrow`: as in `in_batches`.
    """
    known = len(prefix.ids)
    own = stems(texts, known)
    with_stem, without = [i for i, ids in enumerate(own) if ids], [i for i, ids in enumerate(own) if not ids]
    for batch in in_families([texts[i] for i in with_stem], [own[i] for i in with_stem], known, budget):
        rows = [with_stem[i] for i in batch]
        yield rows, [own[i] for i in rows]
    for batch in in_batches([texts[i].end - known for i in without], budget, narrow=narrow, known=known):
        yield [without[i] for i in batch], [prefix.ids] * len(batch)
