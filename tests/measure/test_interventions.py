from __future__ import annotations

import numpy as np
import pytest

from auditor.measure.directions import Direction
from auditor.measure.interventions import ablating, ablation_sites, adding, random_directions, rank_of, without
from auditor.model.sites import Site

SITE = Site(1, "resid_pre")


def direction(*values, norm=2.0):
    vector = np.array(values, dtype=np.float32)
    return Direction(SITE, vector / np.linalg.norm(vector), norm, "difference_in_means")


def test_a_direction_is_ablated_at_every_read_and_write():
    points = ("resid_pre", "resid_post", "attn_out", "mlp_out")
    assert set(ablation_sites(points, 2)) == {Site(i, p) for i in (0, 1) for p in ("resid_pre", "attn_out", "mlp_out")}


def test_where_the_parts_of_a_block_are_unknown_its_output_stands_for_them():
    assert set(ablation_sites(("resid_pre", "resid_post"), 1)) == {Site(0, "resid_pre"), Site(0, "resid_post")}


def test_ablation_removes_a_share_and_addition_adds_multiples_of_the_norm_at_the_own_site():
    (removed,), (added,) = ablating(direction(1, 0), (SITE,), 0.5), adding(direction(1, 0), -2.0)
    assert (removed.removed, removed.added) == (0.5, 0.0)
    assert (added.removed, added.added, added.sites) == (0.0, -4.0, (SITE,))


def test_random_directions_share_site_and_norm_follow_the_seed_and_point_everywhere():
    like = direction(*np.ones(64))
    drawn = random_directions(np.random.default_rng(3), 200, like)
    again = random_directions(np.random.default_rng(3), 200, like)
    assert all(np.array_equal(a.vector, b.vector) for a, b in zip(drawn, again, strict=True))
    assert {(d.site, d.norm) for d in drawn} == {(SITE, 2.0)}
    assert np.linalg.norm([d.vector for d in drawn], axis=1) == pytest.approx(1.0, abs=1e-6)
    assert abs(np.mean([d.vector for d in drawn])) < 0.01


def test_what_is_left_of_a_direction_is_orthogonal_to_the_other():
    rest = without(direction(1, 1, 0), direction(1, 0, 0))
    assert rest.vector == pytest.approx([0, 1, 0], abs=1e-6)
    assert rest.norm == pytest.approx(2.0 / np.sqrt(2))
    assert without(direction(1, 0), direction(-1, 0)) is None


def test_the_rank_counts_dimensions_and_not_directions():
    same = [direction(1, 0, 0), direction(1, 0.01, 0), direction(1, 0, 0.01)]
    assert rank_of(same) == 1
    assert rank_of([direction(1, 0, 0), direction(0, 1, 0), direction(0, 0, 1)]) == 3
