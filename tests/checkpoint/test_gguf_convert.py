"""A GGUF file becomes a whole safetensors folder, or nothing; what does not fit the file is refused before a
library.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from auditor.bundle import sha256_file
from auditor.checkpoint import convert
from auditor.checkpoint.admit import admit
from auditor.checkpoint.convert import convert_gguf
from auditor.checkpoint.convert_worker import saved_dtype
from auditor.checkpoint.gguf_check import check_gguf
from auditor.errors import ConfigError, OutputError, UnsafeCheckpoint, UnsupportedModel
from tests.checkpoint.tiny_gguf import TEMPLATE, gguf_bytes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_bytes())
    return path


def start(tensors: int = 0, pairs: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def test_a_conversion_is_admitted_and_says_where_it_came_from(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "tiny"
    convert_gguf(file, out)
    admitted = admit(out)
    identity = admitted.identity
    assert (identity.name, identity.model_type) == ("tiny", "llama")
    assert set(identity.stored_dtypes) == {"BF16"}
    assert identity.provenance["source_file"] == "tiny.gguf"
    assert identity.provenance["source_sha256"] == sha256_file(file)
    assert identity.provenance["transformers_version"]
    assert str(identity.provenance["source_storage"]).startswith("Q4_0 ")
    assert admitted.chat_template == TEMPLATE
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    assert os.listdir(tmp_path / "models") == ["tiny"]
    reader = gguf.GGUFReader(file)
    stored = next(tensor for tensor in reader.tensors if tensor.name == "blk.0.ffn_up.weight")
    expected = gguf.dequantize(stored.data, stored.tensor_type)
    written = _bfloat16(out / "model.safetensors", "model.layers.0.mlp.up_proj.weight")
    np.testing.assert_allclose(written, expected, rtol=2**-8)


def _bfloat16(path: Path, name: str) -> np.ndarray[Any, Any]:
    """NumPy has no bfloat16: it is the upper half of a float32."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8 : 8 + length])[name]
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    upper = np.frombuffer(raw[begin:end], "<u2").astype(np.uint32) << 16
    return upper.view(np.float32).reshape(entry["shape"])


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        ({"Q4_1": 9, "F32": 1}, "bfloat16"),
        ({"Q8_0": 9}, "bfloat16"),
        ({"F16": 9, "F32": 1}, "float16"),
        ({"F32": 9}, "float32"),
    ],
)
def test_what_is_stored_finely_is_saved_finely(stored: dict[str, int], dtype: str) -> None:
    assert saved_dtype(Counter(stored)) == dtype


def test_the_header_of_a_sound_file_is_counted(file: Path) -> None:
    stored = check_gguf(file)
    assert set(stored) == {"Q4_0", "F32"}
    assert stored["F32"] == 3 * 32


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GG", "too short"),
        (b"PK\x03\x04" + bytes(40), "does not begin as a GGUF file"),
        (start(version=1), "version 1"),
        (start(tensors=2**60), "1,152,921,504,606,846,976 tensors"),
        (start(pairs=2**63), "settings"),
        (start(pairs=1) + struct.pack("<Q", 2**62), "a name of"),
        (start(pairs=1) + text(b"k") + struct.pack("<IIQ", 9, 4, 2**60), "truncated"),
        (start(pairs=1) + text(b"k") + struct.pack("<IIQ", 9, 8, 2**60), "array that does not fit"),
        (start(pairs=1) + text(b"k") + struct.pack("<IIQ", 9, 9, 3), "array that does not fit"),
        (start(pairs=1) + text(b"k") + struct.pack("<I", 77), "unknown type"),
        (start(pairs=1) + text(b"general.alignment") + struct.pack("<II", 4, 0), "alignment"),
        (start(tensors=1) + text(b"t") + struct.pack("<I", 99), "99 dimensions"),
        (start(tensors=1) + text(b"t") + struct.pack("<IQIQ", 1, 32, 999, 0), "unknown storage type"),
        (start(tensors=1) + text(b"t") + struct.pack("<IQIQ", 1, 33, 2, 0), "does not fill its blocks"),
        (start(tensors=1) + text(b"t") + struct.pack("<IQIQ", 1, 2**40, 0, 0), "truncated"),
        (start(tensors=1) + text(b"t") + struct.pack("<IQQIQ", 2, 2**63, 2**63, 0, 0), "truncated"),
        (start(tensors=2) + (text(b"t") + struct.pack("<IIQ", 0, 24, 0)) * 2 + bytes(99), "twice"),
    ],
)
def test_a_file_that_lies_is_refused_before_any_library_reads_it(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "evil.gguf"
    path.write_bytes(content)
    with pytest.raises(UnsafeCheckpoint, match=said) as refused:
        check_gguf(path)
    assert str(refused.value).startswith("evil.gguf: ")


def test_a_truncated_file_is_refused_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    file.write_bytes(gguf_bytes()[:-200])
    with pytest.raises(UnsafeCheckpoint, match="tiny.gguf: is truncated"):
        convert_gguf(file, tmp_path / "out")
    assert os.listdir(tmp_path) == ["tiny.gguf"]


def test_what_the_library_cannot_convert_is_said_in_its_words(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = b"Traceback\nValueError: GGUF model with architecture own is not supported yet.\x1b[0m\n"
    failed = subprocess.CompletedProcess([], 1, b"", words)
    monkeypatch.setattr(convert.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        UnsupportedModel, match="tiny.gguf: transformers could not convert it: .*architecture own"
    ) as error:
        convert_gguf(file, tmp_path / "out")
    assert str(error.value).isprintable()
    assert os.listdir(tmp_path) == ["tiny.gguf"]


def test_the_time_limit_fires(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsafeCheckpoint, match="took more than"):
        convert_gguf(file, tmp_path / "out", seconds=0.05)
    assert os.listdir(tmp_path) == ["tiny.gguf"]


def test_the_memory_limit_fires(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "BASE_MEMORY", 40 * 2**20)
    with pytest.raises(UnsafeCheckpoint, match="tiny.gguf: converting needs more memory"):
        convert_gguf(file, tmp_path / "out")
    assert os.listdir(tmp_path) == ["tiny.gguf"]


def test_the_process_inherits_no_secret(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    given: dict[str, Any] = {}

    def record(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        given.update(options, command=command)
        return subprocess.CompletedProcess(command, -9, b"", b"")

    monkeypatch.setattr(convert.subprocess, "run", record)
    with pytest.raises(UnsafeCheckpoint, match="signal 9"):
        convert_gguf(file, tmp_path / "out")
    assert not {"HF_TOKEN", "HTTPS_PROXY"} & given["env"].keys()
    assert given["env"]["HF_HUB_OFFLINE"] == "1"
    assert given["env"]["HOME"] != os.environ.get("HOME")


def test_bad_arguments_are_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        convert_gguf(tmp_path / "none.gguf", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    for taken in ("full", "tiny.gguf"):
        with pytest.raises(OutputError, match=f"{taken}: exists"):
            convert_gguf(file, tmp_path / taken)
    assert (tmp_path / "full" / "x").read_text() == "mine"
