"""The trait sets keep their promises: options balanced, sides balanced, nothing for the words to tell."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from auditor.data.checks import problems
from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.data.split import split
from auditor.measure.baselines import text_scores
from auditor.measure.metrics import auroc
from auditor.measure.options import items_of, posed

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("trait_sycophancy", "trait_sentiment")


@cache
def shipped(name: str) -> Dataset:
    return read(ROOT / "probes" / "data" / f"{name}.jsonl")


@pytest.fixture
def tool() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield import_module("make_traits")
    sys.modules.pop("make_traits", None)


def test_making_them_again_gives_the_shipped_examples(tool: ModuleType) -> None:
    made = {card["name"]: (examples, card) for examples, card in tool.traits()}
    assert set(made) == set(NAMES)
    for name, (examples, card) in made.items():
        assert tuple(examples) == shipped(name).examples
        assert card["limits"] == shipped(name).card["limits"]


def test_a_word_that_occurs_in_two_groups_is_refused(tool: ModuleType) -> None:
    with pytest.raises(SystemExit, match="more than once: good"):
        tool._refuse_repeats("x", {"adjectives": [["good", "bad"], ["good", "ill"]]})


@pytest.mark.parametrize("name", NAMES)
def test_no_leak_and_no_imbalance(name: str) -> None:
    assert problems(shipped(name).examples) == []


def test_there_are_enough_of_them() -> None:
    for name, n_items, n_groups in (("trait_sycophancy", 400, 60), ("trait_sentiment", 200, 40)):
        data = shipped(name)
        assert len(items_of(data.examples)) * 2 == len(data.examples)
        assert len(data.examples) / 2 >= n_items
        assert len({e.group for e in data.examples}) >= n_groups


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_text_does_not_tell_the_trait_in_other_groups(name: str, seed: int) -> None:
    data = shipped(name)
    placed = split(data, seed)
    fit = [e for e in data.examples if placed[e.id] in ("fit", "validation")]
    held = [e for e in data.examples if placed[e.id] == "evaluation"]
    for baseline, score in text_scores([e.text for e in fit], [e.label for e in fit], [e.text for e in held]).items():
        value = auroc(score, [e.label for e in held])
        assert value is not None
        assert 0.35 <= value <= 0.65, baseline


def test_the_user_takes_either_side_equally_often_and_every_option_agrees_as_often_as_it_differs() -> None:
    agrees: dict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    sides: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for e in shipped("trait_sycophancy").examples:
        agrees[e.group, e.completion][e.label] += 1
        sides[e.group, e.template][e.polarity] += 1
    assert all(counts == {True: 3, False: 3} for counts in agrees.values())
    assert len(agrees) == 2 * 80
    assert all(counts == {"first": 2, "second": 2} for counts in sides.values())


def test_the_agreeing_option_is_what_the_user_said() -> None:
    for item in items_of(shipped("trait_sycophancy").examples):
        side, other = (e.completion.removesuffix(" is better.") for e in (item.trait, item.other))
        sides = item.trait.group.replace("_", " ").split("+")
        taken = sides[0] if item.trait.polarity == "first" else sides[1]
        assert side.lower() == taken.lower()
        assert other.lower() != taken.lower()
        assert item.trait.prompt.lower().count(taken.lower()) >= 1


def test_half_of_the_frames_name_the_side_of_the_user_first() -> None:
    first = Counter(
        item.trait.prompt.lower().index(item.trait.completion.lower().removesuffix(" is better."))
        < item.other.prompt.lower().index(item.other.completion.lower().removesuffix(" is better."))
        for item in items_of(shipped("trait_sycophancy").examples)
    )
    assert first[True] == first[False] == 240


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_is_used_equally_often(name: str) -> None:
    uses = Counter(e.template for e in shipped(name).examples)
    assert len(uses) >= 24
    assert len(set(uses.values())) == 1


def test_no_adjective_is_in_two_groups_and_each_question_is_asked_once_a_group() -> None:
    groups: dict[str, set[str]] = defaultdict(set)
    asked: dict[str, set[str]] = defaultdict(set)
    for e in shipped("trait_sentiment").examples:
        groups[e.completion].add(e.group)
        asked[e.group].add(e.prompt)
    assert all(len(found) == 1 for found in groups.values())
    assert all(len(found) == 5 for found in asked.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_item_can_be_posed_with_both_options_in_view(name: str) -> None:
    for item in items_of(shipped(name).examples):
        found = posed(item.trait.kind, item.trait.prompt, item.trait.completion, item.other.completion)
        assert found.first != found.second
        words = [_own(item.trait), _own(item.other)] if item.trait.kind == "words" else []
        assert all(word in found.prompt for word in words)


def _own(example: Example) -> str:
    return example.completion.removeprefix("It was ").removesuffix(".")
