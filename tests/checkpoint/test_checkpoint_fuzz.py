"""Whatever stands in a folder, admitting it ends in an answer or in an error that the user can act on."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from auditor.checkpoint.adapter import read_adapter
from auditor.checkpoint.admit import admit
from auditor.checkpoint.files import ReadFile, read_folder
from auditor.checkpoint.gguf_check import check_gguf
from auditor.checkpoint.model_config import clean_config
from auditor.checkpoint.strict_json import parse_object, quoted
from auditor.checkpoint.template import check_template
from auditor.checkpoint.tokenizer import clean_tokenizer
from auditor.checkpoint.weights import find_weights, read_header
from auditor.errors import AuditorError, UnsafeCheckpoint
from tests.checkpoint.tiny_gguf import gguf_bytes
from tests.hostile import adapter, config, healthy, sharded, tensors

FUZZ = settings(max_examples=60, deadline=None, derandomize=True)
KEYS = [
    "model_type",
    "auto_map",
    "hidden_size",
    "vocab_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "dtype",
    "torch_dtype",
    "text_config",
    "rope_scaling",
    "rope_parameters",
    "quantization_config",
    "_name_or_path",
    "_attn_implementation",
    "attn_implementation",
    "trust_remote_code",
    "kernels",
    "per_layer_config",
    "tokenizer_class",
    "architectures",
    "label2id",
    "chat_template",
    "added_tokens_decoder",
    "eos_token_id",
    "vocab_file",
    "weight_map",
    "metadata",
    "__metadata__",
    "peft_type",
    "r",
    "target_modules",
    "rank_pattern",
    "init_lora_weights",
    "name",
    "template",
]
keys = st.sampled_from(KEYS) | st.text(max_size=6)
words = st.sampled_from(["llama", "gemma3", "gpt2", "evil/kernels", "sdpa", "float32", "../x", "LORA", ""])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(keys, trees, max_size=6)


def in_memory(name: str, content: bytes) -> ReadFile:
    return ReadFile(name, len(content), 0, "", content, content[-22:])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReadFile]:
    return read_folder(healthy(tmp_path_factory.mktemp("fuzz") / "model"))


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReadFile]:
    return read_folder(adapter(tmp_path_factory.mktemp("fuzz") / "lora"))


def message(judge: Any, *arguments: Any) -> str:
    """What the user is told, nothing when it was accepted; every error but the user's own fails the test."""
    try:
        judge(*arguments)
    except AuditorError as error:
        return str(error)
    return ""


def survives(judge: Any, *arguments: Any) -> bool:
    """Whether it was accepted; a refusal must be printable as it stands."""
    said = message(judge, *arguments)
    assert said.isprintable()
    return not said


@FUZZ
@given(changes=objects)
def test_any_config_is_judged(files: dict[str, ReadFile], changes: dict[str, Any]) -> None:
    weights = find_weights(files)
    assert message(
        lambda: clean_config(parse_object(json.dumps({**config(), **changes}).encode(), "config.json"), weights)
    ).isprintable()


@FUZZ
@given(
    tree=objects,
    name=st.sampled_from(["tokenizer_config", "special_tokens_map", "generation_config", "tokenizer"]),
)
def test_any_steering_file_is_judged(files: dict[str, ReadFile], tree: dict[str, Any], name: str) -> None:
    changed = {**files, f"{name}.json": in_memory(f"{name}.json", json.dumps(tree).encode())}
    assert message(clean_tokenizer, changed).isprintable()


@FUZZ
@given(tree=objects)
def test_any_adapter_config_is_judged(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    found = read_folder(adapter(tmp_path_factory.mktemp("fuzz") / "lora"))
    settings_file = {"peft_type": "LORA", **tree}
    assert message(
        read_adapter, {**found, "adapter_config.json": in_memory("a", json.dumps(settings_file).encode())}
    ).isprintable()


@FUZZ
@given(tree=objects, extra=st.dictionaries(st.text(max_size=4), scalars, max_size=3))
def test_any_index_is_judged(files: dict[str, ReadFile], tree: dict[str, Any], extra: dict[str, Any]) -> None:
    index = in_memory("i", json.dumps({**tree, "weight_map": extra or tree}).encode())
    without = {name: file for name, file in files.items() if name != "model.safetensors"}
    assert message(find_weights, {**without, "model.safetensors.index.json": index}).isprintable()


@FUZZ
@given(content=st.binary(max_size=200))
def test_random_bytes_are_no_weights(content: bytes) -> None:
    assert not survives(read_header, in_memory("model.safetensors", content))


@FUZZ
@given(tree=objects, size=st.integers(0, 64))
def test_any_header_is_judged(tree: dict[str, Any], size: int) -> None:
    text = json.dumps(tree).encode()
    assert message(read_header, in_memory("w", len(text).to_bytes(8, "little") + text + bytes(size))).isprintable()


@FUZZ
@given(data=st.data())
def test_a_changed_header_is_refused_or_describes_the_same_bytes(data: st.DataObject) -> None:
    content = bytearray(save(tensors()))
    length = int.from_bytes(content[:8], "little")
    content[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    file = in_memory("w", bytes(content))
    if survives(read_header, file):
        header = read_header(file)
        used = int.from_bytes(content[:8], "little") + 8 + max(tensor.end for tensor in header.values())
        assert used == len(content)


@FUZZ
@given(cut=st.integers(0, 7000))
def test_weights_cut_anywhere_are_refused(cut: int) -> None:
    whole = save(tensors())
    assert survives(read_header, in_memory("w", whole))
    with pytest.raises(UnsafeCheckpoint, match="w: is truncated"):
        read_header(in_memory("w", whole[: min(cut, len(whole) - 1)]))


@FUZZ
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_json_or_refused(content: bytes) -> None:
    assert message(parse_object, content, "x.json").isprintable()


@FUZZ
@given(tree=objects.filter(lambda tree: "NaN" not in repr(tree)))
def test_json_is_read_as_python_reads_it(tree: dict[str, Any]) -> None:
    text = json.dumps(tree).encode()
    if survives(parse_object, text, "x.json") and b"Infinity" not in text:
        assert parse_object(text, "x.json") == json.loads(text)


PIECES = (
    "{{",
    "}}",
    "{%",
    "%}",
    "for",
    "in",
    "if",
    "endfor",
    "endif",
    "messages",
    ".",
    "[",
    "]",
    "'",
    "|",
    "a",
    "(",
    ")",
)


@FUZZ
@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20))
def test_any_template_is_judged(pieces: list[str]) -> None:
    assert message(check_template, " ".join(pieces), "template").isprintable()


@FUZZ
@given(data=st.data())
def test_any_changed_gguf_is_judged(data: st.DataObject) -> None:
    content = bytearray(gguf_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        survives(check_gguf, path)


@given(text=st.text())
def test_quoted_text_is_one_short_visible_line(text: str) -> None:
    assert quoted(text).isprintable()
    assert quoted(text).isascii()
    assert len(quoted(text)) <= 80


def test_a_refusal_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = healthy(tmp_path / "model", model_type="own")
    sharded(folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UnsafeCheckpoint):
        admit(folder)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
