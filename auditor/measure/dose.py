"""What a chosen direction does on sealed items: dose-response, null directions beside it, and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from auditor.config import Scalar
from auditor.data.examples import Example
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.contrasts import strongest_null
from auditor.measure.directions import Direction
from auditor.measure.effects import KL
from auditor.measure.evidence import SAMPLES, redact
from auditor.measure.intervals import UNMEASURED, Estimate
from auditor.measure.judges import degenerate
from auditor.measure.library import View
from auditor.measure.measurement import LineChart, Role, Sample, Series
from auditor.measure.metrics import Floats
from auditor.measure.nulls import Nulls, unproven
from auditor.measure.qualify import BOOTSTRAP
from auditor.measure.runner import Asked, Reading
from auditor.measure.steering import Put, Trait, added, chosen

RESPONSE, CHOICE = "logit_difference", "trait_choice_share"
SLOPE, ANTI, P, MARGIN = "steering_slope", "anti_steerable_share", "steering_p", "steering_margin"
COST, BROKEN = "steering_kl", "steered_degenerate_rate"
STEERED, STRONGEST = "direction", "strongest null"
EITHER_SIGN = {"either_sign": True}
"""a null direction is turned so that it does the most"""


def slopes(coefficients: Sequence[float], differences: Floats) -> Floats:
    """Least-squares slope of each item over the coefficients: [n_coefficients, n_items] -> [n_items]."""
    centred = np.asarray(coefficients, dtype=np.float64) - np.mean(coefficients)
    return np.asarray(centred @ differences / (centred @ centred))


@dataclass(frozen=True)
class BrokenText:
    """Whether a steered answer is still text."""

    def degenerate(self, reading: Reading) -> float:
        """Empty, or repeating itself."""
        written = reading.answer is None or reading.answer.strip()
        return float(degenerate(reading.tokens if written else ()))


@dataclass
class Dose:
    """One direction of one trait, at several coefficients; each reading is on sealed items and recorded once."""

    trait: Trait
    direction: Direction
    coefficients: tuple[float, ...]
    """ascending, with −1, 0 and 1"""
    _strongest: Direction | None = field(default=None, init=False)
    """of all null directions, turned so that it helps the trait"""

    def __post_init__(self) -> None:
        if self.direction is not self.trait.chosen:
            raise ValueError(f"the direction at {self.direction.site} was not chosen on the selection split")

    def respond(self, n: int, nulls: Nulls) -> None:
        """Record the response on `n` items of the evaluation split, beside directions of equal norm.

        A slope that some null direction reaches is shown, but not claimed.
        """
        put, trait = self.trait.drawn("evaluation", n), self.trait
        both = trait.read(put, [added(self.direction, c) for c in self.coefficients])
        found = both.mean(axis=2)
        for c, share in zip(self.coefficients, chosen(both).mean(axis=2), strict=True):
            trait.store(put, f"trait chosen at {c:+g}", share)
        self._store_response(put, "", found)
        for c, differences in zip(self.coefficients, found, strict=True):
            self._show_choice(put, c, differences)
        slope = slopes(self.coefficients, found)
        trait.store(put, "anti-steerable", (slope < 0).astype(np.float64))
        why = self._beside(put, nulls)
        if why:
            self._record(SLOPE, UNMEASURED, note=why)
        self._record(SLOPE, trait.mean("slope"), "alternative" if why else "primary", note=why)
        self._record(ANTI, trait.bench.evidence.estimate("wilson_rate", trait.refs(x="anti-steerable")))
        self._sample(put)
        self._draw_charts()

    def _store_response(self, put: Sequence[Put], suffix: str, found: Floats) -> None:
        """The logit differences [n_coefficients, n_items] of one arm, their slope, and the effect: +1 minus −1."""
        for c, differences in zip(self.coefficients, found, strict=True):
            self.trait.store(put, f"difference at {c:+g}{suffix}", differences)
        self.trait.store(put, f"slope{suffix}", slopes(self.coefficients, found))
        self.trait.store(put, f"effect{suffix}", found[self.coefficients.index(1)] - found[self.coefficients.index(-1)])

    def _beside(self, put: Sequence[Put], nulls: Nulls) -> str:
        """The effect against null directions; the strongest of all goes through all coefficients too.

        A direction and its opposite are as likely, so the strongest is that of the largest effect of either sign,
        turned so that it helps the trait. Returns why the effect is not beyond all of them, or nothing.
        """
        trait, evidence = self.trait, self.trait.bench.evidence
        stored, most = {}, {}
        for kind, directions in nulls.items():
            stored[kind], most[kind] = self._against(put, kind, directions)
        refs = trait.refs(x="effect") + evidence.draw_refs(stored)
        p = evidence.estimate("exceedance_p", refs, EITHER_SIGN)
        kind = max(most, key=lambda kind: most[kind][0])
        self._record(P, p, note=f"strongest null: {kind}")
        self._record(MARGIN, self._margin(f"effect, strongest, {kind}"), note=f"strongest null: {kind}")
        self._strongest = most[kind][1]
        found = trait.read(put, [added(self._strongest, c) for c in self.coefficients]).mean(axis=2)
        self._store_response(put, f", {STRONGEST}", found)
        self._record(SLOPE, trait.mean(f"slope, {STRONGEST}"), "null", note=f"strongest null: {kind}")
        evidence.directions[f"{evidence.probe}/{trait.view.name}/{STRONGEST}"] = self._strongest.vector
        return unproven(p, kind)

    def _against(
        self, put: Sequence[Put], kind: str, nulls: Sequence[Direction]
    ) -> tuple[str, tuple[float, Direction]]:
        """The effect against null directions of one kind; their stored effects, and the strongest with its own."""
        trait, evidence = self.trait, self.trait.bench.evidence
        both = trait.read(put, [added(one, c) for one in nulls for c in (-1.0, 1.0)]).mean(axis=2)
        effects = both[1::2] - both[::2]
        stored = evidence.store(f"{trait.view.name}/effects, {kind}", effects)
        refs = trait.refs(x="effect") + evidence.draw_refs({kind: stored})
        self._record(P, evidence.estimate("exceedance_p", refs, EITHER_SIGN), "alternative", null=kind)
        index, effect = strongest_null(effects, **EITHER_SIGN)
        sign = 1.0 if effect >= 0 else -1.0
        column = trait.store(put, f"effect, strongest, {kind}", sign * effects[index])
        self._record(MARGIN, self._margin(column), "alternative", null=kind)
        turned = np.asarray(sign * nulls[index].vector, dtype=np.float32)
        return stored, (abs(effect), replace(nulls[index], vector=turned))

    def _margin(self, null: str) -> Estimate:
        """The effect beyond that of a null direction, item by item."""
        roles = self.trait.refs(a=null, b="effect", group="group")
        return self.trait.bench.evidence.estimate("group_mean_difference", roles, BOOTSTRAP)

    def cost(self, neutral: View, n: int) -> None:
        """Record the KL divergence that ±1 costs at the next token of `n` neutral prompts, beside a null."""
        if self._strongest is None:
            raise ValueError("the cost is compared with that of a null direction: respond first")
        arms = [(STEERED, self.direction, c) for c in (-1.0, 1.0)]
        arms += [(STRONGEST, self._strongest, c) for c in (-1.0, 1.0)]
        prompts = self._neutral(neutral, n)
        answered = self.trait.bench.runner.ask(
            [Asked(example, edits=added(direction, c)) for _, direction, c in arms for example in prompts],
            {"kl": KL().nats},
            beside_unedited=True,
            what="neutral prompts",
        )
        values = np.array([one.values["kl"] for one in answered], dtype=np.float64).reshape(len(arms), len(prompts))
        for (arm, _, c), nats in zip(arms, values, strict=True):
            column = f"KL at {c:+g}, {self.trait.view.name}, {arm}"
            self.trait.bench.store_scores(neutral, prompts, column, nats)
            roles = {"x": column, "group": "group"}
            refs = self.trait.bench.evidence.item_refs(roles, neutral.conditions(split="evaluation"))
            found = self.trait.bench.evidence.estimate("group_mean", refs, BOOTSTRAP)
            self._record(COST, found, "control" if arm == STEERED else "null", coefficient=c)

    def texts(self, neutral: View, n: int, max_new_tokens: int) -> None:
        """Record the share of answers to `n` neutral prompts that are not text any more, at each coefficient."""
        bench, name, prompts = self.trait.bench, self.trait.view.name, self._neutral(neutral, n)
        answered = bench.runner.ask(
            [Asked(example, edits=added(self.direction, c)) for c in self.coefficients for example in prompts],
            {"degenerate": BrokenText().degenerate},
            max_new_tokens=max_new_tokens,
            what="steered answers",
        )
        for k, c in enumerate(self.coefficients):
            part = answered[k * len(prompts) : (k + 1) * len(prompts)]
            column = f"degenerate at {c:+g}, {name}"
            values = np.array([one.values["degenerate"] for one in part], dtype=np.float64)
            bench.store_scores(neutral, prompts, column, values)
            for example, one in zip(prompts, part, strict=True):
                row = bench.evidence.row(neutral.data, example, "evaluation")
                row["answers"][f"{name} at {c:+g}"] = redact(one.answer, bench.evidence.redaction)
            refs = bench.evidence.item_refs({"x": column}, neutral.conditions(split="evaluation"))
            self._record(BROKEN, bench.evidence.estimate("wilson_rate", refs), "control", coefficient=c)

    def _neutral(self, view: View, n: int) -> tuple[Example, ...]:
        """`n` prompts of the evaluation split that have nothing to do with the trait."""
        library = self.trait.bench.library
        found = draw(library.examples(view, ("evaluation",)), n, seed=library.seed)
        if not found:
            raise NotTestable(f"{view.name} has no items on the evaluation split")
        return found

    def _record(self, name: str, found: Estimate, role: Role = "primary", note: str = "", **at: Scalar) -> None:
        self.trait.record(name, found, role, {"trait": self.trait.view.name, **at}, note)

    def _show_choice(self, put: Sequence[Put], coefficient: float, differences: Floats) -> None:
        """Keep the option that is ahead over both orders beside each item."""
        evidence = self.trait.bench.evidence
        for one, difference in zip(put, differences, strict=True):
            option = one.item.trait if difference > 0 else one.item.other
            row = evidence.row(self.trait.view.data, one.item.trait, "evaluation")
            row["answers"][f"option ahead at {coefficient:+g}"] = redact(option.completion, evidence.redaction)

    def _sample(self, put: Sequence[Put]) -> None:
        """Keep random items as evidence: drawn, not picked."""
        evidence, count = self.trait.bench.evidence, min(SAMPLES, len(put))
        for index in sorted(self.trait.rng.choice(len(put), size=count, replace=False)):
            row = evidence.known(self.trait.view.data, put[int(index)].item.trait.id)
            shown = ["slope", *(f"difference at {c:+g}" for c in self.coefficients)]
            evidence.samples.append(
                Sample(
                    measurement=SLOPE,
                    id=row["id"],
                    dataset=row["dataset"],
                    kind=row["kind"],
                    prompt=row["text"],
                    answer=row["answers"]["option ahead at +1"],
                    values={column: float(row["values"][column]) for column in shown},
                )
            )

    def _draw_charts(self) -> None:
        """The dose-response on the logit difference, with the strongest null; and on choices."""
        trait, name = self.trait, self.trait.view.name
        response = []
        arms: tuple[tuple[str, str, Role], ...] = (
            (STEERED, "", "alternative"),
            (STRONGEST, f", {STRONGEST}", "null"),
        )
        for arm, suffix, role in arms:
            points = [trait.mean(f"difference at {c:+g}{suffix}") for c in self.coefficients]
            for c, point in zip(self.coefficients, points, strict=True):
                at: dict[str, Scalar] = {"arm": f"{name}, {arm}", "coefficient": c}
                trait.record(RESPONSE, point, role, at, "")
            response.append(_series(f"{name}, {arm}", points))
        choices = [trait.share(f"trait chosen at {c:+g}") for c in self.coefficients]
        for c, point in zip(self.coefficients, choices, strict=True):
            self._record(CHOICE, point, "alternative", coefficient=c)
        trait.bench.evidence.charts += [
            LineChart(
                title=f"Dose-response, {name}",
                caption="Logit difference, trait minus other option, over both orders of held-out items; beside it, of "
                "all null directions of equal norm, the one with the largest effect. Bands: 95 % by resampling whole "
                "groups.",
                x_label="coefficient",
                y_label="logit difference",
                x=self.coefficients,
                series=tuple(response),
                reference=0.0,
                measurement=RESPONSE,
                at=("arm", "coefficient"),
            ),
            LineChart(
                title=f"Choices, {name}",
                caption="Share of questions, each item in both orders, in which the trait's option is ahead.",
                x_label="coefficient",
                y_label="share",
                x=self.coefficients,
                series=(_series(name, choices),),
                reference=0.5,
                measurement=CHOICE,
                at=("trait", "coefficient"),
            ),
        ]


def _series(name: str, points: Sequence[Estimate]) -> Series:
    return Series(
        name=name,
        y=tuple(point.value for point in points),
        low=tuple(point.low for point in points),
        high=tuple(point.high for point in points),
    )
