"""Does the residual stream tell true statements from false ones, beyond what their words give away?

Difference-in-means, mass-mean and logistic regression are fitted at every layer on statements and their
negations, whole entities held out. The layer is chosen on validation groups; everything else is read on
groups that had no part in the choice. The probe qualifies only if text alone cannot do the same, if refits on
shuffled labels do not reach it, and it is then tried on other kinds of fact and on negations it was not
trained with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.config import Strict
from auditor.config_data import LabelledData
from auditor.measure.classifiers import RECIPES
from auditor.measure.instrument import Candidate
from auditor.measure.library import SELECTION, View
from auditor.measure.measurement import MeasurementSpec, Probe

if TYPE_CHECKING:
    from auditor.measure.bench import Bench
    from auditor.measure.cost import Survey, Work


class Params(Strict):
    """What may be set in a config."""

    fit_on: LabelledData = "truth_cities"
    """the data set on which the probe is fitted, its layer chosen and its qualification decided"""
    transfer_to: tuple[LabelledData, ...] = (
        "truth_translations",
        "truth_companies",
        "truth_animals",
        "truth_people",
    )
    """other kinds of fact, for the transfer matrix"""
    threshold_fpr: float = 0.05
    """false-positive rate at which recall is reported"""


def best_validation(rows: tuple[Candidate, ...]) -> Candidate:
    """The layer with the highest validation AUROC; the lower layer on ties."""
    return max(rows, key=lambda row: (row.validation.value or 0.0, -row.site.layer))


POSITION = "last_completion"


def run(bench: Bench, params: Params) -> None:
    """Profile, choose, qualify, transfer, read."""
    view = View(params.fit_on)
    candidates = bench.fit(RECIPES, view, point="resid_post", position=POSITION)
    chosen = bench.choose("truth", candidates, best_validation)
    best = bench.prefer("truth", list(chosen.values()), best_validation)
    instruments = {name: bench.qualify(chosen[name], fpr=params.threshold_fpr) for name in RECIPES}
    sides = [View(params.fit_on, (("polarity", p),)) for p in ("affirmed", "negated")]
    affirmed, negated = (tuple(side for side in (one,) if bench.has(side)) for one in sides)
    others = tuple(View(name) for name in params.transfer_to)
    bench.transfer(chosen[best], rows=(view, *affirmed, *others), columns=(view, *affirmed, *negated, *others))
    instruments[best].read("truth_auroc")


def cost(survey: Survey, params: Params) -> list[Work]:
    """Every split of the set that is fitted to, some again at the layer that another recipe chose; then the others."""
    fitted = View(params.fit_on)
    again = len(RECIPES) + 1  # and the embedding layer
    return [
        survey.read(fitted, sites=survey.shape.n_layers),
        survey.read(fitted),
        survey.read(fitted, ("evaluation",), times=again),
        survey.read(fitted, ("threshold",), times=len(RECIPES)),
        *(survey.read(View(name), (*SELECTION, "evaluation")) for name in params.transfer_to),
    ]


PROBE = Probe(
    params=Params,
    measurements=(
        MeasurementSpec(
            name="truth_auroc",
            unit="AUROC",
            evidence="decodable",
            plain="true statements told from false ones inside the model",
            at=("dataset", "recipe", "layer"),
            limits="Decodable is not used: the model may hold the distinction and ignore it when it answers.",
        ),
        MeasurementSpec(
            name="validation_auroc",
            unit="AUROC",
            evidence="decodable",
            plain="layer profile of truth on the validation groups",
            at=("recipe", "layer"),
            limits="Seen during the choice of the layer, so too high at the chosen one.",
        ),
    ),
    source="arXiv:2310.06824",
    run=run,
    cost=cost,
)
