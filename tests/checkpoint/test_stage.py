"""The library finds only what was admitted, and a file that changed since is noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.checkpoint.admit import admit
from auditor.checkpoint.stage import recheck, stage
from auditor.errors import UnsafeCheckpoint
from tests.hostile import TEMPLATE, adapter, edit_json, healthy, pickle_and_code_beside, sharded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return healthy(tmp_path / "model")


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b" ")


def rewrite(path: Path) -> None:
    """Same size, and the time put back."""
    before = path.stat()
    data = path.read_bytes()
    path.write_bytes(data.replace(b": ", b" :", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_nothing_but_admitted_files_is_staged(folder: Path, tmp_path: Path) -> None:
    pickle_and_code_beside(folder)
    edit_json("config.json", vendor=1)(folder)
    admitted = admit(folder)
    staged = stage(admitted, tmp_path / "staged")
    assert sorted(os.listdir(staged)) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((staged / "config.json").read_text()) == admitted.config
    assert json.loads((staged / "tokenizer_config.json").read_text()) == {"tokenizer_class": "LlamaTokenizer"}
    assert (staged / "chat_template.jinja").read_text() == TEMPLATE
    assert (staged / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (staged / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_shards_are_staged_with_their_index(folder: Path, tmp_path: Path) -> None:
    sharded(folder)
    staged = stage(admit(folder), tmp_path / "staged")
    assert len(list(staged.glob("*.safetensors"))) == 2
    assert (staged / "model.safetensors.index.json").exists()


def test_an_adapter_is_staged_without_its_base(folder: Path, tmp_path: Path) -> None:
    admitted = admit(folder, adapter=adapter(tmp_path / "lora", base_model_name_or_path="evil/base"))
    assert admitted.adapter is not None
    staged = stage(admitted.adapter, tmp_path / "staged")
    assert sorted(os.listdir(staged)) == ["adapter_config.json", "adapter_model.safetensors"]
    assert "evil" not in (staged / "adapter_config.json").read_text()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_changed_is_not_staged(folder: Path, tmp_path: Path, name: str) -> None:
    admitted = admit(folder)
    grow(folder / name)
    with pytest.raises(UnsafeCheckpoint, match=f"{name}: changed after it was admitted"):
        stage(admitted, tmp_path / "staged")


def test_a_tokenizer_that_changed_unseen_is_not_staged(folder: Path, tmp_path: Path) -> None:
    admitted = admit(folder)
    rewrite(folder / "tokenizer.json")
    with pytest.raises(UnsafeCheckpoint, match="tokenizer.json: changed"):
        stage(admitted, tmp_path / "staged")


def test_a_weight_file_swapped_for_a_link_is_not_staged(folder: Path, tmp_path: Path) -> None:
    admitted = admit(folder)
    (folder / "model.safetensors").rename(tmp_path / "kept")
    (folder / "model.safetensors").symlink_to(tmp_path / "kept")
    with pytest.raises(UnsafeCheckpoint, match="model.safetensors: changed"):
        stage(admitted, tmp_path / "staged")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (grow, "README.md"),
        (grow, "model.safetensors"),
        (rewrite, "config.json"),
        (Path.unlink, "README.md"),
    ],
)
def test_recheck_names_the_file_that_changed(folder: Path, change: Callable[[Path], None], name: str) -> None:
    admitted = admit(folder)
    recheck(admitted)
    change(folder / name)
    with pytest.raises(UnsafeCheckpoint, match=name):
        recheck(admitted)


def test_recheck_looks_at_the_adapter_too(folder: Path, tmp_path: Path) -> None:
    admitted = admit(folder, adapter=adapter(tmp_path / "lora"))
    grow(tmp_path / "lora" / "adapter_config.json")
    with pytest.raises(UnsafeCheckpoint, match="adapter_config.json"):
        recheck(admitted)
