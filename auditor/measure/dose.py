"""What a chosen direction does on sealed items: dose-response, random directions beside it, and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from auditor.config import Scalar
from auditor.data.examples import Example
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.directions import Direction
from auditor.measure.effects import KL
from auditor.measure.evidence import SAMPLES, redact
from auditor.measure.intervals import Estimate
from auditor.measure.interventions import random_directions
from auditor.measure.judges import degenerate
from auditor.measure.library import View
from auditor.measure.measurement import LineChart, Role, Sample, Series
from auditor.measure.metrics import Floats
from auditor.measure.qualify import BOOTSTRAP
from auditor.measure.runner import Asked, Reading
from auditor.measure.steering import Put, Trait, added, chosen

RESPONSE, CHOICE = "logit_difference", "trait_choice_share"
SLOPE, ANTI, P, MARGIN = "steering_slope", "anti_steerable_share", "steering_p", "steering_margin"
COST, BROKEN = "steering_kl", "steered_degenerate_rate"
STEERED, RANDOM, SHUFFLED = "direction", "random", "shuffled labels"


def strongest(kind: str) -> str:
    """Name of the arm of the null direction with the largest effect."""
    return f"strongest, {kind}"


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
    _strongest: dict[str, Direction] = field(default_factory=dict, init=False)
    """by kind of null, turned so that it helps the trait"""

    def __post_init__(self) -> None:
        if self.direction is not self.trait.chosen:
            raise ValueError(f"the direction at {self.direction.site} was not chosen on the selection split")

    def respond(self, n: int, *, n_random: int, shuffled: Sequence[Direction] = ()) -> None:
        """Record the response on `n` items of the evaluation split, beside directions of equal norm.

        These are `n_random` drawn evenly over the sphere, and those that were fitted on shuffled labels.
        """
        put = self.trait.drawn("evaluation", n)
        both = self.trait.read(put, [added(self.direction, c) for c in self.coefficients])
        found = both.mean(axis=2)
        for c, differences, share in zip(self.coefficients, found, chosen(both).mean(axis=2), strict=True):
            self.trait.store(put, f"difference at {c:+g}", differences)
            self.trait.store(put, f"trait chosen at {c:+g}", share)
            self._show_choice(put, c, differences)
        slope = slopes(self.coefficients, found)
        self.trait.store(put, "slope", slope)
        self.trait.store(put, "anti-steerable", (slope < 0).astype(np.float64))
        self._record(SLOPE, self.trait.mean("slope"))
        anti = self.trait.bench.evidence.estimate("wilson_rate", self.trait.refs(x="anti-steerable"))
        self._record(ANTI, anti)
        self._sample(put)
        self.trait.store(put, "effect", self._effect(found))
        nulls = {RANDOM: random_directions(self.trait.rng, n_random, self.direction), SHUFFLED: list(shuffled)}
        for kind, directions in nulls.items():
            if directions:
                self._beside(put, kind, directions)
        self._draw_charts()

    def _effect(self, differences: Floats) -> Floats:
        """Logit difference at +1 minus at −1, [n_items]."""
        return np.asarray(differences[self.coefficients.index(1)] - differences[self.coefficients.index(-1)])

    def _beside(self, put: Sequence[Put], kind: str, nulls: Sequence[Direction]) -> None:
        """The effect against null directions of one kind; the strongest of them goes through all coefficients too.

        A direction and its opposite are as likely, so the strongest is that of the largest effect of either sign,
        turned so that it helps the trait.
        """
        trait, evidence, arm = self.trait, self.trait.bench.evidence, strongest(kind)
        both = trait.read(put, [added(one, c) for one in nulls for c in (-1.0, 1.0)]).mean(axis=2)
        effects = both[1::2] - both[::2]
        null = evidence.store(f"{trait.view.name}/effects, {kind}", effects)
        refs = trait.refs(x="effect") + evidence.draw_refs({"null": null})
        self._record(P, evidence.estimate("exceedance_p", refs), null=kind)
        index = int(np.argmax(np.abs(effects.mean(axis=1))))
        sign = 1.0 if effects[index].mean() >= 0 else -1.0
        turned = np.asarray(sign * nulls[index].vector, dtype=np.float32)
        self._strongest[kind] = replace(nulls[index], vector=turned)
        evidence.directions[f"{evidence.probe}/{trait.view.name}/{arm}"] = turned
        found = trait.read(put, [added(self._strongest[kind], c) for c in self.coefficients]).mean(axis=2)
        for c, differences in zip(self.coefficients, found, strict=True):
            trait.store(put, f"difference at {c:+g}, {arm}", differences)
        trait.store(put, f"slope, {arm}", slopes(self.coefficients, found))
        trait.store(put, f"effect, {arm}", self._effect(found))
        self._record(SLOPE, trait.mean(f"slope, {arm}"), "null", null=kind)
        roles = trait.refs(a=f"effect, {arm}", b="effect", group="group")
        self._record(MARGIN, evidence.estimate("group_mean_difference", roles, BOOTSTRAP), null=kind)

    def cost(self, neutral: View, n: int) -> None:
        """Record the KL divergence that ±1 costs at the next token of `n` neutral prompts, beside a null."""
        if RANDOM not in self._strongest:
            raise ValueError("the cost is compared with that of a random direction: respond first")
        arms = [(STEERED, self.direction, c) for c in (-1.0, 1.0)]
        arms += [(strongest(RANDOM), self._strongest[RANDOM], c) for c in (-1.0, 1.0)]
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

    def _record(self, name: str, found: Estimate, role: Role = "primary", **at: Scalar) -> None:
        self.trait.record(name, found, role, {"trait": self.trait.view.name, **at}, "")

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
        """The dose-response on the logit difference, with the strongest null of each kind; and on choices."""
        trait, name = self.trait, self.trait.view.name
        response = []
        arms: list[tuple[str, str, Role]] = [(STEERED, "", "alternative")]
        arms += [(strongest(kind), f", {strongest(kind)}", "null") for kind in self._strongest]
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
                "each kind of null direction of equal norm, the one with the largest effect. Bands: 95 % by resampling "
                "whole groups.",
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
