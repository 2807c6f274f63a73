"""The Bench: the probe proposes, the bench judges.

Only the bench opens data sets, and only it sees labels and answers of the sealed splits. A choice is made on
the selection split and recorded whole; a control cannot be forgotten, because the bench runs it; a reading is
recorded when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from auditor.config import Scalar
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.directions import Recipe
from auditor.measure.evidence import SAMPLES, Evidence, redact
from auditor.measure.instrument import Candidate, Instrument
from auditor.measure.intervals import Estimate, estimate
from auditor.measure.library import Library, View
from auditor.measure.measurement import LineChart, Measurement, MeasurementSpec, Role, Sample, Series
from auditor.measure.qualify import PROFILE, Workbench, layer_profile, qualified, transfer_matrix
from auditor.measure.runner import Asked, Effect, Runner
from auditor.model.prompts import opening_tokens
from auditor.model.sites import Point
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

    @classmethod
    def of(cls, target: TargetModel) -> TargetFacts:
        """The facts of a loaded model."""
        return cls(
            n_layers=target.n_layers,
            d_model=target.d_model,
            has_chat_template=target.has_chat_template,
            has_system_role=target.has_system_role,
            injected_system=target.injected_system,
        )


class Bench:
    """One probe's access to data and model."""

    def __init__(
        self,
        evidence: Evidence,
        library: Library,
        runner: Runner,
        specs: Sequence[MeasurementSpec],
        rng: Generator,
    ) -> None:
        self.rng = rng
        self.target = TargetFacts.of(runner.target)
        self._evidence, self._library, self._runner = evidence, library, runner
        self._workbench = Workbench(evidence, library, runner)
        self._specs = {spec.name: spec for spec in specs}
        self._recipes: dict[tuple[str, View], Recipe] = {}
        self._chosen: list[Candidate] = []
        self._qualified: set[tuple[str, View]] = set()

    def fact(self, name: str, value: Scalar | list[Scalar]) -> None:
        """Put something found on the way on record."""
        self._evidence.facts[name] = value

    def opening_tokens(self, phrases: Sequence[str]) -> tuple[int, ...]:
        """First tokens that this tokenizer gives the phrases at the start of a response; recorded."""
        ids = opening_tokens(self._runner.target, phrases)
        shown = [self._runner.target.tokenizer.decode([token]) for token in ids]
        self.fact("refusal-opening tokens", [f"{token} {text!r}" for token, text in zip(ids, shown, strict=True)])
        return ids

    def fit(
        self, recipes: Mapping[str, Recipe], view: View, *, point: Point, position: str
    ) -> dict[str, tuple[Candidate, ...]]:
        """The layer profile: each recipe fitted at every layer, with its AUROC on the validation groups."""
        self._recipes |= {(name, view): recipe for name, recipe in recipes.items()}
        return layer_profile(self._workbench, recipes, view, point, position)

    def choose(
        self,
        name: str,
        candidates: Mapping[str, tuple[Candidate, ...]],
        rule: Callable[[tuple[Candidate, ...]], Candidate],
    ) -> dict[str, Candidate]:
        """Apply a pure rule to each recipe's candidates; the whole profile goes on record as a chart."""
        chosen = {recipe: rule(rows) for recipe, rows in candidates.items()}
        self._chosen += chosen.values()
        series = []
        for recipe, rows in candidates.items():
            series.append(
                Series(
                    name=recipe,
                    y=tuple(row.validation.value for row in rows),
                    low=tuple(row.validation.low for row in rows),
                    high=tuple(row.validation.high for row in rows),
                    chosen=rows.index(chosen[recipe]),
                )
            )
            self.fact(f"{name}: layer chosen for {recipe}", chosen[recipe].site.layer)
        first = next(iter(candidates.values()))
        self._evidence.charts.append(
            LineChart(
                title=f"Layer profile, {name}",
                caption="AUROC on the validation groups of the selection split, from which the layer was chosen; "
                "the held-out figures are in the qualification table. Bands: 95 % by resampling whole groups.",
                x_label=f"layer ({first[0].site.point})",
                y_label="AUROC",
                x=tuple(float(row.site.layer) for row in first),
                series=tuple(series),
                reference=0.5,
                measurement=PROFILE,
                at=("recipe", "layer"),
            )
        )
        return chosen

    def prefer(self, name: str, chosen: Sequence[Candidate], rule: Callable[[tuple[Candidate, ...]], Candidate]) -> str:
        """Apply a pure rule across recipes, before any of them has been judged; recorded. Returns the recipe's name."""
        best = rule(tuple(chosen))
        self.fact(f"{name}: recipe that is read", best.recipe)
        return best.recipe

    def qualify(self, chosen: Candidate, *, fpr: float) -> Instrument:
        """Refit on the whole selection split, judge on the evaluation split, run every control.

        Raises ValueError for a candidate that `choose` did not return, or a recipe that was judged before: both would
        be a choice on sealed data.
        """
        key = chosen.recipe, chosen.view
        if chosen not in self._chosen or key in self._qualified:
            raise ValueError(f"{chosen.recipe} at {chosen.site} was not chosen by the bench, or was judged before")
        self._qualified.add(key)
        return qualified(self._workbench, self._recipes[key], chosen, fpr=fpr, rng=self.rng)

    def transfer(self, chosen: Candidate, *, rows: Sequence[View], columns: Sequence[View]) -> None:
        """Fit on each row, try on each column, at the chosen site; recorded whole as a chart."""
        recipe = self._recipes[chosen.recipe, chosen.view]
        self._evidence.charts.append(transfer_matrix(self._workbench, recipe, chosen, rows=rows, columns=columns))

    def answers(
        self,
        view: View,
        *,
        n: int,
        effects: Mapping[str, Effect],
        max_new_tokens: int,
        system: str | None = None,
        arm: str = "default",
    ) -> Answers:
        """What the target writes to `n` items of the evaluation split, spread evenly over the groups."""
        pool = self._library.examples(view, ("evaluation",))
        if not pool:
            raise NotTestable(f"{view.name} has no items on the evaluation split")
        asked = draw(pool, n, seed=self._library.seed)
        answered = self._runner.ask([Asked(e, system) for e in asked], effects, max_new_tokens=max_new_tokens)
        result = Answers(view, arm, tuple(example.id for example in asked), tuple(effects))
        for example, unit in zip(asked, answered, strict=True):
            row = self._evidence.row(view.data, example, self._library.split_of(view, example))
            row["answers"][arm] = redact(unit.answer, self._evidence.redaction)
            for effect, value in unit.values.items():
                row["values"][result.column(effect)] = value
        return result

    def language(self, view: View) -> str:
        """BCP 47 tag of a data set: a judge declines languages that it does not know."""
        return self._library.dataset(view.data).language

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
        if role == "primary":
            self._sample(name, answers)

    def compare(self, name: str, first: Answers, second: Answers, effect: str, *, note: str = "") -> None:
        """Record how much the share changes from the first arm to the second, on the same items."""
        roles = {"a": first.column(effect), "b": second.column(effect)}
        refs = self._evidence.item_refs(roles, first.view.conditions(split="evaluation"))
        self._record(name, self._evidence.estimate("paired_rate_difference", refs), "primary", None, note)

    def decline(self, name: str, reason: str) -> None:
        """Put on record that a declared measurement was not taken, and why."""
        self._record(name, estimate("exact_share", params={"count": 0, "of": 0}), "primary", None, reason)

    def _record(self, name: str, found: Estimate, role: Role, at: Mapping[str, Scalar] | None, note: str) -> None:
        spec = self._specs[name]
        self._evidence.measurements.append(
            Measurement(name=name, estimate=found, unit=spec.unit, at=dict(at or {}), role=role, note=note)
        )

    def _sample(self, name: str, answers: Answers) -> None:
        """Keep random items as evidence: drawn, not picked."""
        count = min(SAMPLES, len(answers.ids))
        for index in sorted(self.rng.choice(len(answers.ids), size=count, replace=False)):
            row = self._evidence.known(answers.view.data, answers.ids[int(index)])
            columns = {effect: row["values"].get(answers.column(effect)) for effect in answers.effects}
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
