"""One changed byte in any file of a finished run folder: `auditor verify` fails and names the file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from auditor.bundle import RunFolder
from auditor.cli import main
from auditor.findings.files import read_seals
from auditor.findings.record import load
from tests.runfolder import build_run

FILES = (
    "audit.json",
    "directions.safetensors",
    "draws.safetensors",
    "items/refusal_behaviour.jsonl",
    "items/truth_probe.jsonl",
    "log.jsonl",
    "manifest.json",
    "plan.json",
    "rendered.json",
    "report.html",
    "report.pdf",
    "run.json",
    "units/answers.json",
    "units/ended.json",
    "worker.log",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every kind of file that a run leaves."""
    folder = build_run(tmp_path_factory.mktemp("flips") / "run", per_class=6, domains=("cities",))
    record = load(folder.path).model_dump(mode="json")
    folder.write_json("run.json", {"code": {}, **{part: record[part] for part in ("config", "checkpoint")}})
    folder.write_json("plan.json", record["plan"])
    folder.write_json("units/ended.json", {"error": None, "kind": None})
    folder.write_json("units/answers.json", {"value": [1, 2]})
    folder.write_bytes("worker.log", b"a warning\n")
    folder.write_manifest()
    folder.write_bytes("report.html", b"<p>report</p>")
    folder.write_bytes("report.pdf", b"%PDF-1.7 report")
    folder.write_rendered([folder.path / "report.html", folder.path / "report.pdf"])
    return folder.path


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def verify(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and output of the command."""
    monkeypatch.setattr(sys, "argv", ["auditor", "verify", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().out


def test_the_files_of_this_test_are_all_there_are_and_they_agree(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert there == sorted(FILES)
    code, told = verify(folder, monkeypatch, capsys)
    assert code == 0
    assert told.startswith("checked 9 files, 4 work files, ")
    assert "not checked" not in told


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.37, 0.999])
def test_a_flipped_byte_is_found_and_its_file_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, place: float
) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / name).write_bytes(data)
    code, told = verify(folder, monkeypatch, capsys)
    assert code == 1
    assert any(line.startswith(f"{name}: ") or name in line.split(": ", 1)[1] for line in told.splitlines()[1:])


@pytest.mark.parametrize("name", ["manifest.json", "rendered.json"])
def test_no_byte_of_a_list_can_be_changed_unseen(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    unseen = []
    for place, byte in enumerate(data):
        other = {0x20: 0x0A, 0x0A: 0x20}.get(byte, byte ^ 1)  # blanks become other blanks, which JSON does not mind
        (folder / name).write_bytes(data[:place] + bytes([other]) + data[place + 1 :])
        if not any(name in problem for problem in read_seals(RunFolder(folder)).problems):
            unseen.append((place, other))
    assert unseen == []


@pytest.mark.parametrize("name", ["units/answers.json", "units/ended.json", "log.jsonl", "worker.log"])
def test_work_may_be_removed_but_not_added_to(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert read_seals(RunFolder(folder)).problems == []
    (folder / "units/more.json").write_text("{}")
    assert read_seals(RunFolder(folder)).problems == ["units/more.json: not listed in manifest.json"]


def test_a_report_that_no_list_names_is_a_problem(folder: Path) -> None:
    (folder / "rendered.json").unlink()
    assert read_seals(RunFolder(folder)).problems == [
        "report.html: not listed in rendered.json",
        "report.pdf: not listed in rendered.json",
    ]


def test_a_file_that_no_list_names_is_said_and_its_name_is_harmless(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "\x1b[31mnotes.txt").write_text("mine")
    code, told = verify(folder, monkeypatch, capsys)
    assert code == 0
    assert "not checked, because no list names them: ⟨ESC⟩[31mnotes.txt\n" in told
