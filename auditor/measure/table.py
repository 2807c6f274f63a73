"""Candidate tables: prompts that pass a screen, the directions between them, and what many edits do to them.

Everything here is read on the selection split, so a probe may see it and choose by it. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np

from auditor.arrays import copied
from auditor.data.examples import Example, Split
from auditor.data.split import draw
from auditor.measure.arms import Edits
from auditor.measure.controls import LabelledRows
from auditor.measure.directions import Direction, difference_in_means, direction_of
from auditor.measure.library import View
from auditor.measure.metrics import Floats
from auditor.measure.qualify import Workbench
from auditor.measure.runner import Asked, Effect
from auditor.model.edits import Edit
from auditor.model.sites import Point, Site

NO_DIFFERENCE = 1e-6
"""share of the activations' size below which two means are equal but for rounding"""
ARMS_A_UNIT = 16
"""arms that are asked together and kept for --resume as one unit"""

Screen = Callable[[float], bool]


@dataclass(frozen=True)
class Pool:
    """Prompts of the selection split that passed a screen."""

    view: View
    fit: tuple[Example, ...]
    validation: tuple[Example, ...]
    asked: int
    """how many were asked until there were enough, or no more"""


def screened(bench: Workbench, view: View, effect: Effect, passes: Screen, *, n_fit: int, n_validation: int) -> Pool:
    """Up to `n_fit` and `n_validation` prompts whose effect passes, spread over the groups; every value is stored."""
    kept: dict[str, tuple[Example, ...]] = {}
    asked = 0
    splits: tuple[tuple[Split, int], ...] = (("fit", n_fit), ("validation", n_validation))
    for split, wanted in splits:
        pool = bench.library.examples(view, (split,))
        turn = draw(pool, len(pool), seed=bench.library.seed)
        passed: list[Example] = []
        values: list[float] = []
        while len(passed) < wanted and len(values) < len(turn):
            chunk = turn[len(values) : len(values) + wanted]
            found = bench.runner.ask([Asked(e) for e in chunk], {"x": effect}, what=f"{view.name} prompts, screened")
            read = [float("nan") if one.values["x"] is None else float(one.values["x"] or 0.0) for one in found]
            passed += [example for example, value in zip(chunk, read, strict=True) if passes(value)]
            values += read
        bench.evidence.store(f"{view.name}/screen/{split}", np.array(values))
        kept[split] = tuple(passed[:wanted])
        asked += len(values)
    return Pool(view, kept["fit"], kept["validation"], asked)


def tail_rows(
    bench: Workbench, positive: Pool, negative: Pool, *, layers: Sequence[int], point: Point, tail: int
) -> dict[tuple[int, int], LabelledRows]:
    """The fit prompts of both classes, mapped -> {(position, layer): rows}, by position and then layer.

    Positions count from the end of the prompt, −tail … −1: the tokens that the template adds after the user's
    text, or the last token alone when `tail` is 0.
    """
    examples = (*positive.fit, *negative.fit)
    position = f"template_tail {-tail}" if tail else "last_prompt"
    rows, _ = bench.runner.token_activations(examples, [Site(layer, point) for layer in layers], position)
    x = rows.reshape(len(examples), max(tail, 1), len(layers), -1)
    labels = np.arange(len(examples)) < len(positive.fit)
    groups = np.array([example.group for example in examples])
    return {
        (p - x.shape[1], layer): LabelledRows(x[:, p, s], labels, groups)
        for p in range(x.shape[1])
        for s, layer in enumerate(layers)
    }


def differences(rows: Mapping[tuple[int, int], LabelledRows], point: Point) -> dict[tuple[int, int], Direction | None]:
    """Difference-in-means at each place; None where the classes do not differ.

    They do not at tokens of the template before the first block. Source: Arditi et al. 2024, arXiv:2406.11717.
    """
    found: dict[tuple[int, int], Direction | None] = {}
    for (position, layer), fit in rows.items():
        here = copied(fit.x)
        detector = difference_in_means(here, fit.labels)
        size = float(np.abs(here).max()) * np.sqrt(here.shape[1])
        apart = float(np.linalg.norm(detector.weights)) > NO_DIFFERENCE * size
        found[position, layer] = direction_of(detector, Site(layer, point)) if apart else None
    return found


@dataclass(frozen=True, eq=False)
class Table:
    """What each arm does to the same prompts."""

    tensors: Mapping[str, str]
    """effect -> name of its stored draws [n_arms, n_items]"""
    group: str
    """name of the stored group numbers [n_items]"""
    values: Mapping[str, Floats]
    """effect -> [n_arms, n_items]"""

    def mean(self, effect: str) -> Floats:
        """[n_arms]; NaN where an item has none."""
        return np.asarray(self.values[effect].mean(axis=1))

    @property
    def asked(self) -> int:
        """How many questions have a number: those of arms that were left out, or stopped, have none."""
        return int(sum((~np.isnan(found)).sum() for found in self.values.values()))


@dataclass(frozen=True)
class Pruning:
    """What need not be asked, because an arm of which it is known cannot be chosen any more."""

    keep: tuple[bool, ...]
    """[n_arms] arms that are asked at all"""
    at_most: float = inf
    """bound on the mean of an effect that is never negative: an arm is asked no more prompts once the sum so far, over
    all of them, lies above"""


def table(
    bench: Workbench,
    name: str,
    arms: Sequence[Edits],
    effects: Mapping[str, Effect],
    examples: Sequence[Example],
    *,
    beside_unedited: bool = False,
    prune: Pruning | None = None,
) -> Table:
    """Ask every prompt under every arm; the effects are read from the logits and stored whole as draws.

    Args:
        bench: what asks and stores.
        name: of the draws.
        arms: what is done to the target.
        effects: what is read of each answer.
        examples: the prompts.
        beside_unedited: the effects also see the logits without edits.
        prune: which arms need not be asked everything; what is not asked has no number.
    """
    n = len(examples)
    values = {effect: np.full((len(arms), n), np.nan) for effect in effects}
    going = [i for i in range(len(arms)) if prune is None or prune.keep[i]]
    for start, end in pairwise(sorted({0, n // 4, n // 2, n} if prune else {0, n})):
        some = examples[start:end]
        for first in range(0, len(going), ARMS_A_UNIT):
            chunk = going[first : first + ARMS_A_UNIT]
            asked = [Asked(example, edits=arms[i]) for i in chunk for example in some]
            what = f"questions: {name}, arms {first + 1} to {first + len(chunk)} of {len(going)}"
            found = bench.runner.ask(asked, effects, beside_unedited=beside_unedited, what=what)
            for k, one in enumerate(found):
                for effect, value in one.values.items():
                    place = chunk[k // len(some)], start + k % len(some)
                    values[effect][place] = np.nan if value is None else value
        if prune is not None:
            spent = sum(np.nansum(found, axis=1) for found in values.values())
            going = [i for i in going if spent[i] <= prune.at_most * n]
    groups = sorted({example.group for example in examples})
    return Table(
        tensors={effect: bench.evidence.store(f"{name}/{effect}", found) for effect, found in values.items()},
        group=bench.evidence.store(f"{name}/group", np.array([groups.index(e.group) for e in examples])),
        values=values,
    )


def predicted(
    bench: Workbench, name: str, edits: Sequence[Edit], effect: str, tokens: Sequence[int], examples: Sequence[Example]
) -> Table:
    """What first-order scores say the refusal metric of every prompt would be under every edit; stored whole."""
    values, slopes = bench.runner.first_order(examples, edits, tokens)
    found = values + np.array([edit.coefficient for edit in edits])[:, None] * slopes.T
    groups = sorted({example.group for example in examples})
    return Table(
        tensors={effect: bench.evidence.store(f"{name}/{effect}", found)},
        group=bench.evidence.store(f"{name}/group", np.array([groups.index(e.group) for e in examples])),
        values={effect: found},
    )
