"""Reading vectors: the direction along which the two texts of a pair differ most. No torch, no model."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from auditor.measure.directions import Labels, LinearDetector, Rows, halfway, principal, require_two_classes
from auditor.measure.pairs import Twos, require_pairs


def reading_vector(x: Rows, labels: Labels, twos: Twos, _rng: Generator) -> LinearDetector:
    """The first principal component of the differences of pairs, turned so that positives score higher on average.

    Source: Zou et al. 2023, arXiv:2310.01405 (linear artificial tomography). There the order within pairs is random
    and the differences are centred; here every difference counts with its opposite, which is the mean of that over
    all orders. Labels choose the sign, and the 0 halfway between the class means, and nothing else.
    """
    require_two_classes(x, labels)
    require_pairs(twos, "lat")
    first, second = (x[twos[:, side]].astype(np.float64) for side in (0, 1))
    _, axes = principal(first - second)
    weights = axes[0] if len(axes) else np.zeros(x.shape[1])
    apart = x[labels].mean(axis=0, dtype=np.float64) - x[~labels].mean(axis=0, dtype=np.float64)
    weights = weights if weights @ apart >= 0 else -weights
    return LinearDetector(weights, halfway(x, labels, weights), "lat")
