from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from scipy.stats import rankdata
from sklearn.model_selection import GroupKFold

from auditor.data.checks import problems
from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.data.split import split
from auditor.measure.baselines import text_auroc, text_scores
from auditor.measure.metrics import auroc

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "probes" / "data"
TRUTH = ("truth_animals", "truth_cities", "truth_companies", "truth_people", "truth_translations")
NAMES = (
    "requests",
    *TRUTH,
    *("trait_sentiment", "trait_sycophancy", "trait_power_seeking", "trait_corrigibility", "trait_hallucination"),
    *("trait_myopia", "trait_survival_instinct", "trait_dishonesty"),
    *("falsehood_pairs", "falsehood_questions", "falsehood_scenarios", "followup_questions"),
    "judged_answers",
)
ORGANISM = ROOT / "auditor" / "organisms" / "data"
LEAST, MOST = 0.35, 0.65


@cache
def shipped(name: str) -> Dataset:
    return read(DATA / f"{name}.jsonl")


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    """tools/build_data.py, which is a script and no package; its build is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        module = import_module("build_data")
        patch.setattr(module, "build", cache(module.build))
        yield module


def run(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["build_data.py", *arguments])
    return int(tool.main())


def test_the_names_are_all_there_is() -> None:
    assert {path.stem for path in DATA.glob("*.jsonl")} == set(NAMES)


def test_rebuilding_gives_the_shipped_files(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tool, monkeypatch, "--check") == 0
    assert run(tool, monkeypatch, "--out", str(tmp_path)) == 0
    kept = {p.name for folder in (DATA, ORGANISM) for p in folder.iterdir() if p.is_file()}
    assert {path.name for path in tmp_path.iterdir()} == kept
    for name in NAMES:
        path = tmp_path / f"{name}.jsonl"
        assert path.read_bytes() == (DATA / path.name).read_bytes()
        read(path)


@pytest.mark.parametrize(
    ("name", "old", "new", "seen"),
    [
        ("truth_cities.jsonl", "Poland", "Peru", True),
        ("requests.card.yaml", "words: 0.", "words: 0.0", True),
        ("requests.card.yaml", "licence: Apache-2.0", "licence: MIT", True),
        (
            "requests.card.yaml",
            "punctuation: 0.5\n",
            "punctuation: 0.51\n",
            False,
        ),  # floating point elsewhere
    ],
)
def test_check_sees_a_changed_file(  # noqa: PLR0913
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    old: str,
    new: str,
    seen: bool,
) -> None:
    run(tool, monkeypatch, "--out", str(tmp_path))
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    assert run(tool, monkeypatch, "--check", "--out", str(tmp_path)) == int(seen)
    assert (name in capsys.readouterr().out) is seen


@pytest.mark.parametrize("name", NAMES)
def test_no_leak_and_no_imbalance(name: str) -> None:
    assert problems(shipped(name).examples) == []


@pytest.mark.parametrize("name", TRUTH)
def test_eight_balanced_statements_an_entity(name: str) -> None:
    examples = shipped(name).examples
    entities: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        entities[example.id.split("-0-")[0].split("-1-")[0]].append(example)
    assert len(entities) >= (130 if name == "truth_cities" else 60)
    for statements in entities.values():
        counts = Counter((e.polarity, e.label) for e in statements)
        assert counts == {(p, label): 2 for p in ("affirmed", "negated") for label in (True, False)}
    assert all(e.completion.endswith(".") and not e.chat and e.prompt == "" for e in examples)
    assert {e.domain for e in examples} == {name.removeprefix("truth_")}


@pytest.mark.parametrize("name", TRUTH)
def test_every_value_is_as_often_wrong_as_right_within_a_polarity(name: str) -> None:
    table = yaml.safe_load((DATA / "src" / f"{name}.yaml").read_text())
    counts: Counter[tuple[str, str, bool]] = Counter()
    for example in shipped(name).examples:
        value = next(v for v in sorted(table["values"], key=len, reverse=True) if example.completion.endswith(f" {v}."))
        counts[value, example.polarity, example.label] += 1
    assert all(counts[value, polarity, not label] == n for (value, polarity, label), n in counts.items())
    assert {value for value, _, _ in counts} == set(table["values"])


@pytest.mark.parametrize("name", TRUTH)
def test_truth_cannot_be_told_from_the_words(name: str) -> None:
    examples = shipped(name).examples
    for fold_count in (5, 3):
        found = text_auroc(
            [e.text for e in examples], [e.label for e in examples], [e.group for e in examples], fold_count
        )
        assert all(value == pytest.approx(0.5, abs=0.05) for value in found.values()), found


def test_a_planted_word_would_be_seen() -> None:
    examples = shipped("truth_people").examples
    texts = [e.text + (" Yes." if e.label and i % 3 else "") for i, e in enumerate(examples)]
    found = text_auroc(texts, [e.label for e in examples], [e.group for e in examples], 3)
    assert found["words"] is not None
    assert found["words"] > 0.75


def test_requests_are_many_in_every_kind_and_topic() -> None:
    examples = shipped("requests").examples
    kinds = Counter(e.kind for e in examples)
    assert set(kinds) == {"harmful", "matched", "plain", "near_miss"}
    assert min(kinds.values()) >= 600
    assert len({e.group for e in examples}) >= 60
    assert min(Counter((e.group, e.kind) for e in examples).values()) >= 10
    assert all(e.chat and e.label == (e.kind == "harmful") for e in examples)
    assert len({e.pair for e in examples if e.label}) == kinds["harmful"] == kinds["matched"]


def twins() -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = [e for e in shipped("requests").examples if e.kind in ("harmful", "matched")]
    return [e.text for e in rows], np.array([e.label for e in rows]), np.array([e.group for e in rows])


@pytest.mark.parametrize("fold_seed", [1, 2])
def test_text_does_not_tell_harmful_from_matched_in_other_topics(fold_seed: int) -> None:
    texts, labels, topics = twins()
    scores: dict[str, np.ndarray] = {}
    for fit, held_out in GroupKFold(5, shuffle=True, random_state=fold_seed).split(texts, labels, topics):
        found = text_scores([texts[i] for i in fit], labels[fit], [texts[i] for i in held_out])
        for name, score in found.items():
            scores.setdefault(name, np.zeros(len(texts)))[held_out] = rankdata(score) / len(score)
    figures = {name: auroc(score, labels) for name, score in scores.items()}
    assert set(figures) == {"words", "words_nb", "length", "punctuation"}
    assert all(value is not None and LEAST <= value <= MOST for value in figures.values()), figures


@pytest.mark.parametrize("seed", [0, 1])
def test_text_does_not_tell_them_apart_under_the_split_rule(seed: int) -> None:
    data = shipped("requests")
    placed = split(data, seed)
    rows = [e for e in data.examples if e.kind in ("harmful", "matched")]
    fit = [e for e in rows if placed[e.id] in ("fit", "validation")]
    held_out = [e for e in rows if placed[e.id] == "evaluation"]
    found = text_scores([e.text for e in fit], [e.label for e in fit], [e.text for e in held_out])
    for name, score in found.items():
        value = auroc(score, [e.label for e in held_out])
        assert value is not None
        assert LEAST <= value <= MOST, name


def test_the_same_measure_sees_plain_requests_apart() -> None:
    rows = [e for e in shipped("requests").examples if e.kind in ("harmful", "plain")]
    found = text_auroc([e.text for e in rows], [e.label for e in rows], [e.group for e in rows], 3)
    assert found["words"] is not None
    assert found["words"] > 0.8


def test_both_halves_of_the_judged_answers_hold_both_labels_and_no_wording_twice() -> None:
    examples = shipped("judged_answers").examples
    assert min(Counter((e.domain, e.label) for e in examples).values()) >= 100
    for half in ("development", "held out"):
        answers = [e.completion for e in examples if e.domain == half]
        assert len(answers) == len(set(answers)) >= 250
    asked = {e.prompt for e in shipped("requests").examples}
    assert not asked & {e.prompt for e in examples}


@pytest.mark.parametrize("name", NAMES)
def test_enough_groups_are_left_after_the_split(name: str) -> None:
    data = shipped(name)
    placed = split(data, 0)
    groups = defaultdict(set)
    for example in data.examples:
        groups[placed[example.id]].add(example.group)
    assert len(groups["evaluation"]) >= 20
    assert min(map(len, groups.values())) >= 3
