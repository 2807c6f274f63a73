"""Asks the target. Each call is one unit: finished once, kept in the run folder, never asked again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auditor.arrays import OnDisk, Tensors, copied
from auditor.bundle import RunFolder
from auditor.data.examples import Example
from auditor.errors import ProbeFailed
from auditor.model.edits import Edit
from auditor.model.plan import Plan
from auditor.model.prompts import Prompt, render
from auditor.model.sites import Site

if TYPE_CHECKING:  # torch, which those who only name a runner do without
    from auditor.model.target import TargetModel
    from auditor.model.work import Outcome, Want


@dataclass(frozen=True)
class Asked:
    """One question to the target, and what is done to the target meanwhile."""

    example: Example
    system: str | None = None
    edits: tuple[Edit, ...] = ()
    prefilled: bool = False
    """whether the answer begins with the example's completion; the target goes on from there"""
    settled: Callable[[str], bool] | None = None
    """told the answer so far: whether the rest of it is not wanted"""

    @property
    def digest(self) -> list[Any]:
        """Everything that decides the answer."""
        example = self.example
        text = [example.prompt, example.completion if self.prefilled else "", example.chat]
        stop = [] if self.settled is None else [lasting_name(self.settled)]
        return [*text, self.system, self.prefilled, *stop, [edit.digest for edit in self.edits]]


@dataclass(frozen=True)
class Reading:
    """What an effect may look at: never a label."""

    prompt: str
    answer: str | None
    """what the target wrote; None when a thinking block had not ended"""
    tokens: tuple[int, ...]
    """generated tokens"""
    logits: NDArray[np.float32]
    """[vocab] at the first position of what the target writes"""
    unedited: NDArray[np.float32] | None = None
    """[vocab] the same without any edit, where that was asked for"""


Effect = Callable[[Reading], float | None]


@dataclass(frozen=True)
class Answered:
    """One example's answer and what the effects made of it."""

    answer: str
    values: Mapping[str, float | None]


class Runner:
    """The target, behind the store of finished units."""

    def __init__(self, target: TargetModel, plan: Plan, folder: RunFolder, probe: str) -> None:
        self.target = target
        self._plan, self._folder, self._probe = plan, folder, probe

    def _key(self, **inputs: Any) -> dict[str, Any]:
        """What a unit's result depends on, beside the code."""
        return {"target": self.target.identity, "plan": self._plan.model_dump(mode="json"), **inputs}

    def _progress(self, unit: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            self._folder.log("progress", probe=self._probe, unit=unit, done=done, total=total)

        return report

    def _prompt(self, asked: Asked) -> Prompt:
        prompt = render(self.target, asked.example, system=asked.system)
        return replace(prompt, prompt_len=len(prompt.ids), suffix_len=0) if asked.prefilled else prompt

    def _extracted(self, examples: Sequence[Example], sites: Sequence[Site], position: str, mean: bool) -> Tensors:
        """Values by site [n_sites, n_rows, d_model], mapped, and the example [n_rows] that each row is of."""
        texts = [f"{e.prompt}\x1f{e.completion}\x1f{int(e.chat)}" for e in examples]
        key = self._key(
            examples=hashlib.sha256("\x1e".join(texts).encode()).hexdigest(),
            sites=[f"{s.layer}.{s.point}" for s in sites],
            position=position,
            mean=mean,
        )

        def compute() -> Tensors:
            from auditor.model.extract import extract

            found = extract(
                self.target,
                [render(self.target, example) for example in examples],
                sites=tuple(sites),
                position=position,
                batch_tokens=self._plan.batch_tokens,
                mean=mean,
                progress=self._progress(f"activations of {len(examples)} texts"),
                scratch=self._folder.units.path,
            )
            return {"by_site": found.values.transpose(1, 0, 2), "example": found.example}

        return self._folder.units.once("activations-by-site", key, compute)

    def activations(
        self, examples: Sequence[Example], sites: Sequence[Site], position: str, *, mean: bool = False
    ) -> NDArray[np.float32]:
        """Activations [n_examples, n_sites, d_model] at one position, or averaged over the scored tokens; mapped.

        The position `completion_mean` is the average over the completion.
        """
        if position == "completion_mean":
            position, mean = "completion_tokens", True
        return self._extracted(examples, sites, position, mean)["by_site"].transpose(1, 0, 2)

    def token_activations(
        self, examples: Sequence[Example], sites: Sequence[Site], position: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Activations [n_tokens, n_sites, d_model] at all tokens of a position, and the example [n_tokens] of each.

        They are mapped; see `arrays.copied`.
        """
        found = self._extracted(examples, sites, position, False)
        return found["by_site"].transpose(1, 0, 2), found["example"]

    def ask(
        self,
        asked: Sequence[Asked],
        effects: Mapping[str, Effect],
        *,
        max_new_tokens: int = 0,
        beside_unedited: bool = False,
        what: str = "requests",
    ) -> list[Answered]:
        """What the effects make of each answer; greedy texts too, unless no new tokens are asked for.

        `beside_unedited`: effects are also given the logits of the same question without its edits. Questions
        share batches whatever their edits are.
        """
        key = self._key(
            asked=_sha256_of(a.digest for a in asked),
            max_new_tokens=max_new_tokens,
            beside_unedited=beside_unedited,
            effects={n: lasting_name(e) for n, e in effects.items()},
        )

        def compute() -> list[dict[str, Any]]:
            plain = self._unedited(asked) if beside_unedited else _Unedited({}, np.empty((0, 0), np.float32))
            read: dict[int, dict[str, Any]] = {}
            for index, outcome in self._sweep(asked, max_new_tokens, f"{len(asked)} {what}"):
                one = asked[index]
                reading = self._reading(one, outcome, plain.of(one))
                read[index] = {
                    "answer": outcome.text or "",
                    "values": {name: _value(effect, reading, one) for name, effect in effects.items()},
                }
            return [read[index] for index in range(len(asked))]

        return [Answered(**unit) for unit in self._folder.units.once("answers", key, compute)]

    def _sweep(self, asked: Sequence[Asked], max_new_tokens: int, what: str) -> Iterator[tuple[int, Outcome]]:
        from auditor.model.sweep import sweep
        from auditor.model.work import WorkItem

        want: frozenset[Want] = frozenset({"text", "logits"} if max_new_tokens else {"logits"})
        items = [WorkItem(self._prompt(one), one.edits, (), want, max_new_tokens, one.settled) for one in asked]
        return sweep(self.target, items, batch_tokens=self._plan.batch_tokens, progress=self._progress(what))

    def _unedited(self, asked: Sequence[Asked]) -> _Unedited:
        """Each different question, without its edits."""
        alone = {_unedited_name(one): replace(one, edits=()) for one in asked}
        with OnDisk((len(alone), self.target.vocab_size), self._folder.units.path) as logits:
            for index, outcome in self._sweep(list(alone.values()), 0, f"{len(alone)} questions without edits"):
                logits.put(index, _logits(outcome)[None])
            return _Unedited({name: row for row, name in enumerate(alone)}, logits.mapped())

    def _reading(self, asked: Asked, outcome: Outcome, unedited: NDArray[np.float32] | None) -> Reading:
        thinks = self.target.chat.thinking == "always on"
        answer = answer_proper(outcome.text or "", thinks=thinks and not asked.prefilled)
        return Reading(asked.example.prompt, answer, outcome.tokens, _logits(outcome), unedited)

    def first_order(
        self, examples: Sequence[Example], edits: Sequence[Edit], tokens: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The refusal metric of each example [n], and its slopes [n, n_edits] by the edits' coefficients, at 0."""
        key = self._key(
            sloped=hashlib.sha256(json.dumps([Asked(e).digest for e in examples]).encode()).hexdigest(),
            edits=[edit.digest for edit in edits],
            tokens=list(tokens),
        )

        def compute() -> Tensors:
            from auditor.model.gradient import first_order

            found = first_order(
                self.target,
                [render(self.target, example) for example in examples],
                tokens,
                edits,
                batch_tokens=self._plan.batch_tokens,
                progress=self._progress(f"gradients of {len(examples)} questions"),
            )
            return {"values": found.values, "slopes": found.slopes}

        kept = self._folder.units.once("gradients", key, compute)
        return kept["values"].astype(np.float64), kept["slopes"].astype(np.float64)

    def nll(self, asked: Sequence[Asked]) -> NDArray[np.float64]:
        """Mean nats a token [n] that the target, edited as asked, gives each example's completion."""
        key = self._key(
            likely=_sha256_of([*a.digest, a.example.completion] for a in asked),
        )

        def compute() -> Tensors:
            from auditor.model.sweep import sweep
            from auditor.model.work import WorkItem

            items = [WorkItem(self._prompt(one), one.edits, want=frozenset({"nll"})) for one in asked]
            found = np.empty(len(items))
            for index, outcome in sweep(
                self.target,
                items,
                batch_tokens=self._plan.batch_tokens,
                progress=self._progress(f"likelihood of {len(items)} texts"),
            ):
                found[index] = outcome.nll
            return {"nll": found}

        return self._folder.units.once("likelihoods", key, compute)["nll"]


@dataclass(frozen=True, eq=False)
class _Unedited:
    """What the target says to questions without their edits."""

    rows: Mapping[str, int]
    logits: NDArray[np.float32]
    """[n_questions, vocab], mapped"""

    def of(self, asked: Asked) -> NDArray[np.float32] | None:
        """Logits [vocab] of a question; None where that was not asked."""
        row = self.rows.get(_unedited_name(asked))
        return None if row is None else copied(self.logits[row])


def _value(effect: Effect, reading: Reading, asked: Asked) -> float | None:
    """What an effect makes of a reading; None where an edit broke the target, which is no failure of the probe."""
    try:
        return effect(reading)
    except ProbeFailed:
        if asked.edits:
            return None
        raise


def lasting_name(effect: object) -> str:
    """What tells an effect from another in the next process too. Raises ValueError for a function or a lambda."""
    name = repr(effect)
    if " at 0x" in name:
        raise ValueError("an effect needs a name that lasts: a method of a frozen value, not a function or a lambda")
    return name


def _sha256_of(digests: Iterable[list[Any]]) -> str:
    """sha256 of a list as JSON, of which memory holds one entry at a time."""
    found = hashlib.sha256(b"[")
    for number, digest in enumerate(digests):
        found.update((", " if number else "").encode() + json.dumps(digest).encode())
    found.update(b"]")
    return found.hexdigest()


def _unedited_name(asked: Asked) -> str:
    return json.dumps(asked.digest[:-1])


def _logits(outcome: Outcome) -> NDArray[np.float32]:
    if outcome.logits is None:
        raise TypeError("a sweep left out what was wanted of it")
    return outcome.logits


def answer_proper(text: str, *, thinks: bool) -> str | None:
    """The answer after a thinking block; None while the block has not ended. `thinks`: the template opened it."""
    if not thinks and "<think>" not in text:
        return text
    _, ended, answer = text.partition("</think>")
    return answer.strip() if ended else None
