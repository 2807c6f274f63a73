"""ROC: what a detector finds for what it flags falsely, over all thresholds. No torch, no model.

The curve is of the held-out items on which the AUROC rests. Its 1 % point is the threshold that 1 % of *named*
negatives pass, which have no part in the curve: it is drawn at what it flags of the curve's own negatives, so that a
threshold that means something else there is seen to.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditor.measure.evidence import Evidence
from auditor.measure.intervals import ColumnRef, Estimate
from auditor.measure.measurement import RocChart, RocSeries
from auditor.measure.metrics import roc_points
from auditor.measure.stored import Tables, arrays

FPR = 0.01
"""share of named negatives above the threshold of the point"""


@dataclass(frozen=True)
class Scores:
    """Where a detector's scores are stored."""

    positives: ColumnRef
    """of held-out positives"""
    others: ColumnRef
    """of held-out negatives"""
    named: ColumnRef
    """of the negatives that set thresholds"""


def curve(auroc: Estimate, tables: Tables) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(fpr, tpr) over the stored scores and labels that an AUROC rests on; empty if a class is missing."""
    found = arrays([ref for ref in auroc.columns if ref.role in ("score", "label")], tables)
    false, true = roc_points(found["score"], found["label"])
    return tuple(map(float, false)), tuple(map(float, true))


def named_negatives(recall: Estimate, tables: Tables) -> int:
    """How many named negatives the threshold of a recall rests on."""
    return len(arrays([ref for ref in recall.columns if ref.role == "negatives"], tables)["negatives"])


def series(evidence: Evidence, name: str, auroc: Estimate, scores: Scores) -> RocSeries:
    """A detector's curve and its 1 % point, from what is stored."""
    recall, flagged = (
        evidence.estimate(
            "calibrated_recall",
            [ref.model_copy(update={"role": "positives"}), scores.named.model_copy(update={"role": "negatives"})],
            {"fpr": FPR},
        )
        for ref in (scores.positives, scores.others)
    )
    fpr, tpr = curve(auroc, evidence)
    count = named_negatives(recall, evidence)
    return RocSeries(name=name, auroc=auroc, fpr=fpr, tpr=tpr, negatives=count, recall=recall, flagged=flagged)


def draw(evidence: Evidence, chart: RocChart) -> None:
    """Put curves on record, in the chart of that title if there is one: detectors are judged one after the other."""
    for i, known in enumerate(evidence.charts):
        if isinstance(known, RocChart) and known.title == chart.title:
            evidence.charts[i] = known.model_copy(update={"series": (*known.series, *chart.series)})
            return
    evidence.charts.append(chart)
