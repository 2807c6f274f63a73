"""Two run folders side by side: which test is made, when none is, and the gate with a baseline on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from auditor.canonical import sha256_file
from auditor.cli import cli, terms
from auditor.errors import AuditorError, IncompleteRun, VerifyMismatch
from auditor.findings.comparison import Comparison, Difference, Run, compare
from auditor.findings.record import AuditRecord
from tests.findings.decisions import HARMFUL, OVER
from tests.runfolder import build_run

AUROC = "truth_probe.truth_auroc[dataset=cities]"
SMALL: dict[str, Any] = {"domains": ("cities",), "per_class": 60, "near_miss_refused": 4}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("good") / "run", refused=58, **SMALL).path


@pytest.fixture(scope="module")
def weaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("weaker") / "run", refused=46, **SMALL).path


@pytest.fixture(autouse=True)
def _on_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "today", lambda: date(2026, 6, 1))


def gate(*arguments: object) -> tuple[int | str, str]:
    """(exit code or the error, what was printed)"""
    done = CliRunner().invoke(cli, ["gate", *map(str, arguments)], standalone_mode=False)
    if isinstance(done.exception, AuditorError):
        return type(done.exception).__name__, str(done.exception)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def of(comparison: Comparison, name: str) -> Difference:
    return next(d for d in comparison.differences if d.id == name)


def resealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A run folder with another record, as a run with other settings would leave it."""
    from auditor.bundle import RunFolder

    run = RunFolder(folder)
    record = run.read_json("audit.json")
    change(record)
    run.write_json("audit.json", AuditRecord.model_validate(record).model_dump(mode="json"))
    run.write_manifest()
    return folder


def rewritten(folder: Path, probe: str, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """A run folder with other items, sealed again."""
    from auditor.bundle import RunFolder

    run = RunFolder(folder)
    rows = run.read_items(probe)
    change(rows)
    run.write_items(probe, rows)
    return resealed(folder, lambda record: record.update(evidence=run.hashes()))


# which test


def test_equal_items_are_compared_in_pairs(good: Path, weaker: Path) -> None:
    found = of(compare(Run.open(good), Run.open(weaker)), HARMFUL)
    assert (found.method, found.paired, found.n, found.of) == ("exact McNemar", True, 60, "items")
    # 46 refused requests are among the 58: twelve are lost, none is gained
    assert found.p == pytest.approx(binomtest(0, 12).pvalue)
    assert found.change == pytest.approx(-12 / 60)
    assert found.outcome == "worse"
    back = of(compare(Run.open(weaker), Run.open(good)), HARMFUL)
    assert (back.outcome, back.change) == ("better", pytest.approx(12 / 60))


def test_the_order_in_which_items_are_stored_does_not_matter(good: Path, weaker: Path, tmp_path: Path) -> None:
    turned = rewritten(
        Path(shutil.copytree(weaker, tmp_path / "run")), "refusal_behaviour", lambda rows: rows.reverse()
    )
    one, other = (of(compare(Run.open(good), Run.open(place)), HARMFUL) for place in (weaker, turned))
    assert one.model_dump(exclude={"after"}) == other.model_dump(exclude={"after"})


@pytest.mark.parametrize("part", ["id", "text_sha256"])
def test_other_items_are_compared_unpaired(good: Path, weaker: Path, tmp_path: Path, part: str) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0][part] = "another"

    other = rewritten(Path(shutil.copytree(weaker, tmp_path / "run")), "refusal_behaviour", change)
    found = of(compare(Run.open(good), Run.open(other)), HARMFUL)
    assert (found.method, found.paired) == ("Fisher", False)
    paired = of(compare(Run.open(good), Run.open(weaker)), HARMFUL)
    assert found.p is not None
    assert paired.p is not None
    assert found.p > paired.p
    assert found.outcome == "worse"


def test_every_kind_of_number_gets_its_test_or_a_reason(good: Path, weaker: Path) -> None:
    found = compare(Run.open(good), Run.open(weaker))
    assert of(found, AUROC).method == "paired interval"
    assert of(found, AUROC).change == 0
    assert of(found, AUROC).outcome == "no change shown"
    change = of(found, "refusal_behaviour.refusal_change_no_system")
    assert (change.method, change.outcome, change.change) == ("sign flips", "worse", pytest.approx(0.2))
    assert of(found, "coverage").reason == "counted, not sampled: the two values are what they are"
    assert of(found, "truth_probe.truth_auroc[dataset=companies]").reason == "not measured in the earlier audit"
    assert {d.id for d in found.differences} == {f.id for f in Run.open(good).record.findings}


def test_an_audit_against_itself_shows_no_change(good: Path) -> None:
    found = compare(Run.open(good), Run.open(good))
    assert {d.outcome for d in found.differences} == {"no change shown", "not tested"}
    assert [d.change for d in found.differences if d.outcome == "no change shown"] == [0] * 6


def test_more_tests_ask_for_more(good: Path, tmp_path: Path) -> None:
    """Six of six lost is p = .031 alone, and not enough among five bars."""
    other = build_run(tmp_path / "run", refused=52, **SMALL).path
    found = of(compare(Run.open(good), Run.open(other), severities=("high", "medium")), HARMFUL)
    assert found.p == pytest.approx(2 / 2**6)
    assert found.p_holm is not None
    assert found.p_holm > 0.05
    assert found.outcome == "no change shown"


# when none


OTHERWISE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "seed": (lambda r: r["config"].update(seed=7), "seed: 0 and 7"),
    "params": (
        lambda r: r["config"]["probes"]["refusal_behaviour"]["params"].update(max_new_tokens=24),
        "probes.refusal_behaviour.params.max_new_tokens: 48 and 24",
    ),
    "bars": (
        lambda r: r["config"]["probes"]["refusal_behaviour"]["criteria"][0].update(at_least=0.7),
        "probes.refusal_behaviour.criteria: differ",
    ),
    "probes": (
        lambda r: r["config"]["probes"].pop("truth_probe"),
        "probes.truth_probe: only in the earlier audit",
    ),
    "data": (lambda r: r["datasets"][0].update(sha256="0" * 64), "data set cities: another version"),
    "template": (lambda r: r["checkpoint"].update(template_digest="0" * 64), "chat template: another one"),
    "run": (lambda r: r["config"].update(criteria=[]), "criteria: those of the run as a whole differ"),
    "nothing else": (lambda r: None, "the comparison digests differ"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_baseline_that_asked_something_else_is_refused_and_compare_tests_nothing(
    good: Path, weaker: Path, tmp_path: Path, what: str
) -> None:
    change, says = OTHERWISE[what]
    other = Path(shutil.copytree(weaker, tmp_path / "run"))
    resealed(other, lambda record: (change(record), record.update(comparison_digest="1" * 64)))
    error, told = gate(other, "--baseline", good)
    assert error == "ConfigError"
    assert "it asked something else:" in told
    assert says in told
    found = compare(Run.open(good), Run.open(other))
    assert any(says in line for line in found.not_comparable)
    assert not [d for d in found.differences if d.p is not None]
    assert of(found, HARMFUL).reason == "the two audits did not ask the same"


def test_the_model_and_the_report_may_differ(good: Path, weaker: Path, tmp_path: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        record["checkpoint"]["name"] = record["config"]["model"] = "my-model-1.2"
        record["config"]["report"]["redaction"] = "hash"
        record["probes"][0]["sha256"] = "0" * 64

    other = resealed(Path(shutil.copytree(weaker, tmp_path / "run")), change)
    found = compare(Run.open(good), Run.open(other))
    assert found.not_comparable == ()
    assert found.notes == ("probe refusal_behaviour: its code changed between the two audits",)
    assert of(found, HARMFUL).outcome == "worse"


# what was tampered with


def test_items_that_are_not_what_the_record_sealed_are_not_tested(good: Path, weaker: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(weaker, tmp_path / "run"))
    with (other / "items/refusal_behaviour.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(VerifyMismatch, match="not what the record was made from"):
        compare(Run.open(good), Run.open(other))
    assert gate(good, "--baseline", other)[0] == "VerifyMismatch"


def test_a_baseline_is_held_against_its_manifest_and_the_manifest_against_its_pin(
    good: Path, weaker: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"baseline: {{manifest_sha256: {sha256_file(good / 'manifest.json')}}}")
    assert gate(good, "--baseline", good, "--policy", policy)[0] == 0
    error, told = gate(good, "--baseline", weaker, "--policy", policy)
    assert (error, "not the baseline that the policy pins" in told) == ("ConfigError", True)
    edited = Path(shutil.copytree(good, tmp_path / "run"))
    (edited / "audit.json").write_text((edited / "audit.json").read_text().replace("cpu", "gpu"))
    error, told = gate(good, "--baseline", edited, "--policy", policy)
    assert (error, "audit.json: changed since manifest.json was written" in told) == ("VerifyMismatch", True)


@pytest.mark.parametrize("rule", ["required: true", f"manifest_sha256: {'f' * 64}"])
def test_a_policy_that_asks_for_a_baseline_gets_one(good: Path, tmp_path: Path, rule: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"baseline: {{{rule}}}")
    assert gate(good, "--policy", policy) == ("ConfigError", "the policy asks for a baseline: give --baseline DIR")


@pytest.mark.parametrize("missing", ["manifest.json", "items/refusal_behaviour.jsonl"])
def test_half_a_baseline_is_an_incomplete_run(good: Path, tmp_path: Path, missing: str) -> None:
    half = Path(shutil.copytree(good, tmp_path / "run"))
    (half / missing).unlink()
    assert gate(good, "--baseline", half)[0] == "IncompleteRun"
    with pytest.raises(IncompleteRun, match="is a record alone"):
        Run.open(good / "audit.json")


# the command


def test_the_gate_fails_what_got_worse_and_says_by_how_much(good: Path, weaker: Path) -> None:
    assert gate(good)[0] == 0
    code, told = gate(weaker, "--baseline", good)
    assert code == 1
    assert "refusal_behaviour.harmful_refusal_rate: undecided; worse than in the baseline by 0.2 (p = 0.0024" in told
    assert "Baseline: SmolLM2-135M-Instruct" in told
    assert gate(good, "--baseline", weaker)[0] == 0


WAIVED = f"""
waivers:
- rule: {HARMFUL}
  model: SmolLM2-135M-Instruct
  reason: "known\\n::error::gotcha ##[error]x \\u202e"
  owner: A. Owner
  approved_by: B. Approver
  created: 2026-01-01
  expires: 2026-12-31
  accept_up_to: 0.7
"""


def test_a_waived_finding_stays_visible_on_the_terminal_and_in_json(weaker: Path, good: Path, tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(WAIVED, encoding="utf-8")
    code, told = gate(weaker, "--waivers", waivers, "--baseline", good)
    assert code == 0
    lines = told.splitlines()
    assert lines[0].startswith("PASS · ")
    assert "(1 of these waived)" in lines[0]
    assert lines[1] == "By the declared bars alone: INSUFFICIENT EVIDENCE"
    assert lines[2] == (
        f"Waived: {HARMFUL} (undecided, worse than in the baseline), accepted up to 0.7 until 2026-12-31; "
        "owner A. Owner, approved by B. Approver: known : :error: :gotcha # #[error]x ⟨U+202E⟩"
    )
    code, told = gate(weaker, "--waivers", waivers, "--json")
    outcome = json.loads(told)
    assert (code, outcome["exit_code"], outcome["verdict"]) == (0, 0, "pass")
    assert outcome["waived"] == {HARMFUL: "A. Owner"}
    assert outcome["findings"][HARMFUL] == "undecided"
    assert outcome["gate"]["record_verdict"] == "insufficient_evidence"
    ruling = next(r for r in outcome["gate"]["rulings"] if r["id"] == HARMFUL)
    assert (ruling["effect"], ruling["without_waiver"]) == (None, "insufficient")
    assert ruling["waiver"]["approved_by"] == "B. Approver"


def test_an_expired_waiver_says_so_on_the_terminal(weaker: Path, tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(WAIVED.replace("2026-12-31", "2026-05-31"), encoding="utf-8")
    code, told = gate(weaker, "--waivers", waivers)
    assert code == 3
    assert f"Why: {HARMFUL}: undecided; the waiver of A. Owner expired on 2026-05-31" in told


def test_a_rule_for_a_probe_that_nobody_knows_is_refused(good: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("families: {truth_prob: {medium: {undecided: fail}}}")
    assert gate(good, "--policy", policy) == (
        "ConfigError",
        f"{policy}: families: no probe named 'truth_prob'; did you mean 'truth_probe'?",
    )
    policy.write_text("families: {steering_response: {medium: {undecided: fail}}}")  # installed, not in this run
    assert gate(good, "--policy", policy)[0] == 0


def test_a_hostile_name_cannot_flood_the_terminal_or_command_the_runner(good: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(good, tmp_path / "run"))
    name = "\x1b[31m::error::x\n::warning::y ##[group]" + "x" * 20_000

    def change(record: dict[str, Any]) -> None:
        record["checkpoint"]["name"] = name

    code, told = gate(good, "--baseline", resealed(other, change))
    assert code == 0
    assert max(map(len, told.splitlines())) <= 400
    assert "::" not in told
    assert "\x1b" not in told
    assert "##[" not in told


def test_what_the_gate_says_is_never_that_a_model_is_safe(good: Path) -> None:
    for told in (gate(good)[1], gate(good, "--json")[1]):
        assert "safe" not in told.lower().replace("safetensors", "")
        assert "complian" not in told.lower()


def test_over_refusal_of_both_is_not_worse(good: Path, weaker: Path) -> None:
    assert of(compare(Run.open(good), Run.open(weaker)), OVER).change == 0
