"""Detectors that are found in pairs: what they find is the plainest difference, and labels turn it round at most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from auditor.cli.discover import load_probes
from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.errors import NotTestable, ProbeFailed
from auditor.measure import consistency
from auditor.measure.detectors import DETECTORS
from auditor.measure.instrument import FROM_PAIRS, required
from auditor.measure.metrics import auroc
from auditor.measure.pairs import FromPairs, contrast_pairs, fitted, negations

EVERY = pytest.mark.parametrize("name", FROM_PAIRS)
D = 20
TRUTH, NEGATED, TOPIC = np.eye(D)[:3]


def statements(n_groups: int) -> list[Example]:
    """An entity with the right value and a wrong one, affirmed and negated: four statements, two of them true."""
    return [
        Example(
            id=f"{group}-0-{polarity}-{value}",
            prompt="",
            completion=f"{group} {polarity} {value}",
            label=(value == "right") == (polarity == "affirmed"),
            group=str(group),
            polarity=polarity,
            pair=f"{group}-0-{polarity}",
        )
        for group in range(n_groups)
        for polarity in ("affirmed", "negated")
        for value in ("right", "wrong")
    ]


def activations(
    examples: list[Example], seed: int, *, truth: float = 4.0, negated: float = 6.0, salient: float = 0.0
) -> np.ndarray:
    """Noise, a truth feature, what every negation has, and a feature that divides pairs by the entity alone."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(len(examples), D))
    for row, e in zip(rows, examples, strict=True):
        side = 1 if e.polarity == "affirmed" else -1
        value = 1 if e.id.endswith("right") else -1
        row += TRUTH * truth * (0.5 if e.label else -0.5) + NEGATED * negated * (e.polarity == "negated")
        row += TOPIC * salient * side * value * (1 if int(e.group) % 2 else -1) / 2
    return (rows + 10).astype(np.float32)


def labels_of(examples: list[Example]) -> np.ndarray:
    return np.array([e.label for e in examples])


def held_out(name: str, change=lambda examples: examples, n: int = 120, **planted: float) -> tuple[float, np.ndarray]:
    """AUROC on other statements of a detector fitted to changed examples, and its weights as a unit vector."""
    fit, held = statements(n), statements(n)
    detector = fitted(DETECTORS[name], change(fit), activations(fit, 0, **planted), np.random.default_rng(0))
    score = detector.score(activations(held, 1, **planted))
    return auroc(score, labels_of(held)), detector.weights / np.linalg.norm(detector.weights)


@EVERY
def test_a_planted_truth_is_found_on_both_sides_of_a_negation(name: str) -> None:
    found, weights = held_out(name)
    assert found > 0.97
    assert weights @ TRUTH > 0.95
    assert abs(weights @ NEGATED) < 0.1


@EVERY
def test_without_a_truth_to_find_none_is_found(name: str) -> None:
    found, weights = held_out(name, truth=0.0)
    assert 0.4 < found < 0.6
    assert abs(weights @ TRUTH) < 0.6


@EVERY
def test_labels_choose_the_sign_and_nothing_else(name: str) -> None:
    found, weights = held_out(name)
    turned, other = held_out(name, lambda examples: [replace(e, label=not e.label) for e in examples])
    assert turned == pytest.approx(1 - found)
    assert other == pytest.approx(-weights)
    rng = np.random.default_rng(3)
    _, shuffled = held_out(
        name, lambda fit: [replace(e, label=bool(y)) for e, y in zip(fit, rng.permuted(labels_of(fit)), strict=True)]
    )
    assert abs(shuffled @ weights) == pytest.approx(1)


@EVERY
def test_a_more_salient_difference_is_found_instead(name: str) -> None:
    """What the distractor control is for: consistency does not single truth out."""
    found, weights = held_out(name, salient=12.0)
    assert found < 0.75
    assert abs(weights @ TOPIC) > 0.9


def test_labels_that_are_used_to_fit_are_not_led_astray() -> None:
    found, _ = held_out("mass_mean", salient=12.0)
    assert found > 0.97


def test_the_reading_vector_is_the_first_component_of_differences_in_either_order() -> None:
    fit = statements(30)
    x, twos = activations(fit, 0, truth=2.0).astype(np.float64), contrast_pairs(fit)
    differences = x[twos[:, 0]] - x[twos[:, 1]]
    component = PCA(n_components=1).fit(np.concatenate([differences, -differences])).components_[0]
    weights = fitted(DETECTORS["lat"], fit, x.astype(np.float32), np.random.default_rng(0)).weights
    assert abs(weights @ component) == pytest.approx(1, abs=1e-9)
    assert np.linalg.norm(weights) == pytest.approx(1)


def searched_by_hand(first: torch.Tensor, second: torch.Tensor, starts: int = 4) -> tuple[float, np.ndarray]:
    """The published loop: Adam on autograd's gradients, several starts, the lowest loss."""
    best = (np.inf, np.zeros(0))
    for seed in range(starts):
        drawn = torch.tensor(np.random.default_rng(seed).normal(size=first.shape[1]) / np.sqrt(first.shape[1]))
        w, b = drawn.requires_grad_(), torch.zeros(1, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([w, b], lr=0.03)
        for _ in range(600):
            p, q = torch.sigmoid(first @ w + b), torch.sigmoid(second @ w + b)
            loss = ((p - (1 - q)) ** 2 + torch.minimum(p, q) ** 2).mean() + consistency.PENALTY / 2 * (w @ w)
            adam.zero_grad()
            loss.backward()
            adam.step()
        if loss.item() < best[0]:
            best = loss.item(), w.detach().numpy()
    return best


def test_the_search_ends_where_a_plain_loop_ends() -> None:
    fit = statements(40)
    x, twos = activations(fit, 0, truth=4.0), negations(fit)
    sides = [x[twos[:, side]].astype(np.float64) for side in (0, 1)]
    between = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    sides = [side - side.mean(axis=0) for side in sides]
    scale = np.concatenate(sides).std(axis=0)
    along = between / scale / np.linalg.norm(between / scale)
    first, second = (torch.tensor(side / scale @ (np.eye(D) - np.outer(along, along))) for side in sides)
    loss, weights = searched_by_hand(first, second)
    detector = fitted(DETECTORS["ccs"], fit, x, np.random.default_rng(0))
    ours, centre = detector.weights * scale, x[twos].astype(np.float64).mean(axis=(0, 1))
    point = np.append(ours, detector.score(centre[None]))
    found = min(consistency._loss(sign * point, first.numpy(), second.numpy())[0] for sign in (1, -1))
    assert found < loss + 1e-3
    assert abs(ours @ weights) / np.linalg.norm(ours) / np.linalg.norm(weights) > 0.99


def test_a_row_is_scored_alike_whichever_side_it_is_on() -> None:
    fit = statements(60)
    x, twos = activations(fit, 0), negations(fit)
    detector = fitted(DETECTORS["ccs"], fit, x, np.random.default_rng(0))
    sides = [x[twos[:, side]].mean(axis=0) for side in (0, 1)]
    assert np.linalg.norm(sides[0] - sides[1]) > 5
    assert detector.score(sides[0][None]) == pytest.approx(detector.score(sides[1][None]), abs=1e-4)


def test_the_gradient_of_the_search_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(5)
    first, second, point = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)), rng.normal(size=5)
    _, gradient = consistency._loss(point, first, second)
    for i, step in enumerate(np.eye(5) * 1e-6):
        up, down = (consistency._loss(point + sign * step, first, second)[0] for sign in (1, -1))
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-6)


@EVERY
def test_the_same_starts_give_the_same_detector(name: str) -> None:
    fit = statements(30)
    x = activations(fit, 0, truth=1.0)
    first, second = (fitted(DETECTORS[name], fit, x, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.weights, second.weights)
    assert first.bias == second.bias


@EVERY
def test_fewer_rows_than_dimensions_still_find_it(name: str) -> None:
    """Of a truth that many dimensions hold a little of, as in a residual stream."""
    fit, held, rng = statements(20), statements(60), np.random.default_rng(8)
    x, y = (rng.normal(size=(len(e), 300)) + np.outer(labels_of(e), np.full(300, 0.9)) for e in (fit, held))
    detector = fitted(DETECTORS[name], fit, x.astype(np.float32), np.random.default_rng(0))
    assert auroc(detector.score(y), labels_of(held)) > 0.95


@EVERY
def test_without_pairs_there_is_nothing_to_compare(name: str) -> None:
    alone = [replace(e, pair="") for e in statements(20) if e.polarity == "affirmed"]
    with pytest.raises(NotTestable, match=f"{name} compares the two texts of a pair, and there are 0 pairs"):
        fitted(DETECTORS[name], alone, activations(alone, 0), np.random.default_rng(0))


@EVERY
def test_activations_that_are_not_finite_fail_the_probe(name: str) -> None:
    fit = statements(5)
    x = activations(fit, 0)
    x[3, 3] = np.nan
    with pytest.raises(ProbeFailed, match="not finite"):
        fitted(DETECTORS[name], fit, x, np.random.default_rng(0))


def test_the_recipes_that_see_pairs_are_the_ones_that_are_asked_for_other_controls() -> None:
    assert {name for name, recipe in DETECTORS.items() if isinstance(recipe, FromPairs)} == set(FROM_PAIRS)
    assert "shuffled labels" in required("lda")
    assert {"random directions", "held-out AUROC beside a distractor"} <= set(required("ccs"))
    assert "shuffled labels" not in required("ccs")


@pytest.mark.parametrize("data", ["cities", "translations", "companies", "animals", "people"])
def test_every_shipped_statement_has_its_negation_and_its_contrast(data: str) -> None:
    examples = read(load_probes(["truth_probe"])["truth_probe"].data_dir / f"truth_{data}.jsonl").examples
    for two in (negations(examples), contrast_pairs(examples)):
        assert sorted(two.ravel()) == list(range(len(examples)))
        assert all(examples[a].label != examples[b].label for a, b in two)
        assert all(examples[a].group == examples[b].group for a, b in two)
    assert all(examples[a].polarity == "affirmed" and examples[b].polarity == "negated" for a, b in negations(examples))
