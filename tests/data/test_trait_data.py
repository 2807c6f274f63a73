"""The trait sets keep their promises: options balanced, sides balanced, nothing for the words to tell."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from auditor.data.checks import problems
from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.data.split import split
from auditor.measure.baselines import text_auroc, text_scores
from auditor.measure.metrics import auroc
from auditor.measure.options import items_of, posed

ROOT = Path(__file__).resolve().parents[2]
SCENES = (
    "trait_power_seeking",
    "trait_corrigibility",
    "trait_hallucination",
    "trait_myopia",
    "trait_survival_instinct",
    "trait_dishonesty",
)
NAMES = ("trait_sycophancy", "trait_sentiment", *SCENES)
TOPIC = {
    "topic": "oven",
    "sides": ["the gas oven", "the electric oven"],
    "option": "Buy {x}.",
    "scenes": ["{X} pays now, {y} later.", "{Y} pays later, {x} now."],
}


@cache
def shipped(name: str) -> Dataset:
    return read(ROOT / "probes" / "data" / f"{name}.jsonl")


@pytest.fixture
def tool() -> Iterator[ModuleType]:
    """tools/make_traits.py, a script and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield import_module("make_traits")
    for name in ("make_traits", "make_scenes"):
        sys.modules.pop(name, None)


@pytest.fixture
def scenes(tool: ModuleType) -> ModuleType:
    """tools/make_scenes.py, which the other has imported."""
    return sys.modules["make_scenes"]


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
    for name in NAMES:
        n_items, n_groups = (400, 60) if name == "trait_sycophancy" else (200, 40)
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


@pytest.mark.parametrize("name", SCENES)
def test_each_option_shows_the_trait_as_often_as_not_and_no_group_shares_a_scene(name: str) -> None:
    shows: dict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    groups: dict[str, set[str]] = defaultdict(set)
    for e in shipped(name).examples:
        shows[e.group, e.completion][e.label] += 1
        groups[e.prompt].add(e.group)
    assert all(counts == {True: 2, False: 2} for counts in shows.values())
    assert len(shows) == 2 * 52
    assert len(groups) == 4 * 52
    assert all(len(found) == 1 for found in groups.values())


@pytest.mark.parametrize("name", SCENES)
def test_the_two_options_are_alike_in_form_and_a_scene_names_both(
    name: str, tool: ModuleType, scenes: ModuleType
) -> None:
    topics = {scenes.slug(topic["topic"]): topic for topic in tool.trait_table(name)["topics"]}
    for item in items_of(shipped(name).examples):
        sides = topics[item.trait.group]["sides"]
        own, other = sides if item.trait.polarity == "first" else sides[::-1]
        assert item.trait.completion == scenes.filled(topics[item.trait.group]["option"], own, other)
        assert item.other.completion == scenes.filled(topics[item.trait.group]["option"], other, own)
        assert abs(len(own.split()) - len(other.split())) <= 2
        assert own.casefold() in item.trait.prompt.casefold()
        assert other.casefold() in item.trait.prompt.casefold()
        assert item.trait.prompt.endswith("?")


@pytest.mark.parametrize("name", SCENES)
def test_half_of_the_scenes_name_first_the_side_that_shows_the_trait(name: str, tool: ModuleType) -> None:
    texts = [scene.casefold() for topic in tool.trait_table(name)["topics"] for scene in topic["scenes"]]
    first = Counter(text.index("{x}") < text.index("{y}") for text in texts)
    assert first == {True: 52, False: 52}


@pytest.mark.parametrize("name", SCENES)
def test_the_words_around_the_sides_tell_them_apart_in_part_only(
    name: str, tool: ModuleType, scenes: ModuleType
) -> None:
    rows = scenes.marked_scenes(tool.trait_table(name))
    figure = around(rows)
    assert 0.35 <= figure <= 0.87
    planted = [
        replace(e, prompt=e.prompt.replace("thisside", "wanted thisside") if e.label else e.prompt) for e in rows
    ]
    assert around(planted) > max(0.9, figure)


def around(rows: list[Example]) -> float:
    found = text_auroc([e.text for e in rows], [e.label for e in rows], [e.group for e in rows], 3)["words"]
    assert found is not None
    return found


def test_no_scene_is_in_two_sets() -> None:
    prompts = Counter(prompt for name in NAMES for prompt in {e.prompt for e in shipped(name).examples})
    assert max(prompts.values()) == 1


def test_a_topic_makes_four_items_whose_sides_change_places(scenes: ModuleType) -> None:
    assert scenes.broken_promises({"topics": [TOPIC]}) == []
    made = [(e.prompt, e.completion, e.label) for e in scenes.scene_examples({"topics": [TOPIC]})]
    assert len(made) == len(set(made)) == 8
    assert ("The gas oven pays now, the electric oven later.", "Buy the gas oven.", True) in made
    assert ("The gas oven pays now, the electric oven later.", "Buy the electric oven.", False) in made
    assert ("The electric oven pays now, the gas oven later.", "Buy the gas oven.", False) in made


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sides": ["the oven", "the oven"]}, "two different sides"),
        ({"option": "Buy it."}, "names {x} once"),
        ({"scenes": ["{X} pays now, {y} later.", "{X} pays soon, {y} late."]}, "one of them {x} first"),
        ({"scenes": ["{X} pays now.", "{Y} pays later, {x} now."]}, "name each side once"),
        ({"scenes": ["{X} pays now, {y} later.", "{Y} beats the gas oven, not {x}."]}, "spells out a side"),
    ],
)
def test_a_topic_that_would_give_the_trait_away_is_refused(
    tool: ModuleType, scenes: ModuleType, changed: dict[str, object], said: str
) -> None:
    (found,) = scenes.broken_promises({"topics": [{**TOPIC, **changed}]})
    assert said in found
    with pytest.raises(SystemExit, match="trait_myopia: oven: "):
        tool._refuse_repeats("trait_myopia", {"topics": [{**TOPIC, **changed}]})


def test_a_topic_that_occurs_twice_is_refused(scenes: ModuleType) -> None:
    assert scenes.broken_promises({"topics": [TOPIC, TOPIC]}) == ["oven: occurs more than once"]
