from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.bundle import RunFolder, write_atomic
from auditor.canonical import canonical_json, parse_json, readable_json, sha256_file, sha256_hex
from auditor.errors import IncompleteRun, OutputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def names(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def events(folder: RunFolder) -> list[str]:
    return [row["event"] for row in folder.read_rows("log.jsonl")]


# canonical bytes


@given(JSON)
def test_canonical_json_holds_every_json_value_exactly(value: object) -> None:
    assert parse_json(canonical_json(value)) == value
    assert parse_json(readable_json(value)) == value


def test_equal_values_have_equal_bytes_and_others_do_not() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None]}) == canonical_json({"a": (1.5, None), "b": 1})
    assert canonical_json({"a": 1}) != canonical_json({"a": 2})


def test_a_lone_surrogate_in_model_output_survives() -> None:
    assert parse_json(canonical_json({"answer": "half \ud83d"})) == {"answer": "half \ud83d"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_not_a_number(folder: RunFolder, bad: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": bad})
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("audit.json", {"x": bad})
    assert not (folder.path / "audit.json").exists()


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b'{"x": -Infinity}', b"1e999"])
def test_reading_refuses_what_is_not_a_number(text: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON|finite"):
        parse_json(text)


def test_a_file_has_the_hash_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == sha256_hex(b"abc")
    assert sha256_hex(b"abc").startswith("ba7816bf")


# atomic writes


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (errno.ENOSPC, IncompleteRun, "disk full.*finished units are kept.*--resume"),
        (errno.EDQUOT, IncompleteRun, "disk full"),
        (errno.EROFS, OutputError, "cannot be written.*another folder"),
        (errno.EACCES, OutputError, "cannot be written"),
        (errno.EIO, OutputError, "x.json"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, error: type[Exception], says: str
) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, b"old")

    def refuse(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(error, match=says):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.json"]


def test_an_interrupt_while_writing_leaves_nothing_and_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", b"new")
    assert names(tmp_path) == []


def test_a_kill_while_writing_leaves_the_old_file_and_resume_clears_up(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_json("plan.json", {"x": "old"})
    script = (
        "import os, signal, sys; from pathlib import Path; from auditor import bundle\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "bundle.RunFolder(Path(sys.argv[1])).write_json('plan.json', {'x': 'new'})\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(folder.path)], check=False, cwd=Path.cwd())
    assert ended.returncode == -signal.SIGKILL
    assert folder.read_json("plan.json") == {"x": "old"}
    assert len(names(folder.path)) == 3
    RunFolder.create(folder.path, resume=True)
    assert names(folder.path) == ["log.jsonl", "plan.json"]


# the folder


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a" / "b")
    assert (folder.path / "units").is_dir()
    assert events(folder) == ["created"]


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    assert events(RunFolder.create(tmp_path)) == ["created"]


def test_a_folder_that_holds_something_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty; add --resume.*--out") as refused:
        RunFolder.create(tmp_path)
    assert refused.value.exit_code == 2
    assert names(tmp_path) == ["thesis.txt"]


def test_resume_opens_a_run_and_changes_nothing_in_it_yet(tmp_path: Path) -> None:
    RunFolder.create(tmp_path).write_json("plan.json", {"seed": 1})
    resumed = RunFolder.create(tmp_path, resume=True)
    assert resumed.read_json("plan.json") == {"seed": 1}
    assert events(resumed) == ["created"]


@pytest.mark.parametrize("content", [None, "", "thesis.txt"])
def test_resume_refuses_what_is_not_a_run(tmp_path: Path, content: str | None) -> None:
    place = tmp_path / "out"
    if content is not None:
        place.mkdir()
    if content:
        (place / content).write_text("mine")
    with pytest.raises(OutputError, match="no run to resume"):
        RunFolder.create(place, resume=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        RunFolder.create(tmp_path / "out")


def test_a_read_only_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="cannot be written.*Read-only") as refused:
        RunFolder.create(tmp_path / "out")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/../../b", "", "c:x", "a\\b"])
def test_no_name_leads_out_of_the_folder(folder: RunFolder, name: str) -> None:
    with pytest.raises(OutputError, match="not a name inside"):
        folder.write_json(name, {})


def test_json_is_readable_and_the_same_for_the_same_value(folder: RunFolder) -> None:
    folder.write_json("a.json", {"b": 1, "a": "é"})
    assert (folder.path / "a.json").read_text("utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    assert folder.read_json("a.json") == {"a": "é", "b": 1}


def test_a_missing_file_is_an_incomplete_run_and_a_broken_one_is_named(folder: RunFolder) -> None:
    with pytest.raises(IncompleteRun, match="audit.json: missing"):
        folder.read_json("audit.json")
    (folder.path / "audit.json").write_text("{")
    with pytest.raises(OutputError, match="audit.json: not valid JSON"):
        folder.read_json("audit.json")


def test_items_come_back_in_order(folder: RunFolder) -> None:
    rows = [{"id": "b", "values": {"x": 0.1, "y": None}}, {"id": "a", "answer": "line\u2028two\r\n"}]
    folder.write_items("truth_probe", rows)
    assert folder.read_items("truth_probe") == rows
    assert len((folder.path / "items/truth_probe.jsonl").read_bytes().split(b"\n")) == 3


@pytest.mark.parametrize("line", ["{", "[1]", '{"x": NaN}'])
def test_a_broken_item_is_named_by_line(folder: RunFolder, line: str) -> None:
    folder.write_items("p", [{"id": "a"}])
    with (folder.path / "items/p.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(OutputError, match="p.jsonl: line 2"):
        folder.read_items("p")


def test_tensors_come_back_and_have_the_same_bytes(folder: RunFolder) -> None:
    square = np.arange(6.0).reshape(2, 3)
    tensors = {"turned": square.T, "half": np.float32([1.5]), "none": np.zeros(0)}
    folder.write_tensors("draws.safetensors", tensors)
    first = (folder.path / "draws.safetensors").read_bytes()
    folder.write_tensors("draws.safetensors", dict(reversed(tensors.items())))
    assert (folder.path / "draws.safetensors").read_bytes() == first
    back = folder.read_tensors("draws.safetensors")
    assert sorted(back) == ["half", "none", "turned"]
    np.testing.assert_array_equal(back["turned"], square.T)


def test_a_broken_tensor_file_is_named(folder: RunFolder) -> None:
    (folder.path / "draws.safetensors").write_bytes(b"not tensors")
    with pytest.raises(OutputError, match="draws.safetensors: not a valid safetensors file"):
        folder.read_tensors("draws.safetensors")


def test_the_log_grows_line_by_line(folder: RunFolder) -> None:
    folder.log("progress", done=1)
    folder.log("progress", done=2)
    rows = folder.read_rows("log.jsonl")
    assert [row.get("done") for row in rows] == [None, 1, 2]
    assert all(row["time"].endswith("Z") for row in rows)


def test_the_manifest_seals_the_evidence_and_lists_the_work_apart(folder: RunFolder) -> None:
    folder.write_items("p", [{"id": "a"}])
    folder.write_tensors("draws.safetensors", {"x": np.zeros(2)})
    folder.write_json("audit.json", {})
    folder.units.once("u", {}, lambda: 1)
    folder.write_manifest()
    manifest = folder.read_json("manifest.json")
    sealed, work = manifest["files"], manifest["work"]
    assert sorted(sealed) == ["audit.json", "draws.safetensors", "items/p.jsonl"]
    assert [name.split("-")[0] for name in sorted(work)] == ["log.jsonl", "units/u"]
    assert sealed["audit.json"] == sha256_file(folder.path / "audit.json")
    assert sorted(folder.hashes()) == ["draws.safetensors", "items/p.jsonl"]


def test_reports_are_noted_apart_and_may_be_made_again(folder: RunFolder, tmp_path: Path) -> None:
    html, pdf, elsewhere = folder.path / "report.html", folder.path / "report.pdf", tmp_path / "copy.html"
    for path in (html, pdf, elsewhere):
        path.write_text("one")
    folder.write_rendered([html, pdf, elsewhere])
    html.write_text("two")
    folder.write_rendered([html])
    assert folder.read_json("rendered.json")["files"] == {
        "report.html": sha256_hex(b"two"),
        "report.pdf": sha256_hex(b"one"),
    }


# units


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None]},
        [],
        "text",
        {"values": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        {"values": np.zeros((0, 3), dtype=np.float32)},
        {"values": np.asarray(2.5, dtype=np.float32)},
    ],
)
def test_a_finished_unit_is_not_computed_again(folder: RunFolder, value: object) -> None:
    asked = []

    def compute() -> object:
        asked.append(1)
        return value

    first = folder.units.once("u", {"prompt": "x"}, compute)
    again = RunFolder.create(folder.path, resume=True).units.once("u", {"prompt": "x"}, compute)
    assert len(asked) == 1
    if isinstance(value, dict) and "values" in value:
        np.testing.assert_array_equal(first["values"], value["values"])
        np.testing.assert_array_equal(again["values"], value["values"])
        assert again["values"].dtype == np.float32
    else:
        assert first == again == value


def test_a_fresh_value_and_a_resumed_one_are_of_one_form(folder: RunFolder) -> None:
    fresh = folder.units.once("u", {}, lambda: {"pair": (1, 2)})
    assert fresh == folder.units.once("u", {}, lambda: None) == {"pair": [1, 2]}


def test_another_key_or_kind_is_another_unit(folder: RunFolder) -> None:
    values = [
        folder.units.once(kind, key, lambda n=n: n)
        for n, (kind, key) in enumerate([("u", {"x": 1}), ("u", {"x": 2}), ("v", {"x": 1})])
    ]
    assert values == [0, 1, 2]
    assert len(names(folder.path / "units")) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_compute_raises_leaves_no_unit(folder: RunFolder, error: type[BaseException]) -> None:
    def fail() -> int:
        raise error

    with pytest.raises(error):
        folder.units.once("u", {}, fail)
    assert names(folder.path / "units") == []
    assert folder.units.once("u", {}, lambda: 7) == 7


def edited(path: Path) -> None:
    unit = json.loads(path.read_bytes())
    unit["value"] = 8
    path.write_text(json.dumps(unit))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def another(path: Path) -> None:
    path.write_text("[]")


@pytest.mark.parametrize("damage", [edited, torn, emptied, another])
def test_a_damaged_json_unit_is_made_again_and_the_log_says_so(folder: RunFolder, damage: object) -> None:
    folder.units.once("u", {}, lambda: 7)
    damage(next((folder.path / "units").iterdir()))  # type: ignore[operator]
    assert folder.units.once("u", {}, lambda: 9) == 9
    assert folder.units.once("u", {}, lambda: 11) == 9
    assert events(folder) == ["created", "unit_made_again"]


@pytest.mark.parametrize("damage", [flipped, torn, emptied, another])
def test_a_damaged_tensor_unit_is_made_again(folder: RunFolder, damage: object) -> None:
    folder.units.once("u", {}, lambda: {"x": np.ones(3)})
    damage(next((folder.path / "units").iterdir()))  # type: ignore[operator]
    np.testing.assert_array_equal(folder.units.once("u", {}, lambda: {"x": np.zeros(3)})["x"], np.zeros(3))
    assert events(folder) == ["created", "unit_made_again"]


def test_a_unit_moved_under_another_name_is_not_taken(folder: RunFolder) -> None:
    folder.units.once("u", {"x": 1}, lambda: 7)
    stored = next((folder.path / "units").iterdir())
    folder.units.once("u", {"x": 2}, lambda: 8)
    other = next(path for path in (folder.path / "units").iterdir() if path != stored)
    stored.replace(other)
    assert folder.units.once("u", {"x": 2}, lambda: 9) == 9
