"""What an admitted checkpoint says about itself, and what makes two checkpoints different."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from auditor.checkpoint import files
from auditor.checkpoint.admit import Admitted, admit
from auditor.checkpoint.files import files_digest
from auditor.errors import ConfigError, UnsafeCheckpoint, UnsupportedModel
from tests.hostile import (
    TEMPLATE,
    adapter,
    config,
    edit_json,
    healthy,
    pickle_payload,
    sharded,
    tensors,
    write_json,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return healthy(tmp_path / "model")


def test_identity_counts_and_hashes_what_is_there(folder: Path) -> None:
    identity = admit(folder).identity
    weights = tensors()
    assert identity.name == "model"
    assert identity.model_type == "llama"
    assert identity.parameters == sum(tensor.size for tensor in weights.values())
    assert identity.stored_dtypes == {"F32": identity.parameters}
    for file in identity.files:
        data = (folder / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [file.path for file in identity.files] == sorted(os.listdir(folder))
    assert identity.config_digest == hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    assert identity.template_digest == hashlib.sha256(TEMPLATE.encode()).hexdigest()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "README.md", "model.safetensors"])
def test_any_changed_byte_changes_the_identity(folder: Path, name: str) -> None:
    before = admit(folder).identity.digest
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] + b" " if name == "README.md" else _one_byte_other(data, name))
    assert admit(folder).identity.digest != before


def _one_byte_other(data: bytes, name: str) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if name.endswith(".safetensors") else data.replace(b": ", b":  ", 1)


def test_a_renamed_file_changes_the_identity_and_the_place_of_the_folder_does_not(folder: Path, tmp_path: Path) -> None:
    before = admit(folder).identity
    moved = folder.rename(tmp_path / "elsewhere")
    assert admit(moved).identity == before.model_copy(update={"name": "elsewhere"})
    (moved / "README.md").rename(moved / "READ.md")
    assert admit(moved).identity.digest != before.digest


def test_fetch_bookkeeping_is_no_part_of_the_identity(folder: Path) -> None:
    before = admit(folder).identity
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "x.metadata").write_text("12:00")
    assert admit(folder).identity == before


def test_digest_depends_on_names_and_contents_together() -> None:
    assert files_digest({"a": "1", "b": "2"}) == files_digest({"b": "2", "a": "1"})
    assert files_digest({"a": "1", "b": "2"}) != files_digest({"a": "2", "b": "1"})


def test_only_known_keys_reach_the_library(folder: Path) -> None:
    edit_json("config.json", vendor=1, _name_or_path="/home/x", auto_map={"AutoConfig": "x.Y"}, rope_theta=5e5)(folder)
    edit_json("tokenizer_config.json", vocab_file="/etc/passwd", init_inputs=["/etc/passwd"], pad_token="<p>")(folder)
    edit_json("special_tokens_map.json", bos_token="<s>", vocab_file="/etc/passwd")(folder)
    edit_json("generation_config.json", eos_token_id=[2, 3], temperature=2.0)(folder)
    admitted = admit(folder)
    assert admitted.config == config(rope_theta=5e5)
    assert admitted.documents == {
        "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "pad_token": "<p>"},
        "special_tokens_map.json": {"bos_token": "<s>"},
        "generation_config.json": {"eos_token_id": [2, 3]},
    }
    assert admitted.chat_template == TEMPLATE


def test_the_parts_of_a_composite_config_are_cleaned_too(folder: Path) -> None:
    text = {key: value for key, value in config(model_type="gemma3_text", vendor=1).items() if key != "architectures"}
    write_json(folder / "config.json", {"model_type": "gemma3", "text_config": text, "vision_config": None})
    admitted = admit(folder)
    assert "vendor" not in admitted.config["text_config"]
    assert admitted.config["text_config"]["hidden_size"] == text["hidden_size"]
    assert any("vendor" in note for note in admitted.identity.notes)


def test_what_single_layers_set_is_cleaned_too(folder: Path) -> None:
    edit_json("config.json", per_layer_config={"1": {"head_dim": 4, "vendor": 1}})(folder)
    assert admit(folder).config["per_layer_config"] == {"1": {"head_dim": 4}}


def test_a_part_of_an_unknown_type_is_refused(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "gemma3", "text_config": config(model_type="own")})
    with pytest.raises(UnsafeCheckpoint, match="text_config.*'own' needs code"):
        admit(folder)


def test_a_checkpoint_without_template_is_admitted_and_says_so(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", {})
    admitted = admit(folder)
    assert (admitted.has_chat_template, admitted.identity.template_digest) == (False, None)


def test_shards_are_loaded_with_their_index(folder: Path) -> None:
    whole = admit(folder).identity
    sharded(folder)
    admitted = admit(folder)
    assert admitted.weight_files == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert (admitted.identity.parameters, admitted.identity.stored_dtypes) == (
        whole.parameters,
        whole.stored_dtypes,
    )
    assert {file.path for file in admitted.identity.files if file.use == "loaded"} >= {
        *admitted.weight_files,
        "model.safetensors.index.json",
    }


def test_an_index_beside_whole_weights_is_not_loaded(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(weights)
    admitted = admit(folder)
    assert admitted.weight_files == ("model.safetensors",)
    assert next(f.use for f in admitted.identity.files if f.path.endswith("index.json")) == "ignored"


def test_name_and_revision_of_the_hub_are_kept(folder: Path) -> None:
    identity = admit(folder, name="org/name", revision="a" * 40).identity
    assert (identity.name, identity.revision) == ("org/name", "a" * 40)


def test_provenance_is_copied(folder: Path) -> None:
    write_json(folder / "auditor_provenance.json", {"source_sha256": "ab", "gguf_version": "1"})
    assert admit(folder).identity.provenance == {"source_sha256": "ab", "gguf_version": "1"}


def test_a_missing_folder_names_the_close_one(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"modle: no such folder \(did you mean model\?\)"):
        admit(folder.parent / "modle")


def test_a_file_is_not_a_folder(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is a file"):
        admit(folder / "config.json")
    (folder / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match="auditor convert"):
        admit(folder / "m.gguf")


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty"):
        admit(tmp_path)


def test_a_folder_named_by_a_link_is_the_real_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    assert admit(tmp_path / "latest").path == folder


def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = os.fstat, []

    def growing(descriptor: int) -> os.stat_result:
        seen.append(descriptor)
        if len(seen) == 2:
            with open(folder / "README.md", "ab") as file:
                file.write(b"more")
        return real(descriptor)

    monkeypatch.setattr(files.os, "fstat", growing)
    with pytest.raises(UnsafeCheckpoint, match="README.md: changed while it was read"):
        admit(folder)


def test_an_adapter_becomes_part_of_the_identity(folder: Path, tmp_path: Path) -> None:
    plain = admit(folder)
    both = admit(folder, adapter=adapter(tmp_path / "lora"))
    assert both.adapter is not None
    assert both.identity.adapter == both.adapter.identity
    assert both.adapter.identity.parameters == 32
    assert both.identity.digest not in (plain.identity.digest, both.adapter.identity.digest)
    other = admit(folder, adapter=adapter(tmp_path / "other", r=3))
    assert other.identity.digest != both.identity.digest
    assert any("adapter lora is applied" in note for note in both.identity.notes)


def test_the_base_that_an_adapter_names_is_not_followed(folder: Path, tmp_path: Path) -> None:
    place = adapter(tmp_path / "lora", base_model_name_or_path="evil/base", revision="x", auto_mapping={"a": "b"})
    admitted = admit(folder, adapter=place).adapter
    assert admitted is not None
    assert admitted.config.keys() == {"peft_type", "task_type", "r", "lora_alpha", "target_modules"}
    assert any("evil/base" in note for note in admitted.identity.notes)


def test_a_pickled_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    place = adapter(tmp_path / "lora")
    (place / "adapter_model.safetensors").unlink()
    (place / "adapter_model.bin").write_bytes(pickle_payload(tmp_path / "canary"))
    with pytest.raises(UnsafeCheckpoint, match="adapter lora: adapter_model.bin"):
        admit(folder, adapter=place)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"peft_type": "PREFIX_TUNING"}, UnsupportedModel, "PREFIX_TUNING"),
        ({"task_type": "SEQ_CLS"}, UnsupportedModel, "SEQ_CLS"),
        ({"layer_replication": [[0, 1]]}, UnsupportedModel, "layer_replication"),
        ({"megatron_config": {"a": 1}}, UnsupportedModel, "megatron_config"),
        ({"init_lora_weights": "pissa"}, UnsupportedModel, "pissa"),
        ({"r": 10**9}, UnsafeCheckpoint, "'r': Input should be less"),
        ({"rank_pattern": {"a": "b"}}, UnsafeCheckpoint, "rank_pattern"),
        ({"target_modules": [{"a": 1}]}, UnsafeCheckpoint, "target_modules"),
        ({"target_modules": 3}, UnsafeCheckpoint, "target_modules"),
        ({"exclude_modules": "x" * 5000}, UnsafeCheckpoint, "exclude_modules"),
        ({"trust_remote_code": True}, UnsafeCheckpoint, "trust_remote_code"),
    ],
)
def test_an_adapter_that_is_not_plain_lora_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        admit(folder, adapter=adapter(tmp_path / "lora", **changes))


def test_an_adapter_given_as_the_model_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--adapter"):
        admit(adapter(tmp_path / "lora"))


def test_a_model_given_as_the_adapter_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="adapter model: the folder has no adapter_config.json"):
        admit(folder, adapter=folder)


def test_an_admitted_checkpoint_travels_as_json(folder: Path, tmp_path: Path) -> None:
    admitted = admit(folder, adapter=adapter(tmp_path / "lora"))
    travelling = TypeAdapter(Admitted)
    assert travelling.validate_json(json.dumps(travelling.dump_python(admitted, mode="json"))) == admitted


def test_admitting_starts_neither_torch_nor_transformers(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from auditor.checkpoint.admit import admit; "
        "admit(Path(sys.argv[1])); "
        "import auditor.checkpoint.stage, auditor.checkpoint.resolve, auditor.checkpoint.convert; "
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
