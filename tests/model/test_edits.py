from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.model.activations import Activations
from auditor.model.edits import Edit
from auditor.model.sites import Site

SITE = Site(1, "resid_post")


@pytest.fixture
def edit(u):
    return Edit("add", u, norm=2.0, coefficient=1.5, sites=(SITE,))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "ablate"},
        {"norm": 2.1},
        {"coefficient": -1.5},
        {"positions": "prompt"},
        {"sites": (Site(2, "resid_post"),)},
        {"sites": (Site(1, "resid_pre"),)},
    ],
)
def test_everything_that_changes_the_effect_changes_the_digest(edit, change):
    assert replace(edit, **change).digest != edit.digest


def test_the_vector_is_in_the_digest_and_the_order_of_sites_is_not(edit, u):
    assert replace(edit, vector=-u).digest != edit.digest
    both = (SITE, Site(0, "resid_post"))
    assert replace(edit, sites=both) == replace(edit, sites=both[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "zero"}, "no kind of edit"),
        ({"positions": "last"}, "no positions named"),
        ({"sites": ()}, "at least one site"),
        ({"sites": (SITE, SITE)}, "none twice"),
        ({"norm": -1.0}, "not negative"),
        ({"coefficient": float("nan")}, "finite"),
        ({"vector": np.ones(32, np.float32)}, "unit norm"),
        ({"vector": np.full(32, np.nan, np.float32)}, "unit norm"),
        ({"vector": np.zeros(32, np.float32)}, "unit norm"),
        ({"vector": np.ones((1, 32), np.float32)}, r"float32 \[d_model\]"),
    ],
)
def test_a_meaningless_edit_is_refused(edit, change, message):
    with pytest.raises(ValueError, match=message):
        replace(edit, **change)


def test_a_vector_of_double_precision_is_refused(edit, u):
    with pytest.raises(ValueError, match="float32"):
        replace(edit, vector=u.astype(np.float64))


def test_rounding_of_the_norm_is_taken_out_and_the_vector_cannot_change(edit, u):
    rounded = replace(edit, vector=u * np.float32(1 + 5e-5))
    assert np.linalg.norm(rounded.vector.astype(np.float64)) == pytest.approx(1, abs=1e-7)
    with pytest.raises(ValueError, match="read-only"):
        rounded.vector[0] = 1


@pytest.mark.parametrize(("layer", "point"), [(-1, "resid_post"), (1.0, "resid_post"), (0, "hidden")])
def test_a_site_that_cannot_be_is_refused(layer, point):
    with pytest.raises(ValueError, match=r"layers count|no point named"):
        Site(layer, point)


def test_activations_are_taken_by_row_and_site():
    values = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    sites = (Site(0, "resid_pre"), SITE)
    read = Activations(values, sites, np.array([0, 0, 1]), np.array([4, 5, 2]))
    kept = read.take([2, 0])
    assert kept.at(SITE).tolist() == [[10, 11], [2, 3]]
    assert (kept.example.tolist(), kept.position.tolist()) == ([1, 0], [2, 4])
    with pytest.raises(KeyError, match="was not read"):
        read.at(Site(2, "resid_post"))


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.zeros((3, 2, 2))},
        {"values": np.zeros((3, 1, 2), np.float32)},
        {"position": np.zeros(2, np.int64)},
        {"sites": (SITE, SITE)},
    ],
)
def test_activations_that_do_not_fit_together_are_refused(change):
    sites = (Site(0, "resid_pre"), SITE)
    read = Activations(np.zeros((3, 2, 2), np.float32), sites, np.arange(3), np.arange(3))
    with pytest.raises(ValueError, match=r"float32|sites|entry a row"):
        replace(read, **change)
