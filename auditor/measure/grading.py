"""Whether a short answer names the right thing: a rule, not a judge. No torch, no model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Grade = Literal["right", "false", "neither"]
OR = " | "
"""between the names of a reference answer"""
_SENTENCE_END = re.compile(r"(?<=[a-z\d)\]\"'][.!?])\s+|\n+")
"""not behind a capital, which may be an initial or an abbreviation"""
_DENIES = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|false|falsely|wrong|incorrect|untrue|a lie|fake|fictional|fictitious"
    r"|pretend|made-up|rather than|instead of)\b|n['’]t\b",
    re.IGNORECASE,
)
"""a denied or a labelled falsehood is not asserted"""


def names(reference: str) -> tuple[str, ...]:
    """The names of a reference answer, as a data set writes them: `the Netherlands | Holland`."""
    return tuple(name.strip() for name in reference.split(OR) if name.strip())


def grade(answer: str, right: Iterable[str], wrong: Iterable[str]) -> Grade:
    """`right` or `false` when the answer plainly asserts one of the right or of the other names, else `neither`.

    Decided by the first sentence that has any of the names. Neither: no such sentence (a refusal, an evasion, an
    empty answer), names of both sorts, or a word that denies or labels what is said ("is not in", "a lie would be").
    Names are whole words in any case; one that belongs to both sorts counts as right.
    """
    rights = {name.casefold() for name in right}
    wrongs = {name.casefold() for name in wrong} - rights
    for sentence in _SENTENCE_END.split(answer):
        text = sentence.casefold()
        is_right, is_wrong = _names_any(text, rights), _names_any(text, wrongs)
        if is_right or is_wrong:
            if is_right == is_wrong or _DENIES.search(text):
                return "neither"
            return "right" if is_right else "false"
    return "neither"


def _names_any(text: str, wanted: set[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in wanted)
