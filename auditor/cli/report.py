"""`auditor report`: HTML and PDF again, from a run folder's audit.json alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditor.bundle import RunFolder, write_atomic
from auditor.errors import OutputError
from auditor.findings.record import AuditRecord, load
from auditor.report import html, pdf

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--html", "html_file", metavar="F", type=_FILE, help="Write only the HTML report, to F.")
@click.option("--pdf", "pdf_file", metavar="F", type=_FILE, help="Write only the PDF report, to F.")
def report(folder: Path, html_file: Path | None, pdf_file: Path | None) -> None:
    """Render the report of the run folder DIR again, from its audit.json alone.

    Without options both report.html and report.pdf are written into DIR. The path of each file is printed.
    """
    record = load(folder)
    home = folder if folder.is_dir() else folder.parent
    if html_file is None and pdf_file is None:
        html_file, pdf_file = home / "report.html", home / "report.pdf"
    for path in (html_file, pdf_file):
        if path is not None and path.exists() and path.suffix not in (".html", ".pdf"):
            raise OutputError(f"{path}: exists and is not a report; name another file")
    for path in _written(record, html_file, pdf_file, home):
        click.echo(path)
        if path.resolve().is_relative_to(home.resolve()):
            RunFolder(home).write_rendered([path])


def manifest(home: Path) -> dict[str, bytes]:
    """The manifest of a run folder, to go into its PDF; nothing where there is none."""
    path = home / "manifest.json"
    return {path.name: path.read_bytes()} if path.is_file() else {}


def _written(record: AuditRecord, html_file: Path | None, pdf_file: Path | None, home: Path) -> Iterator[Path]:
    """Each file as soon as it is whole, so that a missing PDF library costs the PDF only."""
    if html_file is not None:
        write_atomic(html_file, html.render(record).encode())
        yield html_file
    if pdf_file is not None:
        write_atomic(pdf_file, pdf.render(record, manifest(home)))
        yield pdf_file
