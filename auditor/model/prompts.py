"""Prompt: an example as the tokens a model is given. No torch.

A user's text goes through the chat template (or the frame that stands in for one), anything else is raw text with the
tokenizer's ordinary special tokens, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING

from auditor.data.examples import Example
from auditor.errors import NotTestable, ProbeFailed
from auditor.model.chat_format import chat_text, plain_ids

if TYPE_CHECKING:
    from auditor.model.target import TargetModel


@dataclass(frozen=True)
class Prompt:
    """The tokens of one example."""

    ids: tuple[int, ...]
    """prompt and completion"""
    prompt_len: int
    """tokens before the completion"""
    text: str
    """as rendered; special tokens that the tokenizer adds to raw text are not in it"""
    suffix_len: int = 0
    """of the prompt's tokens, those that the template adds after the user's text"""

    def __post_init__(self) -> None:
        if not 0 <= self.prompt_len <= len(self.ids) or not 0 <= self.suffix_len <= self.prompt_len:
            raise ValueError(f"{self.prompt_len} of {len(self.ids)} tokens, of them {self.suffix_len} template")


def render(target: TargetModel, example: Example, *, system: str | None = None) -> Prompt:
    """The tokens of an example for this target.

    A completion is tokenized together with its prompt; where a token spans the seam it belongs to the completion.

    Args:
        target: the model whose tokenizer and chat template are used.
        example: a user's turn when `chat` is true, else raw text.
        system: the system message; "" is an empty one, None gives none (the template may then add its own).

    Raises:
        NotTestable: a system message for a template without a system role.
        ProbeFailed: the text is empty, or has tokens that the model does not have.
    """
    chat = target.chat
    if system is not None and not (example.chat and chat.has_system_role):
        raise NotTestable("there is no system role to put a system prompt into")
    tokenizer = target.tokenizer
    before = chat_text(tokenizer, chat, example.prompt, system) if example.chat else example.prompt
    text = _joined(before, example.completion, raw=not (example.chat and chat.template))
    prompt_ids, ids = plain_ids(tokenizer, before), plain_ids(tokenizer, text)
    prompt_len = len(prompt_ids) if text == before else len(commonprefix([prompt_ids, ids]))
    if not (example.chat and chat.template) and ids[: len(chat.special_prefix)] != chat.special_prefix:
        ids, prompt_len = chat.special_prefix + ids, prompt_len + len(chat.special_prefix)
    if not ids or max(ids) >= target.vocab_size:
        problem = "has no tokens" if not ids else "has tokens that the model does not have"
        raise ProbeFailed(f"{example.id}: {text[:60]!r} {problem}")
    ends_so = example.chat and ids[:prompt_len][-len(chat.suffix) :] == chat.suffix
    return Prompt(ids, prompt_len, text, len(chat.suffix) if ends_so else 0)


def opening_tokens(target: TargetModel, phrases: Sequence[str]) -> tuple[int, ...]:
    """The tokens with which answers that open with these phrases begin, ascending.

    Found with this tokenizer behind this template, because the first token of a word depends on what precedes it.
    """
    found = set()
    for phrase in phrases:
        opened = render(target, Example("", "Hello.", False, "", completion=phrase, chat=True))
        found.add(opened.ids[opened.prompt_len])
    return tuple(sorted(found))


def pieces(target: TargetModel, prompt: Prompt) -> tuple[str, ...]:
    """What each token of the completion adds to the text; "" for one that ends within a character."""
    found = []
    before = _whole(target, prompt.ids[: prompt.prompt_len])
    for end in range(prompt.prompt_len + 1, len(prompt.ids) + 1):
        text = _whole(target, prompt.ids[:end])
        found.append(text[len(commonprefix([before, text])) :])
        before = text
    return tuple(found)


def _whole(target: TargetModel, ids: Sequence[int]) -> str:
    """The text of some tokens up to their last whole character."""
    text: str = target.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text.rstrip("\ufffd")


def _joined(before: str, completion: str, *, raw: bool) -> str:
    """Raw prompt and completion are words of one text: a space goes between them unless one is there."""
    apart = before[-1:].isspace() or completion[:1].isspace() or not before or not completion
    return f"{before} {completion}" if raw and not apart else before + completion
