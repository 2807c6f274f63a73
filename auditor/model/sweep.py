"""Many questions to one model: a flat list of work items in, outcomes in the same order out.

Items that want the same things share a batch whatever their edits are, because each row has its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from auditor.model.batches import left_padded
from auditor.model.extract import Progress
from auditor.model.generate import completion_nll, greedy, next_logits, verified
from auditor.model.hooks import editing, recording, starting_at
from auditor.model.late import LayerInputs, layer_inputs, portions, start_layer
from auditor.model.plan import TEXT_SHARE
from auditor.model.prefix import Prefix, may_share, planned, reaching, shared_prefix
from auditor.model.sites import Site
from auditor.model.stems import Text
from auditor.model.target import TargetModel
from auditor.model.work import Outcome, Want, WorkItem, text_of

DRAFTED = 4
"""edits of one prompt from which on its text without any is tried first"""
WAVE_BYTES = TOGETHER_BYTES = 1 << 26
"""of logits: of rows that wait for the rest of their text, and of all tokens of the completions or drafts of a batch"""


def sweep(
    target: TargetModel, items: Sequence[WorkItem], *, batch_tokens: int, progress: Progress | None = None
) -> Iterator[tuple[int, Outcome]]:
    """Do every item, batch by batch, so that no more outcomes lie in memory than the caller keeps.

    Yields the index of an item with what came of it. `progress` is told how many are done.

    Raises:
        ProbeFailed: a prompt and its answer are longer than the model takes.
        UnsupportedModel: the model has no such site.
    """
    alike: dict[tuple[tuple[Site, ...], frozenset[Want], int], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        alike[item.sites, item.want, item.max_new_tokens].append(index)
    done = 0
    for indices in alike.values():
        for found in _with_drafts(target, [items[i] for i in indices], batch_tokens):
            yield from ((indices[i], outcome) for i, outcome in found)
            done += len(found)
            if progress is not None:
                progress(done, len(items))


def _with_drafts(
    target: TargetModel, items: Sequence[WorkItem], batch_tokens: int
) -> Iterator[list[tuple[int, Outcome]]]:
    """Outcomes of items that want the same, some at a time.

    Most edits change little of what is written. So where a text is wanted under many of them, the one without any is
    laid before each row: one pass tells up to where the row says the same, and it goes on from there.
    """
    drafts = _drafts(target, items, batch_tokens)
    if not drafts:
        yield from _in_batches(target, items, batch_tokens)
        return
    at_once = max(1, WAVE_BYTES // (4 * target.vocab_size))
    for start in range(0, len(items), at_once):
        wave = [replace(item, begun=drafts.get(item.asked, ())) for item in items[start : start + at_once]]
        whole: dict[int, Outcome] = {}
        for found in _in_batches(target, wave, batch_tokens, drafted=True):
            whole |= found
        rest = [i for i, one in whole.items() if not one.ended and not wave[i].over(target, one.tokens)]
        following = [replace(wave[i], begun=whole[i].tokens) for i in rest]
        for found in _in_batches(target, following, batch_tokens):
            whole |= {rest[i]: replace(one, logits=whole[rest[i]].logits) for i, one in found}
        yield [(start + i, one) for i, one in whole.items()]


def _drafts(
    target: TargetModel, items: Sequence[WorkItem], batch_tokens: int
) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Of prompts whose text is wanted under at least DRAFTED edits: the text without any."""
    some = items[0]
    if "text" not in some.want or some.sites:
        return {}
    arms = Counter(item.asked for item in items if item.edits)
    prompts = {item.asked: item.prompt for item in items if arms[item.asked] >= DRAFTED}
    plain = [WorkItem(p, want=frozenset({"text"}), max_new_tokens=some.max_new_tokens) for p in prompts.values()]
    found = dict(sweep(target, plain, batch_tokens=batch_tokens))
    return {asked: found[i].tokens for i, asked in enumerate(prompts)}


def _in_batches(
    target: TargetModel, items: Sequence[WorkItem], batch_tokens: int, *, drafted: bool = False
) -> Iterator[list[tuple[int, Outcome]]]:
    """Outcomes of items that want the same, batch by batch. `drafted`: what is begun is to be verified."""
    if not items:
        return
    room = _room(target, items, batch_tokens, drafted=drafted)
    late = sum(layer > 0 for layer in _starts(target, items))
    for part in portions(target, [item.prompt.ids for item in items], late):
        ground = _Ground.of(target, [items[i] for i in part], batch_tokens)
        for layer, rows in ground.by_start.items():
            numbers = [part[row] for row in rows]
            texts = [
                Text(one.asked[:-1][: ground.most], reaching(one.edits), one.end + one.max_new_tokens)
                for one in (items[i] for i in numbers)
            ]
            # a step of writing reads all weights for one token a row, so texts are written in the widest batches
            narrow = "text" not in items[0].want or drafted
            for batch, begun in planned(texts, ground.prefix, room, narrow=narrow):
                chosen = [numbers[i] for i in batch]
                found = _together(target, [items[i] for i in chosen], begun, ground, layer, drafted=drafted)
                yield list(zip(chosen, found, strict=True))


def _room(target: TargetModel, items: Sequence[WorkItem], batch_tokens: int, *, drafted: bool) -> int:
    """Padded tokens a batch of such items may have."""
    likely = "nll" in items[0].want
    if not likely and not drafted:
        return TEXT_SHARE * batch_tokens if "text" in items[0].want else batch_tokens
    width = 1 + max(item.end - item.prompt.prompt_len if likely else item.max_new_tokens for item in items)
    rows = max(1, TOGETHER_BYTES // (target.dtype.itemsize * target.vocab_size * width))
    return min(batch_tokens, rows * max(item.end + item.max_new_tokens for item in items))


@dataclass(frozen=True, eq=False)
class _Ground:
    """What items of one sweep have in common, computed once."""

    prefix: Prefix
    most: int
    """tokens that may lie in a stem"""
    by_start: Mapping[int, list[int]]
    """layer at which rows start -> which items"""
    inputs: LayerInputs | None
    """of the layers at which rows start, beside 0"""

    @classmethod
    def of(cls, target: TargetModel, items: Sequence[WorkItem], batch_tokens: int) -> _Ground:
        """For items that want the same."""
        starts = _starts(target, items)
        late = [layer for layer in starts if layer]
        # rows of one batch may be begun to different lengths, and the shortest is padded to the longest
        room = max(item.end + len(item.begun) for item in items)
        room += max(item.max_new_tokens - len(item.begun) for item in items)
        prefix = shared_prefix(
            target,
            [item.asked[:-1] for item in items],
            [item.edits for item in items] + [()] * bool(late),
            room=room,
            batch_tokens=batch_tokens,
        )
        inputs = None
        if late:
            texts = [items[i].behind(len(prefix.ids)) for layer in late for i in starts[layer]]
            inputs = layer_inputs(target, texts, late, prefix, batch_tokens)
        return cls(prefix, may_share(target, room), starts, inputs)

    def fed(self, layer: int, items: Sequence[WorkItem], parts: Sequence[slice]) -> Tensor | None:
        """What a layer is fed of a part of each item, counted from the end of the prefix; None for the first layer."""
        if not layer or self.inputs is None:
            return None
        return self.inputs.padded(layer, [item.behind(len(self.prefix.ids)) for item in items], parts)

    def reading(
        self, target: TargetModel, layer: int, items: Sequence[WorkItem], begun: Sequence[tuple[int, ...]]
    ) -> Prefix:
        """The prefix, gone on from to stems that items begin with."""
        pairs = {(reaching(item.edits), ids): item for item, ids in zip(items, begun, strict=True)}
        stems = [ids for _, ids in pairs]
        if all(ids == self.prefix.ids for ids in stems):
            return self.prefix
        known = len(self.prefix.ids)
        inputs = self.fed(layer, list(pairs.values()), [slice(0, len(ids) - known) for ids in stems])
        return self.prefix.longer(target, [edits for edits, _ in pairs], stems, first=layer, inputs=inputs)


def _starts(target: TargetModel, items: Sequence[WorkItem]) -> dict[int, list[int]]:
    """Layer at which rows start -> which items. Generated tokens go through all layers, so texts start at 0.

    All start at 0 where passing over layers saves less than what reading their inputs costs.
    """
    found: dict[int, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        found[0 if item.max_new_tokens else start_layer(target, item.edits, item.sites)].append(index)
    saved = sum(layer * len(rows) for layer, rows in found.items())
    read = {items[i].prompt.ids for layer, rows in found.items() if layer for i in rows}
    if saved <= target.n_layers * len(read):
        return {0: list(range(len(items)))}
    return dict(sorted(found.items()))


def _together(
    target: TargetModel,
    items: Sequence[WorkItem],
    begun: Sequence[tuple[int, ...]],
    ground: _Ground,
    layer: int,
    *,
    drafted: bool,
) -> list[Outcome]:
    """Do items that want the same and start at one layer, in one batch. `begun`: what each goes on from."""
    sites, want = items[0].sites, items[0].want
    edits, lens = [item.edits for item in items], [item.prompt.prompt_len for item in items]
    batch = left_padded(
        target,
        [item.behind(len(ids)) for item, ids in zip(items, begun, strict=True)],
        room_for=[len(ids) + item.max_new_tokens - len(item.begun) for item, ids in zip(items, begun, strict=True)],
    )
    past = ground.reading(target, layer, items, begun).past(target, edits, begun)
    inputs = ground.fed(layer, items, [slice(len(ids) - len(ground.prefix.ids), None) for ids in begun])
    with ExitStack() as stack:
        rows = stack.enter_context(editing(target, edits, prompt_lens=lens))
        if inputs is not None:
            stack.enter_context(starting_at(target, layer, inputs))
        seen = stack.enter_context(recording(target, sites, [(n - 1,) for n in lens])) if sites else None
        if "nll" in want:
            likely = completion_nll(target, batch, [item.end - n for item, n in zip(items, lens, strict=True)], past)
            return [Outcome(None, None, (), False, None, nll) for nll in likely]
        if drafted:
            over = [partial(item.over, target) for item in items]
            logits, written = verified(target, batch, [item.begun for item in items], over, past)
        elif "text" in want:
            over = [partial(_over_behind, target, item) for item in items]
            logits, new = greedy(target, batch, over, past, rows=None if sites else rows)
            written = [(*item.begun, *tokens) for item, tokens in zip(items, new, strict=True)]
        else:
            logits, written = next_logits(target, batch, past), [()] * len(items)
    first = logits.cpu().numpy()
    read = [None] * len(items) if seen is None else list(seen.whole)
    return [_outcome(target, want, *found) for found in zip(first, written, read, strict=True)]


def _over_behind(target: TargetModel, item: WorkItem, tokens: Sequence[int]) -> bool:
    return item.over(target, (*item.begun, *tokens))


def _outcome(
    target: TargetModel,
    want: frozenset[Want],
    logits: NDArray[np.float32],
    written: tuple[int, ...],
    activations: NDArray[np.float32] | None,
) -> Outcome:
    ended = bool(written) and written[-1] in target.eos_ids
    tokens = written[:-1] if ended else written
    text = text_of(target, tokens) if "text" in want else None
    return Outcome(logits if "logits" in want else None, text, tokens, ended, activations)
