"""Which tokens of a prompt are read. No torch, no model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from auditor.errors import ProbeFailed

if TYPE_CHECKING:
    from auditor.model.prompts import Prompt

PositionKind = Literal["last_prompt", "last_completion", "completion_tokens", "template_offset", "template_tail"]
_WRITTEN = re.compile(r"(\w+)(?: drop_last (\d+)| (-\d+))?")


@dataclass(frozen=True, order=True)
class Position:
    """One token of each prompt, or the tokens of its completion."""

    kind: PositionKind
    drop_last: int = 0
    """completion_tokens only: leave out this many at the end"""
    offset: int = 0
    """template_offset and template_tail only: −1 is the last token of the prompt, −n the first that the template adds
    after the user's; a tail is all tokens from there"""

    def __post_init__(self) -> None:
        if self.kind not in get_args(PositionKind):
            known = ", ".join(get_args(PositionKind))
            raise ValueError(f"no position named {self.kind!r}; known: {known}")
        if self.drop_last < 0 or (self.drop_last and self.kind != "completion_tokens"):
            raise ValueError(f"drop_last belongs to completion_tokens and counts from 0, not {self}")
        if (self.offset < 0) != self.kind.startswith("template_") or self.offset > 0:
            raise ValueError(f"template_offset and template_tail, and only they, have a negative offset, not {self}")

    def __str__(self) -> str:
        """As it is written: `last_prompt`, `completion_tokens drop_last 5`, `template_offset -3`."""
        return (
            self.kind
            + (f" drop_last {self.drop_last}" if self.drop_last else "")
            + (f" {self.offset}" if self.offset else "")
        )

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read what `str` writes. Raises ValueError."""
        if not (found := _WRITTEN.fullmatch(text)):
            raise ValueError(f"{text!r} is not a position, such as 'last_prompt' or 'template_offset -3'")
        kind, drop_last, offset = found.groups()
        return cls(cast(PositionKind, kind), drop_last=int(drop_last or 0), offset=int(offset or 0))


def resolve(prompt: Prompt, position: Position) -> tuple[int, ...]:
    """Indices of the tokens in `prompt.ids`, ascending and at least one.

    Raises:
        ProbeFailed: the prompt has no such token.
    """
    if position.kind == "last_prompt":
        return _one(prompt.prompt_len - 1, prompt.prompt_len > 0, prompt, position)
    if position.kind == "template_offset":
        return _one(prompt.prompt_len + position.offset, -position.offset <= prompt.suffix_len, prompt, position)
    if position.kind == "template_tail":
        if -position.offset > prompt.suffix_len:
            raise _absent(prompt, position)
        return tuple(range(prompt.prompt_len + position.offset, prompt.prompt_len))
    if position.kind == "last_completion":
        return _one(len(prompt.ids) - 1, len(prompt.ids) > prompt.prompt_len, prompt, position)
    tokens = range(prompt.prompt_len, len(prompt.ids) - position.drop_last)
    if not tokens:
        raise _absent(prompt, position)
    return tuple(tokens)


def _one(index: int, there: bool, prompt: Prompt, position: Position) -> tuple[int]:
    if not there:
        raise _absent(prompt, position)
    return (index,)


def _absent(prompt: Prompt, position: Position) -> ProbeFailed:
    tokens = f"{prompt.prompt_len} prompt tokens, {prompt.suffix_len} of them after the user's text"
    return ProbeFailed(
        f"no token at '{position}' in {prompt.text[:60]!r}: {tokens}, {len(prompt.ids) - prompt.prompt_len} after them"
    )
