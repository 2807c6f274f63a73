"""Asking: questions of the evaluation split put to the target, and the numbers read from its answers, all recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from auditor.config import Scalar
from auditor.data.examples import Example, Split
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.arms import DEFAULT, Arm
from auditor.measure.evidence import SAMPLES, Evidence, redact
from auditor.measure.labelled import correction
from auditor.measure.library import Library, View
from auditor.measure.measurement import MeasurementSpec, Role, Sample
from auditor.measure.qualify import BOOTSTRAP, Workbench
from auditor.measure.recorder import Recorder
from auditor.measure.runner import Asked, Effect, Runner
from auditor.measure.stored import arrays
from auditor.model.prompts import opening_tokens
from auditor.model.sites import Point

if TYPE_CHECKING:
    from auditor.model.target import TargetModel


@dataclass(frozen=True)
class Answers:
    """On-policy answers of the target, by reference: texts and labels stay with the bench."""

    view: View
    arm: str
    ids: tuple[str, ...]
    """the items asked, in order; on the evaluation split"""
    effects: tuple[str, ...]

    def column(self, effect: str) -> str:
        """Name of an effect's column in the item table."""
        return effect if self.arm == "default" else f"{effect}@{self.arm}"


@dataclass(frozen=True)
class TargetFacts:
    """What a probe may know of the model."""

    n_layers: int
    d_model: int
    has_chat_template: bool
    has_system_role: bool
    injected_system: str | None
    """system text that the template adds by itself when none is given"""
    points: tuple[Point, ...]
    """points of the residual stream that can be read and edited"""
    thinks: bool
    """whether the chat template opens a thinking block, in which every answer begins"""
    template_tail: int
    """tokens that the chat template adds after the user's text"""

    @classmethod
    def of(cls, target: TargetModel) -> TargetFacts:
        """The facts of a loaded model."""
        return cls(
            n_layers=target.n_layers,
            d_model=target.d_model,
            has_chat_template=target.has_chat_template,
            has_system_role=target.has_system_role,
            injected_system=target.injected_system,
            points=target.points,
            thinks=target.chat.thinking == "always on",
            template_tail=len(target.chat.suffix),
        )


class Asking(Recorder):
    """One probe's questions to the target."""

    def __init__(
        self,
        evidence: Evidence,
        library: Library,
        runner: Runner,
        specs: Sequence[MeasurementSpec],
        rng: np.random.Generator,
    ) -> None:
        super().__init__(evidence, specs)
        self.rng = rng
        self.target = TargetFacts.of(runner.target)
        self._library, self._runner = library, runner
        self._workbench = Workbench(evidence, library, runner)
        self._texts: dict[tuple[View, str], tuple[str, ...]] = {}

    def answers(
        self,
        view: View,
        *,
        n: int,
        effects: Mapping[str, Effect],
        max_new_tokens: int,
        arm: Arm = DEFAULT,
        beside_unedited: bool = False,
    ) -> Answers:
        """What the target writes to `n` items of the evaluation split, spread evenly over the groups.

        No new tokens: the effects are read from the logits of the first position alone.
        """
        asked = self._sealed(view, n)
        answered = self._runner.ask(
            [Asked(example, arm.system, arm.edits, settled=arm.settled) for example in asked],
            effects,
            max_new_tokens=max_new_tokens,
            beside_unedited=beside_unedited,
            what=f"{view.name}, {arm.name}",
        )
        result = Answers(view, arm.name, tuple(example.id for example in asked), tuple(effects))
        if max_new_tokens:
            self._texts[view, arm.name] = tuple(unit.answer for unit in answered)
        for example, unit in zip(asked, answered, strict=True):
            row = self._evidence.row(view.data, example, self._library.split_of(view, example))
            if max_new_tokens:
                row["answers"][arm.name] = redact(unit.answer, self._evidence.redaction)
            for effect, value in unit.values.items():
                column = result.column(effect)
                if row["values"].setdefault(column, value) != value:
                    raise ValueError(f"{view.name}: {column!r} was asked before, otherwise: {example.id}")
        return result

    def has(self, view: View) -> bool:
        """Whether the data set has such items on the evaluation split, where it could be asked of them."""
        return bool(self._library.examples(view, ("evaluation",)))

    def _sealed(self, view: View, n: int) -> tuple[Example, ...]:
        pool = self._library.examples(view, ("evaluation",))
        if not pool:
            raise NotTestable(f"{view.name} has no items on the evaluation split")
        return draw(pool, n, seed=self._library.seed)

    def measure(
        self,
        name: str,
        answers: Answers,
        effect: str,
        *,
        role: Role = "primary",
        at: Mapping[str, Scalar] | None = None,
        note: str = "",
    ) -> None:
        """Record the share of answers with an effect, with seeded samples of what it was read from."""
        refs = self._evidence.item_refs({"x": answers.column(effect)}, answers.view.conditions(split="evaluation"))
        self._record(name, self._evidence.estimate("wilson_rate", refs), role, at, note)
        if role == "primary" and any(self._texts.get((answers.view, answers.arm), ())):
            self._sample(name, answers)

    def compare(
        self,
        name: str,
        first: Answers,
        second: Answers,
        effect: str,
        *,
        at: Mapping[str, Scalar] | None = None,
        note: str = "",
    ) -> None:
        """Record how much the share changes from the first arm to the second, on the same items."""
        roles = {"a": first.column(effect), "b": second.column(effect)}
        refs = self._evidence.item_refs(roles, first.view.conditions(split="evaluation"))
        self._record(name, self._evidence.estimate("paired_rate_difference", refs), "primary", at, note)

    def check_judge(self, names: tuple[str, str], view: View, effect: str, judge: Callable[[str], bool]) -> None:
        """Record how often a judge of answers is right on labelled ones, and what it says of each.

        `names`: of the share of positives that it flags, and of the share of negatives that it spares. `effect`: under
        which name it says so, as of answers of the target. No labelled answer was asked, so all of the view count.
        """
        for example in self._library.examples(view, get_args(Split)):
            flagged = bool(judge(example.completion))
            values = self._evidence.row(view.data, example, "evaluation")["values"]
            values |= {effect: float(flagged), f"{effect}, rightly": float(flagged == example.label)}
        for name, label in zip(names, (1, 0), strict=True):
            refs = self._evidence.item_refs({"x": f"{effect}, rightly"}, {"dataset": view.data, "label": label})
            self._record(name, self._evidence.estimate("wilson_rate", refs), "control", None, "")
        dataset = self._library.dataset(view.data)
        self.fact("labelled answers", f"{view.name}, sha256 {dataset.sha256}")

    def correct(self, name: str, answers: Answers, effect: str, labelled: View, *, note: str) -> None:
        """Record the share of answers with an effect as its judge's errors on `labelled` answers would have it.

        An alternative to the share itself, by `check_judge` of the same effect; the note says when it was clipped.
        """
        refs = self._evidence.item_refs({"x": answers.column(effect)}, answers.view.conditions(split="evaluation"))
        for role, label in (("positives", 1), ("negatives", 0)):
            refs += self._evidence.item_refs({role: effect}, {"dataset": labelled.data, "label": label})
        told = correction(**arrays(refs, self._evidence)).told
        found = self._evidence.estimate("corrected_rate", refs)
        self._record(name, found, "alternative", None, f"{note}: {told}" if told else note)

    def mean(
        self,
        name: str,
        answers: Answers,
        effect: str,
        *,
        role: Role = "primary",
        at: Mapping[str, Scalar] | None = None,
    ) -> None:
        """Record the mean of an effect over the items, by whole groups."""
        roles = {"x": answers.column(effect), "group": "group"}
        refs = self._evidence.item_refs(roles, answers.view.conditions(split="evaluation"))
        self._record(name, self._evidence.estimate("group_mean", refs, BOOTSTRAP), role, at, "")

    def language(self, view: View) -> str:
        """BCP 47 tag of a data set: a judge declines languages that it does not know."""
        return self._library.dataset(view.data).language

    def _sample(self, name: str, answers: Answers) -> None:
        """Keep random items as evidence: drawn, not picked."""
        count = min(SAMPLES, len(answers.ids))
        for index in sorted(self.rng.choice(len(answers.ids), size=count, replace=False)):
            row = self._evidence.known(answers.view.data, answers.ids[int(index)])
            columns = {name: row["values"].get(name) for name in map(answers.column, answers.effects)}
            self._evidence.samples.append(
                Sample(
                    measurement=name,
                    id=row["id"],
                    dataset=row["dataset"],
                    kind=row["kind"],
                    prompt=row["text"],
                    answer=row["answers"][answers.arm],
                    values={key: float(value) for key, value in columns.items() if value is not None},
                )
            )

    def opening_tokens(self, phrases: Sequence[str]) -> tuple[int, ...]:
        """First tokens that this tokenizer gives the phrases at the start of a response; recorded."""
        ids = opening_tokens(self._runner.target, phrases)
        shown = [self._runner.target.tokenizer.decode([token]) for token in ids]
        self.fact("refusal-opening tokens", [f"{token} {text!r}" for token, text in zip(ids, shown, strict=True)])
        return ids
