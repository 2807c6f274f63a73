"""Asking of candidates no more than the rule needs gives the choice that asking everything gives."""

from __future__ import annotations

import hashlib
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.measure.choice import Bounds, Grid, chosen_of
from auditor.measure.directions import Direction
from auditor.measure.evidence import Evidence
from auditor.measure.library import View
from auditor.measure.runner import Answered
from auditor.measure.search import Search
from auditor.measure.table import Pool, table
from auditor.model.sites import Site

LAYERS, D, N = 12, 8, 16
BOUNDS = Bounds(kl_max=0.1, induce_min=0.0, layer_share=0.8)


class Drawn:
    """Every figure of every candidate and prompt is drawn by chance; some are no numbers."""

    def __init__(self, seed, spread):
        self.seed, self.spread, self.questions = seed, spread, 0

    def _number(self, one, effect):
        (edit,) = one.edits
        text = f"{self.seed} {edit.vector.tobytes()} {effect}"
        arm, item = (
            np.random.default_rng(int(hashlib.sha256(t.encode()).hexdigest()[:8], 16))
            for t in (text, f"{text} {one.example.id}")
        )
        if arm.random() < 0.05:
            return None
        if effect == "kl":
            return float(arm.exponential(0.1) * item.exponential(self.spread))
        return float(arm.normal(0, 2) + item.normal())

    def ask(self, asked, effects, **_how):
        self.questions += len(asked)
        return [Answered("", {effect: self._number(one, effect) for effect in effects}) for one in asked]


def search_of(runner):
    evidence = Evidence("a_probe", "excerpt")
    workbench = SimpleNamespace(evidence=evidence, runner=runner)
    facts = {}
    bench = SimpleNamespace(
        table=partial(table, workbench),
        fact=facts.__setitem__,
        tabulate=lambda *_: None,
        plot=lambda *_, **__: None,
    )
    prompts = tuple(Example(f"item {i}", "", False, f"group {i % 4}") for i in range(N))
    pool = Pool(View("requests"), (), prompts, N)
    return Search(bench, None, pool, pool, (Site(0, "resid_pre"),)), facts


def grid_of(seed):
    rng = np.random.default_rng(seed)
    units = rng.standard_normal((3, LAYERS, D))
    units /= np.linalg.norm(units, axis=-1, keepdims=True)
    directions = {
        (p - 3, layer): Direction(Site(layer, "resid_pre"), units[p, layer].astype(np.float32), 1.0, "drawn")
        for p in range(3)
        for layer in range(LAYERS)
    }
    return Grid(directions, (), BOUNDS, LAYERS, coarse=False)


@pytest.mark.parametrize("spread", [0.5, 3.0, 30.0])
def test_the_choice_is_that_of_all_figures_and_fewer_questions_are_asked(spread):
    found = 0
    for seed in range(25):
        grid, runner = grid_of(seed), Drawn(seed, spread)
        search, facts = search_of(runner)
        pruned = search.within_bounds(grid)
        few, whole = runner.questions, search.tried(grid)
        expected = chosen_of(whole.candidates(grid), BOUNDS, LAYERS)
        assert few < 0.9 * (runner.questions - few)
        assert "of 36 candidates" in facts["asked no more than the rule needs"]
        if expected is None:
            assert pruned is None
        else:
            assert chosen_of(pruned.candidates(grid), BOUNDS, LAYERS) == expected
            found += 1
    assert (found > 15) == (spread < 30)


def test_what_was_not_asked_has_no_number():
    search, _ = search_of(Drawn(1, 1.0))
    grid = grid_of(1)
    figures, whole = search.within_bounds(grid), search.tried(grid)
    for known, full in ((figures.bypass, whole.bypass), (figures.kl, whole.kl)):
        for effect, values in known.values.items():
            assert np.isnan(values).any(axis=1).sum() > 3
            assert np.array_equal(values[~np.isnan(values)], full.values[effect][~np.isnan(values)])
