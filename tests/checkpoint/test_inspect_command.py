"""`auditor inspect` and `auditor convert` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli.convert import convert
from auditor.cli.inspect import inspect
from auditor.errors import ConfigError, UnsafeCheckpoint
from tests.hostile import cut_short, healthy, pickle_and_code_beside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return healthy(tmp_path / "model")


def test_inspect_says_what_is_there(folder: Path) -> None:
    pickle_and_code_beside(folder)
    shown = CliRunner().invoke(inspect, [str(folder)], catch_exceptions=False).output
    for said in (
        "safe to load",
        "llama",
        "1,256 (F32 1,256)",
        "model.safetensors",
        "hashed only",
        "never opened",
    ):
        assert said in shown, said


def test_inspect_says_that_there_is_no_template(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    assert "none: prompts are given as plain text" in CliRunner().invoke(inspect, [str(folder)]).output


def test_inspect_as_json_holds_whole_hashes(folder: Path) -> None:
    shown = json.loads(CliRunner().invoke(inspect, [str(folder), "--json"], catch_exceptions=False).output)
    assert shown["safe_to_load"] is True
    assert {len(file["sha256"]) for file in shown["files"]} == {64}


def test_inspect_refuses_in_words_and_in_json(folder: Path) -> None:
    cut_short(folder)
    outcome = CliRunner().invoke(inspect, [str(folder), "--json"])
    assert isinstance(outcome.exception, UnsafeCheckpoint)
    shown = json.loads(outcome.output)
    assert shown["safe_to_load"] is False
    assert "model.safetensors: is truncated" in shown["reason"]
    assert CliRunner().invoke(inspect, [str(folder)]).output == ""


def test_inspect_of_nothing_is_a_usage_error(tmp_path: Path) -> None:
    assert isinstance(CliRunner().invoke(inspect, [str(tmp_path / "none")]).exception, ConfigError)


def test_convert_of_nothing_is_a_usage_error(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(convert, [str(tmp_path / "none.gguf"), str(tmp_path / "out")])
    assert isinstance(outcome.exception, ConfigError)
    assert not (tmp_path / "out").exists()
