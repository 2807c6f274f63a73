"""Items with two options, asked as questions in both orders. The tokenizer is used, the model is not.

An item is a contrast pair: one user text and two completions, of which one shows the trait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import commonprefix
from typing import TYPE_CHECKING

import numpy as np

from auditor.data.examples import Example
from auditor.errors import NotTestable, ProbeFailed
from auditor.measure.runner import Reading
from auditor.model.prompts import render

if TYPE_CHECKING:
    from auditor.model.target import TargetModel

KINDS = ("letters", "words")
"""how an item's options are offered: as (A) and (B), or by the words in which they differ"""


@dataclass(frozen=True)
class Item:
    """One item of a trait's data set: two options to one user text."""

    trait: Example
    """the option that shows the trait; the item goes by its id"""
    other: Example

    def __post_init__(self) -> None:
        same = (self.trait.prompt, self.trait.kind) == (self.other.prompt, self.other.kind)
        if not same or self.trait.kind not in KINDS:
            raise NotTestable(f"{self.trait.id} and {self.other.id} are not two options of one item")


def items_of(examples: Sequence[Example]) -> tuple[Item, ...]:
    """The items among the examples, in the order of their first option; an option without its twin is left out."""
    pairs: dict[str, list[Example]] = {}
    for example in examples:
        pairs.setdefault(example.pair, []).append(example)
    found = [sorted(two, key=lambda e: e.label) for name, two in pairs.items() if name and len(two) == 2]
    return tuple(Item(trait, other) for other, trait in found if trait.label and not other.label)


@dataclass(frozen=True)
class Posed:
    """A question that offers two options, and what an answer that takes the one or the other looks like."""

    prompt: str
    first: str
    second: str


def posed(kind: str, prompt: str, first: str, second: str) -> Posed:
    """The user's text with the two options in this order.

    Raises:
        NotTestable: another kind than `letters` and `words`, or an option without a word that the other lacks.
    """
    if kind == "letters":
        return Posed(f"{prompt}\n(A) {first}\n(B) {second}\nAnswer with (A) or (B).", "(A)", "(B)")
    if kind == "words":
        words = [" ".join(own).rstrip(".!?") for own in _own_words(first.split(), second.split())]
        if not all(words):
            raise NotTestable("one of the two options has no word that the other lacks")
        return Posed(f"{prompt}\nAnswer with {words[0]} or {words[1]}.", first, second)
    raise NotTestable(f"no kind of item named {kind!r}; known: {', '.join(KINDS)}")


def _own_words(first: list[str], second: list[str]) -> tuple[list[str], list[str]]:
    """What is left of two sentences without the words with which both begin and both end."""
    start = len(commonprefix([first, second]))
    first, second = first[start:], second[start:]
    end = len(commonprefix([first[::-1], second[::-1]]))
    return first[: len(first) - end], second[: len(second) - end]


def open_sentence(first: str, second: str) -> str:
    """What two sentences have in common, with "…" where they differ."""
    words, others = first.split(), second.split()
    start, own = len(commonprefix([words, others])), len(_own_words(words, others)[0])
    return " ".join([*words[:start], "…", *words[start + own :]])


@dataclass(frozen=True)
class Question:
    """An item in one order, with the answer begun up to where the two options part."""

    example: Example
    """the question as prompt, the common beginning of both answers as completion"""
    trait_first: bool
    trait_token: int
    other_token: int


def questions(target: TargetModel, item: Item) -> tuple[Question, Question]:
    """An item in both orders: the option that shows the trait first, and second.

    Raises:
        NotTestable: with this tokenizer the two answers do not part, or their common beginning cannot be given; the
            question is too long; or the template makes the target think before it answers.
    """
    if target.chat.thinking == "always on":
        raise NotTestable("the template opens a thinking block, in which a begun answer would lie")
    return _question(target, item, True), _question(target, item, False)


def _question(target: TargetModel, item: Item, trait_first: bool) -> Question:
    trait, other = item.trait.completion, item.other.completion
    asked = posed(item.trait.kind, item.trait.prompt, *((trait, other) if trait_first else (other, trait)))
    example = replace(item.trait, prompt=asked.prompt)
    first, second = (render(target, replace(example, completion=text)).ids for text in (asked.first, asked.second))
    shared = tuple(commonprefix([first, second]))
    if target.max_tokens is not None and max(len(first), len(second)) > target.max_tokens:
        raise NotTestable("the question is longer than the model takes")
    if len(shared) in (len(first), len(second)):
        raise NotTestable("the two answers are the same tokens, or one is the beginning of the other")
    begun = _beginning(target, example, commonprefix([asked.first, asked.second]), shared)
    tokens = first[len(shared)], second[len(shared)]
    trait_token, other_token = tokens if trait_first else tokens[::-1]
    return Question(replace(example, completion=begun), trait_first, trait_token, other_token)


def _beginning(target: TargetModel, example: Example, text: str, ids: tuple[int, ...]) -> str:
    """The longest beginning of `text` that makes exactly these tokens; or the space before it, which may be one."""
    for begun in [*(text[:length] for length in range(len(text), -1, -1)), " "]:
        if render(target, replace(example, completion=begun)).ids == ids:
            return begun
    raise NotTestable("the tokenizer merges the beginning of the answers with what follows it")


@dataclass(frozen=True)
class Lean:
    """How far the target leans to the options that show the trait; one method, an effect of many questions."""

    tokens: tuple[tuple[str, int, int], ...]
    """of each question: a digest of its prompt, the trait's token, the other token"""

    @classmethod
    def of(cls, asked: Sequence[Question]) -> Lean:
        """What the questions need. Raises ValueError where one prompt stands for two questions."""
        rows = sorted({(_digest(q.example.prompt), q.trait_token, q.other_token) for q in asked})
        if len({name for name, _, _ in rows}) < len(rows):
            raise ValueError("two different questions have the same prompt")
        return cls(tuple(rows))

    @cached_property
    def _by_prompt(self) -> Mapping[str, tuple[int, int]]:
        return {name: (trait, other) for name, trait, other in self.tokens}

    def difference(self, reading: Reading) -> float:
        """logit(trait's token) − logit(other token) where the two answers part. Raises ProbeFailed if not a number."""
        trait, other = self._by_prompt[_digest(reading.prompt)]
        found = float(reading.logits[trait]) - float(reading.logits[other])
        if not np.isfinite(found):
            raise ProbeFailed("the logits are not finite numbers")
        return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
