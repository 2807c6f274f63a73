"""Screening: first-order scores rank the candidates, and only the best are tried. No torch.

A score is what the refusal metric would be under an edit, were it linear in the edit's coefficient: attribution
patching (Nanda 2023, https://www.neelnanda.io/mechanistic-interpretability/attribution-patching) of an ablation and an
addition. It is a guess, so what is chosen from a shortlist is exploratory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from auditor.config import Scalar
from auditor.measure.choice import Grid
from auditor.measure.interventions import ablating, adding, separate_writes
from auditor.measure.measurement import Axes
from auditor.measure.search import ON_VALIDATION, Search

CHARTS = {
    "predicted_bypass": Axes(
        "Refusal that first-order scores expect to be left",
        f"Predicted refusal metric of harmful requests with a candidate ablated. {ON_VALIDATION}",
        "layer (resid_pre)",
        "refusal metric (logit)",
    ),
    "predicted_induce": Axes(
        "Refusal that first-order scores expect to be raised",
        f"Predicted refusal metric of plain requests with a candidate added. {ON_VALIDATION}",
        "layer (resid_pre)",
        "refusal metric (logit)",
    ),
}


def shortlist(search: Search, grid: Grid, tokens: Sequence[int], k: int) -> Grid:
    """The grid with only the `k` candidates whose predicted bypass is lowest; all scores are recorded.

    From here on everything is exploratory. The grid as it is where that would leave nothing out, or where the writes
    of a block cannot be told apart.
    """
    bench, n = search.bench, len(grid.directions)
    sites = separate_writes(search.sites)
    if k >= n or sites is None:
        bench.fact("screened", "no: " + ("not more candidates" if k >= n else "what a block writes is not told apart"))
        return grid
    removed = [ablating(d, sites)[0] for d in grid.directions.values()]
    put = [adding(d)[0] for d in grid.directions.values()]
    bench.explore(f"screened: {k} of {n} candidates by first-order scores")
    bench.fact("screened", f"{k} of {n} by first-order scores")
    bypass = bench.predicted("ablated, harmful, predicted", removed, "bypass", tokens, search.harmful.validation)
    induce = bench.predicted("added, harmless, predicted", put, "induce", tokens, search.harmless.validation)
    at: dict[int, dict[str, Scalar]] = {
        i: {"position": str(p), "layer": layer} for i, (p, layer) in enumerate(grid.directions)
    }
    for name, table in (("bypass", bypass), ("induce", induce)):
        bench.tabulate(f"predicted_{name}", table, name, at)
        bench.plot(f"predicted_{name}", CHARTS[f"predicted_{name}"], at=("position", "layer"))
    best = set(best_of(bypass.mean("bypass"), k))
    kept = {place: d for i, (place, d) in enumerate(grid.directions.items()) if i in best}
    return replace(grid, directions=kept, screened=f"{k} of {n}")


def best_of(scores: np.ndarray, k: int) -> list[int]:
    """Indices of the k lowest scores [n], the lowest first; of equal ones the first, and NaN last."""
    return [int(i) for i in np.argsort(scores, kind="stable")[:k]]
