from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.bundle import RunFolder
from auditor.cli import main
from auditor.errors import IncompleteRun
from auditor.findings.record import load
from auditor.findings.verify import named_estimates, verify
from tests.runfolder import DOMAINS, build_run

REFUSALS = "items/refusal_behaviour.jsonl"
TRUTH = "items/truth_probe.jsonl"
HARMFUL = "refusal_behaviour.harmful_refusal_rate"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_run(
        tmp_path_factory.mktemp("verify") / "run", per_class=20, refused=1, domains=("cities", "companies")
    )
    (folder.path / "report.html").write_text("<p>report</p>")
    folder.write_rendered([folder.path / "report.html"])
    return folder.path


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(pristine, tmp_path / "run")))


def edit_items(folder: RunFolder, probe: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    rows = folder.read_items(probe)
    change(rows)
    folder.write_items(probe, rows)


def edit_record(folder: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    record = folder.read_json("audit.json")
    change(record)
    folder.write_json("audit.json", record)


def refuse_one_more(rows: list[dict[str, Any]]) -> None:
    row = next(row for row in rows if row["kind"] == "harmful" and not row["values"]["refused"])
    row["values"]["refused"] = 1


def reseal(folder: RunFolder) -> None:
    """Rewrite every hash, as someone would who wants to hide a change."""
    edit_record(folder, lambda record: record.update(evidence=folder.hashes()))
    folder.write_manifest()


# it agrees


def test_an_untouched_folder_agrees_and_everything_in_it_was_checked(folder: RunFolder) -> None:
    found = verify(folder)
    assert found.problems == []
    assert found.checked == {
        "files": 6,
        "work files": 1,
        "estimates": 36,
        "findings": 8,
        "texts": 160,
        "samples": 20,
    }
    assert found.unlisted == ()


@pytest.mark.parametrize(
    "options",
    [
        {"role": "base"},
        {"redaction": "hash"},
        {"redaction": "excerpt"},
        {"domains": DOMAINS, "per_class": 60},
    ],
)
def test_other_runs_agree_too(tmp_path: Path, options: dict[str, Any]) -> None:
    assert verify(build_run(tmp_path / "run", **{"per_class": 12, "domains": ("cities",)} | options)).problems == []


def test_redacted_texts_are_not_held_against_their_hash(tmp_path: Path) -> None:
    assert verify(build_run(tmp_path / "run", per_class=4, redaction="hash")).checked["texts"] == 0


def test_every_estimate_on_record_is_recomputed(folder: RunFolder) -> None:
    record = load(folder.path)
    stored = str(record.model_dump(include={"results"})).count("'estimator':")
    assert len(list(named_estimates(record))) == stored


# files


def test_a_flipped_digit_names_the_file(folder: RunFolder) -> None:
    edit_items(folder, "refusal_behaviour", refuse_one_more)
    problems = verify(folder).problems
    assert f"{REFUSALS}: changed since manifest.json was written" in problems


def test_rewriting_the_manifest_does_not_hide_it(folder: RunFolder) -> None:
    edit_items(folder, "refusal_behaviour", refuse_one_more)
    folder.write_manifest()
    problems = verify(folder).problems
    assert f"{REFUSALS}: changed since audit.json was written" in problems
    assert not any("manifest.json" in problem for problem in problems)


def test_rewriting_every_hash_does_not_hide_the_number(folder: RunFolder) -> None:
    edit_items(folder, "refusal_behaviour", refuse_one_more)
    reseal(folder)
    problems = verify(folder).problems
    assert f"{HARMFUL}: record says 0.05, items give 0.1" in problems
    assert not any("changed since" in problem for problem in problems)


@pytest.mark.parametrize("name", ["draws.safetensors", "directions.safetensors", REFUSALS, "audit.json"])
def test_a_changed_file_is_named_whatever_it_is(folder: RunFolder, name: str) -> None:
    with (folder.path / name).open("ab") as file:
        file.write(b"\n")
    assert f"{name}: changed since manifest.json was written" in verify(folder).problems


@pytest.mark.parametrize("name", ["directions.safetensors", REFUSALS])
def test_a_missing_file_is_named(folder: RunFolder, name: str) -> None:
    (folder.path / name).unlink()
    assert f"{name}: listed in manifest.json but missing" in verify(folder).problems
    assert f"{name}: listed in audit.json but missing" in verify(folder).problems


def test_an_unlisted_file_is_named(folder: RunFolder) -> None:
    folder.write_items("extra", [])
    assert verify(folder).problems == [
        "items/extra.jsonl: not listed in manifest.json",
        "items/extra.jsonl: not listed in audit.json",
    ]


def test_a_changed_report_is_named(folder: RunFolder) -> None:
    (folder.path / "report.html").write_text("<p>all is well</p>")
    assert verify(folder).problems == ["report.html: changed since rendered.json was written"]


@pytest.mark.parametrize("content", [None, "{}", '{"files": 3}', "nonsense"])
def test_a_manifest_that_cannot_be_read_is_named(folder: RunFolder, content: str | None) -> None:
    (folder.path / "manifest.json").unlink()
    if content is not None:
        (folder.path / "manifest.json").write_text(content)
    assert verify(folder).problems[0].startswith("manifest.json: cannot be read")


def test_a_list_that_names_a_file_elsewhere_is_not_followed(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder.write_json("rendered.json", {"files": {"../secret": "0"}})
    assert "../secret: listed in rendered.json but missing" in verify(folder).problems


def test_a_folder_without_a_record_is_incomplete(folder: RunFolder) -> None:
    (folder.path / "audit.json").unlink()
    with pytest.raises(IncompleteRun, match="the run has not finished"):
        verify(folder)


# numbers


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("value", 0.95, "record says 0.95, items give 0.05"),
        ("low", 0.9, "record says low 0.9, items give 0.00888"),
        ("high", None, "record says high nothing, items give 0.236"),
        ("n", 600, "record says n 600, items give 20"),
    ],
)
def test_an_edited_estimate_is_named(folder: RunFolder, part: str, value: object, says: str) -> None:
    def change(record: dict[str, Any]) -> None:
        record["results"][0]["measurements"][0]["estimate"][part] = value

    edit_record(folder, change)
    reseal(folder)
    assert any(p.startswith(f"{HARMFUL}: {says}") for p in verify(folder).problems)


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ("mass_mean", "truth_probe: mass_mean on cities: held-out AUROC: "),
        ("mass_mean", "truth_probe.truth_auroc[dataset=cities]: "),
        ("words", "truth_probe: mass_mean on cities: gain over words: "),
        ("mass_mean from companies", "Transfer of the linear probe between domains: companies to cities: "),
    ],
)
def test_scores_of_instruments_and_charts_are_recomputed(folder: RunFolder, column: str, named: str) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows[:6]:
            row["values"][column] = 9.0 if row["label"] == 0 else -9.0

    edit_items(folder, "truth_probe", change)
    reseal(folder)
    assert any(named in problem for problem in verify(folder).problems)


def test_draws_are_recomputed(folder: RunFolder) -> None:
    draws = folder.read_tensors("draws.safetensors")
    name = "truth_probe/mass_mean/shuffled"
    folder.write_tensors("draws.safetensors", draws | {name: np.ones_like(draws[name])})
    reseal(folder)
    assert verify(folder).problems == [
        "truth_probe: mass_mean on cities: shuffled labels: record says 0.001, items give 1"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(estimator="guess"),
        lambda e: e.update(columns=[]),
        lambda e: e["columns"][0].update(column="nothing"),
        lambda e: e["columns"][0].update(table="items/other.jsonl"),
        lambda e: e["columns"][0].update(table="../../secret.jsonl"),
        lambda e: e["columns"][0].update(table="draws.safetensors"),
        lambda e: e["columns"][0].update(column="group"),
        lambda e: e.update(params={"resamples": 3}),
    ],
)
def test_an_estimate_that_cannot_be_traced_is_named(
    folder: RunFolder, change: Callable[[dict[str, Any]], object]
) -> None:
    edit_record(folder, lambda record: change(record["results"][0]["measurements"][0]["estimate"]))
    folder.write_manifest()
    assert any(p.startswith(f"{HARMFUL}: ") for p in verify(folder).problems)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].pop("values"),
        lambda rows: rows[0].update(values=3),
        lambda rows: rows[0].pop("text"),
        lambda rows: rows[0]["values"].update({"refused": "yes"}),
    ],
)
def test_rows_of_another_shape_are_a_problem_and_no_crash(
    folder: RunFolder, change: Callable[[list[dict[str, Any]]], object]
) -> None:
    edit_items(folder, "refusal_behaviour", change)
    reseal(folder)
    assert verify(folder).problems


# findings, verdict, texts


def test_an_edited_finding_is_named(folder: RunFolder) -> None:
    edit_record(folder, lambda record: record["findings"][0].update(status="met"))
    folder.write_manifest()
    assert f"{HARMFUL}: record says met, the measurements give not_met" in verify(folder).problems


def test_an_edited_verdict_is_named(folder: RunFolder) -> None:
    edit_record(folder, lambda record: record.update(verdict="pass"))
    folder.write_manifest()
    assert verify(folder).problems == ["verdict: record says pass, the findings give fail"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["findings"].pop(0), f"{HARMFUL}: this finding is missing"),
        (lambda r: r["findings"].append(r["findings"][0]), "findings: not in the order, or not as many"),
        (lambda r: r["findings"].reverse(), "findings: not in the order"),
        (lambda r: r["findings"][0].update(id="p.invented"), "p.invented: no such criterion"),
        (lambda r: r["findings"][0].update(scope="everything"), f"{HARMFUL}: the finding is not the one"),
        (lambda r: r.update(verdict_reasons=[]), "verdict_reasons: not what the findings give"),
        (lambda r: r.update(would_change=["nothing"]), "would_change: not what the findings give"),
        (lambda r: r.update(not_applicable=["all of it"]), "not_applicable: not what the findings give"),
        (lambda r: r["config"].update(seed=9), "config_digest: is not that of the config"),
        (lambda r: r["datasets"][0].update(sha256="0"), "comparison_digest: is not that"),
        (lambda r: r["probes"].pop(0), "findings: cannot be recomputed"),
    ],
)
def test_any_other_edit_of_what_was_concluded_is_named(
    folder: RunFolder, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit_record(folder, change)
    folder.write_manifest()
    assert any(problem.startswith(says) for problem in verify(folder).problems)


def test_a_criterion_relaxed_after_the_run_is_named(folder: RunFolder) -> None:
    def relax(record: dict[str, Any]) -> None:
        for place in (
            record["config"]["probes"]["refusal_behaviour"]["criteria"][0],
            record["findings"][0]["criterion"],
        ):
            place["at_least"] = 0.0

    edit_record(folder, relax)
    folder.write_manifest()
    problems = verify(folder).problems
    assert any(p.startswith("config_digest") for p in problems)
    assert f"{HARMFUL}: record says not_met, the measurements give met" in problems


def test_an_edited_text_is_named(folder: RunFolder) -> None:
    edit_items(folder, "refusal_behaviour", lambda rows: rows[0].update(text="Please explain something else."))
    reseal(folder)
    assert f"{REFUSALS}: harmful-000: the text does not match its hash" in verify(folder).problems


def test_an_invented_sample_is_named(folder: RunFolder) -> None:
    edit_record(folder, lambda record: record["results"][0]["samples"][0].update(answer="I refuse."))
    folder.write_manifest()
    assert verify(folder).problems == ["refusal_behaviour: sample harmful-000: not what its item says"]


@pytest.mark.parametrize("change", [{"scores": [9.0]}, {"texts": ["Sure!"]}, {"detector": "no such"}])
def test_an_invented_token_score_is_named(folder: RunFolder, change: dict[str, Any]) -> None:
    edit_record(folder, lambda record: record["results"][0]["samples"][0]["tokens"].update(change))
    folder.write_manifest()
    assert verify(folder).problems == ["refusal_behaviour: sample harmful-000: not what its item says"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tpr": [1.0]}, "mass_mean is not what the items give"),
        ({"negatives": 500}, "mass_mean is not what the items give"),
        ({"recall": {"params": {"fpr": 0.0101}}}, "mass_mean is not what the items give"),
        ({"recall": {"value": 0.99}}, "mass_mean: recall: record says 0.99, items give"),
    ],
)
def test_a_curve_that_was_drawn_otherwise_is_named(folder: RunFolder, change: dict[str, Any], named: str) -> None:
    def edit(record: dict[str, Any]) -> None:
        line = record["results"][1]["charts"][2]["series"][0]
        for key, value in change.items():
            line[key] = line[key] | value if isinstance(value, dict) else value

    edit_record(folder, edit)
    folder.write_manifest()
    (problem,) = verify(folder).problems
    assert f"truth_probe: ROC on cities: {named}" in problem


# the command


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["auditor", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_says_what_was_checked(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "verify", folder.path) == 0
    told = "checked 6 files, 1 work files, 36 estimates, 8 findings, 160 texts, 20 samples\neverything agrees\n"
    assert capsys.readouterr().out == told


def test_the_command_names_each_problem_and_exits_1(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_record(folder, lambda record: record.update(verdict="pass"))
    folder.write_manifest()
    assert run(monkeypatch, "verify", folder.path) == 1
    out, err = capsys.readouterr()
    assert "verdict: record says pass, the findings give fail\n" in out
    assert "1 thing does not agree" in err


def test_an_instrument_that_was_not_held_against_the_output_is_named(folder: RunFolder) -> None:
    def forget(record: dict[str, Any]) -> None:
        del record["results"][1]["qualifications"][0]["beside"][0]

    edit_record(folder, forget)
    folder.write_manifest()
    assert "truth_probe: mass_mean: not held against the model's own output" in verify(folder).problems


def test_a_number_read_with_what_did_not_qualify_is_named(folder: RunFolder) -> None:
    def claim(record: dict[str, Any]) -> None:
        record["results"][1]["measurements"][0]["instrument"] = "logistic on cities"

    edit_record(folder, claim)
    folder.write_manifest()
    assert "truth_probe.truth_auroc: read with what did not qualify, logistic on cities" in verify(folder).problems
