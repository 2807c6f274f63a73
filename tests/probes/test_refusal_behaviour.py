"""Refusal is found where it is planted, its absence where it is not, and two judges are heard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.cli.discover import load_probes
from auditor.data.datasets import read
from auditor.data.split import split
from auditor.errors import NotTestable
from auditor.measure.bench import Bench
from auditor.measure.evidence import Evidence
from auditor.measure.judges import refuses
from auditor.measure.library import Library
from auditor.measure.measurement import ProbeResult
from auditor.measure.runner import Answered, Reading
from auditor.measure.stored import estimated, items_table

VOCABULARY = 50
SORRY, YES = 7, 9


class ScriptedTarget:
    """A target whose template adds nothing by itself."""

    n_layers, d_model = 2, 4
    has_chat_template = has_system_role = True
    injected_system: str | None = None
    points = ("resid_pre", "resid_post")
    chat = SimpleNamespace(suffix=(), thinking="none")


class ScriptedRunner:
    """A model that refuses a request when `refuses(kind, system)` says so."""

    def __init__(self, refuses, target: ScriptedTarget | None = None) -> None:
        self.refuses, self.target = refuses, target or ScriptedTarget()
        self.systems: list[str | None] = []
        self.asked: list[str] = []

    def ask(self, asked, effects, *, max_new_tokens=0, beside_unedited=False, what="") -> list[Answered]:
        self.systems.append(asked[0].system)
        self.asked += [one.example.id for one in asked]
        return [self._answer(one.example, one.system, effects) for one in asked]

    def _answer(self, example, system, effects) -> Answered:
        refused = self.refuses(example.kind, system)
        text = "I'm sorry, but I can't help with that." if refused else "Here is how you can do it: first look around."
        logits = np.full(VOCABULARY, -5.0, dtype=np.float32)
        logits[SORRY if refused else YES] = 5.0
        reading = Reading(example.prompt, text, tuple(range(10)), logits)
        return Answered(text, {name: effect(reading) for name, effect in effects.items()})


@pytest.fixture(autouse=True)
def _known_opening_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def opening_tokens(self: Bench, phrases: Sequence[str]) -> tuple[int, ...]:
        return (SORRY,)

    monkeypatch.setattr(Bench, "opening_tokens", opening_tokens)


def audited(runner: ScriptedRunner, n: int = 60, **params: Any) -> ProbeResult:
    return recorded(runner, n, **params).result("measured")


def recorded(runner: ScriptedRunner, n: int = 60, **params: Any) -> Evidence:
    loaded = load_probes(["refusal_behaviour"])["refusal_behaviour"]
    evidence = Evidence(loaded.name, "excerpt")
    library = Library(lambda name: read(loaded.data_dir / f"{name}.jsonl"), seed=0)
    bench = Bench(evidence, library, runner, loaded.probe.measurements, np.random.default_rng(0))
    loaded.probe.run(bench, loaded.probe.params(n=n, **params))
    return evidence


def rate(result: ProbeResult, name: str, role: str = "primary", note: str = "") -> float | None:
    (found,) = [m for m in result.measurements if (m.name, m.role) == (name, role) and m.note.startswith(note)]
    return found.estimate.value


def test_a_model_that_refuses_what_it_should_is_measured_so() -> None:
    result = audited(ScriptedRunner(lambda kind, system: kind == "harmful"))
    assert rate(result, "harmful_refusal_rate") == 1.0
    assert rate(result, "over_refusal_rate") == 0.0
    assert rate(result, "near_miss_over_refusal") == 0.0
    assert rate(result, "harmful_refusal_rate", "alternative", "judge two") == 1.0


def test_a_model_that_refuses_nothing_is_measured_too_and_not_abstained_on() -> None:
    result = audited(ScriptedRunner(lambda kind, system: False))
    assert result.status == "measured"
    assert rate(result, "harmful_refusal_rate") == 0.0


def test_a_model_that_refuses_everything_over_refuses() -> None:
    result = audited(ScriptedRunner(lambda kind, system: True))
    assert rate(result, "over_refusal_rate") == 1.0


def test_the_drop_without_a_system_prompt_has_the_right_sign() -> None:
    result = audited(ScriptedRunner(lambda kind, system: system is not None))
    assert rate(result, "refusal_change_no_system") == 1.0


@pytest.mark.parametrize(("injected", "other"), [(None, "You are a helpful assistant."), ("You are Bot.", "")])
def test_every_rate_can_be_asked_under_the_other_system_prompt(injected: str | None, other: str) -> None:
    target = ScriptedTarget()
    target.injected_system = injected
    runner = ScriptedRunner(lambda kind, system: kind == "harmful" and system == other, target)
    template, under = audited(runner), audited(runner, asked_under="other")
    assert [rate(result, "harmful_refusal_rate") for result in (template, under)] == [0.0, 1.0]
    assert runner.systems[-5:] == [other] * 4 + [None]
    changes = [rate(result, "refusal_change_no_system") for result in (template, under)]
    assert changes == [1.0 if injected is None else -1.0] * 2


def test_there_is_no_other_system_prompt_without_a_system_role() -> None:
    target = ScriptedTarget()
    target.has_system_role = False
    with pytest.raises(NotTestable, match="no system role"):
        audited(ScriptedRunner(lambda kind, system: True, target), asked_under="other")


def test_a_template_that_adds_its_own_system_text_is_asked_again_with_an_empty_one() -> None:
    target = ScriptedTarget()
    target.injected_system = "You are Bot."
    runner = ScriptedRunner(lambda kind, system: system is None, target)
    result = audited(runner)
    assert "" in runner.systems
    assert rate(result, "refusal_change_no_system") == 1.0


def test_without_a_system_role_the_change_is_declined_with_its_reason() -> None:
    target = ScriptedTarget()
    target.has_system_role = False
    result = audited(ScriptedRunner(lambda kind, system: True, target))
    (declined,) = [m for m in result.measurements if m.name == "refusal_change_no_system"]
    assert declined.estimate.value is None
    assert "no system role" in declined.note


CORRECTED = "judge one, corrected"


def one_in_three() -> Callable[[str, str | None], bool]:
    """Refuses every third harmful request."""
    turn = count()
    return lambda kind, system: kind == "harmful" and next(turn) % 3 == 0


def test_a_rate_is_shown_corrected_for_the_errors_of_judge_one() -> None:
    result = recorded(ScriptedRunner(one_in_three())).result("measured")
    hit, spared = (rate(result, f"judge_{what}", "control") for what in ("sensitivity", "specificity"))
    assert rate(result, "harmful_refusal_rate") == pytest.approx(1 / 3)
    by_hand = (1 / 3 + spared - 1) / (hit + spared - 1)
    assert rate(result, "harmful_refusal_rate", "alternative", CORRECTED) == pytest.approx(by_hand)
    shown = next(m for m in result.measurements if m.name == "over_refusal_rate" and m.note.startswith(CORRECTED))
    assert shown.estimate.value == 0.0
    assert "clipped from -0" in shown.note


def test_a_corrected_rate_is_computed_again_from_the_stored_items() -> None:
    evidence = recorded(ScriptedRunner(one_in_three()))
    found = next(m.estimate for m in evidence.measurements if m.note.startswith(CORRECTED))
    assert estimated(found.estimator, found.columns, evidence, found.params) == found
    labelled = next(
        row for row in evidence.rows(items_table("refusal_behaviour")) if row["dataset"] == "judged_answers"
    )
    labelled["values"]["refused"] = 1 - labelled["values"]["refused"]
    assert estimated(found.estimator, found.columns, evidence, found.params) != found


def test_judge_one_is_held_against_answers_that_it_was_not_developed_on() -> None:
    evidence = recorded(ScriptedRunner(lambda kind, system: False))
    rows = [row for row in evidence.rows(items_table("refusal_behaviour")) if row["dataset"] == "judged_answers"]
    data = read(load_probes(["refusal_behaviour"])["refusal_behaviour"].data_dir / "judged_answers.jsonl")
    assert {row["id"] for row in rows} == {e.id for e in data.examples if e.domain == "held out"}
    right = {e.id: refuses(e.completion) == e.label for e in data.examples}
    for name, label in (("judge_sensitivity", 1), ("judge_specificity", 0)):
        of = [right[row["id"]] for row in rows if row["label"] == label]
        assert rate(evidence.result("measured"), name, "control") == np.mean(of)
    assert data.sha256 in str(evidence.facts["labelled answers"])


def test_a_judge_that_tosses_a_coin_corrects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.refusal_behaviour.refuses", lambda answer: len(answer) % 2 == 0)
    result = audited(ScriptedRunner(lambda kind, system: kind == "harmful"))
    assert rate(result, "harmful_refusal_rate") == 1.0
    (told,) = [m for m in result.measurements if m.name == "harmful_refusal_rate" and m.note.startswith(CORRECTED)]
    assert told.estimate.value is None
    assert "better than chance" in told.note


def test_requests_are_drawn_from_the_evaluation_split() -> None:
    runner = ScriptedRunner(lambda kind, system: False)
    audited(runner)
    data = read(load_probes(["refusal_behaviour"])["refusal_behaviour"].data_dir / "requests.jsonl")
    dealt = split(data, seed=0)
    assert {dealt[example] for example in runner.asked} == {"evaluation"}
    assert len(runner.asked) == 60 * 5


def test_every_rate_comes_with_five_random_samples() -> None:
    result = audited(ScriptedRunner(lambda kind, system: kind == "harmful"))
    shown = [sample for sample in result.samples if sample.measurement == "harmful_refusal_rate"]
    assert len({sample.id for sample in shown}) == 5
