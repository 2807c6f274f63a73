"""`auditor report` renders from audit.json alone and notes what it wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.canonical import sha256_file
from auditor.cli.report import report
from auditor.errors import AuditorError, ConfigError, IncompleteRun
from auditor.report import html, pdf
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
    monkeypatch.setattr(pdf, "render", lambda record, attached: given.append(attached) or b"%PDF")
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
