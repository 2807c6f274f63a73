"""What the text alone gives away: weaker detectors that never see the model. No torch, no model.

A probe has to beat each of them on the same held-out groups. They are fitted on one set of texts, scored on
another, and draw no random numbers. A word is a run of letters and digits, so the word baselines are weak on
scripts that put no spaces between words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from auditor.errors import NotTestable
from auditor.measure.metrics import Floats, auroc

Texts = Sequence[str]
MARKS = ".,;:!?'\"()[]{}-–—…’‘“”/*#_`&%$"


def _lengths(texts: Texts) -> Floats:
    """Characters and words of each text [n, 2]."""
    return np.array([[len(text), len(text.split())] for text in texts], dtype=np.float64)


def _punctuation(texts: Texts) -> Floats:
    """Counts of each mark, capitals, digits and line breaks; how the text begins and ends [n, features]."""
    return np.array(
        [
            [text.count(mark) for mark in MARKS]
            + [sum(map(str.isupper, text)), sum(map(str.isdigit, text)), text.count("\n")]
            + [text[:1].isupper(), *(text.rstrip().endswith(mark) for mark in ".?!")]
            for text in texts
        ],
        dtype=np.float64,
    )


def _words() -> CountVectorizer:
    # The default pattern drops words of one letter, and "a" or "I" may be the very leak.
    return CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")


def _logistic() -> LogisticRegression:
    return LogisticRegression(solver="newton-cg", tol=1e-6, max_iter=200)


BASELINES: Mapping[str, Callable[[], Pipeline]] = {
    "words": lambda: make_pipeline(_words(), _logistic()),
    "words_nb": lambda: make_pipeline(_words(), MultinomialNB()),
    "length": lambda: make_pipeline(FunctionTransformer(_lengths), StandardScaler(), _logistic()),
    "punctuation": lambda: make_pipeline(FunctionTransformer(_punctuation), StandardScaler(), _logistic()),
}
"""`words` and `words_nb` see words and pairs of neighbours, by logistic regression (the stronger with many
texts) and by naive Bayes (the stronger with few: Ng & Jordan 2001); `length` sees characters and words;
`punctuation` sees marks, capitals, digits, line breaks, and how a text begins and ends."""


def text_scores(fit_texts: Texts, fit_labels: ArrayLike, eval_texts: Texts) -> dict[str, Floats]:
    """Score every text of `eval_texts` [n] with each baseline -> {name: log-odds [n]}.

    Raises NotTestable if the fit texts are of one class. Texts without a single word score 0 on words.
    """
    labels = np.asarray(fit_labels, dtype=bool)
    if labels.all() or not labels.any():
        raise NotTestable(f"all {len(labels)} texts are of one class: nothing to tell apart")
    return {name: _log_odds(build(), fit_texts, labels, eval_texts) for name, build in BASELINES.items()}


def text_auroc(texts: Texts, labels: ArrayLike, groups: ArrayLike, folds: int = 5) -> dict[str, float | None]:
    """Group-held-out AUROC of each baseline, raw and unfolded, for a data set's card.

    Every fold is scored by baselines fitted on the other groups. Only pairs within one fold are compared (the
    mean of the folds' AUROCs, weighted by their pairs): a fold rich in positives is scored by a fit poor in
    positives, so pooling scores over folds pulls an uninformative baseline below one half (Airola et al.
    2011, doi:10.1016/j.csda.2010.11.018). None where no fold holds both classes.
    """
    truth, names = np.asarray(labels, dtype=bool), np.asarray(groups)
    n_splits = min(folds, len(np.unique(names)), int(truth.sum()), int((~truth).sum()))
    won, pairs = dict.fromkeys(BASELINES, 0.0), 0
    splits = StratifiedGroupKFold(n_splits).split(texts, truth, names) if n_splits > 1 else ()
    for fit, held_out in splits:
        weight = int(truth[held_out].sum()) * int((~truth[held_out]).sum())
        if not weight or truth[fit].all() or not truth[fit].any():
            continue
        pairs += weight
        scores = text_scores([texts[i] for i in fit], truth[fit], [texts[i] for i in held_out])
        for name, score in scores.items():
            won[name] += weight * (auroc(score, truth[held_out]) or 0.0)
    return {name: total / pairs if pairs else None for name, total in won.items()}


def _log_odds(model: Pipeline, fit_texts: Texts, labels: Any, eval_texts: Texts) -> Floats:
    if isinstance(model[0], CountVectorizer) and not any(re.search(r"\w", text) for text in fit_texts):
        return np.zeros(len(eval_texts))
    model.fit(list(fit_texts), labels)
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(list(eval_texts)), dtype=np.float64)
    joint = model[-1].predict_joint_log_proba(model[:-1].transform(list(eval_texts)))
    return np.asarray(joint[:, 1] - joint[:, 0], dtype=np.float64)
