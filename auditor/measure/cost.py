"""Cost: what a probe will ask of a target, from the sizes of its data and of the model. No torch, no weights.

A probe declares its work; how long that takes, and how much memory, is arithmetic (see `forecast`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.checkpoint.shape import Shape
from auditor.data.examples import Example, Split
from auditor.measure.library import SELECTION, Library, View

CHARACTERS_A_TOKEN = 4.0
"""of English text; 4.3 with the tokenizer of the demo model on the shipped requests"""
TEMPLATE_TOKENS = 10
"""of the chat template in every row, behind the beginning that all rows share and that is read once"""
QUESTION_TOKENS = 25
"""of a question in words about a text, around it"""
EVERY: tuple[Split, ...] = ("fit", "validation", "threshold", "evaluation")


@dataclass(frozen=True)
class Work:
    """Rows that are put to the model in the same way; at most so many, a probe may abstain before."""

    what: str
    rows: int
    fed: int
    """tokens fed through all layers; of rows that start late, as many as cost the same"""
    written: int = 0
    """tokens generated, if every answer uses the room it has"""
    kept: int = 0
    """bytes of activations written to disk"""
    head: bool = True
    """whether each row gives logits"""


@dataclass(frozen=True)
class Survey:
    """What a probe may know when it declares its work: how large its data sets are, and how large the model is."""

    library: Library
    shape: Shape

    def size(self, view: View, splits: Sequence[Split] = ("evaluation",)) -> int:
        """Examples of a view in some splits."""
        return len(self.library.examples(view, splits))

    def asked(  # noqa: PLR0913, each is a size of its own
        self,
        view: View,
        n: int,
        *,
        splits: Sequence[Split] = ("evaluation",),
        arms: int = 1,
        depth: float = 1,
        new: int = 0,
        more: int = 0,
    ) -> Work:
        """`n` items of a view, or all there are, put to the model.

        `arms`: how often each. `depth`: share of the layers that a row passes. `new`: tokens generated for each row.
        `more`: tokens that the question adds to the item's own text.
        """
        rows = arms * min(n, self.size(view, splits))
        fed = rows * (self._tokens(view, splits) + more)
        return Work(view.name, rows, round(fed * depth), rows * new)

    def read(
        self, view: View, splits: Sequence[Split] = SELECTION, *, sites: int = 1, times: int = 1, more: int = 0
    ) -> Work:
        """Activations of every item of some splits, one row an item, kept on disk.

        `more`: tokens that are put before the item's own text.
        """
        items = self.size(view, splits)
        fed = round(items * (self._tokens(view, splits) + more)) * times
        return Work(f"activations of {view.name}", items * times, fed, 0, 4 * items * sites * self.shape.d_model, False)

    def said(self, view: View, n: int, *, splits: Sequence[Split] = ("evaluation",), more: int = 0) -> list[Work]:
        """`n` items put to the target's own output, beside an instrument: read for their likelihood, and asked about.

        `more`: tokens of an answer that comes with each.
        """
        asked = self.asked(view, n, splits=splits, arms=2, more=more + QUESTION_TOKENS)
        return [self.asked(view, n, splits=splits, more=more), asked]

    def _tokens(self, view: View, splits: Sequence[Split]) -> float:
        """Mean tokens of an item's text, by its letters."""
        examples = self.library.examples(view, splits)
        return sum(map(_length, examples)) / max(1, len(examples))


def _length(example: Example) -> float:
    return len(example.text) / CHARACTERS_A_TOKEN + (TEMPLATE_TOKENS if example.chat else 1)
