"""Many questions to one model: a flat list of work items in, outcomes in the same order out.

Items that want the same things share a batch whatever their edits are, because each row has its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditor.model.batches import in_batches, left_padded
from auditor.model.edits import Edit
from auditor.model.extract import Progress
from auditor.model.generate import completion_nll, greedy, next_logits
from auditor.model.hooks import editing, recording, starting_at
from auditor.model.late import LayerInputs, layer_inputs, portions, start_layer
from auditor.model.prefix import Prefix, shared_prefix
from auditor.model.prompts import Prompt
from auditor.model.sites import Site
from auditor.model.target import TargetModel

Want = Literal["logits", "text", "nll"]

NLL_SHARE = 8
"""Logits of whole completions take this many times the room of hidden states that are let go."""


@dataclass(frozen=True)
class WorkItem:
    """One prompt, what is done to the model while it is read, and what is wanted of it."""

    prompt: Prompt
    """a completion is not fed, unless its nll is wanted: the target goes on from the prompt"""
    edits: tuple[Edit, ...] = ()
    sites: tuple[Site, ...] = ()
    """where to read at the last prompt token"""
    want: frozenset[Want] = frozenset({"logits"})
    max_new_tokens: int = 0
    """length of the text wanted"""

    def __post_init__(self) -> None:
        if ("text" in self.want) != (self.max_new_tokens > 0):
            raise ValueError(f"text of {self.max_new_tokens} tokens, wanted: {', '.join(sorted(self.want))}")
        if "nll" in self.want and (len(self.want) > 1 or self.sites or len(self.prompt.ids) == self.prompt.prompt_len):
            raise ValueError("the nll is of a completion, and is wanted alone")

    @property
    def end(self) -> int:
        """How many of the prompt's tokens are fed."""
        return len(self.prompt.ids) if "nll" in self.want else self.prompt.prompt_len

    def behind(self, prefix: Prefix | None) -> tuple[int, ...]:
        """The tokens that are fed after a prefix."""
        return self.prompt.ids[0 if prefix is None else prefix.length : self.end]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a work item."""

    logits: NDArray[np.float32] | None
    """[vocab] of the token that follows the prompt"""
    text: str | None
    """what the target wrote, without special tokens"""
    tokens: tuple[int, ...]
    """what the target wrote; the token that ended the answer is not in it"""
    ended: bool
    """whether the answer came to its end within max_new_tokens"""
    activations: NDArray[np.float32] | None
    """[n_sites, d_model] at the last prompt token"""
    nll: float | None = None
    """mean nats a token of the prompt's completion"""


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
    for same in alike.values():
        late = sum(layer > 0 for layer in _starts(target, [items[i] for i in same]))
        for part in portions(target, [items[i].prompt.ids for i in same], late):
            indices = [same[i] for i in part]
            for chosen, found in _batches(target, [items[i] for i in indices], batch_tokens):
                yield from zip([indices[i] for i in chosen], found, strict=True)
                done += len(chosen)
                if progress is not None:
                    progress(done, len(items))


def _batches(
    target: TargetModel, items: Sequence[WorkItem], batch_tokens: int
) -> Iterator[tuple[list[int], list[Outcome]]]:
    """Items that want the same: which of them make a batch, and what came of it."""
    ground = _Ground.of(target, items, batch_tokens)
    room = max(1, batch_tokens // NLL_SHARE) if "nll" in items[0].want else batch_tokens
    for layer, rows in ground.by_start.items():
        lengths = [items[i].end - ground.known + items[i].max_new_tokens for i in rows]
        for batch in in_batches(lengths, room):
            chosen = [rows[i] for i in batch]
            yield chosen, _together(target, [items[i] for i in chosen], ground, layer)


@dataclass(frozen=True, eq=False)
class _Ground:
    """What items of one sweep have in common, computed once."""

    prefix: Prefix | None
    by_start: Mapping[int, list[int]]
    """layer at which rows start -> which items"""
    inputs: LayerInputs | None
    """of the layers at which rows start, beside 0"""

    @classmethod
    def of(cls, target: TargetModel, items: Sequence[WorkItem], batch_tokens: int) -> _Ground:
        """For items that want the same."""
        starts = _starts(target, items)
        late = [layer for layer in starts if layer]
        prefix = shared_prefix(
            target,
            [item.prompt for item in items],
            [item.edits for item in items] + [()] * bool(late),
            room=max(item.end + item.max_new_tokens for item in items),
            batch_tokens=batch_tokens,
        )
        inputs = None
        if late:
            texts = [items[i].behind(prefix) for layer in late for i in starts[layer]]
            inputs = layer_inputs(target, texts, late, prefix, batch_tokens)
        return cls(prefix, starts, inputs)

    @property
    def known(self) -> int:
        """Tokens of the prefix."""
        return 0 if self.prefix is None else self.prefix.length


def _starts(target: TargetModel, items: Sequence[WorkItem]) -> dict[int, list[int]]:
    """Layer at which rows start -> which items. Generated tokens go through all layers, so texts start at 0."""
    found: dict[int, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        found[0 if item.max_new_tokens else start_layer(target, item.edits, item.sites)].append(index)
    for layer in [layer for layer in found if layer]:
        if 2 * len({items[i].prompt.ids for i in found[layer]}) > len(found[layer]):
            found[0] += found.pop(layer)
    return dict(sorted((layer, rows) for layer, rows in found.items() if rows))


def _together(target: TargetModel, items: Sequence[WorkItem], ground: _Ground, layer: int) -> list[Outcome]:
    """Do items that want the same and start at one layer, in one batch."""
    sites, want, longest = items[0].sites, items[0].want, items[0].max_new_tokens
    edits, lens = [item.edits for item in items], [item.prompt.prompt_len for item in items]
    texts = [item.behind(ground.prefix) for item in items]
    batch = left_padded(target, texts, room_for=ground.known + longest)
    past = None if ground.prefix is None else ground.prefix.cache(target, edits)
    with ExitStack() as stack:
        stack.enter_context(editing(target, edits, prompt_lens=lens))
        if layer and ground.inputs is not None:
            stack.enter_context(starting_at(target, layer, ground.inputs.padded(layer, texts)))
        seen = stack.enter_context(recording(target, sites, [(n - 1,) for n in lens])) if sites else None
        if "nll" in want:
            likely = completion_nll(target, batch, [item.end - n for item, n in zip(items, lens, strict=True)], past)
            return [Outcome(None, None, (), False, None, nll) for nll in likely]
        if "text" in want:
            logits, written = greedy(target, batch, longest, past)
        else:
            logits, written = next_logits(target, batch, past), [()] * len(items)
    rows = logits.cpu().numpy()
    read = [None] * len(items) if seen is None else list(seen.whole)
    return [_outcome(target, want, *found) for found in zip(rows, written, read, strict=True)]


def _outcome(
    target: TargetModel,
    want: frozenset[Want],
    logits: NDArray[np.float32],
    written: tuple[int, ...],
    activations: NDArray[np.float32] | None,
) -> Outcome:
    ended = bool(written) and written[-1] in target.eos_ids
    tokens = written[:-1] if ended else written
    text = target.tokenizer.decode(list(tokens), skip_special_tokens=True) if "text" in want else None
    return Outcome(logits if "logits" in want else None, text, tokens, ended, activations)
