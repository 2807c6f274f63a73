"""The Bench: the probe proposes, the bench judges.

Only the bench opens data sets, and only it sees labels and answers of the sealed splits. A choice is made on
the selection split and recorded whole; a control cannot be forgotten, because the bench runs it; a reading is
recorded when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from numpy.random import Generator

from auditor.errors import NotTestable
from auditor.measure.asking import Answers
from auditor.measure.choices import Shift, unsteered
from auditor.measure.directions import Direction
from auditor.measure.dose import Dose
from auditor.measure.evidence import Evidence
from auditor.measure.falsehood import Study
from auditor.measure.flags import Sets
from auditor.measure.instrument import Candidate, Instrument
from auditor.measure.intervening import Intervening
from auditor.measure.latent import latent_gap
from auditor.measure.library import Library, View
from auditor.measure.measurement import LineChart, MeasurementSpec, Series
from auditor.measure.pairs import AnyRecipe
from auditor.measure.qualify import PROFILE, layer_profile, qualified, transfer_matrix
from auditor.measure.runner import Runner
from auditor.measure.steering import Trait
from auditor.model.sites import Point

__all__ = ["Answers", "Bench"]


class Bench(Intervening):
    """One probe's access to data and model."""

    def __init__(
        self,
        evidence: Evidence,
        library: Library,
        runner: Runner,
        specs: Sequence[MeasurementSpec],
        rng: Generator,
    ) -> None:
        super().__init__(evidence, library, runner, specs, rng)
        self._recipes: dict[tuple[str, View], AnyRecipe] = {}
        self._chosen: list[Candidate] = []
        self._qualified: set[tuple[str, View]] = set()

    def fit(
        self, recipes: Mapping[str, AnyRecipe], view: View, *, point: Point, position: str
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

    def latent_gap(self, name: str, instrument: Instrument, *, shares: str, n: int) -> None:
        """Record by how much a qualified instrument decodes more than the target answers (see `latent`).

        Raises NotQualified for an instrument that did not prove itself on this model.
        """
        instrument.require_qualified()
        try:
            latent_gap(self._workbench, self._record, instrument.chosen, names=(name, shares), n=n)
        except NotTestable as reason:
            self.decline(name, str(reason))

    def trait(self, view: View) -> Trait:
        """Items with two options, to be asked and to be steered by."""
        return Trait(self._workbench, self._record, view, self.rng)

    def unsteered(self, trait: Trait, n: int, shift: Shift | None = None) -> None:
        """Record what is chosen on sealed items without any edit (see `choices.unsteered`)."""
        unsteered(trait, n, shift)

    def dose(self, trait: Trait, direction: Direction, coefficients: tuple[float, ...]) -> Dose:
        """The direction that was chosen for a trait, to be added at these coefficients on sealed items."""
        return Dose(trait, direction, coefficients)

    def falsehood(self, sets: Sets) -> Study:
        """Questions asked in three ways, and a monitor of the answers."""
        return Study(self._workbench, self._record, sets, self.rng)
