from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import NotTestable
from auditor.measure.baselines import BASELINES, text_auroc, text_scores
from auditor.measure.metrics import auroc

NOUNS = ("river", "garden", "window", "letter", "market", "bridge", "winter", "kitchen", "island", "engine")
VERBS = ("paint", "describe", "visit", "repair", "remember", "draw", "clean", "open")


def balanced(n_groups: int = 20, per_group: int = 8) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts whose words, length and punctuation say nothing of the label; each group has both classes."""
    rng = np.random.default_rng(0)
    texts = [
        f"{rng.choice(VERBS).capitalize()} the {' '.join(rng.choice(NOUNS, size=rng.integers(1, 4)))}"
        + rng.choice([".", "!", "?"])
        for _ in range(n_groups * per_group)
    ]
    labels = np.concatenate([rng.permutation(np.arange(per_group) % 2 == 0) for _ in range(n_groups)])
    return texts, labels, np.repeat([f"g{i}" for i in range(n_groups)], per_group)


LEAKS = {
    "words": lambda text: text.replace("the", "a"),
    "words_nb": lambda text: text.replace("the", "a"),
    "length": lambda text: text[:-1] + " for a long while" + text[-1],
    "punctuation": lambda text: text[:-1],
}


def test_balanced_text_gives_nothing_away() -> None:
    for name, value in text_auroc(*balanced()).items():
        assert 0.35 < value < 0.65, name


@pytest.mark.parametrize("name", BASELINES)
def test_a_planted_leak_is_found_by_the_baseline_that_looks_there(name: str) -> None:
    texts, labels, groups = balanced()
    leaky = [LEAKS[name](text) if label else text for text, label in zip(texts, labels, strict=True)]
    assert text_auroc(leaky, labels, groups)[name] > 0.9


def test_a_leak_is_not_folded() -> None:
    """A word that points one way in the fit texts and the other way outside scores below one half."""
    texts, labels, _ = balanced()
    half = len(texts) // 2
    marked = [
        ("Please " if label == (i < half) else "Now ") + text
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    scores = text_scores(marked[:half], labels[:half], marked[half:])
    assert auroc(scores["words"], labels[half:]) < 0.1
    assert auroc(scores["words_nb"], labels[half:]) < 0.1


def test_a_group_that_speaks_the_other_way_round_scores_near_zero() -> None:
    texts, labels, groups = balanced(n_groups=2, per_group=40)
    marked = [
        ("Please " if label == (group == "g0") else "Now ") + text
        for text, label, group in zip(texts, labels, groups, strict=True)
    ]
    assert text_auroc(marked, labels, groups)["words"] < 0.1


def test_a_word_of_one_letter_counts() -> None:
    texts = ["Sing a song", "Sing b song"] * 20
    scores = text_scores(texts, [True, False] * 20, ["Hum a tune", "Hum b tune"])
    assert scores["words"][0] > 0 > scores["words"][1]


def test_scores_do_not_depend_on_chance() -> None:
    texts, labels, _ = balanced()
    first, second = (text_scores(texts[:100], labels[:100], texts[100:]) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in BASELINES)
    assert all(len(score) == len(texts) - 100 for score in first.values())


def test_a_baseline_never_sees_the_group_it_scores() -> None:
    """Every group has its own word for each class: worth everything inside a group, nothing outside."""
    texts, labels, groups = balanced()
    own = [f"{text} {group}{'x' if label else 'y'}" for text, label, group in zip(texts, labels, groups, strict=True)]
    assert text_auroc(own, labels, groups)["words_nb"] == pytest.approx(0.5, abs=0.15)
    assert text_auroc(own, labels, np.arange(len(own)))["words_nb"] > 0.9


def test_uneven_folds_do_not_pull_a_blind_baseline_below_one_half() -> None:
    """Whole groups of one class: pooled over folds, a blind baseline would score near 0."""
    rng = np.random.default_rng(1)
    texts = [f"Draw the {noun}." for noun in rng.choice(NOUNS, size=120)]
    groups = np.repeat(np.arange(12), 10)
    labels = rng.random(120) < np.linspace(0.1, 0.9, 12)[groups]
    for name in ("length", "punctuation"):
        assert text_auroc(["same"] * 120, labels, groups)[name] == 0.5
    assert text_auroc(texts, labels, groups)["words"] == pytest.approx(0.5, abs=0.15)


def test_text_without_words_scores_zero_on_words() -> None:
    scores = text_scores(["?!", "...", "!!", "--"], [True, False, True, False], ["?", "!"])
    assert scores["words"].tolist() == [0, 0]
    assert scores["words_nb"].tolist() == [0, 0]


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(NotTestable, match="one class"):
        text_scores(["a", "b"], [True, True], ["c"])


def test_a_single_group_has_nothing_held_out() -> None:
    assert text_auroc(["a b", "c d"] * 5, [True, False] * 5, ["g"] * 10) == dict.fromkeys(BASELINES)
    assert text_auroc(["a b", "c d"], [True, True], ["g", "h"]) == dict.fromkeys(BASELINES)
