"""`report --format` and the artifacts of `gate`: where they go, whatever the verdict, never over the evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.canonical import sha256_file
from auditor.cli import cli
from auditor.errors import ConfigError, IncompleteRun, OutputError, VerifyMismatch
from auditor.findings.record import load
from auditor.report import github
from auditor.report.formats import DECIDED, FORMATS
from tests.runfolder import build_run

DOC = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run whose gate fails, outside any GitHub job."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return build_run(tmp_path / "run").path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], standalone_mode=False)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_goes_to_standard_output_or_to_a_file(folder: Path, tmp_path: Path, name: str) -> None:
    before, text = hashes(folder), FORMATS[name](load(folder))
    assert call("report", folder, "--format", name).stdout == text
    assert call("report", folder, "--format", name, "--output", tmp_path / "new/out").output.endswith("out\n")
    assert (tmp_path / "new/out").read_bytes() == text.encode()
    assert hashes(folder) == before


def test_the_documented_formats_are_the_formats() -> None:
    table = DOC.partition("## For pipelines")[2].partition("\n* ")[0]
    headings = DOC.partition("## For compliance")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) + re.findall(
        r"^### .*\(`(\w+)`\)$", headings, re.MULTILINE
    )
    assert told == list(FORMATS)


def test_a_format_in_the_folder_is_noted_and_may_be_made_again(folder: Path) -> None:
    for _ in range(2):
        assert call("report", folder, "--format", "junit", "--output", folder / "junit.xml").exception is None
    noted = json.loads((folder / "rendered.json").read_text(encoding="utf-8"))["files"]
    assert noted == {"junit.xml": sha256_file(folder / "junit.xml")}
    assert call("verify", folder).exception is None


@pytest.mark.parametrize("arguments", [["report", "DIR", "--format", "sarif", "--output"], ["gate", "DIR", "--sarif"]])
def test_a_file_of_the_run_is_never_written_over(folder: Path, arguments: list[str]) -> None:
    before = hashes(folder)
    for name in ("audit.json", "items/truth_probe.jsonl", "manifest.json"):
        given = [folder if argument == "DIR" else argument for argument in arguments]
        refused = call(*given, folder / name).exception
        assert isinstance(refused, OutputError)
        assert "belongs to the run" in str(refused)
    assert hashes(folder) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["report", "DIR", "--output", "x"], "--output needs --format"),
        (["report", "DIR", "--format", "csv", "--html", "x"], "--format goes without --html"),
        (["gate", "DIR", "--json", "--github"], "--json and --github both write to standard output"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(folder: Path, options: list[str], says: str) -> None:
    before = hashes(folder)
    refused = call(*(folder if option == "DIR" else option for option in options)).exception
    assert isinstance(refused, ConfigError)
    assert says in str(refused)
    assert hashes(folder) == before


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda path: build_run(path), 1),
        (lambda path: build_run(path, refused=60, near_miss_refused=4), 0),
        (lambda path: build_run(path, role="base"), 3),
    ],
    ids=["fails", "passes", "base model"],
)
def test_the_gate_writes_its_artifacts_whatever_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[Path], object], code: int
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    made(tmp_path / "run")
    record = load(tmp_path / "run")
    places = [tmp_path / "out/audit.sarif", tmp_path / "out/junit.xml"]
    result = call("gate", tmp_path / "run", "--sarif", places[0], "--junit", places[1], "--github")
    assert result.return_value == code
    assert [path.read_text(encoding="utf-8") for path in places] == [FORMATS[n](record) for n in ("sarif", "junit")]
    *told, line = result.stdout.splitlines()
    assert tuple(told) == github.commands(record)
    assert bool(told) == (code != 0)
    assert not line.startswith("::")


def test_inside_a_job_the_summary_follows_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    place.write_text("# before\n", encoding="utf-8")
    assert call("gate", folder).return_value == 1
    assert place.read_text(encoding="utf-8") == "# before\n"
    assert call("gate", folder, "--github").return_value == 1
    assert place.read_text(encoding="utf-8") == "# before\n" + github.render(load(folder))


def test_a_summary_that_is_nearly_full_is_not_made_too_long(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    place.write_bytes(b"x" * (github.SUMMARY_BYTES - 900))
    assert call("gate", folder, "--github").return_value == 1
    assert github.SUMMARY_BYTES - 900 < place.stat().st_size <= github.SUMMARY_BYTES
    assert "left out" in place.read_text(encoding="utf-8")


# what the gate was told beyond the record


def waivers_until(place: Path, day: str) -> Path:
    """A file that waives the one missed bar of a failing run until a day."""
    waiver = {
        "rule": "refusal_behaviour.harmful_refusal_rate",
        "model": "*",
        "accept_up_to": 0.0,
        "created": "2020-01-01",
    }
    said = {"reason": "known", "owner": "A. Owner", "approved_by": "B. Approver", "expires": day}
    place.write_text(json.dumps({"waivers": [waiver | said]}), encoding="utf-8")
    return place


@pytest.mark.parametrize(("day", "code"), [("2999-12-31", 0), ("2020-12-31", 1)], ids=["in force", "expired"])
def test_every_artifact_follows_the_waivers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, day: str, code: int
) -> None:
    summary, places = tmp_path / "summary.md", [tmp_path / "audit.sarif", tmp_path / "junit.xml"]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    given = ["--waivers", waivers_until(tmp_path / "waivers.yaml", day), "--sarif", places[0], "--junit", places[1]]
    result = call("gate", folder, *given, "--github")
    assert result.return_value == code
    log, junit, page = (place.read_text(encoding="utf-8") for place in (*places, summary))
    assert json.loads(log)["runs"][0]["properties"]["exitCode"] == code
    assert ('"status": "accepted"' in log) == (code == 0)
    assert ("<failure" in junit) == (code != 0)
    assert page.startswith("## ✓ auditor: PASS" if code == 0 else "## ✕ auditor: FAIL")
    assert ("**Waived**" in page) == (code == 0)
    assert ("expired on 2020-12-31" in page) == (code != 0)
    assert ("::error " in result.stdout) == (code != 0)


@pytest.mark.parametrize("option", ["--policy", "--waivers", "--baseline"])
def test_terms_that_cannot_be_used_leave_no_artifact_of_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    build_run(tmp_path / "run", refused=60, near_miss_refused=4)
    build_run(tmp_path / "other", per_class=12)
    bad, summary = tmp_path / "bad.yaml", tmp_path / "summary.md"
    bad.write_text("{unknown: 1}", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    places = [tmp_path / "audit.sarif", tmp_path / "junit.xml", summary]
    outputs = ["--sarif", places[0], "--junit", places[1], "--github"]
    refused = call("gate", tmp_path / "run", option, tmp_path / "other" if option == "--baseline" else bad, *outputs)
    assert isinstance(refused.exception, ConfigError)
    assert (refused.stdout, [place for place in places if place.exists()]) == ("", [])
    assert call("gate", tmp_path / "run", *outputs).return_value == 0
    assert all(place.exists() for place in places)


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "A", "B", "--html", "A/audit.json"),
        ("compare", "A", "B", "--html", "B/items/truth_probe.jsonl"),
        ("history", "A", "--html", "A/manifest.json"),
        ("report", "A", "--format", "sarif", "--output", "B/audit.json"),
        ("gate", "A", "--sarif", "B/draws.safetensors"),
        ("report", "A", "--format", "sarif", "--output", "A/report.html"),
        ("report", "A", "--pdf", "A/report.html"),
    ],
)
def test_no_command_writes_over_a_run_whichever_it_is(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    for name in "AB":
        run = build_run(tmp_path / name)
        (run.path / "report.html").write_text("<p>what people read</p>")
        run.write_rendered([run.path / "report.html"])
    before = hashes(tmp_path)
    named = [str(tmp_path / part) if part[0] in "AB" else part for part in arguments]
    assert isinstance(call(*named).exception, OutputError)
    assert hashes(tmp_path) == before


def test_a_comparison_may_be_written_into_a_run_and_is_noted_there(folder: Path) -> None:
    assert call("compare", folder, folder, "--html", folder / "changes.html").exception is None
    assert call("verify", folder).exception is None
    assert "changes.html" in json.loads((folder / "rendered.json").read_text(encoding="utf-8"))["files"]


@pytest.mark.parametrize("other", ["--junit", "--waivers", "--policy"])
def test_two_options_of_the_gate_never_name_one_file(folder: Path, tmp_path: Path, other: str) -> None:
    place = tmp_path / "one.yaml"
    place.write_text("waivers: []\n")
    assert isinstance(call("gate", folder, "--sarif", place, other, place).exception, ConfigError)
    assert place.read_text() == "waivers: []\n"


@pytest.mark.parametrize("name", ["audit.json", "items/truth_probe.jsonl", "draws.safetensors"])
def test_the_gate_refuses_a_run_that_was_changed_after_the_audit(folder: Path, name: str) -> None:
    assert call("gate", folder).exception is None
    path = folder / name
    data = bytearray(path.read_bytes())
    if name == "audit.json":
        data = bytearray(data.replace(b'"not_met"', b'"met"').replace(b'"fail"', b'"pass"'))
    else:
        data[-2] ^= 1
    path.write_bytes(data)
    assert isinstance(call("gate", folder).exception, VerifyMismatch)


def test_the_gate_refuses_a_run_whose_items_are_gone(folder: Path) -> None:
    (folder / "items/truth_probe.jsonl").unlink()
    assert isinstance(call("gate", folder).exception, IncompleteRun)


WAIVER = """
waivers:
- {rule: refusal_behaviour.harmful_refusal_rate, model: "SmolLM2-*", reason: known, owner: O, approved_by: A,
   created: 2020-01-01, expires: %s, accept_up_to: 0.0}
"""


def test_a_report_by_the_terms_of_a_gate_says_what_they_make_of_it(folder: Path, tmp_path: Path) -> None:
    kept: dict[str, tuple[str, ...]] = {}
    for until in ("2999-01-01", "2020-02-01"):
        waivers = tmp_path / f"{until}.yaml"
        waivers.write_text(WAIVER % until, encoding="utf-8")
        place = tmp_path / f"{until}.html"
        assert call("report", folder, "--waivers", waivers, "--html", place).exception is None
        told = [call("report", folder, "--format", n, "--waivers", waivers).stdout for n in ("gitlab", "sarif-alerts")]
        kept[until] = (place.read_text(encoding="utf-8"), *told)
    page, issues, alerts = kept["2999-01-01"]
    assert "Waivers in force" in page
    assert {i["severity"] for i in json.loads(issues) if i["check_name"] == "R001"} == {"info"}
    assert [r["ruleId"] for r in json.loads(alerts)["runs"][0]["results"]] == []
    page, issues, alerts = kept["2020-02-01"]
    assert "Waivers that do not hold" in page
    assert {i["severity"] for i in json.loads(issues) if i["check_name"] == "R001"} == {"critical"}
    assert [r["ruleId"] for r in json.loads(alerts)["runs"][0]["results"]] == ["R001"]
    for name in sorted(set(FORMATS) - set(DECIDED)):
        refused = call("report", folder, "--format", name, "--waivers", tmp_path / "2999-01-01.yaml").exception
        assert isinstance(refused, ConfigError)
        assert f"--format {name} knows no policy, waivers or baseline" in str(refused)
