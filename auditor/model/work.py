"""Work items: what a sweep is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditor.model.edits import Edit
from auditor.model.prompts import Prompt
from auditor.model.sites import Site
from auditor.model.target import TargetModel

Want = Literal["logits", "text", "nll"]


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
    settled: Callable[[str], bool] | None = None
    """told the text so far: whether no more of it is wanted"""
    begun: tuple[int, ...] = ()
    """what is written of the text already; it counts towards max_new_tokens, and edits take it for completion"""

    def __post_init__(self) -> None:
        if ("text" in self.want) != (self.max_new_tokens > 0):
            raise ValueError(f"text of {self.max_new_tokens} tokens, wanted: {', '.join(sorted(self.want))}")
        if "nll" in self.want and (len(self.want) > 1 or self.sites or len(self.prompt.ids) == self.prompt.prompt_len):
            raise ValueError("the nll is of a completion, and is wanted alone")

    @property
    def asked(self) -> tuple[int, ...]:
        """The tokens that the target goes on from."""
        return self.prompt.ids[: self.prompt.prompt_len]

    @property
    def end(self) -> int:
        """How many of the prompt's tokens are fed."""
        return len(self.prompt.ids) if "nll" in self.want else self.prompt.prompt_len

    def behind(self, known: int) -> tuple[int, ...]:
        """The tokens that are fed after those that are known."""
        return self.prompt.ids[known : self.end] + self.begun

    def over(self, target: TargetModel, written: Sequence[int]) -> bool:
        """Whether the target writes no more behind some tokens of the text."""
        if len(written) >= self.max_new_tokens or written[-1] in target.eos_ids:
            return True
        return self.settled is not None and self.settled(text_of(target, written))


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


def text_of(target: TargetModel, tokens: Sequence[int]) -> str:
    """What tokens say, special ones left out."""
    said: str = target.tokenizer.decode(list(tokens), skip_special_tokens=True)
    return said
