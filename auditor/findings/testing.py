"""Which test the stored columns of two estimates allow: paired where the items are equal. Reads tables; no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.findings.record import Finding
from auditor.measure.changes import Change, apart, paired_aurocs, paired_means, paired_rates, rates
from auditor.measure.intervals import ColumnRef, Estimate
from auditor.measure.metrics import threshold_at
from auditor.measure.resampling import Interval
from auditor.measure.stored import DRAWS, Tables, arrays

IDENTITY = ("dataset", "id", "split", "text_sha256")
"""row fields by which an item of one audit is the same as one of the other"""
BOOTSTRAP = {"seed": 0, "resamples": 1000}
"""for estimates that do not say their own"""
COUNTED = ("exact_share",)
NO_TEST = {
    "permutation_p": "a p-value is not tested against another one",
    "exceedance_p": "a p-value is not tested against another one",
    "halving_dose": "a point of a grid has no interval",
}
Columns = Mapping[str, NDArray[Any]]


def tested(
    old: Finding | None, new: Finding | None, before: Tables, after: Tables, asked_otherwise: Sequence[str]
) -> Change | str:
    """The change of one finding between two audits, or why it was not tested."""
    if old is None or new is None:
        return f"only in the {'earlier' if new is None else 'later'} audit"
    for finding, which in ((old, "earlier"), (new, "later")):
        if finding.status == "not_measured" or finding.estimate is None or finding.estimate.value is None:
            return f"not measured in the {which} audit"
    if asked_otherwise:
        return "the two audits did not ask the same"
    assert old.estimate is not None
    assert new.estimate is not None
    if old.estimate.estimator != new.estimate.estimator:
        return f"estimated by {old.estimate.estimator} and by {new.estimate.estimator}"
    return _change(old.estimate, new.estimate, before, after)


def _change(old: Estimate, new: Estimate, before: Tables, after: Tables) -> Change | str:
    name = new.estimator
    if name in COUNTED:
        return "counted, not sampled: the two values are what they are"
    if name in NO_TEST:
        return NO_TEST[name]
    found: Change | None = None
    if name in _VALUES:
        mine, theirs = _VALUES[name](old, before), _VALUES[name](new, after)
        in_pairs = _aligned(mine, theirs)
        if in_pairs is not None:
            found = _paired(new, mine, in_pairs)
        elif name in ("wilson_rate", "calibrated_recall"):
            found = rates(mine["x"], theirs["x"])
    return found or apart(_interval(old), _interval(new)) or "no interval to test by"


def _paired(estimate: Estimate, mine: Columns, theirs: Columns) -> Change | None:
    bootstrap: dict[str, Any] = {key: estimate.params.get(key, value) for key, value in BOOTSTRAP.items()}
    if estimate.estimator in ("wilson_rate", "calibrated_recall"):
        return paired_rates(mine["x"], theirs["x"])
    if estimate.estimator == "auroc":
        return paired_aurocs(mine["x"], theirs["x"], label=mine["label"], group=mine["group"], **bootstrap)
    return paired_means(mine["x"], theirs["x"], mine["group"], **bootstrap)


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.value, estimate.low, estimate.high, estimate.n, estimate.of)


def _aligned(mine: Columns, theirs: Columns) -> Columns | None:
    """`theirs` in the order of `mine`, if both are of the same items, each once; else None."""
    if "key" not in mine or "key" not in theirs:
        return None
    place = {key: i for i, key in enumerate(theirs["key"])}
    order = [place.get(key, -1) for key in mine["key"]]
    if -1 in order or len(place) != len(theirs["key"]) or sorted(order) != list(range(len(place))):
        return None
    found = {name: column[order] for name, column in theirs.items()}
    fixed = (name for name in ("label", "group") if name in mine)
    return found if all(np.array_equal(mine[name], found[name]) for name in fixed) else None


def _columns(refs: Sequence[ColumnRef], tables: Tables, *more: str) -> dict[str, NDArray[Any]]:
    """Columns by role, with `key`, the identity of each row, where they are stored with one."""
    first = refs[0]
    if first.table == DRAWS:
        return arrays(refs, tables)
    like = {"table": first.table, "where": first.where}
    added = [ColumnRef(role=f"_{name}", column=name, **like) for name in (*IDENTITY, *more)]
    found = arrays([*refs, *added], tables)
    keys = [tuple(str(part) for part in row) for row in zip(*(found[f"_{name}"] for name in IDENTITY), strict=True)]
    held = np.empty(len(keys), dtype=object)
    held[:] = keys
    given = {role: column for role, column in found.items() if not role.startswith("_")}
    return given | {name: found[f"_{name}"] for name in more} | {"key": held}


def _plain(estimate: Estimate, tables: Tables) -> Columns:
    """What is averaged."""
    return _columns(estimate.columns, tables)


def _difference(estimate: Estimate, tables: Tables) -> Columns:
    """What is averaged in a paired difference within one audit: b − a of each item."""
    found = _columns(estimate.columns, tables, "group")
    return found | {"x": found["b"].astype(np.float64) - found["a"].astype(np.float64)}


def _score(estimate: Estimate, tables: Tables) -> Columns:
    found = _columns(estimate.columns, tables)
    return found | {"x": found["score"]}


def _flags(estimate: Estimate, tables: Tables) -> Columns:
    """Which positives lie above the audit's own threshold."""
    positives = [ref for ref in estimate.columns if ref.role == "positives"]
    negatives = [ref for ref in estimate.columns if ref.role == "negatives"]
    found = _columns(positives, tables)
    threshold = threshold_at(arrays(negatives, tables)["negatives"], float(estimate.params["fpr"] or 0))
    return found | {"x": found["positives"] > threshold}


_VALUES: dict[str, Callable[[Estimate, Tables], Columns]] = {
    "wilson_rate": _plain,
    "calibrated_recall": _flags,
    "paired_rate_difference": _difference,
    "group_mean": _plain,
    "group_mean_difference": _difference,
    "auroc": _score,
}
"""per estimator: the value of each item whose mean, rate or ranking is compared"""
