"""What the target's own output gives away: two detectors that see logits and text, and no activations. No torch.

They are put to the very examples on which an instrument is judged, and annotate it: where one of them ranks as well,
the report says so. Nothing is fitted; which way a score points is declared here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import TYPE_CHECKING

import numpy as np

from auditor.data.examples import Example
from auditor.errors import AuditError, NotTestable
from auditor.measure.instrument import ASKED, COMPARATORS, LIKELIHOOD
from auditor.measure.library import View
from auditor.measure.measurement import Comparison
from auditor.measure.metrics import Floats
from auditor.measure.options import Item, Lean, questions
from auditor.measure.runner import Asked, Runner

if TYPE_CHECKING:
    from auditor.measure.qualify import Workbench

YES, NO = "Yes", "No"
STATEMENT = "Is this statement true? {completion}"
ANSWER = "Somebody wrote: {prompt}\nThe answer was: {completion}\nIs that answer true?"
Told = Floats | str
"""scores [n], higher = more of the instrument's positive class; or why there are none"""


@dataclass(frozen=True, eq=False)
class Said:
    """What the output says of some examples."""

    view: View
    examples: tuple[Example, ...]
    scores: Mapping[str, Told]
    """by comparator"""

    @classmethod
    def of_answers(cls, runner: Runner, view: View, examples: Sequence[Example]) -> Said:
        """For false answers (positive) against right ones, each behind the prompt that it was given to."""
        scores = {
            LIKELIHOOD: _scored(lambda: -log_probability(runner, examples)),
            ASKED: _scored(lambda: -yes_over_no(runner, examples)),
        }
        return cls(view, tuple(examples), scores)


def of_statements(
    runner: Runner, view: View, held: Sequence[Example], threshold: Sequence[Example]
) -> tuple[Said, Said]:
    """For true statements (positive) against false ones: what is said of those held out, and of false `threshold` ones.

    A negated statement points the other way: unlikely is true. Affirmed and negated ones are as likely as each other
    only by chance, so each polarity is counted from its own mean over the held-out ones, for which no label is used.
    The true ones of `threshold` are not scored: they are the twins from which the false ones are parted.
    """
    negatives = tuple(example for example in threshold if not example.label)
    every = (*held, *negatives)

    def likely() -> Floats:
        own = {part.id: part for part in parted((*held, *threshold))}
        return _turned(log_probability(runner, [own[example.id] for example in every]), every, len(held))

    told = {LIKELIHOOD: _scored(likely), ASKED: _scored(lambda: yes_over_no(runner, every))}
    first, rest = (
        {name: scores if isinstance(scores, str) else scores[part] for name, scores in told.items()}
        for part in (slice(len(held)), slice(len(held), None))
    )
    return Said(view, tuple(held), first), Said(view, negatives, rest)


def _turned(likely: Floats, examples: Sequence[Example], n_held: int) -> Floats:
    """Log-probabilities [n] from the mean of their polarity in the first `n_held`, those of negated ones turned."""
    polarity = np.array([example.polarity for example in examples])
    means = {name: likely[:n_held][polarity[:n_held] == name].mean() for name in set(polarity[:n_held].tolist())}
    centre = np.array([means.get(name, 0.0) for name in polarity.tolist()])
    turned: Floats = np.where(polarity == "negated", -1.0, 1.0) * (likely - centre)
    return turned


def compared(
    bench: Workbench,
    instrument: str,
    held: Said,
    negatives: Said,
    *,
    label: str,
    positive: tuple[str, str | int],
    fpr: float,
) -> tuple[Comparison, ...]:
    """Hold an instrument's stored scores on the examples of `held` against those of each comparator; all is recorded.

    `label`: the column that is told. `positive`: field of an item row and its value in the positives. The share of
    those that is flagged is taken at the threshold that a share `fpr` of the `negatives` passes.
    """
    found = []
    for name in COMPARATORS:
        scores, rest = held.scores[name], negatives.scores[name]
        if isinstance(scores, str) or isinstance(rest, str):
            found.append(Comparison(name=name, note=str(scores if isinstance(scores, str) else rest)))
            continue
        column = bench.store_scores(held.view, held.examples, f"output: {name}", scores)
        bench.store_scores(negatives.view, negatives.examples, column, rest)
        field, value = positive
        refs = bench.evidence.item_refs(
            {"positives": column}, held.view.conditions(split="evaluation", **{field: value})
        )
        refs += bench.evidence.item_refs({"negatives": column}, negatives.view.conditions(split="threshold"))
        found.append(
            Comparison(
                name=name,
                alone=bench.auroc(held.view, column, label=label),
                gain=bench.auroc(held.view, instrument, column, label=label),
                flagged=bench.evidence.estimate("calibrated_recall", refs, {"fpr": fpr}),
            )
        )
    return tuple(found)


def parted(examples: Sequence[Example]) -> list[Example]:
    """Raw statements, of which those words alone are scored in which one differs from the other of its pair.

    The words that both begin with become the prompt; a statement without a twin begins with its first word. What
    follows the words of a user's turn is scored whole.

    Raises:
        NotTestable: a statement has no words to score.
    """
    pairs: dict[str, list[list[str]]] = {}
    for example in examples:
        pairs.setdefault(example.pair, []).append(example.completion.split())
    found = []
    for example in examples:
        words, twins = example.completion.split(), pairs[example.pair]
        shared = len(commonprefix(twins)) if example.pair and len(twins) == 2 else 0
        start = min(max(shared, 0 if example.prompt else 1), min(map(len, twins if shared else [words])) - 1)
        if not words or not (example.prompt or start):
            raise NotTestable(f"{example.id}: there is no text to score")
        before = " ".join([example.prompt, *words[:start]]).strip()
        rest = replace(example, prompt=before, completion=" ".join(words[start:]))
        found.append(example if example.chat else rest)
    return found


def log_probability(runner: Runner, examples: Sequence[Example]) -> Floats:
    """Mean log-probability a token that the target gives each completion [n], in nats."""
    return -runner.nll([Asked(example) for example in examples]) if examples else np.empty(0)


def yes_over_no(runner: Runner, examples: Sequence[Example]) -> Floats:
    """logit(Yes) − logit(No) to whether each example is true [n]; the mean of both orders of the two words.

    One that follows a prompt is quoted as the answer to it.

    Raises:
        NotTestable: with this tokenizer or template the question cannot be asked.
    """
    asked = [question for example in examples for question in questions(runner.target, _item(example))]
    if not asked:
        return np.empty(0)
    lean = {"lean": Lean.of(asked).difference}
    told = runner.ask([Asked(one.example, prefilled=True) for one in asked], lean, what="questions in words")
    leans: Floats = np.array([one.values["lean"] for one in told], dtype=np.float64).reshape(-1, 2).mean(axis=1)
    return leans


def _item(example: Example) -> Item:
    prompt = (ANSWER if example.prompt else STATEMENT).format(prompt=example.prompt, completion=example.completion)
    asked = replace(example, prompt=prompt, chat=True, kind="words")
    return Item(replace(asked, completion=YES), replace(asked, completion=NO))


def _scored(score: Callable[[], Floats]) -> Told:
    """The scores; or why there are none, which is no failure of the probe: a comparator only annotates."""
    try:
        found = score()
    except AuditError as reason:
        return str(reason)
    return found if np.isfinite(found).all() else "the log-probabilities are not finite numbers"
