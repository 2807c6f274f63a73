"""A monitor: a linear probe that scores whole answers, fitted on given ones and judged on the target's own.

The mean over tokens of a linear score is the score of the mean, so that an answer is one row: its activations averaged
over its tokens. Source: Goldowsky-Dill et al. 2025, arXiv:2502.03407. What a qualified monitor is read on is for
`falsehood`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from auditor.arrays import copied
from auditor.data.examples import Example, Split
from auditor.measure import instrument as checks
from auditor.measure.baselines import text_scores
from auditor.measure.controls import LabelledRows, permutation_null
from auditor.measure.directions import CLOSED_FORM, Labels, LinearDetector, Recipe, Rows, direction_of
from auditor.measure.instrument import Candidate
from auditor.measure.intervals import Estimate
from auditor.measure.library import SELECTION, View
from auditor.measure.measurement import Check, Qualification
from auditor.measure.outputs import Said, compared
from auditor.measure.qualify import BOOTSTRAP, EMBEDDING, Workbench, labels_of
from auditor.model.prompts import render
from auditor.model.sites import Site

ANSWER = "completion_tokens"
"""an answer is scored by all its tokens"""
DROP_LAST = 5
"""tokens at the end of a given answer that are not fitted to, as in the source; of short ones at most half"""


class WholeAnswers(Workbench):
    """A workbench whose rows are whole answers: activations averaged over the tokens of each."""

    def activations(
        self, view: View, splits: Sequence[Split], sites: Sequence[Site], position: str, *, mean: bool = True
    ) -> tuple[tuple[Example, ...], NDArray[np.float32]]:
        """Examples of a view, split by split, and their averaged activations [n, n_sites, d_model]."""
        return super().activations(view, splits, sites, position, mean=mean)

    def by_site(
        self, view: View, splits: Sequence[Split], sites: Sequence[Site], position: str, *, mean: bool = True
    ) -> tuple[tuple[Example, ...], Iterator[NDArray[np.float32]]]:
        """The same, one site [n, d_model] after the other."""
        return super().by_site(view, splits, sites, position, mean=mean)


def fitting_position(bench: Workbench, view: View) -> str:
    """The tokens of a given answer to fit to: all but the last five, of short answers all but the last half."""
    target, examples = bench.runner.target, bench.library.examples(view, SELECTION)
    prompts = [render(target, example) for example in examples]
    shortest = min(len(prompt.ids) - prompt.prompt_len for prompt in prompts)
    drop = min(DROP_LAST, shortest // 2)
    return f"{ANSWER} drop_last {drop}" if drop else ANSWER


def fitted(
    bench: Workbench, recipe: Recipe, chosen: Candidate, site: Site, domain: str | None = None
) -> LinearDetector:
    """A recipe fitted on the selection split at a site; on one domain of it where that is named.

    Recipes in closed form take one row an answer, so that their refits on shuffled labels keep its tokens together;
    any other is fitted token by token, as in the source.
    """
    view = View(chosen.view.data, (*chosen.view.where, ("domain", domain))) if domain else chosen.view
    if chosen.recipe in CLOSED_FORM:
        examples, x = bench.activations(view, SELECTION, (site,), chosen.position, mean=True)
        return recipe(x[:, 0], labels_of(examples))
    examples = bench.library.examples(view, SELECTION)
    rows, of = bench.runner.token_activations(examples, (site,), chosen.position)
    return recipe(copied(rows[:, 0]), labels_of(examples)[of])


@dataclass(frozen=True, eq=False)
class Heard:
    """Answers with their activations, averaged over the tokens of each."""

    view: View
    examples: tuple[Example, ...]
    """the completion of each is the answer"""
    sites: tuple[Site, ...]
    x: NDArray[np.float32]
    """[n_answers, n_sites, d_model], mapped"""

    def at(self, site: Site) -> Rows:
        """[n_answers, d_model], in memory."""
        return copied(self.x[:, self.sites.index(site)])

    def rows(self, labels: Mapping[str, bool], site: Site) -> tuple[list[Example], Rows, Labels]:
        """The answers that are labelled, by the item's id, with their activations [n, d_model] and labels [n]."""
        kept = [i for i, example in enumerate(self.examples) if example.id in labels]
        examples = [self.examples[i] for i in kept]
        return examples, self.at(site)[kept], np.array([labels[e.id] for e in examples], dtype=bool)


def hear(bench: Workbench, view: View, examples: Sequence[Example], sites: Sequence[Site]) -> Heard:
    """Read the residual stream of the target at every token of each answer, and average."""
    empty = np.empty((0, len(sites), bench.runner.target.d_model), np.float32)
    x = bench.runner.activations(examples, sites, ANSWER, mean=True) if examples else empty
    return Heard(view, tuple(examples), tuple(sites), x)


LABEL = "answered falsely when told to"
"""column: 1 a false answer to a demand for one, 0 the right answer to the same question where the truth was demanded"""


@dataclass(frozen=True, eq=False)
class Trial:
    """What a monitor is judged on: answers of the target that are known to be false on demand, or right."""

    held: Heard
    """answers of the evaluation split"""
    labels: Mapping[str, bool]
    """of the verified ones, by item"""
    said: tuple[Said, Said]
    """what the output says of the labelled answers, and of everyday ones"""
    selection: Heard
    """verified answers of the selection split, to which baselines of the text are fitted"""
    selection_labels: Mapping[str, bool]


def judged(  # noqa: PLR0913, each is made elsewhere
    bench: Workbench,
    recipe: Recipe,
    chosen: Candidate,
    detector: LinearDetector,
    trial: Trial,
    recall: Sequence[Check],
    fpr: float,
    rng: Generator,
) -> Qualification:
    """Run every control on the verified answers; all of it is recorded."""
    name, view, site = chosen.recipe, trial.held.view, chosen.site
    auroc = auroc_of(bench, view, name, LABEL)
    made = [checks.check_auroc(auroc), checks.check_groups(auroc), *_gains(bench, recipe, name, trial)]
    null = None
    if name in CLOSED_FORM:
        null = _shuffled(bench, chosen, trial, rng)
    made += [checks.check_permutation(null), *recall]
    at = {"layer": site.layer, "point": site.point, "position": chosen.position}
    bench.evidence.directions[f"{bench.evidence.probe}/{name}/layer {site.layer}"] = direction_of(detector, site).vector
    beside = compared(bench, name, *trial.said, label=LABEL, positive=("kind", "false"), fpr=fpr)
    return Qualification(instrument=name, dataset=view.name, at=at, checks=tuple(made), beside=beside)


def auroc_of(bench: Workbench, view: View, score: str, label: str, baseline: str | None = None) -> Estimate:
    """AUROC of one stored column for another on the evaluation split, or its paired gain over a stored baseline."""
    roles = {"score": score, "label": label, "group": "group"} | ({"baseline": baseline} if baseline else {})
    refs = bench.evidence.item_refs(roles, view.conditions(split="evaluation"))
    return bench.evidence.estimate("auroc_gain" if baseline else "auroc", refs, BOOTSTRAP)


def _gains(bench: Workbench, recipe: Recipe, name: str, trial: Trial) -> list[Check]:
    """The paired gain over what the answers' own words give away, fitted on other answers of the target."""
    train, x_train, y_train = trial.selection.rows(trial.selection_labels, EMBEDDING)
    held, x_held, _ = trial.held.rows(trial.labels, EMBEDDING)
    scores = text_scores([e.completion for e in train], y_train, [e.completion for e in held])
    scores["embedding layer"] = recipe(x_train, y_train).score(x_held)
    gains = []
    for baseline, values in scores.items():
        suffix = f" ({name})" if baseline == "embedding layer" else ""
        stored = bench.store_scores(trial.held.view, held, f"answer only: {baseline}{suffix}", values)
        alone = auroc_of(bench, trial.held.view, stored, LABEL)
        gain = auroc_of(bench, trial.held.view, name, LABEL, stored)
        gains.append(checks.check_gain(baseline, alone, gain))
    return gains


def _shuffled(bench: Workbench, chosen: Candidate, trial: Trial, rng: Generator) -> Estimate:
    """Refits on given answers whose instructions are shuffled within each entity, tried on the verified answers."""
    train, x = bench.activations(chosen.view, SELECTION, (chosen.site,), chosen.position, mean=True)
    fit = LabelledRows(x[:, 0], labels_of(train), np.array([e.group for e in train]))
    held, x_held, labels = trial.held.rows(trial.labels, chosen.site)
    on = LabelledRows(x_held, labels, np.array([e.group for e in held]))
    draws = permutation_null(fit, on, chosen.recipe, draws=checks.PERMUTATIONS, rng=rng)
    stored = bench.evidence.store(f"shuffled labels/{chosen.recipe}", draws)
    refs = bench.evidence.item_refs(
        {"score": chosen.recipe, "label": LABEL}, trial.held.view.conditions(split="evaluation")
    )
    return bench.evidence.estimate("permutation_p", refs + bench.evidence.draw_refs({"null": stored}))
