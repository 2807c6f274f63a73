"""Data sets on the Hub: only by name, at one commit, through a library that may be missing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from auditor.data import hub, tables
from auditor.errors import ConfigError
from tests.data.declaring import FACTS, declared

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = [
    {"statement": f"Stone {i}.", "correct": "yes", "stone": f"s{i}", "picture": b"\x00", "odd": float("nan")}
    for i in range(8)
]
FILE = {"hub": "org/stones@v1", "split": "train", **FACTS}


class FakeHub:
    def __init__(self, rows: Iterable[dict[str, Any]] = ROWS, commit: str = COMMIT) -> None:
        self.answer, self.sha, self.asked = rows, commit, []

    def commit(self, repo: str, revision: str | None) -> str:
        self.asked.append((repo, revision))
        return self.sha

    def rows(self, repo: str, commit: str, subset: str, split: str) -> Iterator[dict[str, Any]]:
        self.asked.append((repo, commit, subset, split))
        yield from self.answer


def read(folder: Path, served: FakeHub, **changes: Any) -> Any:
    return declared(folder, FILE | changes, probes={"refusal_behaviour": {}}, hub=served)


def test_a_revision_is_pinned_to_its_commit_and_recorded(tmp_path: Path) -> None:
    served = FakeHub()
    config, found = read(tmp_path, served, subset="small")
    assert served.asked == [("org/stones", "v1"), ("org/stones", COMMIT, "small", "train")]
    file = config.datasets["mine"].files[0]
    assert file.hub == f"org/stones@{COMMIT}"
    assert str(found["mine"].card["file"]["1"]).startswith(
        f"org/stones@{COMMIT}, small, train: 8 rows, sha256 {file.sha256}"
    )
    assert found["mine"].examples[0].completion == "Stone 0."
    again, _ = read(tmp_path, FakeHub(), sha256=file.sha256)
    assert again.datasets["mine"].files[0].sha256 == file.sha256


@pytest.mark.parametrize(
    ("changes", "served", "says"),
    [
        ({"hub": "stones"}, FakeHub(), "'stones' is not org/name or org/name@revision"),
        ({"hub": "org/../x"}, FakeHub(), "is not org/name"),
        ({"split": ""}, FakeHub(), "say which split of org/stones"),
        ({"sha256": "0" * 64}, FakeHub(), "files.0.sha256: the rows hash to"),
        ({}, FakeHub(commit="main"), "the Hub gave no commit"),
        ({}, FakeHub(rows=[]), "org/stones (train): holds no rows"),
        ({}, FakeHub(rows=[{"statement": "x" * (1 << 21)}]), "row 1: more than 1,048,576 bytes"),
        (
            {"columns": {"completion": "picture", "label": "correct", "group": "stone"}},
            FakeHub(),
            "no column 'picture'",
        ),
    ],
    ids=range(8),
)
def test_what_the_hub_cannot_give_is_refused(
    tmp_path: Path, changes: dict[str, Any], served: FakeHub, says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, served, **changes)
    assert says in str(refused.value)


def test_rows_without_end_are_not_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[dict[str, Any]]:
        while True:
            yield ROWS[0]

    monkeypatch.setattr(tables, "MAX_ROWS", 50)
    with pytest.raises(ConfigError, match="more than 50 rows"):
        read(tmp_path, FakeHub(rows=endless()))


def test_without_the_library_the_message_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError) as refused:
        list(hub.HuggingFace().rows("org/stones", COMMIT, "", "train"))
    assert "pip install 'checkpoint-auditor[datasets]'" in str(refused.value)


def test_the_library_is_asked_for_one_commit_and_its_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library, asked = ModuleType("datasets"), []

    def load_dataset(*given: Any, **named: Any) -> list[dict[str, Any]]:
        asked.append((given, named))
        if named["split"] == "tran":
            raise ValueError("Bad split: tran.\nmore")
        return ROWS

    monkeypatch.setattr(library, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert list(hub.HuggingFace().rows("org/stones", COMMIT, "", "train")) == ROWS
    assert asked == [(("org/stones", None), {"split": "train", "revision": COMMIT, "streaming": True})]
    with pytest.raises(ConfigError, match=r"the Hub gave no data \(Bad split: tran\.\)"):
        list(hub.HuggingFace().rows("org/stones", COMMIT, "", "tran"))


def test_a_hub_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def info(*_given: Any, **_named: Any) -> SimpleNamespace:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    with pytest.raises(ConfigError, match="no route to host.*Fetch the file elsewhere"):
        hub.HuggingFace().commit("org/stones", None)
