"""Token strips: an answer whose tokens carry a detector's score as shade, with the numbers beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auditor.measure.measurement import Sample, TokenScores
from auditor.report.numbers import score

SHADES = 5
"""from the lowest score to the highest; the stylesheet has as many grounds, all of which text can be read on"""
HIDDEN = "·"
"""stands for a token whose text is hidden, or adds nothing to the text"""


@dataclass(frozen=True)
class Token:
    """One token of a strip."""

    text: str
    score: str
    shade: int
    """0 for the lowest score shown of the detector, SHADES − 1 for the highest"""


@dataclass(frozen=True)
class Scale:
    """What the shades of the strips beside each other mean."""

    low: float
    high: float

    @property
    def told(self) -> str:
        """The scores at both ends."""
        return f"from {score(self.low)} (palest) to {score(self.high)} (darkest)"

    def shade(self, value: float) -> int:
        """The shade of a score."""
        share = (value - self.low) / (self.high - self.low or 1.0)
        return min(int(share * SHADES), SHADES - 1)


def scale(samples: Iterable[Sample]) -> Scale | None:
    """One scale for all strips of a group; None where there are none."""
    values = [value for sample in samples if sample.tokens for value in sample.tokens.scores]
    return Scale(min(values), max(values)) if values else None


def strip(found: TokenScores, by: Scale) -> tuple[Token, ...]:
    """The tokens in their order."""
    texts = [*found.texts, *([""] * (len(found.scores) - len(found.texts)))]
    return tuple(
        Token(text.replace("\n", "⟨LF⟩\n") or HIDDEN, score(value), by.shade(value))
        for text, value in zip(texts, found.scores, strict=True)
    )
