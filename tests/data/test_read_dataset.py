from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from auditor.canonical import sha256_hex
from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.errors import ConfigError
from auditor.findings.record import DatasetIdentity

GOOD = {"id": "a", "prompt": "Is it?", "label": True, "group": "g"}


def shipped(folder: Path, *lines: object, **changes: object) -> Path:
    """A data set file with its card; a line is a value or raw text."""
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    path = folder / "mine.jsonl"
    path.write_text(text, encoding="utf-8")
    card = {
        "name": "mine",
        "about": "test",
        "origin": "here",
        "licence": "Apache-2.0",
        "language": "en",
        "class_names": ["no", "yes"],
        "sha256": sha256_hex(text.encode()),
    } | changes
    (folder / "mine.card.yaml").write_text(yaml.safe_dump(card))
    return path


def test_reads_examples_in_order_with_the_card(tmp_path: Path) -> None:
    second = GOOD | {"id": "b", "label": False, "completion": "no\u2028pe", "chat": True, "kind": "k"}
    data = read(shipped(tmp_path, GOOD, second))
    assert data.examples == (
        Example(id="a", prompt="Is it?", label=True, group="g"),
        Example(id="b", prompt="Is it?", label=False, group="g", completion="no\u2028pe", chat=True, kind="k"),
    )
    assert (data.name, data.class_names, data.language) == ("mine", ("no", "yes"), "en")
    assert data.sha256 == data.card["sha256"] == sha256_hex((tmp_path / "mine.jsonl").read_bytes())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[1]", "one JSON object"),
        (GOOD | {"id": "b", "lable": True}, "unknown field 'lable'; did you mean 'label'"),
        ({k: v for k, v in GOOD.items() if k != "label"} | {"id": "b"}, "the field 'label' is needed"),
        (GOOD | {"id": "b", "label": 1}, "label must be true or false, not 1"),
        (GOOD | {"id": "b", "label": "true"}, 'label must be true or false, not "true"'),
        (GOOD | {"id": 3}, "id must be text, not 3"),
        (GOOD | {"id": "b", "kind": None}, "kind must be text, not null"),
        (GOOD | {"id": "b", "group": " "}, "the group is empty"),
        (GOOD | {"id": "b", "prompt": ""}, "the text is empty"),
        (GOOD, "the id 'a' was used on line 1"),
    ],
)
def test_refuses_a_broken_example_by_line(tmp_path: Path, line: object, complaint: str) -> None:
    path = shipped(tmp_path, GOOD, line)
    with pytest.raises(ConfigError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert complaint in str(error.value)


def test_refuses_a_file_that_the_card_does_not_describe(tmp_path: Path) -> None:
    path = shipped(tmp_path, GOOD)
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(ConfigError, match=r"mine\.jsonl: is not the file that mine\.card\.yaml describes"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"licence": None}, "licence: must be text"),
        ({"extra": 1}, "extra: unknown key"),
        ({"name": "other"}, "the card is of 'other'"),
        ({"class_names": ["no"]}, "class_names"),
    ],
)
def test_refuses_a_broken_card(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    path = shipped(tmp_path, GOOD, **changes)
    with pytest.raises(ConfigError, match=r"mine\.card\.yaml") as error:
        read(path)
    assert complaint in str(error.value)


def test_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.card\.yaml: no such file"):
        read(tmp_path / "gone.jsonl")
    path = shipped(tmp_path, GOOD)
    path.unlink()
    with pytest.raises(ConfigError, match=r"mine\.jsonl: cannot be read"):
        read(path)


def test_refuses_an_empty_file_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no examples"):
        read(shipped(tmp_path))
    raw = json.dumps(GOOD | {"prompt": "é"}, ensure_ascii=False).encode("latin-1")
    path = shipped(tmp_path, GOOD, sha256=sha256_hex(raw))
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(path)


def test_the_identity_of_a_data_set_holds_its_card_in_plain_entries() -> None:
    data = Dataset(
        "facts",
        (),
        ("false", "true"),
        "en",
        "0" * 64,
        {"licence": "x", "text_auroc": {"a": {"words": 0.5}}, "names": ("b", "c")},
    )
    card = DatasetIdentity.of(data).card
    assert card == {"licence": "x", "text_auroc: a: words": 0.5, "names": "b, c"}
