"""Example and Dataset: what a probe is asked about. No model, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Split = Literal["fit", "validation", "threshold", "evaluation"]
"""`fit` and `validation` make up *selection*; `threshold` and `evaluation` are sealed."""


@dataclass(frozen=True)
class Example:
    """One item of a data set."""

    id: str
    """unique within its data set"""
    prompt: str
    """the text a model is given; put into the chat template when `chat` is true"""
    label: bool
    """true = true statement, harmful request, shows the trait"""
    group: str
    """topic or entity; never straddles a split"""
    completion: str = ""
    """text that follows the prompt; scored, not generated"""
    chat: bool = False
    """whether the prompt is a user turn (chat template) or raw text"""
    kind: str = ""
    """what sort of item within the data set, such as harmful, matched, plain, near_miss"""
    domain: str = ""
    """stratum for the split: a group belongs to one domain"""
    polarity: str = ""
    """affirmed or negated, for statements"""
    template: str = ""
    """which sentence frame the text was made with"""
    pair: str = ""
    """the two examples of a contrast pair share this id"""

    @property
    def row(self) -> str:
        """The row of a file that the example was made of: both options of a contrast pair stand in one."""
        options = (f"{self.pair}-positive", f"{self.pair}-negative")
        return self.pair if self.id in options else self.id

    @property
    def text(self) -> str:
        """What a text-only baseline may see."""
        return f"{self.prompt} {self.completion}".strip()


@dataclass(frozen=True)
class Dataset:
    """Examples read from one file, with the card that describes them."""

    name: str
    examples: tuple[Example, ...]
    class_names: tuple[str, str]
    """(negative, positive)"""
    language: str
    """BCP 47 tag; judges decline languages they do not know"""
    sha256: str
    """of the file the examples were read from"""
    card: Mapping[str, object]
    """origin, licence, balance, text-only AUROC"""
