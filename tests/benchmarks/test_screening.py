"""The measured share of winners that screening keeps is that of the tables it is given."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.measure.choice import Bounds
from benchmarks.screening import Tables, drawn, told


def tables(predicted, bypass, kl):
    places = [(-1, layer) for layer in range(len(bypass))]
    return Tables(predicted, bypass, kl, np.ones_like(kl), places, Bounds(0.1, 0.0, 1.0), n_layers=len(bypass))


def test_the_share_of_winners_that_screening_keeps():
    """The lowest bypass costs too much to be chosen; predictions are perfect, then upside down."""
    rng = np.random.default_rng(0)
    exact, kl = rng.normal(scale=0.1, size=(30, 12)), np.zeros((30, 9))
    exact[[7, 8]] -= [[5], [3]]
    kl[7] = 50.0
    perfect = drawn(tables(exact, exact, kl), draws=9, size=6, rng=rng)
    assert perfect.rank.tolist() == [[1, 2]] * 9
    upside_down = drawn(tables(-exact, exact, kl), draws=9, size=600, rng=rng)
    assert upside_down.rank.tolist() == [[30, 29]] * 9
    assert upside_down.agreement == pytest.approx(-1)
    assert "| 1 | 1.00 | 0.70 to 1.00 | 0.00 | 0.00 to 0.30 |" in told(perfect)
    assert "| 5 | 1.00 | 0.70 to 1.00 | 1.00 | 0.70 to 1.00 |" in told(perfect)


def test_where_the_rule_leaves_nothing_the_exploratory_choice_is_meant():
    bypass = np.array([[-9.0], [-2.0], [-1.0]])
    assert tables(bypass, bypass, np.array([[9.0], [0.3], [0.4]])).winners(np.array([0]), np.array([0])) == (0, 1)
    assert tables(bypass, bypass, np.full((3, 1), 9.0)).winners(np.array([0]), np.array([0])) == (0, 0)
