"""Effects of an edit, read from the logits of one position. Each is a method of a frozen value. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from auditor.errors import ProbeFailed
from auditor.measure.runner import Reading


@dataclass(frozen=True)
class KL:
    """What an edit costs where nothing should change."""

    def nats(self, reading: Reading) -> float:
        """KL(unedited ‖ edited) of the next-token distributions, in nats. Needs `beside_unedited`."""
        if reading.unedited is None:
            raise ValueError("KL needs the logits without edits: ask beside_unedited")
        before, after = (log_softmax(np.asarray(x, np.float64)) for x in (reading.unedited, reading.logits))
        if np.isnan(after).any():
            raise ProbeFailed("the logits are not numbers")
        return float(np.sum(np.exp(before) * (before - after)))


@dataclass(frozen=True)
class LogitDifference:
    """How far the target leans to one token rather than another."""

    first: int
    second: int

    def difference(self, reading: Reading) -> float:
        """logit(first) − logit(second) at the first position of the answer."""
        return float(reading.logits[self.first]) - float(reading.logits[self.second])
