"""Every folder of the corpus is refused by the right error naming the right file; its twin is admitted."""

from __future__ import annotations

import builtins
import pickle  # noqa: TID251, to show that the payloads are live
import socket
import subprocess
from pathlib import Path

import pytest

from auditor.checkpoint.admit import admit
from tests.hostile import (
    ACCEPTED,
    CANARY,
    REFUSED,
    Accepted,
    Refused,
    healthy,
    pickle_and_code_beside,
    pickle_payload,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return healthy(tmp_path / "model")


@pytest.fixture
def nothing_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs code, starts a process or opens a connection fails the test."""
    admit(folder)  # imports of the first time use exec

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("code of the checkpoint could have run")

    for owner, name in (
        (builtins, "exec"),
        (builtins, "eval"),
        (subprocess.Popen, "__init__"),
        (socket, "socket"),
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
    ):
        monkeypatch.setattr(owner, name, refuse)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_hostile_folder_is_refused_by_name(case: Refused, folder: Path, nothing_runs: None) -> None:
    case.spoil(folder)
    with pytest.raises(case.error) as refused:
        admit(folder)
    assert type(refused.value) is case.error
    assert case.names in str(refused.value)
    assert str(refused.value).startswith("model: ")
    assert "\n" not in str(refused.value)
    assert str(folder.parent) not in str(refused.value)
    assert not (folder.parent / CANARY).exists()


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_an_ordinary_folder_is_admitted_and_what_is_odd_is_noted(
    case: Accepted, folder: Path, nothing_runs: None
) -> None:
    case.change(folder)
    notes = admit(folder).identity.notes
    assert [case.note in note for note in notes] == ([True] if case.note else [])
    assert not (folder.parent / CANARY).exists()


def test_pickle_and_code_are_hashed_and_said_to_be_unopened(folder: Path) -> None:
    pickle_and_code_beside(folder)
    use = {file.path: file.use for file in admit(folder).identity.files}
    assert use["pytorch_model.bin"] == use["modeling_custom.py"] == "hashed_only"
    assert use["README.md"] == "ignored"
    assert use["model.safetensors"] == use["config.json"] == use["tokenizer.json"] == "loaded"


def test_the_payload_of_the_corpus_is_live(tmp_path: Path) -> None:
    pickle.loads(pickle_payload(tmp_path / CANARY))
    assert (tmp_path / CANARY).exists()


def test_refusals_end_with_the_documented_codes() -> None:
    codes = {case.name: case.error.exit_code for case in REFUSED}
    assert codes["weights only as pickle"] == codes["truncated weights"] == codes["model type only as code"] == 4
    assert codes["quantised"] == codes["no config"] == 2
