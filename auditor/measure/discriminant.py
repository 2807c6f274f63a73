"""Linear discriminant analysis with a fitted shrinkage, once or for many labellings at once. No torch, no model."""

from __future__ import annotations

import numpy as np

from auditor.measure.directions import (
    Labels,
    LinearDetector,
    Rows,
    contrast,
    halfway,
    principal,
    require_two_classes,
    standardised,
)
from auditor.measure.metrics import Floats


def linear_discriminant(x: Rows, labels: Labels) -> LinearDetector:
    """Fisher's discriminant Σ⁻¹Δ on z-scored dimensions, with 0 halfway between the class means.

    Σ is the pooled within-class covariance, shrunk towards a multiple of the identity by the share that Ledoit and
    Wolf estimate from the rows (doi:10.1016/S0047-259X(03)00096-4): scikit-learn's LinearDiscriminantAnalysis with
    `solver="lsqr"` and that share. Its `shrinkage="auto"` estimates a share for each class instead; one share of the
    pooled rows can be refitted. Beside mass-mean the shrinkage is fitted instead of declared, that is all.
    """
    require_two_classes(x, labels)
    weights = discriminant_weights(x, labels[None])[0]
    return LinearDetector(weights, halfway(x, labels, weights), "lda")


def discriminant_weights(x: Rows, labels: Labels) -> Floats:
    """Weights [k, d_model] for each of the `labels` [k, n], every row with both classes; their lengths are left open.

    One decomposition of the rows serves all labellings: the within-class covariance is the total one less a
    multiple of ΔΔᵀ, which does not turn Σ⁻¹Δ (Sherman & Morrison) and of which the shrinkage follows.
    """
    z, _, scale = standardised(x)
    rows, axes = principal(z)
    variance = np.einsum("nr,nr->r", rows, rows) / len(rows)
    apart = contrast(labels) @ rows
    kept = 1 - _shrinkage(rows, labels, apart, z.shape[1])
    total = variance.sum() - _between(labels) * np.einsum("kr,kr->k", apart, apart)
    ridge = (1 - kept) * total / z.shape[1]
    on_z = apart / (kept[:, None] * variance + ridge[:, None]) @ axes
    return np.asarray(on_z / scale)


def _between(labels: Labels) -> Floats:
    """Share of ΔΔᵀ [k] in the total covariance."""
    share = labels.mean(axis=1)
    return np.asarray(share * (1 - share))


def _shrinkage(rows: Floats, labels: Labels, apart: Floats, n_dims: int) -> Floats:
    """Ledoit and Wolf's share [k] for rows [n, r] from which the means of their classes are taken.

    With W the within-class covariance of d dimensions and x the centred rows: (Σ‖x‖⁴/n² − ‖W‖²/n) over
    ‖W‖² − tr(W)²/d, in [0, 1].
    """
    n, share = len(rows), labels.mean(axis=1)
    length = np.einsum("nr,nr->n", rows, rows)
    fourth = np.zeros(len(labels))
    for chosen, sign in ((labels, 1 - share), (~labels, -share)):
        centre = sign[:, None] * apart  # the mean of all rows is 0
        distance = length - 2 * centre @ rows.T + np.einsum("kr,kr->k", centre, centre)[:, None]
        fourth += np.einsum("kn,kn->k", chosen, distance**2)
    variance, between, squared = np.einsum("nr,nr->r", rows, rows) / n, _between(labels), apart**2
    trace = variance.sum() - between * squared.sum(axis=1)
    norm = (variance**2).sum() - 2 * between * (squared @ variance) + (between * squared.sum(axis=1)) ** 2
    spread = norm - trace**2 / n_dims
    noise = np.clip(fourth / n**2 - norm / n, 0, None)
    return np.asarray(np.where(noise < spread, noise / np.where(noise < spread, spread, 1), 1.0))
