"""Probe sweep: logistic probes at every site and fold on permuted labels, and their scores on the rows left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from auditor.measure.classifiers import C, refitted
from auditor.measure.directions import Labels, Rows, standardised
from benchmarks.models import Bench
from benchmarks.timing import Contest, Numbers


def probe_sweep(bench: Bench, _scratch: Path) -> Contest:
    """Ours beside a loop over scikit-learn's solver."""
    sizes, width = bench.sizes, bench.target.d_model
    labels = bench.rng.permutation(np.arange(sizes.rows) % 2 == 0)
    mixing = [bench.rng.standard_normal((width, width)) / np.sqrt(width) for _ in range(sizes.sites)]
    spread = np.geomspace(1, 0.02, width)
    base = bench.rng.standard_normal((sizes.rows, width)) + 0.5 * labels[:, None]
    x = [(base * spread @ m).astype(np.float32) for m in mixing]
    fold = np.arange(sizes.rows) % sizes.folds
    shuffled = {
        k: np.stack([bench.rng.permutation(labels[fold != k]) for _ in range(sizes.permutations)])
        for k in range(sizes.folds)
    }

    def each(fit: Callable[[Rows, Labels], Numbers]) -> Numbers:
        return np.concatenate(
            [
                (fit(x[i][fold != k], shuffled[k]) @ x[i][fold == k].T).ravel()
                for i in range(sizes.sites)
                for k in range(sizes.folds)
            ]
        )

    def one_at_a_time(rows: Rows, table: Labels) -> Numbers:
        z, _, scale = standardised(rows)
        fits = [LogisticRegression(C=C, max_iter=1000).fit(z, one) for one in table]
        return np.stack([model.coef_[0] / scale for model in fits])

    return Contest(
        name="probe sweep",
        what=f"{sizes.sites} sites × {sizes.folds} folds × {sizes.permutations} labellings, {sizes.rows} × {width}",
        ours="auditor",
        contestants={
            "auditor": lambda: each(lambda rows, table: refitted("logistic", rows, table)),
            "scikit-learn, one fit at a time": lambda: each(one_at_a_time),
        },
        # of log-odds of some units; either solver stops where its own tolerance is met
        tolerance=0.05,
    )
