"""The published choice follows its rule and its ties; where it is empty, the exploratory one says at which cost."""

from __future__ import annotations

import random
import subprocess
import sys
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.measure.directions import Candidate, explore_direction, pareto_front, select_direction


def candidate(position=-1, layer=5, bypass=-1.0, induce=1.0, kl=0.05):
    return Candidate(position, layer, bypass, induce, kl)


def test_the_lowest_bypass_wins():
    best = candidate(layer=7, bypass=-9.0)
    assert select_direction([candidate(), best, candidate(layer=6, bypass=-8.9)], n_layers=20) == best


@pytest.mark.parametrize(
    "bad",
    [
        {"kl": 0.1000001},
        {"induce": -0.0000001},
        {"layer": 16},
        {"bypass": nan},
        {"induce": nan},
        {"kl": nan},
        {"kl": inf},
    ],
)
def test_a_candidate_beyond_a_bound_is_not_chosen_however_low_its_bypass(bad):
    fallback = candidate()
    assert select_direction([candidate(**{"bypass": -99.0, **bad}), fallback], n_layers=20) == fallback
    assert select_direction([candidate(**{"bypass": -99.0, **bad})], n_layers=20) is None


@pytest.mark.parametrize("edge", [{"kl": 0.1}, {"induce": 0.0}, {"layer": 15}])
def test_the_bounds_themselves_are_inside(edge):
    assert select_direction([candidate(**edge)], n_layers=20) == candidate(**edge)


@pytest.mark.parametrize(("n_layers", "last"), [(18, 13), (24, 18), (30, 23), (32, 24), (26, 19)])
def test_the_last_fifth_of_the_layers_is_left_out_as_the_authors_round_it(n_layers, last):
    rows = [candidate(layer=layer, bypass=-float(layer)) for layer in range(n_layers)]
    assert select_direction(rows, n_layers=n_layers).layer == last


def test_ties_go_to_the_first_position_then_the_first_layer_in_whatever_order_they_come():
    rows = [candidate(position, layer, bypass=-3.0) for position in range(-5, 0) for layer in range(10)]
    random.Random(0).shuffle(rows)
    chosen = select_direction(rows, n_layers=20)
    assert (chosen.position, chosen.layer) == (-5, 0)


def test_nothing_comes_of_nothing():
    assert select_direction([], n_layers=20) is None


def test_the_parameters_move_the_bounds():
    row = candidate(layer=19, induce=-2.0, kl=0.5)
    assert select_direction([row], n_layers=20) is None
    assert select_direction([row], n_layers=20, kl_max=0.5, induce_min=-2.0, layer_share=1.0) == row


def test_the_rule_can_be_tried_without_a_model():
    code = "import auditor.measure.directions, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_exploratory_choice_takes_the_smallest_bound_that_leaves_anything_beyond_chance():
    dear, cheap = candidate(bypass=-9.0, kl=0.9, induce=-1.0), candidate(layer=6, bypass=-5.0, kl=0.3, induce=-1.0)
    within_chance = candidate(layer=7, bypass=-0.5, kl=0.01, induce=-1.0)
    assert explore_direction([dear, cheap, within_chance], n_layers=20, null_bypass=-1.0) == (cheap, 0.5)
    assert explore_direction([dear, within_chance], n_layers=20, null_bypass=-1.0) == (dear, 1.0)
    assert explore_direction([within_chance], n_layers=20, null_bypass=-1.0) is None
    assert explore_direction([candidate(bypass=-9.0, kl=2.1)], n_layers=20, null_bypass=-1.0) is None


def test_a_late_layer_is_not_explored():
    assert explore_direction([candidate(layer=19, bypass=-9.0)], n_layers=20, null_bypass=0.0) is None


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9)), max_size=20))
def test_the_front_is_what_no_other_row_beats(rows):
    bypass, kl = np.array([float(b) for b, _ in rows]), np.array([float(k) for _, k in rows])
    front = pareto_front(bypass, kl)

    def beaten(i):
        return any(b <= bypass[i] and k <= kl[i] and (b, k) != (bypass[i], kl[i]) for b, k in rows)

    assert {rows[i] for i in front} == {row for i, row in enumerate(rows) if not beaten(i)}
    assert [kl[i] for i in front] == sorted(kl[i] for i in front)


def test_the_front_leaves_out_what_is_not_a_number():
    assert pareto_front(np.array([nan, -1.0]), np.array([0.0, 0.5])) == [1]
