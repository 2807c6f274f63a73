"""Directions and the recipes that find them in closed form: difference-in-means and mass-mean.

A recipe is a pure function of activations and labels; what it returns can score. Both recipes here are
linear in a *contrast* of the rows (+1/n for positives, −1/n for negatives), so that one decomposition serves
the fit and every refit on permuted labels. No torch, no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve, svd

from auditor.errors import NotTestable, ProbeFailed
from auditor.measure.metrics import Floats

if TYPE_CHECKING:
    from auditor.model.sites import Site

Rows = NDArray[np.float32]
"""[n_rows, d_model]: activations at one site"""
Labels = NDArray[np.bool_]
"""[n_rows]: true = positive class"""

SHRINKAGE = 0.3
"""Share of the identity in mass-mean's correlation matrix; declared, not fitted, so that layers and models
compare. On the shipped city statements and the demo model .2, .3 and .5 give .959, .957 and .952 on the validation
groups: the value hardly matters. Ledoit & Wolf's estimate serves the covariance, not its inverse; it is near 0."""


@dataclass(frozen=True, eq=False)
class LinearDetector:
    """A fitted linear score: higher means more of the positive class."""

    weights: Floats
    """[d_model], not normalised"""
    bias: float
    """puts 0 between the classes"""
    method: str
    """the recipe's name in config and report"""

    def score(self, x: NDArray[np.floating]) -> Floats:
        """Activations [n_rows, d_model] -> scores [n_rows]."""
        return np.asarray(np.asarray(x, dtype=np.float64) @ self.weights + self.bias)


Recipe = Callable[[Rows, Labels], LinearDetector]
"""Pure, so that the bench can refit it for its controls. Raises NotTestable without both classes, ProbeFailed
for activations that are not finite."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector at a site, with the norm of the raw estimate it came from."""

    site: Site
    vector: NDArray[np.float32]
    """[d_model], unit length"""
    norm: float
    """length of the raw estimate; for difference-in-means the distance of the class means"""
    method: str

    def score(self, x: NDArray[np.floating]) -> Floats:
        """Activations [n_rows, d_model] -> projections [n_rows], in units of the activations."""
        return np.asarray(np.asarray(x, dtype=np.float64) @ self.vector.astype(np.float64))


@dataclass(frozen=True)
class Candidate:
    """A direction that might mediate refusal, with its three figures on the validation prompts."""

    position: int
    """token it was read at, counted from the end of the prompt: −1 is the last"""
    layer: int
    bypass: float
    """mean refusal metric on harmful prompts while the direction is ablated; low = refusal is gone"""
    induce: float
    """mean refusal metric on harmless prompts while the direction is added at its layer; high = refusal appears"""
    kl: float
    """mean KL(unedited ‖ ablated) in nats of the next token on harmless prompts: what ablation costs"""


def select_direction(
    candidates: Iterable[Candidate],
    *,
    n_layers: int,
    kl_max: float = 0.1,
    induce_min: float = 0.0,
    layer_share: float = 0.8,
) -> Candidate | None:
    """The published choice: the lowest bypass among candidates that induce refusal and cost little.

    Source: Arditi et al. 2024, arXiv:2406.11717. Kept are candidates without a NaN, with layer below
    int(layer_share · n_layers), kl ≤ kl_max and induce ≥ induce_min, bounds included. Ties go to the lowest
    position (−n first), then to the lowest layer, whatever the order of `candidates`. None when none is left.
    """
    last = int(layer_share * n_layers)
    kept = [
        c
        for c in candidates
        if not any(isnan(figure) for figure in (c.bypass, c.induce, c.kl))
        and c.layer < last
        and c.kl <= kl_max
        and c.induce >= induce_min
    ]
    return min(kept, key=lambda c: (c.bypass, c.position, c.layer), default=None)


EXPLORED_KL = (0.1, 0.2, 0.5, 1.0, 2.0)
"""nats; bounds that are tried in turn where the published rule leaves nothing"""


def explore_direction(
    candidates: Iterable[Candidate], *, n_layers: int, null_bypass: float, layer_share: float = 0.8
) -> tuple[Candidate, float] | None:
    """Where the published choice is empty: the lowest bypass at the smallest bound of KL that leaves anything.

    Only candidates whose bypass lies below that of every random direction (`null_bypass`, their lowest) are left;
    of these only the ones that take refusal away (bypass below 0), where there are any: at a low cost there is
    always one that does next to nothing, and does a little more of it than chance. Returns the candidate with the
    bound, or None. Exploratory: it may describe, never meet a criterion.
    """
    beyond = [c for c in candidates if c.bypass < null_bypass]
    for kept in ([c for c in beyond if c.bypass < 0], beyond):
        for bound in EXPLORED_KL:
            found = select_direction(kept, n_layers=n_layers, kl_max=bound, induce_min=-inf, layer_share=layer_share)
            if found is not None:
                return found, bound
    return None


def pareto_front(bypass: Floats, kl: Floats) -> list[int]:
    """Indices of the rows (both [n]) that no other row beats in both figures, by ascending KL; NaN rows are out.

    Of rows that are equal in both the first is kept.
    """
    order = sorted((i for i in range(len(kl)) if not isnan(kl[i] + bypass[i])), key=lambda i: (kl[i], bypass[i], i))
    front: list[int] = []
    for i in order:
        if not front or bypass[i] < bypass[front[-1]]:
            front.append(i)
    return front


def direction_of(detector: LinearDetector, site: Site) -> Direction:
    """The direction a detector reads along. Raises NotTestable if its weights are zero."""
    norm = float(np.linalg.norm(detector.weights))
    if norm == 0:
        raise NotTestable(f"{detector.method} finds no difference between the classes at {site}")
    return Direction(site, (detector.weights / norm).astype(np.float32), norm, detector.method)


def difference_in_means(x: Rows, labels: Labels) -> LinearDetector:
    """mean(positive) − mean(negative), with 0 halfway between the class means."""
    return _closed_form("difference_in_means", x, labels)


def mass_mean(x: Rows, labels: Labels) -> LinearDetector:
    """Σ⁻¹ · difference-in-means, with 0 halfway between the class means.

    Source: Marks & Tegmark 2023, arXiv:2310.06824 (in-distribution form). Σ is the covariance of z-scored
    dimensions, shrunk towards the identity by `SHRINKAGE` so that n < d_model works; z-scored because a few
    dimensions of a residual stream may carry most of its variance and would set the ridge for all others.
    It is the *total* covariance: the pooled within-class one differs from it by a multiple of ΔΔᵀ, which
    changes the length of Σ⁻¹Δ and not its direction (Sherman & Morrison), and the total needs no label.
    """
    return _closed_form("mass_mean", x, labels)


def contrast(labels: Labels) -> Floats:
    """Row weights [k, n] whose product with activations [n, d_model] is positive minus negative mean.

    `labels` is [k, n], every row with both classes.
    """
    positive = labels / labels.sum(axis=1, keepdims=True)
    return np.asarray(positive - ~labels / (~labels).sum(axis=1, keepdims=True))


def mean_differences(x: Rows, contrasts: Floats) -> Floats:
    """Difference-in-means weights [k, d_model] for each of the `contrasts` [k, n] of the rows of x."""
    wide = np.asarray(x, dtype=np.float64)
    return np.asarray(contrasts @ (wide - wide.mean(axis=0)))


def whitened_differences(x: Rows, contrasts: Floats) -> Floats:
    """Mass-mean weights [k, d_model] for each of the `contrasts` [k, n] of the rows of x.

    With fewer rows than dimensions the system is solved among the rows: (a + bZᵀZ)⁻¹Zᵀ = Zᵀ(a + bZZᵀ)⁻¹.
    """
    z, _, scale = standardised(x)
    n, d_model = z.shape
    within_rows = n <= d_model
    gram = z @ z.T if within_rows else z.T @ z
    system = SHRINKAGE * np.eye(len(gram)) + (1 - SHRINKAGE) / n * gram
    if within_rows:
        weights = z.T @ solve(system, contrasts.T, assume_a="pos")
    else:
        weights = solve(system, z.T @ contrasts.T, assume_a="pos")
    return np.asarray(weights.T / scale)


CLOSED_FORM: Mapping[str, Callable[[Rows, Floats], Floats]] = {
    "difference_in_means": mean_differences,
    "mass_mean": whitened_differences,
}
"""Recipes whose refits on other labels cost one matrix product."""


def standardised(x: Rows) -> tuple[Floats, Floats, Floats]:
    """z-scores [n_rows, d_model], with the mean and standard deviation [d_model] they were made with.

    A dimension whose spread is rounding noise beside its mean is constant (scale infinite, z 0): blown up
    to unit variance, noise that depends on the batch could carry the length of the text.
    """
    z = np.array(x, dtype=np.float64)
    mean = z.mean(axis=0)
    z -= mean
    scale = spread_of(z, mean)
    z /= scale
    return z, mean, scale


def spread_of(centred: Floats, mean: Floats) -> Floats:
    """Standard deviations [d_model] of centred rows; infinite where they are rounding noise beside the mean."""
    spread = np.sqrt(np.einsum("nd,nd->d", centred, centred) / len(centred))
    return np.where(spread > 1e-5 * np.abs(mean), spread, np.inf)


def principal(rows: Floats) -> tuple[Floats, Floats]:
    """Rows [n, d] in coordinates [n, r] along orthonormal axes [r, d] of their span, by falling size."""
    left, size, axes = svd(rows, full_matrices=False)
    kept = size > np.finfo(np.float64).eps * max(rows.shape) * size.max(initial=0.0)
    return left[:, kept] * size[kept], axes[kept]


def halfway(x: Rows, labels: Labels, weights: Floats) -> float:
    """The bias that puts 0 halfway between the class means."""
    positive, negative = (x[rows].mean(axis=0, dtype=np.float64) for rows in (labels, ~labels))
    return -float(weights @ (positive + negative)) / 2


def require_two_classes(x: Rows, labels: Labels) -> None:
    """Raise NotTestable without both classes, ProbeFailed for activations that are not finite."""
    if x.ndim != 2 or labels.shape != (len(x),) or labels.dtype != np.bool_:
        raise ValueError(f"activations {x.shape} do not go with labels {labels.shape} of {labels.dtype}")
    if labels.all() or not labels.any():
        raise NotTestable(f"all {len(x)} rows are of one class: nothing to tell apart")
    if not np.isfinite(x).all():
        raise ProbeFailed("the activations are not finite")


def _closed_form(method: str, x: Rows, labels: Labels) -> LinearDetector:
    require_two_classes(x, labels)
    weights = CLOSED_FORM[method](x, contrast(labels[None]))[0]
    return LinearDetector(weights, halfway(x, labels, weights), method)
