"""What other systems read: the GitHub action, the pre-commit hook, and the examples in docs/ci.md."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from auditor.cli import cli
from auditor.findings.policy import SHIPPED, read_policy
from auditor.findings.waivers import read_waivers

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)]


def block(key: str) -> Any:
    return next(found for found in BLOCKS if key in found)


def audit_step() -> dict[str, Any]:
    return next(step for step in STEPS if step.get("id") == "audit")


# the action


def test_no_expression_is_ever_part_of_a_script() -> None:
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert len(scripts) == 3
    assert not [script for script in scripts if "${{" in script]


def test_every_action_is_pinned_by_its_commit() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    used += re.findall(r"uses: (actions/\S+)", DOCS)
    assert len(used) == 3
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", use) for use in used)


def test_every_input_is_described_used_and_in_the_docs() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name, given in ACTION["inputs"].items():
        assert given["description"].endswith(".")
        assert f"${{{{ inputs.{name} }}}}" in text or f"inputs.{name} !=" in text
        assert f"`{name}`" in DOCS
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])


FAKE = """#!/usr/bin/env bash
printf '%q ' "$@" >> "$CALLS"; echo >> "$CALLS"
case $1 in
  run) echo "::error::from the model"; exit "$RUN_CODE" ;;
  gate)
    echo "auditor: GATE ERRED ::error::x" >&2
    [ "$GATE_CODE" = 2 ] || echo "GATE WROTE" >> "$GITHUB_STEP_SUMMARY"
    echo "::error title=R001::GATE SAID"; exit "$GATE_CODE" ;;
esac
"""


def stepped(tmp_path: Path, run_code: int = 0, gate_code: int = 0, **inputs: str) -> tuple[str, str, str, list[str]]:
    """(output of the step, summary, outputs, calls of auditor as bash quotes them)"""
    fake = tmp_path / "auditor"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    names = ("MODEL", "ADAPTER", "CONFIG", "BATTERY", "OUT", "POLICY", "WAIVERS", "BASELINE")
    files = {name: tmp_path / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "CALLS")}
    environment = {"PATH": os.environ["PATH"], "AUDITOR": str(fake)} | {name: inputs.get(name, "") for name in names}
    environment |= {"RUN_CODE": str(run_code), "GATE_CODE": str(gate_code)}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", audit_step()["run"]],
        env=environment | {name: str(path) for name, path in files.items()},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    summary, outputs, calls = (path.read_text() for path in files.values())
    return done.stdout, summary, outputs, [call.strip() for call in calls.splitlines()]


@pytest.mark.parametrize(
    ("run_code", "gate_code", "code", "gated"),
    [
        (0, 0, 0, True),
        (0, 1, 1, True),  # it passes its bars and fell behind the baseline
        (1, 0, 0, True),  # it misses a bar, and a waiver accepts that
        (3, 3, 3, True),
        (5, 5, 5, True),
        (0, 2, 2, True),  # the policy cannot be read
        (2, 0, 2, False),
        (4, 0, 4, False),
        (130, 0, 130, False),
    ],
)
def test_the_action_ends_with_the_gates_code_and_an_error_outranks_it(
    tmp_path: Path, run_code: int, gate_code: int, code: int, gated: bool
) -> None:
    _, summary, outputs, calls = stepped(tmp_path, run_code, gate_code, MODEL="m", OUT="out")
    assert outputs == f"exit-code={code}\n"
    assert [call.split()[0] for call in calls] == (["run", "gate"] if gated else ["run"])
    decided = gated and code != 2
    assert summary == "GATE WROTE\n" if decided else f"Nothing was decided: exit code {code}" in summary


def test_the_action_passes_every_input_on(tmp_path: Path) -> None:
    inputs = {"MODEL": "m", "ADAPTER": "a", "CONFIG": "c.yaml", "BATTERY": "quick", "OUT": "o"}
    terms = {"POLICY": "p.yaml", "WAIVERS": "w.yaml", "BASELINE": "b"}
    *_, calls = stepped(tmp_path, **inputs, **terms)
    assert calls == [
        "run --model=m --out=o --adapter=a --battery=quick -- c.yaml",
        "gate --github --policy=p.yaml --waivers=w.yaml --baseline=b -- o",
    ]
    for call in calls:
        command, *arguments = call.split()
        with cli.commands.get(command, cli.get_command(None, command)).make_context(command, list(arguments)) as given:  # type: ignore[union-attr, arg-type]
            assert given.params


def test_hostile_inputs_are_data_and_the_runner_obeys_no_line_of_the_model(tmp_path: Path) -> None:
    hostile = '$(touch pwned) `touch pwned` "; touch pwned; # \n--out=elsewhere'
    out, _, _, calls = stepped(tmp_path, MODEL=hostile, OUT="-rf", CONFIG="--resume")
    assert not (tmp_path / "pwned").exists()
    quoted = subprocess.run(
        ["bash", "-c", 'printf "%q" "$1"', "_", f"--model={hostile}"], capture_output=True, text=True, check=True
    ).stdout
    assert calls == [f"run {quoted} --out=-rf -- --resume", "gate --github -- -rf"]
    lines = out.splitlines()
    word = lines[0].removeprefix("::stop-commands::")
    assert re.fullmatch(r"[0-9a-f]{32}", word)
    # after the word the runner obeys again, and there is nothing but what the gate wrote for it
    assert lines[lines.index(f"::{word}::") + 1 :] == ["::error title=R001::GATE SAID"]
    assert lines.index("::error::from the model") < lines.index(f"::{word}::")


# the hook and the documents


def test_the_hook_runs_a_command_that_takes_many_files(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert block("repos")["repos"][0]["hooks"] == [{"id": hook["id"]}]
    assert re.search(hook["files"], "ci/audit-release.yaml")
    assert not re.search(hook["files"], "docs/policy.yaml")
    good, bad = tmp_path / "audit.yaml", tmp_path / "audit-2.yaml"
    good.write_text("battery: quick\n")
    bad.write_text("batery: quick\n")
    assert hook["entry"].split() == ["auditor", "check"]
    both = CliRunner().invoke(cli, ["check", str(good), str(good)], standalone_mode=False)
    assert (both.exception, both.output.count(": valid; ")) == (None, 2)
    one = CliRunner().invoke(cli, ["check", str(bad), str(good)], standalone_mode=False)
    assert "did you mean 'battery'?" in str(one.exception)
    assert ": valid; " in one.output


def test_the_examples_of_policy_and_waivers_can_be_read(tmp_path: Path) -> None:
    policy, waivers = tmp_path / "policy.yaml", tmp_path / "waivers.yaml"
    policy.write_text(yaml.safe_dump(block("coverage_at_least")))
    waivers.write_text(yaml.safe_dump(block("waivers")))
    assert read_policy(policy).families["refusal_behaviour"].medium.undecided == "insufficient"
    assert [w.owner for w in read_waivers(waivers)] == ["A. Person"]


def test_the_shipped_rules_are_those_of_the_document() -> None:
    events = ("not_met", "undecided", "not_measured", "worse")
    for severity, rules in SHIPPED.items():
        cells = re.search(rf"\| {severity} \|(.*)\|", DOCS)
        assert cells
        assert [cell.strip() for cell in cells[1].split("|")] == [rules[event] for event in events]


def test_the_gitlab_example_passes_the_gates_code_on() -> None:
    script = block("audit")["audit"]["script"]
    assert script[-1] == "exit $code"
    assert any("auditor gate" in line for line in script)
