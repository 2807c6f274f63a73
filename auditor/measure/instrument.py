"""Instrument: a linear probe that must prove itself on the model under audit before it may be read.

What *qualified* means is written once, here: held-out AUROC, gain over every text-only baseline, a null of
refits on shuffled labels (of a detector found without labels: random directions, and a distractor), enough
groups, enough negatives. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from auditor.errors import NotQualified
from auditor.measure.intervals import MIN_NEGATIVES, Estimate
from auditor.measure.library import View
from auditor.measure.measurement import Check, MeasurementSpec, Qualification, Rule
from auditor.model.sites import Site

AUROC_LOW = 0.70
CHANCE = 0.5
INVERTED = "the sign is inverted: what should score low scores high"
P_MAX = 0.01
MIN_GROUPS = 20
PERMUTATIONS = 999


@dataclass(frozen=True)
class Candidate:
    """A recipe fitted at one site, with what the validation split says of it."""

    recipe: str
    view: View
    site: Site
    position: str
    validation: Estimate


PROFILE_CHANCE = MeasurementSpec(
    name="profile_p",
    unit="p",
    evidence="decodable",
    plain="chance of a layer as good as the best on the validation groups",
    at=("recipe",),
    limits="Pays for the choice among layers; not for that among recipes.",
)
"""what a probe reports that chooses among the layers of a profile"""

REQUIRED: Mapping[str, tuple[Rule, float]] = {
    "held-out AUROC": ("low at least", AUROC_LOW),
    "held-out groups": ("n at least", MIN_GROUPS),
    "gain over words": ("low above", 0.0),
    "gain over length": ("low above", 0.0),
    "gain over punctuation": ("low above", 0.0),
    "gain over embedding layer": ("low above", 0.0),
}
"""what every instrument is asked, by the name of the check"""
FROM_PAIRS = ("lat", "ccs")
"""recipes whose labels choose a sign and nothing else"""
DISTRACTED = "held-out AUROC beside a distractor"
LIKELIHOOD, ASKED = COMPARATORS = ("likelihood", "asked")
"""what an instrument is held against that sees the target's output alone; it annotates, and disqualifies nothing"""


def required(recipe: str) -> Mapping[str, tuple[Rule, float]]:
    """What an instrument made by a recipe is asked, by the name of the check."""
    if recipe in FROM_PAIRS:
        return {**REQUIRED, "random directions": ("value at most", P_MAX), DISTRACTED: ("low at least", AUROC_LOW)}
    return {**REQUIRED, "shuffled labels": ("value at most", P_MAX)}


def check_auroc(estimate: Estimate) -> Check:
    """Held-out AUROC, by whole groups. A sign that is turned round is named, and never turned back."""
    note = INVERTED if estimate.high is not None and estimate.high < CHANCE else ""
    return Check(name="held-out AUROC", estimate=estimate, rule="low at least", bar=AUROC_LOW, note=note)


def check_groups(estimate: Estimate) -> Check:
    """Enough independent groups on the evaluation split."""
    return Check(name="held-out groups", estimate=estimate, rule="n at least", bar=MIN_GROUPS)


def check_gain(baseline: str, alone: Estimate, gain: Estimate) -> Check:
    """Paired gain over a baseline that sees less than the activations; without one the instrument is lexical."""
    note = f"{baseline} alone reaches {_show(alone.value)}"
    return Check(name=f"gain over {baseline}", estimate=gain, rule="low above", note=note)


def check_permutation(p: Estimate | None) -> Check:
    """Refits on shuffled labels do not reach the observed AUROC."""
    note = f"{PERMUTATIONS} refits" if p else "permutation not run"
    return Check(name="shuffled labels", estimate=p, rule="value at most", bar=P_MAX, note=note)


def check_random_directions(p: Estimate) -> Check:
    """Random directions, with the same choice of sign, do not reach the observed AUROC."""
    note = f"{PERMUTATIONS} directions"
    return Check(name="random directions", estimate=p, rule="value at most", bar=P_MAX, note=note)


def check_distracted(beside: Estimate, word: Estimate) -> Check:
    """Refitted to texts of which half begin with one word and half with another, it still tells what is labelled."""
    note = f"which word a text begins with is told with AUROC {_show(word.value)}"
    return Check(name=DISTRACTED, estimate=beside, rule="low at least", bar=AUROC_LOW, note=note)


def check_recall(recall: Estimate, negatives: int, fpr: float) -> Check:
    """Enough named negatives for a threshold at the wanted false-positive rate."""
    note = f"threshold from {negatives} negatives; needs {MIN_NEGATIVES}"
    return Check(name=f"recall at {fpr:.0%} FPR", estimate=recall, rule="has a value", note=note)


def _show(value: float | None) -> str:
    return "not estimated" if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class Instrument:
    """A linear probe at one site; what it decodes on sealed groups is recorded, never returned."""

    chosen: Candidate
    qualification: Qualification
    record: Callable[[str], None]
    """puts the held-out figure on record under a name"""

    def read(self, name: str) -> None:
        """Record under `name` what a qualified instrument decodes on the data it qualified on.

        Raises:
            NotQualified: it did not prove itself on this model.
        """
        self.require_qualified()
        self.record(name)

    def require_qualified(self) -> None:
        """Raise NotQualified, with the reason, for an instrument that did not prove itself on this model."""
        found = self.qualification
        if not found.qualified:
            raise NotQualified(f"{found.instrument} at layer {found.at['layer']} did not qualify: {found.reason}")
