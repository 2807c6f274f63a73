"""Estimators of a sweep: the best of many layers, beside the best that chance would give. No torch, no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from auditor.measure.metrics import auroc_rows
from auditor.measure.resampling import Interval


def max_statistic_p(*, score: ArrayLike, label: ArrayLike, group: ArrayLike, seed: int, draws: int) -> Interval:
    """Chance of a best AUROC as high as that of `score` [n_layers, n rows], labels shuffled within `group` [n].

    Every shuffle goes to all layers at once and its own best layer counts, so that having looked at many is paid
    for, however alike they are (Westfall & Young 1993). The scores stay as they are: they were fitted on other
    rows. (1 + #{best under a shuffle ≥ best}) / (1 + draws), one-sided. None without both classes.
    """
    from scipy.stats import rankdata

    from auditor.measure.controls import permuted_labels

    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=bool)
    if labels.all() or not labels.any():
        return Interval(None, None, None, 0, "shuffles")
    shuffled = permuted_labels(labels, np.asarray(group), draws, np.random.default_rng(seed))
    positives, negatives = int(labels.sum()), int((~labels).sum())
    wins = rankdata(scores, axis=1) @ shuffled.T - positives * (positives + 1) / 2
    best = (wins / (positives * negatives)).max(axis=0)
    observed = auroc_rows(scores, labels).max()
    return Interval((1 + int(np.sum(best >= observed - 1e-12))) / (1 + draws), None, None, draws, "shuffles")
