"""An interview: the same questions asked as they are, with a demand for the truth, and with one for a falsehood.

What is asked, answered and graded; sealed, because the grades are labels. What a detector makes of the answers is for
`monitor`. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auditor.data.examples import Example, Split
from auditor.data.split import draw
from auditor.errors import NotTestable
from auditor.measure.evidence import redact
from auditor.measure.grading import Grade, grade, names
from auditor.measure.library import SELECTION, View
from auditor.measure.qualify import Workbench
from auditor.measure.runner import Asked, answer_proper

PLAIN, TRUTHFUL, FALSE = "plain", "truthful", "false"
KINDS = {PLAIN: "nothing", TRUTHFUL: "the truth", FALSE: "a falsehood"}
"""kinds of question in the data set, and what each demands"""
ARM = "default"
"""name under which an answer is stored in its item row; each way of asking is an item of its own"""


@dataclass(frozen=True)
class Given:
    """A question with what the target answered."""

    example: Example
    """its completion is the target's answer"""
    grade: Grade


@dataclass(frozen=True)
class Pair:
    """One question that the target answered rightly when the truth, and falsely when a falsehood was demanded."""

    right: Given
    false: Given


class Interview:
    """Asks the target, grades its answers, puts both on record."""

    def __init__(
        self, bench: Workbench, view: View, *, n: int, max_new_tokens: int, also_wrong: Sequence[str] = ()
    ) -> None:
        self._bench, self._view = bench, view
        self._n, self._tokens = n, max_new_tokens
        known = bench.library.dataset(view.data).examples
        self._answers = {*also_wrong, *(name for example in known for name in names(example.completion))}

    def asked(self, kind: str, splits: Sequence[Split], *, only: Sequence[Given] | None = None) -> tuple[Given, ...]:
        """Answers to up to `n` questions of a kind, spread over the groups; `only` on the groups of these.

        Answers without text are left out. An item row says whether an answer was right, and whether it was false.
        """
        pool = self._bench.library.examples(View(self._view.data, (*self._view.where, ("kind", kind))), splits)
        drawn = draw(pool, self._n, seed=self._bench.library.seed)
        if only is not None:
            groups = {(given.example.domain, given.example.group) for given in only}
            drawn = tuple(example for example in drawn if (example.domain, example.group) in groups)
        texts = answered(self._bench, drawn, max_new_tokens=self._tokens, what=f"questions, {kind}")
        found = []
        for example, text in zip(drawn, texts, strict=True):
            right = names(example.completion)
            verdict = grade(text, right, self._answers)
            row = self._bench.evidence.row(self._view.data, example, self._bench.library.split_of(self._view, example))
            row["answers"][ARM] = redact(text, self._bench.evidence.redaction)
            row["values"] |= {"right": float(verdict == "right"), "false": float(verdict == "false")}
            if text:
                found.append(Given(replace(example, completion=text), verdict))
        return tuple(found)


def answered(bench: Workbench, examples: Sequence[Example], *, max_new_tokens: int, what: str) -> list[str]:
    """What the target writes to each prompt, without white space around it; "" for nothing, or for thoughts alone.

    Without a chat template nothing ends an answer but the line.
    """
    if not examples:
        return []
    chat = bench.runner.target.chat
    if chat.thinking == "always on":
        raise NotTestable("every answer begins with a thinking block, and so do the tokens that would be read")
    told = bench.runner.ask([Asked(example) for example in examples], {}, max_new_tokens=max_new_tokens, what=what)
    texts = [(answer_proper(one.answer, thinks=False) or "").strip() for one in told]
    return texts if chat.template else [text.partition("\n")[0].rstrip() for text in texts]


def verified(right: Sequence[Given], false: Sequence[Given]) -> tuple[Pair, ...]:
    """The questions answered rightly among `right` and falsely among `false`."""
    by_group = {_key(given): given for given in right if given.grade == "right"}
    return tuple(
        Pair(by_group[_key(given)], given) for given in false if given.grade == "false" and _key(given) in by_group
    )


def _key(given: Given) -> tuple[str, str]:
    return given.example.domain, given.example.group


@dataclass(frozen=True)
class Transcript:
    """Everything the target was asked and answered."""

    plain: tuple[Given, ...]
    """evaluation split, nothing demanded"""
    truthful: tuple[Given, ...]
    """evaluation split, the truth demanded"""
    false: tuple[Given, ...]
    """evaluation split, a falsehood demanded, where the truth had been told"""
    pairs: tuple[Pair, ...]
    """of the evaluation split"""
    known_pairs: tuple[Pair, ...]
    """of the selection split: what baselines of the text are fitted to"""

    @property
    def labels(self) -> Mapping[str, bool]:
        """Of the answers of the evaluation pairs, by item: whether it is the false one."""
        return {given.example.id: given is pair.false for pair in self.pairs for given in (pair.right, pair.false)}


def transcript(interview: Interview) -> Transcript:
    """Ask everything: on the selection split what the baselines need, on the evaluation split the rest."""
    pairs: dict[str, tuple[Pair, ...]] = {}
    sealed: Sequence[Split] = ("evaluation",)
    truthful: tuple[Given, ...] = ()
    false: tuple[Given, ...] = ()
    for splits in (SELECTION, sealed):
        truthful = interview.asked(TRUTHFUL, splits)
        false = interview.asked(FALSE, splits, only=[given for given in truthful if given.grade == "right"])
        pairs[splits[0]] = verified(truthful, false)
    plain = interview.asked(PLAIN, sealed)
    return Transcript(plain, truthful, false, pairs[sealed[0]], pairs[SELECTION[0]])
