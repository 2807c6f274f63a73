"""The published schemas are those of this version, and a run folder keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.report.corpus import hostile_record
from tests.runfolder import build_run
from tools.make_schemas import DOCS, schemas


def validator(name: str) -> Draft202012Validator:
    schema: dict[str, Any] = json.loads((DOCS / name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", schemas())
def test_the_published_schema_is_the_one_of_this_version(name: str) -> None:
    stale = "stale: run python -m tools.make_schemas"
    assert json.loads((DOCS / name).read_text(encoding="utf-8")) == schemas()[name], stale


def test_a_record_keeps_the_schema_and_one_with_an_unknown_part_does_not(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    keeps = validator("audit.schema.json")
    document = folder.read_json("audit.json")
    keeps.validate(document)
    keeps.validate(hostile_record().model_dump(mode="json"))
    assert not keeps.is_valid(document | {"verdicts": "pass"})
    assert not keeps.is_valid(document | {"verdict": "safe"})


def test_every_item_keeps_the_schema_and_one_without_a_group_does_not(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run")
    keeps = validator("items.schema.json")
    rows = [row for probe in ("truth_probe", "refusal_behaviour") for row in folder.read_items(probe)]
    assert len(rows) > 100
    for row in rows:
        keeps.validate(row)
    assert not keeps.is_valid({key: value for key, value in rows[0].items() if key != "group"})
    assert not keeps.is_valid(rows[0] | {"answer": "one too many"})


def test_a_field_is_described_in_the_words_of_the_code() -> None:
    environment = schemas()["audit.schema.json"]["$defs"]["Environment"]["properties"]
    assert environment["config_file"]["description"].startswith("the config file that was given")
