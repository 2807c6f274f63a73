"""Many questions to one model: a flat list of work items in, outcomes in the same order out.

Items that want the same things share a batch whatever their edits are, because each row has its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditor.model.batches import in_batches, left_padded
from auditor.model.edits import Edit
from auditor.model.extract import Progress
from auditor.model.generate import completion_nll, greedy, next_logits
from auditor.model.hooks import editing, recording
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
    for (_, want, new), indices in alike.items():
        whole = "nll" in want
        lengths = [(len(p.ids) if whole else p.prompt_len) + new for p in (items[i].prompt for i in indices)]
        for batch in in_batches(lengths, max(1, batch_tokens // NLL_SHARE) if whole else batch_tokens):
            chosen = [indices[i] for i in batch]
            together = [items[i] for i in chosen]
            yield from zip(chosen, (_likely if whole else _together)(target, together), strict=True)
            done += len(chosen)
            if progress is not None:
                progress(done, len(items))


def _together(target: TargetModel, items: Sequence[WorkItem]) -> list[Outcome]:
    """Do items that want the same, in one batch."""
    sites, want, longest = items[0].sites, items[0].want, items[0].max_new_tokens
    lens = [item.prompt.prompt_len for item in items]
    batch = left_padded(target, [item.prompt.ids[: item.prompt.prompt_len] for item in items], room_for=longest)
    reading = recording(target, sites, [(n - 1,) for n in lens]) if sites else nullcontext()
    with editing(target, [item.edits for item in items], prompt_lens=lens), reading as seen:
        if "text" in want:
            logits, written = greedy(target, batch, longest)
        else:
            logits, written = next_logits(target, batch), [()] * len(items)
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


def _likely(target: TargetModel, items: Sequence[WorkItem]) -> list[Outcome]:
    """How likely the target finds the completions, in one batch."""
    lens = [item.prompt.prompt_len for item in items]
    batch = left_padded(target, [item.prompt.ids for item in items])
    with editing(target, [item.edits for item in items], prompt_lens=lens):
        found = completion_nll(target, batch, [len(item.prompt.ids) - n for item, n in zip(items, lens, strict=True)])
    return [Outcome(None, None, (), False, None, nll) for nll in found]
