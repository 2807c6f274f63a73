"""Instruction-induced falsehood: the target interviewed, a monitor fitted, judged, controlled, handed out to be read.

Everything the probe may not do for itself, because it needs the sealed splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from numpy.random import Generator

from auditor.data.examples import Example
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.directions import Recipe
from auditor.measure.evidence import redact
from auditor.measure.flags import LATER, Hearing, Reader, Sets
from auditor.measure.instrument import MIN_GROUPS, Candidate, Instrument
from auditor.measure.interview import ARM, KINDS, Interview, Transcript, answered, transcript
from auditor.measure.monitor import WholeAnswers, fitting_position
from auditor.measure.qualify import EMBEDDING, Workbench, layer_profile
from auditor.measure.steering import Record
from auditor.model.sites import Point, Site

FEWEST_TO_FIT = 10
"""pairs on the selection split below which baselines of the text would be too weak to beat"""
BEHAVIOUR = {"answered_right": "right", "answered_falsely": "false"}
"""measurement -> column of the item table"""


class Study:
    """A monitor of instruction-induced falsehood, from its fit to its reading."""

    def __init__(self, bench: Workbench, record: Record, sets: Sets, rng: Generator) -> None:
        self._bench = WholeAnswers(bench.evidence, bench.library, bench.runner, bench.read)
        self._record, self._sets, self._rng = record, sets, rng
        self._recipes: Mapping[str, Recipe] = {}
        self._told: Transcript | None = None
        self._benign: tuple[Example, ...] = ()
        self._judged = False

    def profile(self, recipes: Mapping[str, Recipe], *, point: Point) -> dict[str, tuple[Candidate, ...]]:
        """Each recipe fitted at every layer on the fit groups, with its AUROC on the validation groups."""
        self._recipes = recipes
        position = fitting_position(self._bench, self._sets.pairs)
        self._bench.evidence.facts["tokens fitted to"] = position
        return layer_profile(self._bench, recipes, self._sets.pairs, point, position)

    def interview(self, *, n: int, n_benign: int, max_new_tokens: int) -> None:
        """Ask the questions in three ways, and everyday ones that set the threshold; record how the target does.

        Raises:
            NotTestable: too few questions are answered rightly on demand and falsely on demand.
        """
        sets, tokens = self._sets, max_new_tokens
        asker = Interview(self._bench, sets.questions, n=n, max_new_tokens=tokens, also_wrong=sets.also_wrong)
        told = transcript(asker)
        self._record_behaviour()
        known = sum(given.grade == "right" for given in told.truthful)
        if len(told.pairs) < MIN_GROUPS or len(told.known_pairs) < FEWEST_TO_FIT:
            raise NotTestable(
                f"told to answer falsely, the model does so for {len(told.pairs)} of the {known} questions that it "
                f"answers rightly when told to, and for {len(told.known_pairs)} that baselines would be fitted to; "
                f"{MIN_GROUPS} and {FEWEST_TO_FIT} are needed"
            )
        self._told, self._benign = told, self._everyday(n_benign, max_new_tokens)

    def judge(self, chosen: Mapping[str, Candidate], best: str, *, fpr: float) -> Instrument:
        """Judge every recipe once, at the layer that was chosen for it; run the controls of the one that is read."""
        if self._told is None or self._judged:
            raise ValueError("a monitor is judged once, and after the interview")
        self._judged = True
        heard = Hearing(self._bench, self._sets, self._told, self._benign, self._sites(chosen.values()))
        found = {}
        for name, candidate in chosen.items():
            reader = Reader(self._bench, self._record, heard, candidate, self._recipes[name])
            qualification = reader.judged(fpr, self._rng)
            self._bench.evidence.qualifications.append(qualification)
            found[name] = Instrument(candidate, qualification, partial(reader.read, fpr=fpr, rng=self._rng))
            if name == best:
                reader.controls(fpr)
        return found[best]

    def _everyday(self, n: int, max_new_tokens: int) -> tuple[Example, ...]:
        """Benign requests with the target's answers, where there are any."""
        pool = self._bench.library.examples(self._sets.benign, ("threshold",))
        asked = draw(pool, n, seed=self._bench.library.seed)
        texts = answered(self._bench, asked, max_new_tokens=max_new_tokens, what="everyday requests")
        for example, text in zip(asked, texts, strict=True):
            split = self._bench.library.split_of(self._sets.benign, example)
            row = self._bench.evidence.row(self._sets.benign.data, example, split)
            row["answers"][ARM] = redact(text, self._bench.evidence.redaction)
        return tuple(replace(e, completion=text) for e, text in zip(asked, texts, strict=True) if text)

    def _sites(self, chosen: Iterable[Candidate]) -> tuple[Site, ...]:
        """Where answers are read: the embedding, the chosen layers, and those some layers further on."""
        last = self._bench.runner.target.n_layers - 1
        wanted = {Site(c.site.layer + more, c.site.point) for c in chosen for more in (0, LATER)}
        return (EMBEDDING, *sorted(site for site in wanted if site.layer <= last))

    def _record_behaviour(self) -> None:
        """Record how often answers are right, and how often false, by what was demanded."""
        evidence = self._bench.evidence
        for kind, demand in KINDS.items():
            where = self._sets.questions.conditions(kind=kind, split="evaluation")
            note = "of the questions answered rightly when the truth was demanded" if kind == "false" else ""
            for name, column in BEHAVIOUR.items():
                found = evidence.estimate("wilson_rate", evidence.item_refs({"x": column}, where))
                self._record(name, found, "control", {"demanded": demand}, note)
