"""Edits that test a direction: ablated wherever the stream is read or written, added at its layer. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from auditor.measure.directions import Direction
from auditor.model.edits import Edit
from auditor.model.sites import Point, Site

WRITES: tuple[Point, ...] = ("attn_out", "mlp_out")


def ablation_sites(points: Sequence[Point], n_layers: int) -> tuple[Site, ...]:
    """Every place where a block reads the residual stream or writes to it.

    Where the parts of a block cannot be told apart, its input and its output stand for them. Source: Arditi
    et al. 2024, arXiv:2406.11717 (block inputs, attention outputs, MLP outputs).
    """
    writes = WRITES if all(point in points for point in WRITES) else ("resid_post",)
    return tuple(Site(layer, point) for layer in range(n_layers) for point in ("resid_pre", *writes))


def separate_writes(sites: Sequence[Site]) -> tuple[Site, ...] | None:
    """Of the sites of an ablation those that make it up, each part of the stream once: the embedding and every write.

    Where nothing along the direction is written, later reads find nothing to remove: ablated at all the sites or at
    these alone, the model is the same one. A derivative at coefficient 0 is not: it would count a component
    again at every read behind its write. None where the writes of a block cannot be told apart.
    """
    own = tuple(site for site in sites if site.point in WRITES or (site.point == "resid_pre" and site.layer == 0))
    return own if any(site.point in WRITES for site in own) else None


def ablating(direction: Direction, sites: tuple[Site, ...], share: float = 1.0) -> tuple[Edit, ...]:
    """Remove a share of the component along the direction at all the sites, at every token."""
    return (Edit("ablate", direction.vector, direction.norm, share, sites),)


def adding(direction: Direction, coefficient: float = 1.0) -> tuple[Edit, ...]:
    """Add the direction at its own site, at every token; coefficient 1 is one distance of the class means."""
    return (Edit("add", direction.vector, direction.norm, coefficient, (direction.site,)),)


def random_directions(rng: Generator, n: int, like: Direction) -> list[Direction]:
    """Directions drawn evenly over the sphere, with the site and the norm of another one."""
    drawn = rng.standard_normal((n, len(like.vector)))
    units = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return [Direction(like.site, unit, like.norm, "random") for unit in units]


def without(direction: Direction, other: Direction) -> Direction | None:
    """What is left of a direction once its part along another one is taken away; None when nothing is."""
    u = other.vector.astype(np.float64)
    rest = direction.vector.astype(np.float64) - (direction.vector.astype(np.float64) @ u) * u
    size = float(np.linalg.norm(rest))
    if size < 1e-3:
        return None
    return Direction(direction.site, (rest / size).astype(np.float32), direction.norm * size, direction.method)


def rank_of(directions: Sequence[Direction], energy: float = 0.9) -> int:
    """How many dimensions hold a share `energy` of the squared length of unit directions [n]."""
    singular = np.linalg.svd(np.stack([d.vector for d in directions]).astype(np.float64), compute_uv=False)
    held = np.cumsum(singular**2) / np.sum(singular**2)
    return int(np.searchsorted(held, energy - 1e-12) + 1)
