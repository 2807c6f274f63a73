"""`auditor report` renders from audit.json alone and notes what it wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.canonical import sha256_file
from auditor.cli.report import report
from auditor.errors import AuditorError, ConfigError, IncompleteRun, OutputError
from auditor.report import html, pdf
from auditor.report.formats import FORMATS
from tests.report.pages import record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds nothing but the record."""
    place = tmp_path / "run"
    place.mkdir()
    (place / "audit.json").write_text(record().model_dump_json(), encoding="utf-8")
    return place


def call(*arguments: object) -> Result:
    return CliRunner().invoke(report, [str(argument) for argument in arguments])


def test_one_format_elsewhere_leaves_the_folder_as_it_is(folder: Path, tmp_path: Path) -> None:
    result = call(folder, "--html", tmp_path / "out.html")
    assert result.exit_code == 0
    assert result.output == f"{tmp_path / 'out.html'}\n"
    assert (tmp_path / "out.html").read_text(encoding="utf-8") == html.render(record())
    assert [path.name for path in folder.iterdir()] == ["audit.json"]


def test_the_manifest_of_the_folder_goes_into_its_pdf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, bytes]] = []
    monkeypatch.setattr(pdf, "render", lambda record, attached, outcome: given.append(attached) or b"%PDF")
    call(folder, "--pdf", folder / "a.pdf")
    (folder / "manifest.json").write_bytes(b"{}")
    call(folder, "--pdf", folder / "a.pdf")
    assert given == [{}, {"manifest.json": b"{}"}]


def test_without_the_pdf_library_html_is_written_and_noted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    result = call(folder)
    assert isinstance(result.exception, ConfigError)
    noted = json.loads((folder / "rendered.json").read_text(encoding="utf-8"))["files"]
    assert noted == {"report.html": sha256_file(folder / "report.html")}


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    for place, error in ((tmp_path, IncompleteRun), (tmp_path / "absent", ConfigError)):
        result = call(place)
        assert isinstance(result.exception, error)
        assert isinstance(result.exception, AuditorError)
        assert str(place) in str(result.exception)


@pytest.mark.parametrize("name", FORMATS)
def test_a_machine_format_goes_to_standard_output_or_to_a_file(folder: Path, tmp_path: Path, name: str) -> None:
    text = FORMATS[name](record())
    printed = call(folder, "--format", name)
    assert printed.exit_code == 0
    assert printed.stdout == text
    assert call(folder, "--format", name, "--output", tmp_path / "out").output == f"{tmp_path / 'out'}\n"
    assert (tmp_path / "out").read_text(encoding="utf-8") == text
    assert [path.name for path in folder.iterdir()] == ["audit.json"]


def test_a_format_written_into_the_folder_is_noted_and_may_be_made_again(folder: Path) -> None:
    for _ in range(2):
        assert call(folder, "--format", "oscal", "--output", folder / "oscal.json").exit_code == 0
    noted = json.loads((folder / "rendered.json").read_text(encoding="utf-8"))["files"]
    assert noted == {"oscal.json": sha256_file(folder / "oscal.json")}


def test_the_evidence_is_never_written_over(folder: Path) -> None:
    before = (folder / "audit.json").read_bytes()
    refused = call(folder, "--format", "oscal", "--output", folder / "audit.json")
    assert isinstance(refused.exception, OutputError)
    assert (folder / "audit.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--output", "x"], "--output needs --format"),
        (["--sign", "k.pem"], "--sign goes with --format intoto"),
        (["--format", "oscal", "--sign", "k.pem"], "--sign goes with --format intoto"),
        (["--format", "intoto", "--sign", "k.pem", "--output", "x"], "--sign goes with --format intoto alone"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(folder: Path, options: list[str], says: str) -> None:
    refused = call(folder, *options)
    assert isinstance(refused.exception, ConfigError)
    assert says in str(refused.exception)
    assert [path.name for path in folder.iterdir()] == ["audit.json"]
