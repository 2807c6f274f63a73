"""Instrument: a linear probe that must prove itself on the model under audit before it may be read.

What *qualified* means is written once, here: held-out AUROC, gain over every text-only baseline, a null of
refits on shuffled labels, enough groups, enough negatives. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditor.config import Scalar
from auditor.errors import NotQualified
from auditor.measure.evidence import Evidence
from auditor.measure.intervals import MIN_NEGATIVES, Estimate
from auditor.measure.library import View
from auditor.measure.measurement import Check, Measurement, Qualification
from auditor.model.sites import Site

AUROC_LOW = 0.70
P_MAX = 0.01
MIN_GROUPS = 20
PERMUTATIONS = 999


@dataclass(frozen=True)
class Candidate:
    """A recipe fitted at one site, with what the validation split says of it."""

    recipe: str
    site: Site
    validation: Estimate


def check_auroc(estimate: Estimate) -> Check:
    """Held-out AUROC, by whole groups."""
    passed = estimate.low is not None and estimate.low >= AUROC_LOW
    note = "" if passed else f"lower bound {_show(estimate.low)}"
    return Check(
        name="held-out AUROC",
        estimate=estimate,
        need=f"lower bound at least {AUROC_LOW:.2f}",
        passed=passed,
        note=note,
    )


def check_groups(estimate: Estimate) -> Check:
    """Enough independent groups on the evaluation split."""
    passed = estimate.n >= MIN_GROUPS
    note = "" if passed else f"needs {MIN_GROUPS}, has {estimate.n}"
    need = f"at least {MIN_GROUPS} held-out groups"
    return Check(name="held-out groups", estimate=None, need=need, passed=passed, note=note)


def check_gain(baseline: str, alone: Estimate, gain: Estimate) -> Check:
    """Paired gain over a baseline that sees less than the activations."""
    passed = gain.low is not None and gain.low > 0
    reach = f"{baseline} alone reaches {_show(alone.value)}"
    note = reach if passed else f"lexical: {reach}"
    return Check(
        name=f"gain over {baseline}", estimate=gain, need="lower bound above 0", passed=passed, note=note
    )


def check_permutation(p: Estimate | None) -> Check:
    """Refits on shuffled labels do not reach the observed AUROC."""
    need = f"p at most {P_MAX} from {PERMUTATIONS} refits"
    name = "shuffled labels"
    if p is None:
        return Check(name=name, estimate=None, need=need, passed=None, note="permutation not run")
    passed = p.value is not None and p.value <= P_MAX
    note = "" if passed else "refits on shuffled labels do as well"
    return Check(name=name, estimate=p, need=need, passed=passed, note=note)


def check_negatives(recall: Estimate, n: int, fpr: float) -> Check:
    """Enough named negatives for a threshold at the wanted false-positive rate."""
    passed = n >= MIN_NEGATIVES
    note = "" if passed else f"needs {MIN_NEGATIVES} threshold negatives; has {n}"
    name = f"recall at {fpr:.0%} FPR"
    need = f"at least {MIN_NEGATIVES} negatives set the threshold"
    return Check(name=name, estimate=recall, need=need, passed=passed, note=note)


def _show(value: float | None) -> str:
    return "not estimated" if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class Instrument:
    """A linear probe at one site with its qualification; reading it is recorded."""

    recipe: str
    site: Site
    view: View
    """what it qualified on"""
    qualification: Qualification
    auroc: Estimate
    """held out, on the evaluation split of its view"""
    evidence: Evidence

    def read(self, name: str) -> None:
        """Record under `name` what a qualified instrument decodes on the data it qualified on.

        Raises:
            NotQualified: it did not prove itself on this model.
        """
        if not self.qualification.qualified:
            reasons = "; ".join(self.qualification.reasons)
            raise NotQualified(f"{self.recipe} at layer {self.site.layer} did not qualify: {reasons}")
        at: dict[str, Scalar] = {"dataset": self.view.name}
        self.evidence.measurements.append(
            Measurement(name=name, estimate=self.auroc, unit="AUROC", at=at)
        )
