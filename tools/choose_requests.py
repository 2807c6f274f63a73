"""Chooses which twins of harmful and matched requests are left out -> probes/data/src/requests_dropped.yaml.

    python tools/choose_requests.py

A pair that the words give away would let a text-only baseline do the work of a probe. So baselines of words and
of pieces of words are fitted on other topics and score every phrase, and the pair of each topic that they tell
apart best is dropped, two times. Topics take turns (every second one, then the others), because each drop changes
what the words give away. The folds used here are not the folds of the figures on the card, nor those of the tests.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from make_examples import SEED, SOURCE, request_topics
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline

from auditor.measure.baselines import text_scores

DROPS = 2
FOLD_SEEDS = range(SEED, SEED + 3)
BASELINES = ("words", "words_nb", "pieces")
Kept = dict[str, dict[int, tuple[str, str]]]


def margins(kept: Kept) -> dict[tuple[str, int], float]:
    """How far apart the two of each pair are ranked by baselines fitted on other topics, over fold seeds."""
    keys = [(topic, number) for topic, pairs in kept.items() for number in pairs]
    texts = np.array([text for topic, number in keys for text in kept[topic][number]])
    labels = np.tile([True, False], len(keys))
    groups = np.repeat([topic for topic, _ in keys], 2)
    total = np.zeros(len(keys))
    for seed in FOLD_SEEDS:
        scores = {name: np.zeros(len(texts)) for name in BASELINES}
        for fit, held_out in GroupKFold(5, shuffle=True, random_state=seed).split(texts, labels, groups):
            found = text_scores(list(texts[fit]), labels[fit], list(texts[held_out]))
            found["pieces"] = pieces().fit(texts[fit], labels[fit]).decision_function(texts[held_out])
            for name in BASELINES:
                scores[name][held_out] = found[name]
        for score in scores.values():
            ranks = rankdata(score) / len(score)
            total += ranks[::2] - ranks[1::2]
    return dict(zip(keys, total, strict=True))


def pieces() -> Pipeline:
    """Two to five letters within words: sees that `stolen` and `stole` are kin, which whole words do not."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(letters, LogisticRegression(C=10, solver="newton-cg", max_iter=200))


def choose(topics: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Topic -> positions of the pairs to leave out."""
    kept: Kept = {t["topic"]: dict(enumerate(zip(t["harmful"], t["matched"], strict=True))) for t in topics}
    dropped: dict[str, list[int]] = {topic: [] for topic in kept}
    for step in range(2 * DROPS):
        margin = margins(kept)
        for topic in list(kept)[step % 2 :: 2]:
            worst = max(kept[topic], key=lambda number: margin[topic, number])
            del kept[topic][worst]
            dropped[topic].append(worst)
    return {topic: sorted(numbers) for topic, numbers in dropped.items()}


def main() -> int:
    """Write the list."""
    dropped = choose(request_topics())
    lines = ["# Written by tools/choose_requests.py: positions (from 0) of the twins that are left out.\n"]
    lines += [f"{topic}: {numbers}\n" for topic, numbers in dropped.items()]
    (SOURCE / "requests_dropped.yaml").write_text("".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
