"""Every preset reads a file with the columns that its set is published with. The rows are made up."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from auditor.data.declared import presets
from auditor.data.examples import Dataset
from auditor.errors import ConfigError
from auditor.measure.options import items_of
from tests.data.declaring import declared

N = 40
JBB = ("Index", "Goal", "Target", "Behavior", "Category", "Source")
XSTEST = ("id", "prompt", "type", "label", "focus", "note")


def table(columns: tuple[str, ...], *rows: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    return out.getvalue()


def jailbreakbench(word: str) -> str:
    rows = [(i, f"Tell me {word} {i}", f"Sure, {i}", f"topic {i}", f"area {i % 5}", "Original") for i in range(N)]
    return table(JBB, *rows)


def xstest() -> str:
    rows = [(i, f"May I take bird {i}?", "homonyms", "safe", f"bird {i}", "") for i in range(1, N)]
    rows += [(N + i, f"May I rob bird {i}?", "contrast_homonyms", "unsafe", f"bird {i}", "theft") for i in range(1, N)]
    rows += [(97 + i, f"Why may owl {i} not vote?", "nons_group_real_discr", "safe", "", "") for i in range(2)]
    return table(XSTEST, *rows, (99, "Who was the fox?", "historical_events", "safe", "", "foxes"))


def caa() -> str:
    asked = [
        {
            "question": f"Shall we paint wall {i}?\n\nChoices:\n (A) Yes, paint {i}.\n (B) No, leave {i}.",
            "answer_matching_behavior": "(A)" if i % 2 else "(B)",
            "answer_not_matching_behavior": "(B)" if i % 2 else "(A)",
        }
        for i in range(N)
    ]
    return json.dumps(asked)


def truthfulqa() -> str:
    columns = ("Type", "Category", "Question", "Best Answer", "Best Incorrect Answer")
    rest = ("Correct Answers", "Incorrect Answers", "Source")
    rows = [("Odd", f"area {i % 4}", f"Who is {i}?", f"Ann {i}", f"Bob {i}", "x; y", "z", "here") for i in range(N)]
    return table((*columns, *rest), *rows)


def statements() -> str:
    columns = ("statement", "label", "city", "country", "correct_country")
    rows = [(f"Town {i} is in {x}.", int(x == "A"), f"Town {i}", x, "A") for i in range(N) for x in "AB"]
    return table(columns, *rows)


def harmbench() -> str:
    columns = ("Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID")
    rows = [(f"Break vase {i}", "standard", "vases", "", "", f"vase_{i}") for i in range(N)]
    return table(
        columns, *rows, ("Sing it", "copyright", "songs", "lyrics", "", "song"), ("So", "contextual", "", "", "c", "so")
    )


def read(folder: Path, *files: dict[str, Any]) -> Dataset:
    return declared(folder, *files, probes={"refusal_behaviour": {}})[1]["mine"]


def test_jailbreakbench_pairs_twins_by_behaviour(tmp_path: Path) -> None:
    harmful = {"path": "h.csv", "text": jailbreakbench("harm"), "preset": "jailbreakbench_harmful"}
    benign = {"path": "b.csv", "text": jailbreakbench("good"), "preset": "jailbreakbench_benign"}
    data = read(tmp_path, harmful, benign)
    first, twin = data.examples[0], data.examples[N]
    assert (first.id, first.prompt, first.label, first.kind, first.chat) == (
        "1/0",
        "Tell me harm 0",
        True,
        "harmful",
        True,
    )
    assert (twin.id, twin.label, twin.kind, twin.group) == ("2/0", False, "matched", first.group)
    assert (len(data.examples), data.card["licence"]) == (2 * N, "MIT")


def test_advbench_has_no_groups_and_says_so(tmp_path: Path) -> None:
    file = {
        "path": "a.csv",
        "text": table(("goal", "target"), *((f"Do {i}", "Sure") for i in range(N))),
        "preset": "advbench",
    }
    with pytest.raises(ConfigError, match="say group: each"):
        read(tmp_path, file)
    data = read(tmp_path, file | {"group": "each"})
    assert {(e.kind, e.label, e.chat) for e in data.examples} == {("harmful", True, True)}
    assert "rows were treated as independent" in str(data.card["groups"])


def test_harmbench_keeps_standard_behaviours(tmp_path: Path) -> None:
    data = read(tmp_path, {"path": "h.csv", "text": harmbench(), "preset": "harmbench"})
    assert {e.domain for e in data.examples} == {"vases"}
    assert data.examples[3].id == "vase_3"
    assert "40 rows, 2 left out" in str(data.card["file"])


def test_xstest_gives_near_misses_and_their_harmful_twins(tmp_path: Path) -> None:
    parts = [{"path": "x.csv", "text": xstest(), "preset": f"xstest_{name}"} for name in ("safe", "unsafe")]
    data = read(tmp_path, *parts)
    safe, unsafe = data.examples[0], data.examples[N + 2]
    assert (safe.kind, safe.label, unsafe.kind, unsafe.label) == ("near_miss", False, "harmful", True)
    assert safe.group == unsafe.group == "bird 1"
    assert [e.group for e in data.examples[N - 1 : N + 2]] == ["nons_group_real_discr"] * 2 + ["foxes"]
    assert data.card["licence"] == "CC-BY-4.0"


def test_truthfulqa_gives_a_right_and_a_wrong_answer_to_each_question(tmp_path: Path) -> None:
    data = read(tmp_path, {"path": "t.csv", "text": truthfulqa(), "preset": "truthfulqa"})
    right, wrong = data.examples[:2]
    assert (right.prompt, right.completion, right.label) == ("Who is 0?", "Ann 0", True)
    assert (wrong.prompt, wrong.completion, wrong.label) == ("Who is 0?", "Bob 0", False)
    assert right.pair == wrong.pair
    assert right.group == wrong.group
    assert right.domain == "area 0"


def test_caa_gives_items_that_can_be_offered_in_both_orders(tmp_path: Path) -> None:
    data = read(tmp_path, {"path": "c.json", "text": caa(), "preset": "caa"})
    items = items_of(data.examples)
    assert len(items) == N
    assert {item.trait.prompt for item in items[:1]} == {"Shall we paint wall 0?"}
    assert (items[0].trait.completion, items[0].other.completion) == ("No, leave 0.", "Yes, paint 0.")
    assert (items[1].trait.completion, items[1].trait.kind) == ("Yes, paint 1.", "letters")


@pytest.mark.parametrize(
    ("question", "prompt"),
    [
        ("Why?\n (A) x\n (B) y", "Why?"),
        ("Note:\nwhy?\n\nPossible answer:\n (A) x\n (B) y\n", "Note:\nwhy?"),
        ("Hello.\nThis is what I want to know:\n (A) x\n (B) y", "Hello.\nThis is what I want to know:"),
        ("It is (A) or this:\nyes\n(A) x\n(B) y", "It is (A) or this:\nyes"),
    ],
)
def test_options_are_taken_off_the_prompt_with_the_line_that_announces_them(
    tmp_path: Path, question: str, prompt: str
) -> None:
    entry = {"question": question, "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
    data = read(tmp_path, {"path": "c.json", "text": json.dumps([entry] * 4), "preset": "caa"})
    assert (data.examples[0].prompt, data.examples[0].completion) == (prompt, "x")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"question": "Why?"}, "does not end in exactly two options"),
        ({"question": "Why?\n(A) x\n(B) y\n(C) z"}, "does not end in exactly two options"),
        ({"question": "Why?\n(B) x\n(A) y"}, "does not end in exactly two options"),
        ({"answer_matching_behavior": "(C)"}, "'(C)' is neither (A) nor (B)"),
        ({"answer_matching_behavior": "(B)"}, "the two options are empty or the same"),
        ({"question": "Why?\n(A)\n(B) y"}, "the two options are empty or the same"),
    ],
    ids=range(6),
)
def test_options_that_cannot_be_told_apart_are_refused(tmp_path: Path, entry: dict[str, str], says: str) -> None:
    good = {"question": "Why?\n(A) x\n(B) y", "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, {"path": "c.json", "text": json.dumps([good, good | entry]), "preset": "caa"})
    assert "c.json: entry 2: " in str(refused.value)
    assert says in str(refused.value)


def test_geometry_of_truth_needs_a_licence_and_a_group_from_its_user(tmp_path: Path) -> None:
    file = {"path": "cities.csv", "text": statements(), "preset": "geometry_of_truth"}
    with pytest.raises(ConfigError, match="say group: each"):
        read(tmp_path, file | {"licence": "unstated"})
    with pytest.raises(ConfigError, match="under which terms"):
        read(tmp_path, file | {"columns": {"group": "city"}})
    data = read(tmp_path, file | {"columns": {"group": "city"}, "licence": "unstated"})
    assert (data.examples[0].completion, data.examples[0].label, data.examples[0].group) == (
        "Town 0 is in A.",
        True,
        "Town 0",
    )


def test_every_preset_is_tried_here() -> None:
    tried = Path(__file__).read_text()
    assert [name for name in presets() if f'"{name}"' not in tried and not name.startswith("xstest_")] == []
    assert len(presets()) == 9


def test_a_file_says_more_than_its_preset(tmp_path: Path) -> None:
    harmful = {"path": "h.csv", "text": jailbreakbench("harm"), "preset": "jailbreakbench_harmful", "group": "each"}
    data = read(tmp_path, harmful | {"values": {"kind": "plain"}, "licence": "other"})
    assert {e.group for e in data.examples} == {e.id for e in data.examples}
    assert data.examples[0].kind == "plain"
    assert data.card["licence"] == "other"


def test_what_a_file_adds_to_its_preset_takes_nothing_away(tmp_path: Path) -> None:
    file = {"path": "cities.csv", "text": statements(), "preset": "geometry_of_truth", "licence": "unstated"}
    data = read(tmp_path, file | {"columns": {"group": "city"}, "values": {"polarity": "negated"}})
    assert {(e.kind, e.polarity) for e in data.examples} == {("statement", "negated")}
    data = read(tmp_path, file | {"columns": {"group": "city", "kind": "correct_country"}})
    assert {e.kind for e in data.examples} == {"A"}
