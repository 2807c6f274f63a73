"""The data sets of instruction-induced falsehood keep what their cards promise."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from auditor.data.checks import problems
from auditor.data.datasets import read
from auditor.data.examples import Dataset
from auditor.data.split import split
from auditor.measure.baselines import text_auroc
from auditor.measure.grading import grade, names

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "probes" / "data"
PAIRS, QUESTIONS, SCENARIOS = SETS = ("falsehood_pairs", "falsehood_questions", "falsehood_scenarios")


@cache
def shipped(name: str) -> Dataset:
    return read(DATA / f"{name}.jsonl")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    sys.modules.pop("make_falsehood", None)
    import make_falsehood

    return make_falsehood


def test_rebuilding_gives_the_shipped_examples(tool: ModuleType) -> None:
    for examples, card in tool.sets():
        assert tuple(examples) == shipped(card["name"]).examples
        on_card = {key: value for key, value in shipped(card["name"]).card.items() if key in card}
        figures, built = on_card.pop("text_auroc"), card.pop("text_auroc")
        assert {key: list(v) if isinstance(v, tuple) else v for key, v in on_card.items()} == card
        for comparison, values in built.items():
            assert values == pytest.approx(figures[comparison], abs=0.0101)


@pytest.mark.parametrize("name", SETS)
def test_no_leak_and_no_imbalance(name: str) -> None:
    assert problems(shipped(name).examples) == []
    assert all(example.chat for example in shipped(name).examples)


@pytest.mark.parametrize("name", SETS)
def test_the_two_of_a_pair_are_answered_alike(name: str) -> None:
    pairs = defaultdict(list)
    for example in shipped(name).examples:
        if example.pair:
            pairs[example.pair].append(example)
    assert len(pairs) >= 200
    assert all(
        first.completion == second.completion and first.prompt != second.prompt for first, second in pairs.values()
    )
    rows = [example for two in pairs.values() for example in two]
    found = text_auroc([e.completion for e in rows], [e.label for e in rows], [e.group for e in rows], 3)
    assert all(value == pytest.approx(0.5, abs=1e-9) for value in found.values())


@pytest.mark.parametrize("name", SETS)
def test_enough_groups_are_left_to_judge_on(name: str) -> None:
    data = shipped(name)
    placed = split(data, 0)
    held = {example.group for example in data.examples if placed[example.id] == "evaluation"}
    assert len(held) >= 20


def test_what_is_fitted_to_shares_nothing_with_what_is_read() -> None:
    fitted, asked = shipped(PAIRS).examples, shipped(QUESTIONS).examples
    assert not {e.group for e in fitted} & {e.group for e in asked}
    assert not {e.domain for e in fitted} & {e.domain for e in asked}
    table = {name: yaml.safe_load((DATA / "src" / f"{name}.yaml").read_text()) for name in (PAIRS, QUESTIONS)}
    own = {text for pair in table[PAIRS]["pairs"] for text in pair}
    others = {text for pair in table[QUESTIONS]["instructions"] for text in pair}
    assert len(own) == len(others) == 48
    assert not own & others
    counts = Counter(e.domain for e in fitted if e.label)
    assert min(len({e.group for e in fitted if e.domain == domain}) for domain in counts) >= 60


def test_every_statement_that_is_given_is_true() -> None:
    facts = [yaml.safe_load(path.read_text()) for path in (DATA / "src").glob("truth_*.yaml")]
    true = {
        frame.format(entity=entity, value=value)
        for table in facts
        for frame in table["affirmed"]
        for value, entities in table["values"].items()
        for entity in entities
    }
    for name in (PAIRS, SCENARIOS):
        assert {example.completion for example in shipped(name).examples} <= true


def test_a_question_is_asked_in_three_ways_and_its_reference_grades_right() -> None:
    examples = shipped(QUESTIONS).examples
    known = {name for example in examples for name in names(example.completion)}
    kinds = Counter((e.domain, e.group) for e in examples)
    assert set(kinds.values()) == {3}
    assert len(kinds) >= 120
    for example in examples:
        assert example.label == (example.kind == "false")
        for name in names(example.completion):
            assert grade(f"It is in {name}.", names(example.completion), known) == "right"


def test_a_question_does_not_name_its_answer() -> None:
    for example in shipped(QUESTIONS).examples:
        if example.kind == "plain":
            assert grade(example.prompt, names(example.completion), ()) == "neither", example.prompt


def test_deceptive_and_neutral_frames_come_in_equal_numbers() -> None:
    counts = Counter((e.group, e.label) for e in shipped(SCENARIOS).examples)
    assert set(counts.values()) == {4}
    assert len({group for group, _ in counts}) >= 50
