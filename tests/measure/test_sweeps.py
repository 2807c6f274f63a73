from __future__ import annotations

import numpy as np
import pytest

from auditor.measure.controls import permuted_labels
from auditor.measure.intervals import ESTIMATORS, Interval
from auditor.measure.metrics import auroc

max_statistic_p = ESTIMATORS["max_statistic_p"]
GROUP = np.repeat(np.arange(14), 4)
LABEL = np.tile([True, False, False, True], 14)


def profile(rng: np.random.Generator, *, layers: int = 12, signal: float = 0.0, alike: float = 0.0) -> np.ndarray:
    """Scores [layers, 56], one layer with a signal; `alike` is the share that all layers have in common."""
    noise = np.sqrt(1 - alike) * rng.normal(size=(layers, 56)) + np.sqrt(alike) * rng.normal(size=56)
    noise[layers // 2] += signal * LABEL
    return noise


def p(score: np.ndarray, seed: int = 0, draws: int = 199) -> float:
    return max_statistic_p(score=score, label=LABEL, group=GROUP, seed=seed, draws=draws).value


def test_it_is_the_share_of_shuffles_whose_best_layer_does_as_well() -> None:
    score = profile(np.random.default_rng(0), layers=3, signal=0.6).round(1)  # with ties
    shuffled = permuted_labels(LABEL, GROUP, 60, np.random.default_rng(5))
    best = [max(auroc(layer, labels) for layer in score) for labels in shuffled]
    observed = max(auroc(layer, LABEL) for layer in score)
    expected = (1 + sum(b >= observed - 1e-12 for b in best)) / 61
    assert 1 / 61 < expected < 1
    assert max_statistic_p(score=score, label=LABEL, group=GROUP, seed=5, draws=60) == Interval(
        expected, None, None, 60, "shuffles"
    )


def test_a_planted_layer_is_beyond_chance_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    assert p(profile(rng, signal=2.5)) == 1 / 200
    assert p(profile(rng)) > 0.05


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_having_looked_at_many_layers_is_paid_for(alike: float) -> None:
    rng = np.random.default_rng(2)
    found = np.array([p(profile(rng, alike=alike), seed) for seed in range(200)])
    assert np.mean(found <= 0.05) < 0.1
    assert 0.42 < found.mean() < 0.58


def test_one_class_leaves_nothing_to_shuffle() -> None:
    made = max_statistic_p(score=np.ones((2, 3)), label=[1, 1, 1], group=[0, 1, 2], seed=0, draws=9)
    assert made == Interval(None, None, None, 0, "shuffles")
