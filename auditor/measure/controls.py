"""The same measurement where the effect should be absent: permuted labels, random directions. No torch, no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.measure.classifiers import refitted
from auditor.measure.directions import Labels, Rows, require_two_classes, standardised
from auditor.measure.metrics import Floats, auroc_rows

ROOM = 5_000_000
"""detectors times rows that are scored together: what bounds the memory"""


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Activations at one site with what is known about them, one row an example."""

    x: Rows
    """[n, d_model]"""
    labels: Labels
    """[n]"""
    groups: NDArray[np.str_]
    """[n]"""


def permutation_null(
    fit: LabelledRows, evaluation: LabelledRows, recipe: str, *, draws: int = 999, rng: np.random.Generator
) -> Floats:
    """AUROCs [draws] on `evaluation` of detectors refitted to `fit` with its labels permuted.

    Only the fit labels are permuted (see `permuted_labels`); the evaluation rows and their true labels stay.
    If the labels have nothing to do with the activations, the real detector is one more such refit,
    and `permutation_p` of it is exact. `recipe` is one that can be refitted many times at once, see `refitted`.
    """
    require_two_classes(fit.x, fit.labels)
    require_two_classes(evaluation.x, evaluation.labels)
    weights = refitted(recipe, fit.x, permuted_labels(fit.labels, fit.groups, draws, rng))
    return _tried(weights, evaluation)


def random_directions(
    fit: LabelledRows, evaluation: LabelledRows, *, draws: int = 999, rng: np.random.Generator
) -> Floats:
    """AUROCs [draws] on `evaluation` of random directions, each turned by the labels of `fit`.

    The null of a recipe that finds its direction without labels and uses them for the sign: chance takes a direction
    evenly over the sphere, each dimension in units of its spread, and chooses its sign by the same labels.
    `permutation_p` of it asks whether the search finds more of what is labelled than that.
    """
    require_two_classes(fit.x, fit.labels)
    require_two_classes(evaluation.x, evaluation.labels)
    _, _, scale = standardised(fit.x)
    weights = rng.normal(size=(draws, len(scale))) / scale
    apart = fit.x[fit.labels].mean(axis=0, dtype=np.float64) - fit.x[~fit.labels].mean(axis=0, dtype=np.float64)
    weights[weights @ apart < 0] *= -1
    return _tried(weights, evaluation)


def _tried(weights: Floats, evaluation: LabelledRows) -> Floats:
    """AUROC [k] of each of the weights [k, d_model]."""
    x = evaluation.x.astype(np.float64).T
    at_once = max(1, ROOM // len(evaluation.x))
    parts = [auroc_rows(weights[i : i + at_once] @ x, evaluation.labels) for i in range(0, len(weights), at_once)]
    return np.concatenate(parts)


def permuted_labels(labels: Labels, groups: NDArray[np.str_], draws: int, rng: np.random.Generator) -> Labels:
    """Permutations [draws, n] of `labels` [n] that leave the design as it is.

    In a group with both classes the labels are shuffled among its rows, so that no refit can gain or lose by
    what a group as a whole is about. Groups of one class trade their label as a block: their rows are not
    independent, and shuffling them one by one would make the null too narrow and p too small. Where a
    design allows few arrangements, many draws repeat the true one and p stays large, as it should.
    """
    shuffled = np.empty((draws, len(labels)), dtype=bool)
    blocks: list[NDArray[np.intp]] = []
    _, group = np.unique(groups, return_inverse=True)
    for rows in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        own = labels[rows]
        if own.any() and not own.all():
            shuffled[:, rows] = rng.permuted(np.broadcast_to(own, (draws, len(own))), axis=1)
        else:
            blocks.append(rows)
    if blocks:
        block_labels = np.array([labels[rows][0] for rows in blocks])
        traded = rng.permuted(np.broadcast_to(block_labels, (draws, len(blocks))), axis=1)
        for rows, column in zip(blocks, traded.T, strict=True):
            shuffled[:, rows] = column[:, None]
    return shuffled
