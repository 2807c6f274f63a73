"""Every instrument is held against the target's own output: said where that does as well, and where it does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.errors import NotTestable
from auditor.measure.instrument import ASKED, LIKELIHOOD
from auditor.measure.measurement import Comparison, Qualification
from auditor.measure.outputs import of_statements, parted, yes_over_no
from auditor.measure.runner import Answered, Reading
from auditor.measure.stored import estimated
from tests.bench.test_qualification import VIEW, PlantedRunner, qualify, statements
from tests.tiny import tiny_target

ROOMY = replace(tiny_target("llama"), max_tokens=None)


def statement(text: str, *, label: bool = True, **more: str | bool) -> Example:
    return Example(id=text, prompt="", completion=text, label=label, group=text, **more)


def said_beside(qualification: Qualification) -> Comparison:
    likelihood, asked = qualification.beside
    assert (likelihood.name, asked.name) == (LIKELIHOOD, ASKED)
    return likelihood


def test_an_output_that_knows_as_much_makes_activations_add_nothing_and_disqualifies_nothing() -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(3.0, spoken=4.0))
    found = said_beside(instrument.qualification)
    assert found.alone.low > 0.95
    assert found.gain.high < 0.05
    assert instrument.qualification.qualified
    told = instrument.qualification.tied
    assert told.startswith("By AUROC, reading activations adds nothing")
    assert f"{found.alone.value:.2f}" in told
    instrument.read("truth_auroc")
    assert [m.instrument for m in evidence.measurements if m.instrument] == [instrument.qualification.name]


def test_an_output_that_knows_nothing_leaves_the_gain_to_the_activations() -> None:
    instrument, evidence = qualify(statements(), PlantedRunner(3.0))
    found = said_beside(instrument.qualification)
    assert found.alone.low < 0.5 < found.alone.high
    assert found.gain.low > 0.3
    assert found.flagged.value < 0.2
    assert instrument.qualification.tied == ""
    for made in (found.alone, found.gain, found.flagged):
        assert estimated(made.estimator, made.columns, evidence, made.params) == made


def test_a_target_that_cannot_be_asked_in_words_is_compared_by_likelihood_alone() -> None:
    instrument, _ = qualify(statements(), PlantedRunner(3.0))
    asked = instrument.qualification.beside[1]
    assert (asked.alone, asked.gain, asked.flagged) == (None, None, None)
    assert "thinking block" in asked.note


def test_numbers_that_are_none_are_no_comparison() -> None:
    class Broken(PlantedRunner):
        def nll(self, asked):
            return np.full(len(asked), np.nan)

    instrument, _ = qualify(statements(), Broken(3.0))
    assert said_beside(instrument.qualification).note == "the log-probabilities are not finite numbers"
    assert instrument.qualification.qualified


def test_a_negated_statement_is_true_when_it_is_unlikely_among_the_negated() -> None:
    texts = [
        ("It is so.", "affirmed"),
        ("It is odd.", "affirmed"),
        ("It is not so.", "negated"),
        ("It is not odd.", "negated"),
    ]
    held = [statement(text, polarity=polarity) for text, polarity in texts]
    runner = SimpleNamespace(target=PlantedRunner.target, nll=lambda _: np.array([1.0, 3.0, 7.0, 9.0, 4.0]))
    said, rest = of_statements(runner, VIEW, held, [statement("It is rare.", polarity="affirmed", label=False)])
    assert said.scores[LIKELIHOOD].tolist() == [1.0, -1.0, -1.0, 1.0]
    assert rest.scores[LIKELIHOOD].tolist() == [-2.0]


def test_false_statements_that_set_the_threshold_are_scored_as_those_held_out_are() -> None:
    scored: list[tuple[str, str]] = []

    def nll(asked):
        scored.extend((one.example.prompt, one.example.completion) for one in asked)
        return np.zeros(len(asked))

    def twins(city: str) -> list[Example]:
        places = (("Peru", True), ("Chad", False))
        return [statement(f"{city} is in {place}.", pair=city, label=label) for place, label in places]

    runner = SimpleNamespace(target=PlantedRunner.target, nll=nll)
    _, rest = of_statements(runner, VIEW, twins("Lima"), twins("Cusco"))
    assert [example.completion for example in rest.examples] == ["Cusco is in Chad."]
    assert scored == [("Lima is in", "Peru."), ("Lima is in", "Chad."), ("Cusco is in", "Chad.")]


def test_only_the_words_in_which_a_pair_differs_are_scored() -> None:
    pair = [statement(f"The city is in {place}.", pair="x") for place in ("Peru", "the Sudan")]
    alone = statement("Water is wet.")
    behind = replace(statement("Yes, it is."), prompt="Is it?")
    turn = replace(statement("Paris."), prompt="Where?", chat=True)
    found = [(e.prompt, e.completion) for e in parted([*pair, alone, behind, turn])]
    assert found == [
        ("The city is in", "Peru."),
        ("The city is in", "the Sudan."),
        ("Water", "is wet."),
        ("Is it?", "Yes, it is."),
        ("Where?", "Paris."),
    ]


def test_a_twin_that_goes_on_where_the_other_ends_leaves_a_word_to_score() -> None:
    pair = [statement(text, pair="x") for text in ("It is", "It is so")]
    assert [e.completion for e in parted(pair)] == ["is", "is so"]


@pytest.mark.parametrize("text", ["", "Word"])
def test_a_statement_without_words_to_score_is_named(text: str) -> None:
    with pytest.raises(NotTestable, match="no text to score"):
        parted([statement(text)])


class Listener:
    """A target that leans to the word offered first, and by `knows` to the right one."""

    target = ROOMY

    def __init__(self, knows: float) -> None:
        self.knows = knows
        self.prompts: list[str] = []

    def ask(self, asked, effects, *, what=""):
        told = []
        for one in asked:
            self.prompts.append(one.example.prompt)
            logits = np.zeros(ROOMY.vocab_size, np.float32)
            tokens = {word: self.first_token(one.example, word) for word in ("Yes", "No")}
            first = "Yes" if "Yes or No" in one.example.prompt else "No"
            logits[tokens[first]] += 5.0
            logits[tokens["Yes" if one.example.label else "No"]] += self.knows
            reading = Reading(one.example.prompt, None, (), logits)
            told.append(Answered("", {name: effect(reading) for name, effect in effects.items()}))
        return told

    def first_token(self, example: Example, word: str) -> int:
        from auditor.model.prompts import render

        found = render(ROOMY, replace(example, completion=word))
        return found.ids[found.prompt_len]


def test_a_question_is_asked_in_both_orders_and_the_lean_to_the_first_word_cancels() -> None:
    asked = [statement("Water is wet.", label=True), statement("Water is dry.", label=False)]
    knowing, ignorant = Listener(2.0), Listener(0.0)
    assert yes_over_no(knowing, asked) == pytest.approx([2.0, -2.0])
    assert yes_over_no(ignorant, asked) == pytest.approx([0.0, 0.0])
    assert knowing.prompts[:2] == [
        "Is this statement true? Water is wet.\nAnswer with Yes or No.",
        "Is this statement true? Water is wet.\nAnswer with No or Yes.",
    ]


def test_what_follows_a_prompt_is_asked_about_as_the_answer_to_it() -> None:
    listener = Listener(2.0)
    yes_over_no(listener, [replace(statement("Lima."), prompt="What is the capital of Peru?")])
    assert listener.prompts[0] == (
        "Somebody wrote: What is the capital of Peru?\nThe answer was: Lima.\nIs that answer true?\n"
        "Answer with Yes or No."
    )
