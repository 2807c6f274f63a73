"""`auditor run` from the outside: exit codes, the run folder, resuming, bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from auditor.bundle import RunFolder
from auditor.findings.verify import verify
from tests.hostile import healthy, only_pickle
from tests.tiny import save_checkpoint

SMALL = """
battery: quick
probes:
  refusal_direction: off
  steering_response: off
  refusal_behaviour:
    params: {n: 12, max_new_tokens: 8}
  truth_probe: off
report: {formats: [html]}
"""


def auditor(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from auditor.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment, timeout=240
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    save_checkpoint(folder, "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def whole(model: Path, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small config that nothing interrupted: leave it as you found it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    auditor("run", small, "--model", model, "--out", out, "--seed", 0)
    return out


@pytest.fixture(scope="module")
def quick(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "quick"
    done = auditor("run", "--model", model, "--battery", "quick", "--out", out)
    assert done.returncode == 1, done.stderr
    return out


def without_environment(folder: Path) -> dict[str, object]:
    record = json.loads((folder / "audit.json").read_text())
    record.pop("environment")
    return record


def test_a_random_model_fails_and_its_run_folder_is_whole_and_verified(quick: Path) -> None:
    record = json.loads((quick / "audit.json").read_text())
    assert record["verdict"] == "fail"
    status = {finding["id"]: finding["status"] for finding in record["findings"]}
    assert status["refusal_behaviour.harmful_refusal_rate"] == "not_met"
    assert status["truth_probe.truth_auroc"] == "not_measured"
    assert status["coverage"] == "met"
    for name in (
        "report.html",
        "report.pdf",
        "manifest.json",
        "items/truth_probe.jsonl",
        "draws.safetensors",
    ):
        assert (quick / name).stat().st_size > 0
    assert not (quick / "job.json").exists()
    assert auditor("verify", quick).returncode == 0
    assert auditor("gate", quick).returncode == 1


def test_the_record_holds_no_path_of_this_machine(quick: Path, model: Path) -> None:
    kept = [quick / "audit.json", quick / "run.json", quick / "report.html", *quick.glob("items/*")]
    assert not [path for path in kept if str(model.parent) in path.read_text()]


def test_the_record_says_at_which_line_of_its_config_a_bar_was_declared(whole: Path) -> None:
    found = json.loads((whole / "audit.json").read_text())["environment"]
    assert found["config_file"] == "small.yaml"
    assert found["declared_lines"]["probes.refusal_behaviour.criteria.0"] == 2


def test_the_same_seed_gives_the_same_record_and_another_seed_another(
    model: Path, small: Path, whole: Path, tmp_path: Path
) -> None:
    for name, seed in (("b", 0), ("c", 1)):
        auditor("run", small, "--model", model, "--out", tmp_path / name, "--seed", seed)
    first, second, third = (without_environment(path) for path in (whole, tmp_path / "b", tmp_path / "c"))
    assert first == second
    assert first["evidence"] != third["evidence"]


def test_a_killed_run_leaves_no_torn_file_and_resumes_to_the_same_record(
    model: Path, small: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-c", "from auditor.cli import main; main()"]
    command += ["run", str(small), "--model", str(model), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("units/answers-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "audit.json").exists()
    for path in out.glob("units/*.json"):
        json.loads(path.read_text())
    assert auditor("gate", out).returncode == 3
    resumed = auditor("run", small, "--model", model, "--out", out, "--resume")
    assert resumed.returncode == 3, resumed.stderr
    assert without_environment(out) == without_environment(whole)
    assert "resumed" in (out / "log.jsonl").read_text()
    # a refusal to go on leaves a finished run as it was signed and sealed
    assert auditor("run", small, "--model", model, "--out", out, "--resume", "--seed", "5").returncode == 2
    assert auditor("verify", out).returncode == 0


def test_an_interrupt_ends_with_130_and_keeps_finished_units(model: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    # a suite that was started in the background of a shell ignores SIGINT, and so would what it starts
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from auditor.cli import main; main()"]
    command += ["run", str(small), "--model", str(model), "--out", str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("units/answers-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in told
    assert list(out.glob("units/answers-*"))


def test_an_edited_item_is_named_even_when_the_manifest_is_rewritten(quick: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(quick, edited)
    items = edited / "items/refusal_behaviour.jsonl"
    items.write_text(items.read_text().replace('"refused":0.0', '"refused":1.0', 1))
    RunFolder(edited).write_manifest()
    done = auditor("verify", edited)
    assert done.returncode == 1
    assert "items/refusal_behaviour.jsonl" in done.stdout
    assert "harmful_refusal_rate" in done.stdout


def test_a_chart_that_does_not_draw_what_was_measured_is_named(quick: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(quick, edited)
    record = json.loads((edited / "audit.json").read_text())
    (truth,) = [result for result in record["results"] if result["probe"] == "truth_probe"]
    truth["charts"][0]["series"][0]["y"][1] = 0.99
    (edited / "audit.json").write_text(json.dumps(record))
    RunFolder(edited).write_manifest()
    done = auditor("verify", edited)
    assert done.returncode == 1
    assert "Layer profile, truth: difference_in_means at 1 is not what was measured there" in done.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda record: record["plan"].update(threads=99), "plan: the record is not of the run in plan.json"),
        (
            lambda record: record["checkpoint"].update(name="other"),
            "checkpoint: the record is not of the run in run.json",
        ),
        (lambda record: record["checkpoint"].update(digest="0" * 64), "its digest is not that of its files"),
        (lambda record: qualifications(record)[2]["checks"].pop(-2), "logistic: not the checks that qualify"),
        (lambda record: qualifications(record)[0]["checks"][0].update(bar=0.1), "not the checks that qualify"),
    ],
)
def test_a_record_moved_to_another_run_or_bar_is_named(quick: Path, tmp_path: Path, change, named: str) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(quick, edited)
    record = json.loads((edited / "audit.json").read_text())
    change(record)
    (edited / "audit.json").write_text(json.dumps(record))
    RunFolder(edited).write_manifest()
    assert any(named in problem for problem in verify(edited).problems)


def qualifications(record: dict[str, Any]) -> list[dict[str, Any]]:
    (truth,) = [result for result in record["results"] if result["probe"] == "truth_probe"]
    return truth["qualifications"]


def test_reports_are_made_again_byte_for_byte(quick: Path, tmp_path: Path) -> None:
    page, document = tmp_path / "again.html", tmp_path / "again.pdf"
    assert auditor("report", quick, "--html", page, "--pdf", document).returncode == 0
    assert page.read_bytes() == (quick / "report.html").read_bytes()
    assert document.read_bytes() == (quick / "report.pdf").read_bytes()


def test_bad_input_is_refused_with_its_exit_code_and_a_way_out(model: Path, small: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> tuple[int, str]:
        done = auditor("run", *arguments)
        return done.returncode, done.stderr

    out = tmp_path / "out"
    assert refused("--model", tmp_path / "missing", "--battery", "quick", "--out", out)[0] == 2
    code, told = refused("--model", model, "--battery", "quik", "--out", out)
    assert code == 2
    assert "quick" in told
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert refused(empty, "--model", model, "--out", out)[0] == 2
    (tmp_path / "typo.yaml").write_text("battery: quick\nprobes: {truth_prob: {}}\n")
    code, told = refused(tmp_path / "typo.yaml", "--model", model, "--out", out)
    assert code == 2
    assert "truth_probe" in told
    pickled = tmp_path / "pickled"
    healthy(pickled)
    only_pickle(pickled)
    assert refused("--model", pickled, "--battery", "quick", "--out", out)[0] == 4
    assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    code, told = refused(small, "--model", model, "--out", out)
    assert code == 2
    assert "--resume" in told
    assert (out / "thesis.txt").read_text() == "mine"


def test_a_dry_run_times_the_model_tells_the_cost_and_writes_nothing(model: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = auditor("run", small, "--model", model, "--out", out, "--dry-run", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    assert not out.exists()
    for part in ("refusal_behaviour", "minutes", "timed on this machine", "GiB at the peak", "float32 on cpu"):
        assert part in done.stdout
    assert "truth_probe" not in done.stdout
