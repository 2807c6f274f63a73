"""The small commands, what they import, and the notebook entry point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import auditor
from auditor.cli import COMMANDS, cli
from auditor.cli.child import scrubbed
from auditor.cli.discover import load_probes
from auditor.errors import ConfigError
from tests.runfolder import build_run
from tests.tiny import save_checkpoint, tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = call(command, "--help")
    assert result.exception is None
    assert result.output.startswith("Usage:")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["gate", "DIR"],
        ["gate", "DIR", "--baseline", "DIR"],
        ["compare", "DIR", "DIR", "--html", "F"],
        ["history", "DIR", "--html", "F"],
        ["gate", "DIR", "--sarif", "F"],
        ["verify", "DIR"],
        ["report", "DIR", "--html", "F"],
    ],
)
def test_commands_that_need_no_model_do_not_import_torch(arguments: list[str], tmp_path: Path) -> None:
    build_run(tmp_path / "run")
    places = {"DIR": str(tmp_path / "run"), "F": str(tmp_path / "again.html")}
    given = [places.get(argument, argument) for argument in arguments]
    code = (
        "import sys; from auditor.cli import main\n"
        f"sys.argv = ['auditor', *{given!r}]\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers', 'probes'} & set(sys.modules), 'too much was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "too much was imported" not in done.stderr
    assert done.returncode in (0, 1, 3), done.stderr


def test_check_accepts_a_good_config_and_names_what_is_wrong_with_a_bad_one(tmp_path: Path) -> None:
    config = tmp_path / "audit.yaml"
    config.write_text("battery: quick\n")
    told = call("check", str(config)).output
    assert "valid; 4 probes" in told
    assert "refusal_behaviour.harmful_refusal_rate: a model at 95 % passes 92 % of the time with 60" in told
    bar = "{measurement: harmful_refusal_rat, at_least: 0.9, severity: high, min_n: 60, because: policy}"
    config.write_text(f"battery: quick\nprobes: {{refusal_behaviour: {{criteria: [{bar}]}}}}\n")
    refused = call("check", str(config)).exception
    assert isinstance(refused, ConfigError)
    assert "harmful_refusal_rate" in str(refused)


def test_probes_lists_and_explains_with_the_bars_of_each_battery() -> None:
    assert "truth_probe" in call("probes").output
    told = call("probes", "refusal_behaviour").output
    for part in (
        "Source",
        "harmful_refusal_rate",
        "Bars in battery quick",
        "Bars in battery release",
        "at least 0.8",
        "passes 92 %",
    ):
        assert part in told


def test_methods_md_has_a_section_for_every_measurement() -> None:
    text = (ROOT / "docs/methods.md").read_text()
    headings = " ".join(line for line in text.splitlines() if line.startswith("## "))
    declared = [spec.name for probe in load_probes().values() for spec in probe.probe.measurements]
    assert [name for name in declared if name not in headings] == []


def test_the_child_gets_no_token_and_is_offline() -> None:
    given = {"HF_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret", "PATH": "/bin", "https_proxy": "http://p"}
    kept = scrubbed(given, "/tmp/home")
    assert "secret" not in kept.values()
    assert "https_proxy" not in kept
    assert kept["HF_HUB_OFFLINE"] == "1"
    assert kept["PATH"] == "/bin"


def test_the_threads_of_the_child_do_not_turn_for_each_other_unless_somebody_says_so() -> None:
    assert scrubbed({}, "/h")["OPENBLAS_NUM_THREADS"] == "1"
    assert int(scrubbed({}, "/h")["GOMP_SPINCOUNT"]) < 300_000
    own = {"OPENBLAS_NUM_THREADS": "8", "GOMP_SPINCOUNT": "0", "OMP_NUM_THREADS": "4"}
    assert own.items() <= scrubbed(own, "/h").items()


def test_a_notebook_audits_a_model_in_memory(tmp_path: Path) -> None:
    config = tmp_path / "audit.yaml"
    config.write_text(
        "battery: quick\nprobes:\n  refusal_behaviour: {params: {n: 5, max_new_tokens: 4}}\n"
        "  refusal_direction: off\n  steering_response: off\n  truth_probe: off\n"
    )
    model = tiny_model("llama", max_position_embeddings=1024)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = auditor.audit(model, tiny_tokenizer(), config=config, out=tmp_path / "run")
    assert record.verdict == "insufficient_evidence"
    assert record.results[0].status == "measured"
    assert call("verify", str(tmp_path / "run")).exception is None
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())


def test_check_foretells_the_cost_without_loading_a_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.model.source import Source

    def refuse(*_given: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(Source, "target", refuse)
    model, config = save_checkpoint(tmp_path / "tiny"), tmp_path / "audit.yaml"
    config.write_text("battery: quick\n")
    told = call("check", str(config), "--model", str(model), "--dry-run")
    assert told.exception is None
    for part in ("truth_probe", "steering_response", "nothing was loaded", "GiB at the peak", "about"):
        assert part in told.output
    lacking = call("check", str(config), "--dry-run").exception
    assert isinstance(lacking, ConfigError)
    assert "--model" in str(lacking)


def test_check_without_a_forecast_does_not_import_torch(tmp_path: Path) -> None:
    config = tmp_path / "audit.yaml"
    config.write_text("battery: quick\n")
    code = (
        "import sys; from auditor.cli import main\n"
        f"sys.argv = ['auditor', 'check', {str(config)!r}]\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules, 'too much was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
