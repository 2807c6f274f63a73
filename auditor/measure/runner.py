"""Asks the target. Each call is one unit: finished once, kept in the run folder, never asked again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.bundle import RunFolder
from auditor.data.examples import Example
from auditor.model.activations import Activations
from auditor.model.extract import extract
from auditor.model.plan import Plan
from auditor.model.prompts import Prompt, render
from auditor.model.sites import Site
from auditor.model.sweep import Outcome, WorkItem, sweep
from auditor.model.target import TargetModel


@dataclass(frozen=True)
class Reading:
    """What an effect may look at: never a label."""

    prompt: str
    answer: str | None
    """what the target wrote; None when a thinking block had not ended"""
    tokens: tuple[int, ...]
    """generated tokens"""
    logits: NDArray[np.float32]
    """[vocab] at the first response position"""


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

    def _key(self, examples: Sequence[Example], **inputs: Any) -> dict[str, Any]:
        """What a unit's result depends on, beside the code."""
        asked = "\x1e".join(f"{e.prompt}\x1f{e.completion}\x1f{int(e.chat)}" for e in examples)
        return {
            "target": self.target.identity,
            "plan": self._plan.model_dump(mode="json"),
            "examples": hashlib.sha256(asked.encode()).hexdigest(),
            **inputs,
        }

    def _progress(self, unit: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            self._folder.log("progress", probe=self._probe, unit=unit, done=done, total=total)

        return report

    def _prompts(self, examples: Sequence[Example], system: str | None = None) -> list[Prompt]:
        return [render(self.target, example, system=system) for example in examples]

    def activations(
        self, examples: Sequence[Example], sites: Sequence[Site], position: str, *, mean: bool = False
    ) -> NDArray[np.float32]:
        """Activations [n_examples, n_sites, d_model] at one position, or averaged over the scored tokens."""
        key = self._key(examples, sites=[f"{s.layer}.{s.point}" for s in sites], position=position, mean=mean)

        def compute() -> dict[str, NDArray[Any]]:
            found: Activations = extract(
                self.target,
                self._prompts(examples),
                sites=tuple(sites),
                position=position,
                batch_tokens=self._plan.batch_tokens,
                mean=mean,
                progress=self._progress(f"activations of {len(examples)} texts"),
            )
            return {"values": found.values}

        return self._folder.units.once("activations", key, compute)["values"]

    def _read(self, example: Example, outcome: Outcome, effects: Mapping[str, Effect]) -> dict[str, Any]:
        """What the effects make of one answer, as a unit stores it."""
        if outcome.text is None or outcome.logits is None:
            raise TypeError("a sweep left out what was wanted of it")
        answer = answer_proper(outcome.text, thinks=self.target.chat.thinking == "always on")
        reading = Reading(example.prompt, answer, outcome.tokens, outcome.logits)
        return {"answer": outcome.text, "values": {name: effect(reading) for name, effect in effects.items()}}

    def answers(
        self,
        examples: Sequence[Example],
        system: str | None,
        max_new_tokens: int,
        effects: Mapping[str, Effect],
    ) -> list[Answered]:
        """Greedy answers of the target to each example, with the effects read from them."""
        if any(" at 0x" in repr(effect) for effect in effects.values()):
            raise ValueError(
                "an effect needs a name that lasts: a method of a frozen value, not a function or a lambda"
            )
        key = self._key(
            examples,
            system=system,
            max_new_tokens=max_new_tokens,
            effects={n: repr(e) for n, e in effects.items()},
        )

        def compute() -> list[dict[str, Any]]:
            items = [
                WorkItem(prompt=prompt, want=frozenset({"text", "logits"}), max_new_tokens=max_new_tokens)
                for prompt in self._prompts(examples, system)
            ]
            outcomes = sweep(
                self.target,
                items,
                batch_tokens=self._plan.batch_tokens,
                progress=self._progress(f"answers to {len(examples)} requests"),
            )
            return [self._read(*pair, effects) for pair in zip(examples, outcomes, strict=True)]

        return [Answered(**unit) for unit in self._folder.units.once("answers", key, compute)]


def answer_proper(text: str, *, thinks: bool) -> str | None:
    """The answer after a thinking block; None while the block has not ended. `thinks`: the template opened it."""
    if not thinks and "<think>" not in text:
        return text
    _, ended, answer = text.partition("</think>")
    return answer.strip() if ended else None
