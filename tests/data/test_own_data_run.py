"""A data set of one's own from the config to the record: docs/data.md, a whole run in its own process, a notebook."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import auditor
from auditor.bundle import sha256_file
from auditor.cli import cli
from auditor.errors import ConfigError, OutputError
from auditor.findings.record import load
from auditor.findings.verify import verify
from auditor.report import html
from tests.data.declaring import csv_of, stones
from tests.tiny import save_checkpoint, tiny_model, tiny_tokenizer

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text()
CONFIG = """
battery: quick
datasets:
  stones:
    language: en
    class_names: [untrue, true one]
    files:
      - path: data/stones.csv
        licence: CC0-1.0
        columns: {completion: statement, label: correct, group: stone}
        positive: ["yes"]
        negative: ["no"]
  orders:
    language: en
    class_names: [harmless, harmful]
    files:
      - {path: data/orders.csv, licence: MIT, preset: advbench, group: each}
"""
TRUTH = """
probes:
  truth_probe:
    params: {fit_on: stones, transfer_to: []}
    criteria: [{measurement: truth_auroc, at: {dataset: stones}}]
  refusal_behaviour: off
  refusal_direction: off
  steering_response: off
report: {formats: [html]}
"""
REQUESTS = """
probes:
  refusal_behaviour: {params: {requests: orders, n: 5, max_new_tokens: 4}}
  refusal_direction: {params: {requests: orders}}
  steering_response: off
  truth_probe: off
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


def block(language: str) -> str:
    """The first block of a language on the page."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/stones.csv").write_text(csv_of(*stones(60)))
    (tmp_path / "data/orders.csv").write_text("goal,target\n" + "".join(f"Break stone {i},Sure\n" for i in range(12)))
    (tmp_path / "truth.yaml").write_text(CONFIG + TRUTH)
    (tmp_path / "requests.yaml").write_text(CONFIG + REQUESTS)
    return tmp_path


def test_the_example_of_the_page_can_be_pasted(tmp_path: Path) -> None:
    (tmp_path / "capitals.csv").write_text(block("csv"))
    (tmp_path / "audit.yaml").write_text(block("yaml"))
    told = call("check", tmp_path / "audit.yaml")
    assert told.exception is None
    assert told.output.endswith(block("text"))
    assert "valid; 4 probes" in told.output


def test_check_refuses_what_it_cannot_read_and_names_the_row(folder: Path) -> None:
    with (folder / "data/stones.csv").open("a") as file:
        file.write("Stone 3 is red.,perhaps,s3\n")
    refused = call("check", folder / "truth.yaml").exception
    assert isinstance(refused, ConfigError)
    assert "stones.csv:122: the label 'perhaps'" in str(refused)


def test_a_probe_fitted_to_ones_own_csv_is_controlled_verified_and_on_record(folder: Path) -> None:
    model, out = save_checkpoint(folder / "model"), folder / "run"
    done = call("run", folder / "truth.yaml", "--model", model, "--out", out)
    assert done.exception is None, done.output
    record = load(out)
    (data,) = record.datasets
    assert (data.name, data.n, data.card["licence"]) == ("stones", 120, "CC0-1.0")
    assert sha256_file(folder / "data/stones.csv") in str(data.card["file: 1"])
    (truth,) = record.results
    assert {q.dataset for q in truth.qualifications} == {"stones"}
    assert "words" in truth.reason  # red and blue give it away, and the controls say so
    assert verify(out).problems == []
    page = html.render(record)
    assert "CC0-1.0" in page
    assert "the largest of 2 examples" in page
    assert not (out / "job.json").exists()
    kept = [out / "audit.json", out / "run.json", out / "report.html"]
    assert not [path for path in kept if str(folder) in path.read_text()]
    (folder / "data/stones.csv").write_text(csv_of(*stones(61)))
    resumed = call("run", folder / "truth.yaml", "--model", model, "--out", out, "--resume").exception
    assert isinstance(resumed, OutputError)
    assert "another config" in str(resumed)


def test_requests_of_ones_own_are_asked_and_kinds_they_lack_are_not_measured(folder: Path) -> None:
    model = tiny_model("llama", max_position_embeddings=1024)
    record = auditor.audit(model, tiny_tokenizer(), config=folder / "requests.yaml", out=folder / "run")
    behaviour, direction = record.results
    found = {m.name: m for m in behaviour.measurements if m.role == "primary"}
    assert behaviour.status == "measured"
    assert found["harmful_refusal_rate"].estimate.n == 5
    for name in ("over_refusal_rate", "near_miss_over_refusal", "degenerate_text_rate"):
        assert found[name].estimate.value is None
        assert "orders holds no requests of kind" in found[name].note
    assert (direction.status, direction.reason) == ("abstained", "orders · plain: the data set holds no such requests")
    assert [data.name for data in record.datasets] == ["judged_answers", "orders"]
    assert "rows were treated as independent" in str(record.datasets[1].card["groups"])
    assert verify(folder / "run").problems == []
    assert str(folder) not in json.dumps(record.model_dump(mode="json"))
