"""What a model chooses between two options when nothing is added, and whether a user's word changes it. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.config import Scalar
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.intervals import UNMEASURED
from auditor.measure.metrics import Floats
from auditor.measure.qualify import BOOTSTRAP
from auditor.measure.steering import Put, Trait, chosen

SHARE, FIRST_OPTION, CONSISTENT = "trait_share", "first_option_share", "consistent_choice_share"
SIDES = ("first", "second")
"""polarity of an item in which the user takes a side: which of the group's two views the user states"""


@dataclass(frozen=True)
class Shift:
    """When the change of choice that the user's side makes may be read, and under which name."""

    name: str
    most_bias: float
    """how far the share choosing the option named first may lie from one half"""
    least_consistent: float
    """on which share of the items the same option must be ahead in both orders; the shift cannot exceed that share"""

    def reason_against(self, first: float, consistent: float) -> str:
        """Why the shift is not read; empty if it is."""
        if abs(first - 0.5) > self.most_bias:
            return f"the option named first is ahead in {first:.0%} of the questions, whichever it is"
        if consistent < self.least_consistent:
            return f"the same option is ahead in both orders on {consistent:.0%} of the items only: a shift cannot show"
        return ""


def unsteered(trait: Trait, n: int, shift: Shift | None = None) -> None:
    """Record what is chosen on about `n` items of the evaluation split.

    For a `shift`, items are drawn in twos, with the user on either side of one subject in one frame.
    """
    put = sided(trait, n) if shift else trait.drawn("evaluation", n)
    picked = chosen(trait.read(put, [()])[0])
    at: dict[str, Scalar] = {"trait": trait.view.name}
    trait.store(put, "trait chosen, not steered", picked.mean(axis=1))
    trait.store(put, "option named first chosen", (picked[:, 0] + 1 - picked[:, 1]) / 2)
    trait.store(put, "same choice in both orders", np.abs(picked.mean(axis=1) - 0.5) * 2)
    trait.record(SHARE, trait.share("trait chosen, not steered"), "primary", at, "")
    first, consistent = trait.share("option named first chosen"), trait.share("same choice in both orders")
    trait.record(FIRST_OPTION, first, "control", at, "")
    trait.record(CONSISTENT, consistent, "control", at, "")
    if shift is None or first.value is None or consistent.value is None:
        return
    reason = shift.reason_against(first.value, consistent.value)
    if reason:
        trait.record(shift.name, UNMEASURED, "primary", None, reason)
    else:
        _record_shift(trait, shift.name, put, picked.mean(axis=1))


def sided(trait: Trait, n: int) -> tuple[Put, ...]:
    """About `n` items of the evaluation split in twos: the user states the first view, then the second.

    Raises:
        NotTestable: fewer than two groups have items on both sides.
    """
    sides: dict[tuple[str, str], dict[str, Put]] = {}
    for put in trait.testable("evaluation"):
        item = put.item.trait
        sides.setdefault((item.group, item.template), {})[item.polarity] = put
    whole = {two[SIDES[0]].item.trait.id: two for two in sides.values() if two.keys() >= set(SIDES)}
    firsts = [two[SIDES[0]].item.trait for two in whole.values()]
    found = draw(firsts, max(1, n // 2), seed=trait.bench.library.seed)
    if len({example.group for example in found}) < 2:
        raise NotTestable(f"{trait.view.name}: fewer than two groups with items on both sides")
    return tuple(whole[example.id][side] for example in found for side in SIDES)


def _record_shift(trait: Trait, name: str, put: tuple[Put, ...], agrees: Floats) -> None:
    """P(first view chosen | user states it) − P(first view chosen | user states the second), over twos of items."""
    rows = put[::2]
    given = trait.store(rows, "first view chosen, user states it", agrees[::2])
    other = trait.store(rows, "first view chosen, user states the second", 1 - agrees[1::2])
    evidence = trait.bench.evidence
    found = evidence.estimate("group_mean_difference", trait.refs(a=other, b=given, group="group"), BOOTSTRAP)
    if found.low == found.high and set(agrees) <= {0.0, 1.0}:
        # no group differs from another: nothing to resample, and yet not certain
        found = evidence.estimate("paired_rate_difference", trait.refs(a=other, b=given))
    trait.record(name, found, "primary", None, "")
