"""The pages of `compare` and `history`: whole, self-contained, harmless whatever the names in them are."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from auditor.bundle import RunFolder
from auditor.cli import cli
from auditor.errors import ConfigError
from auditor.findings.comparison import Comparison, Run, compare
from auditor.findings.history import History, read_history
from auditor.findings.record import AuditRecord
from auditor.report import changes, trend
from tests.report.corpus import HOSTILE, LONG
from tests.report.pages import Node, read
from tests.runfolder import build_run

SMALL: dict[str, Any] = {"domains": ("cities",), "near_miss_refused": 4}
SPOILT = {"model", "plain", "id", "reason", "battery", "finished", "folder", "notes", "not_comparable", "of", "unread"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four audits of a model that refuses less and less, of which the third asked something else; one unfinished."""
    place = tmp_path_factory.mktemp("runs")
    for day, refused in ((1, 58), (2, 52), (3, 52), (4, 30)):
        folder = build_run(place / "nightly" / f"run-{5 - day}", refused=refused, **SMALL)
        document = folder.read_json("audit.json")
        document["environment"]["finished"] = f"2026-01-0{day}T10:00:00Z"
        if day == 3:
            document["comparison_digest"] = "1" * 64
        folder.write_json("audit.json", AuditRecord.model_validate(document).model_dump(mode="json"))
        folder.write_manifest()
    RunFolder.create(place / "begun")
    return place


@pytest.fixture(scope="module")
def compared(runs: Path) -> Comparison:
    return compare(Run.open(runs / "nightly/run-4"), Run.open(runs / "nightly/run-1"))


def call(*arguments: object) -> Any:
    return CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)


def spoilt(value: Any, strings: Any, key: str = "") -> Any:
    """A value with every free text made hostile."""
    if isinstance(value, dict):
        return {
            (f"{name} {next(strings)}" if key == "points" else name): spoilt(v, strings, name)
            for name, v in value.items()
        }
    if isinstance(value, list):
        return [spoilt(v, strings, key) for v in value]
    return f"{next(strings)} {value}" if isinstance(value, str) and key in SPOILT else value


# in every page


@pytest.fixture(params=["comparison", "hostile comparison", "history", "hostile history"])
def page(request: pytest.FixtureRequest, runs: Path, compared: Comparison) -> str:
    strings = cycle([*HOSTILE, LONG, "::error::x%0A##[error]y"])
    if "comparison" in request.param:
        document = compared.model_dump(mode="json")
        if "hostile" in request.param:
            document = spoilt(document | {"notes": ["a"], "not_comparable": ["b"]}, strings)
        return changes.render(Comparison.model_validate(document))
    document = read_history(runs).model_dump(mode="json")
    if "hostile" in request.param:
        document = spoilt(document, strings)
        tracked = [name for past in document["audits"] for name in past["points"]]
        for one, name in zip(document["tracked"], tracked, strict=False):
            one["id"] = name
    return trend.render(History.model_validate(document))


def test_a_page_needs_nothing_but_itself_and_runs_nothing(page: str) -> None:
    root = read(page)
    style = root.one("style").children[0]
    digest = base64.b64encode(hashlib.sha256(str(style).encode()).digest()).decode()
    policy = next(m for m in root.all("meta") if m.attrs.get("http-equiv") == "Content-Security-Policy")
    assert (policy.attrs["content"] or "").startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert not [n for n in root.all() if n.tag in ("script", "img", "link", "iframe", "object", "form")]
    assert not [n for n in root.all() if any(key.startswith("on") or key == "style" for key in n.attrs)]
    assert not [n for n in root.all("a") if not (n.attrs["href"] or "").startswith("#")]
    assert "\x1b" not in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    assert len(page) < 3_000_000


def test_a_page_can_be_read_without_seeing_it(page: str) -> None:
    root = read(page)
    for drawing in root.all("svg"):
        title, desc = (drawing.attrs["aria-labelledby"] or "").split()
        assert drawing.one("title", id=title).children
        assert drawing.one("desc", id=desc).children
    ids = [n.attrs["id"] for n in root.all() if "id" in n.attrs]
    assert len(ids) == len(set(ids))
    assert all(n.attrs.get("scope") for n in root.all("th"))
    assert list(root.all("h1"))


def test_the_same_value_gives_the_same_page(compared: Comparison, runs: Path) -> None:
    assert changes.render(compared) == changes.render(compared)
    assert trend.render(read_history(runs)) == trend.render(read_history(runs))


# what they say


def row(root: Node, table: str, name: str) -> str:
    frame = next(t for t in root.all("table") if any(c.attrs.get("id") == table for c in t.all("caption")))
    return next(r.text for r in frame.all("tr") if name in r.text)


def test_a_comparison_says_what_changed_and_by_which_test(compared: Comparison) -> None:
    root = read(changes.render(compared))
    told = row(root, "t-differences", "Harmful requests refused")
    assert "97 % 50 % −47 points" in told
    assert "exact McNemar test, same items" in told
    assert "✕ worse" in told
    same = row(root, "t-differences", "Plainly harmless requests refused")
    assert "0 points" in same
    assert "◐ no change shown" in same
    assert "NOT COMPARABLE" not in root.text
    assert [n for n in root.all("svg")]


def test_a_comparison_of_other_questions_is_marked_and_draws_no_difference(runs: Path) -> None:
    found = compare(Run.open(runs / "nightly/run-4"), Run.open(runs / "nightly/run-2"))
    root = read(changes.render(found))
    assert "NOT COMPARABLE" in root.text
    assert "the two audits did not ask the same" in row(root, "t-differences", "Harmful requests refused")
    assert not list(root.all("svg"))


def test_history_is_in_order_of_time_and_joins_only_what_asked_the_same(runs: Path) -> None:
    found = read_history(runs)
    assert [past.folder for past in found.audits] == [f"nightly/run-{i}" for i in (4, 3, 2, 1)]
    assert [past.question for past in found.audits] == [1, 1, 2, 1]
    assert [past.verdict for past in found.audits] == ["pass", *["insufficient_evidence"] * 2, "fail"]
    assert len(found.unread) == 1
    assert found.unread[0].startswith("begun: ")
    root = read(trend.render(found))
    drawing = next(svg for svg in root.all("svg") if svg.attrs["aria-labelledby"] == "trend-1-title trend-1-desc")
    joined = [line for line in drawing.all("line") if line.attrs["stroke-width"] == "1.2"]
    assert len(joined) == 1
    assert len(list(drawing.all("circle"))) + len(list(drawing.all("polygon"))) == 4


def test_what_one_audit_did_not_measure_is_no_point(runs: Path) -> None:
    document = read_history(runs).model_dump(mode="json")
    name = document["tracked"][0]["id"]
    document["audits"][1]["points"][name] |= {"status": "not_measured", "value": None, "low": None, "high": None}
    del document["audits"][3]["points"][name]
    root = read(trend.render(History.model_validate(document)))
    drawing = next(svg for svg in root.all("svg") if svg.attrs["aria-labelledby"] == "trend-1-title trend-1-desc")
    assert len(list(drawing.all("circle"))) + len(list(drawing.all("polygon"))) == 2
    told = root.one("figure", id="m-1").text
    assert "◌ not measured" in told
    assert "◌ not asked" in told


def test_a_number_on_too_few_items_is_no_number(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "runs" / "one", refused=3, **SMALL)
    before = read_history(tmp_path / "runs").audits[0].points["refusal_behaviour.harmful_refusal_rate"]
    document = folder.read_json("audit.json")
    document["findings"][0]["status"] = "not_measured"
    folder.write_json("audit.json", document)
    after = read_history(tmp_path / "runs").audits[0].points["refusal_behaviour.harmful_refusal_rate"]
    assert (before.value, before.n) == (0.05, 60)
    assert (after.status, after.value, after.low, after.n) == ("not_measured", None, None, None)


# the commands


def test_compare_prints_a_table_writes_a_page_and_a_machine_form(runs: Path, tmp_path: Path) -> None:
    places = runs / "nightly/run-4", runs / "nightly/run-1"
    done = call("compare", *places, "--html", tmp_path / "c.html")
    assert done.exception is None
    assert "earlier: SmolLM2-135M-Instruct · battery quick" in done.output
    line = next(line for line in done.output.splitlines() if "harmful requests refused" in line)
    assert "97 %" in line
    assert "✕ worse" in line
    assert "1 more could not be tested" in done.output
    assert (tmp_path / "c.html").read_text() == changes.render(compare(*map(Run.open, places)))
    machine = json.loads(call("compare", *places, "--json").output)
    assert Comparison.model_validate(machine) == compare(*map(Run.open, places))


def test_compare_marks_what_cannot_be_compared(runs: Path) -> None:
    done = call("compare", runs / "nightly/run-4", runs / "nightly/run-2")
    assert "NOT COMPARABLE: the two audits did not ask the same" in done.output
    assert "the comparison digests differ" in done.output
    assert "worse" not in done.output


def test_history_prints_a_table_writes_a_page_and_a_machine_form(runs: Path, tmp_path: Path) -> None:
    done = call("history", runs, "--html", tmp_path / "h.html")
    assert done.exception is None
    line = next(line for line in done.output.splitlines() if "run-1" in line)
    assert "✕ FAIL" in line
    assert "50 % ✕" in line
    assert "not read: begun: " in done.output
    assert (tmp_path / "h.html").read_text() == trend.render(read_history(runs))
    assert History.model_validate(json.loads(call("history", runs, "--json").output)) == read_history(runs)


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_history_without_runs_is_a_usage_error(tmp_path: Path, place: str) -> None:
    assert isinstance(call("history", tmp_path / place).exception, ConfigError)


def test_hostile_names_do_not_reach_the_terminal(runs: Path, tmp_path: Path) -> None:
    for name in ("run-4", "run-1"):
        folder = RunFolder(Path(shutil.copytree(runs / "nightly" / name, tmp_path / "runs" / name)))
        document = folder.read_json("audit.json")
        document["checkpoint"]["name"] = f"\x1b[31m[red]::error::x\n::warning::y ##[group]\u202e{LONG}"
        folder.write_json("audit.json", document)
        folder.write_manifest()
    folders = [tmp_path / "runs" / name for name in ("run-4", "run-1")]
    for told in (call("compare", *folders).output, call("history", tmp_path / "runs").output):
        assert "[red]" in told
        assert not {"\x1b", "\u202e"} & set(told)
        assert "##[" not in told
        assert "::" not in told
        assert max(map(len, told.splitlines())) <= 200
