"""Metrics of a score against a binary label. No torch, no model, no intervals.

scipy and scikit-learn are imported where they are used: reading a record imports this module, and should
not wait a second for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
ROOM = 250_000
"""resamples times rows that are scored together: what bounds the memory"""


def auroc(score: ArrayLike, label: ArrayLike) -> float | None:
    """AUROC of `score` [n] for `label` [n]: raw, ties half, never folded; None if a class is missing.

    Source: scikit-learn's `roc_auc_score`. Raises ValueError for scores that are not finite.
    """
    from sklearn.metrics import roc_auc_score

    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=bool)
    if labels.all() or not labels.any():
        return None
    return float(roc_auc_score(labels, scores))


def auroc_rows(scores: ArrayLike, label: ArrayLike) -> Floats:
    """AUROC of every row of `scores` [k, n] for one `label` [n] that holds both classes -> [k].

    The rank-sum form of `auroc` (Mann–Whitney U over the number of pairs), for thousands of rows at once.
    """
    from scipy.stats import rankdata

    labels = np.asarray(label, dtype=bool)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise ValueError("AUROC needs both classes")
    ranks = rankdata(np.asarray(scores, dtype=np.float64), method="average", axis=1, nan_policy="raise")
    wins = ranks[:, labels].sum(axis=1) - positives * (positives + 1) / 2
    return np.asarray(wins / (positives * negatives), dtype=np.float64)


def roc_points(score: ArrayLike, label: ArrayLike) -> tuple[Floats, Floats]:
    """False- and true-positive rates [k] each from (0, 0) to (1, 1), without points on a straight piece; empty if a
    class is missing. Source: scikit-learn's `roc_curve`.
    """
    from sklearn.metrics import roc_curve

    labels = np.asarray(label, dtype=bool)
    if labels.all() or not labels.any():
        return np.empty(0), np.empty(0)
    false, true, _ = roc_curve(labels, np.asarray(score, dtype=np.float64), drop_intermediate=True)
    return false, true


def threshold_at(negatives: ArrayLike, fpr: float) -> float:
    """The smallest of the `negatives` [n] such that at most a share `fpr` of them lies strictly above it.

    An item is flagged when its score is strictly above the threshold, so negatives tied with the
    threshold are never flagged: ties can only lower the false-positive rate.
    """
    if not 0 <= fpr < 1:
        raise ValueError(f"a false-positive rate lies in [0, 1), got {fpr}")
    scores = np.sort(np.asarray(negatives, dtype=np.float64))
    if not len(scores):
        raise ValueError("a threshold needs negatives")
    # The small term keeps a product such as .29 * 100 = 28.999… from losing a whole item.
    allowed = int(np.floor(fpr * len(scores) + 1e-9))
    return float(scores[len(scores) - 1 - allowed])


@dataclass(frozen=True)
class Ranking:
    """Positives and negatives in order of their scores: enough for the exact AUROC of any resample of whole groups."""

    n_groups: int
    positive: Indices
    """[n positives]: group of each"""
    negative: Indices
    """[n negatives]: group of each, by rising score"""
    below: Indices
    """[n positives]: how many negatives score lower"""
    up_to: Indices
    """[n positives]: how many negatives score lower or the same"""

    def auroc(self, weights: Floats) -> Floats:
        """AUROC [k] of resamples that hold each group `weights` [k, n_groups] times; NaN without a class.

        A positive drawn w times against a negative drawn v times is w·v pairs, won, or half won in a tie. All sums
        are multiples of one half, so they are exact on every machine.
        """
        at_once = max(1, ROOM // max(1, len(self.positive) + len(self.negative)))
        return np.concatenate([self._auroc(weights[i : i + at_once]) for i in range(0, len(weights), at_once)])

    def _auroc(self, weights: Floats) -> Floats:
        positive = weights[:, self.positive]
        passed = np.zeros((len(weights), len(self.negative) + 1))
        np.cumsum(weights[:, self.negative], axis=1, out=passed[:, 1:])
        won = np.einsum("kp,kp->k", positive, passed[:, self.below] + passed[:, self.up_to]) / 2
        pairs = positive.sum(axis=1) * passed[:, -1]
        return np.asarray(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))

    @property
    def scarcest(self) -> int:
        """Groups that hold an item of the class which fewer groups hold."""
        return min(len(np.unique(self.positive)), len(np.unique(self.negative)))


def ranking(score: ArrayLike, label: ArrayLike, group: ArrayLike) -> Ranking:
    """Rank positives among negatives, for `score`, `label` and `group`, each [n]."""
    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=bool)
    names, index = np.unique(np.asarray(group), return_inverse=True)
    if not len(scores) == len(labels) == len(index):
        raise ValueError(f"score, label and group differ in length: {len(scores)}, {len(labels)}, {len(index)}")
    order = np.argsort(scores[~labels], kind="stable")
    negatives, positives = scores[~labels][order], scores[labels]
    below, up_to = (np.searchsorted(negatives, positives, side=side) for side in ("left", "right"))
    return Ranking(len(names), index[labels], index[~labels][order], below, up_to)
