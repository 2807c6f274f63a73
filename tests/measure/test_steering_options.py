"""Two options become a question whose answers part at one token, or are said not to be testable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.errors import NotTestable, ProbeFailed
from auditor.measure.options import Item, Lean, items_of, posed, questions
from auditor.measure.runner import Reading
from auditor.model.prompts import render
from auditor.model.target import TargetModel
from tests.tiny import tiny_target


def item(kind: str = "letters", first: str = "Tea is better.", second: str = "Coffee is better.") -> Item:
    trait, other = (
        Example(id=f"x-{label}", prompt="Tea?", completion=text, label=label, group="g", chat=True, kind=kind, pair="x")
        for text, label in ((first, True), (second, False))
    )
    return Item(trait, other)


def roomy(**tokenizer: object) -> TargetModel:
    return replace(tiny_target("llama", **tokenizer), max_tokens=None)


def test_letters_stand_before_the_options() -> None:
    found = posed("letters", "Which?", "Tea.", "Coffee.")
    assert found.prompt == "Which?\n(A) Tea.\n(B) Coffee.\nAnswer with (A) or (B)."
    assert (found.first, found.second) == ("(A)", "(B)")


@pytest.mark.parametrize(
    ("first", "second", "offered"),
    [
        ("It was great.", "It was awful.", "great or awful"),
        ("It was very good today.", "It was bad today.", "very good or bad"),
        ("Yes.", "No.", "Yes or No"),
    ],
)
def test_words_offer_what_the_options_do_not_share(first: str, second: str, offered: str) -> None:
    found = posed("words", "How was it?", first, second)
    assert found.prompt == f"How was it?\nAnswer with {offered}."
    assert (found.first, found.second) == (first, second)


@pytest.mark.parametrize("order", [1, -1])
def test_an_option_that_only_leaves_words_out_has_none_to_offer(order: int) -> None:
    with pytest.raises(NotTestable, match="no word that the other lacks"):
        posed("words", "How was it?", *("It was good.", "It was not good.")[::order])


def test_another_kind_is_named() -> None:
    with pytest.raises(NotTestable, match="no kind of item named 'colours'"):
        posed("colours", "Which?", "red", "blue")


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("kind", ["letters", "words"])
def test_the_begun_answer_goes_on_with_the_token_of_either_option(chat: bool, bos: bool, kind: str) -> None:
    target, both = roomy(chat=chat, bos=bos), item(kind)
    for question in questions(target, both):
        answers = {True: both.trait.completion, False: both.other.completion}
        if kind == "letters":
            answers = {True: "(A)", False: "(B)"} if question.trait_first else {True: "(B)", False: "(A)"}
        begun = render(target, question.example).ids
        for label, token in ((True, question.trait_token), (False, question.other_token)):
            whole = render(target, replace(question.example, completion=answers[label])).ids
            assert whole[: len(begun) + 1] == (*begun, token)
        assert question.trait_token != question.other_token


def test_the_two_orders_offer_the_same_options_the_other_way_round() -> None:
    first, second = questions(roomy(), item())
    assert (first.trait_first, second.trait_first) == (True, False)
    assert "(A) Tea is better.\n(B) Coffee" in first.example.prompt
    assert "(A) Coffee is better.\n(B) Tea" in second.example.prompt
    assert (first.trait_token, first.other_token) == (second.other_token, second.trait_token)


def test_what_cannot_be_asked_says_why() -> None:
    with pytest.raises(NotTestable, match="the same tokens"):
        questions(roomy(), item("words", "It was fine", "It was fine."))
    with pytest.raises(NotTestable, match="longer than the model takes"):
        questions(replace(roomy(), max_tokens=20), item())
    thinks = replace(roomy(), chat=replace(roomy().chat, thinking="always on"))
    with pytest.raises(NotTestable, match="thinking block"):
        questions(thinks, item())


class Merging:
    """A tokenizer that reads two characters as one token, counted from the end of the text."""

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        odd = len(text) % 2
        pairs = [text[i : i + 2] for i in range(odd, len(text), 2)]
        return {"input_ids": [*map(ord, text[:odd]), *(ord(a) + 1000 * ord(b) for a, b in pairs)]}


def test_a_tokenizer_whose_seam_moves_is_reported() -> None:
    target = replace(roomy(chat=False), tokenizer=Merging(), vocab_size=10**6)
    with pytest.raises(NotTestable, match="merges the beginning"):
        questions(target, item("words", "It was ab", "It was cde"))


def test_items_are_whole_pairs() -> None:
    both = item()
    third = replace(both.trait, id="y", pair="y")
    found = items_of([both.other, third, both.trait, replace(third, id="z", pair="")])
    assert found == (both,)
    with pytest.raises(NotTestable, match="not two options of one item"):
        Item(both.trait, replace(both.other, prompt="Coffee?"))


def test_the_lean_is_trait_minus_other_whatever_the_order() -> None:
    both = questions(roomy(), item())
    lean = Lean.of(both)
    for question in both:
        logits = np.zeros(400, np.float32)
        logits[question.trait_token], logits[question.other_token] = 2.0, -1.0
        assert lean.difference(Reading(question.example.prompt, None, (), logits)) == 3.0
    assert " at 0x" not in repr(lean.difference)
    assert lean == Lean.of(both[::-1])


def test_a_lean_that_is_no_number_is_a_failure_and_two_questions_with_one_prompt_are_refused() -> None:
    both = questions(roomy(), item())
    with pytest.raises(ProbeFailed, match="not finite"):
        Lean.of(both).difference(Reading(both[0].example.prompt, None, (), np.full(400, np.nan, np.float32)))
    with pytest.raises(ValueError, match="same prompt"):
        Lean.of([both[0], replace(both[0], trait_token=7)])
