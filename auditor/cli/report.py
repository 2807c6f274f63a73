"""`auditor report`: HTML and PDF again, from a run folder's audit.json alone."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.bundle import RunFolder, write_atomic
from auditor.findings.record import load
from auditor.report import html, pdf


@click.command(name="report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--html", "html_file", metavar="F", type=click.Path(path_type=Path), help="Write only the HTML report, to F.")
@click.option("--pdf", "pdf_file", metavar="F", type=click.Path(path_type=Path), help="Write only the PDF report, to F.")
def report(folder: Path, html_file: Path | None, pdf_file: Path | None) -> None:
    """Render the report of the run folder DIR again, from its audit.json alone.

    Without options both report.html and report.pdf are written into DIR. The path of each file is printed.
    """
    record = load(folder)
    if html_file is None and pdf_file is None:
        html_file, pdf_file = folder / "report.html", folder / "report.pdf"
    written = []
    if html_file is not None:
        write_atomic(html_file, html.render(record).encode())
        written.append(html_file)
        click.echo(html_file)
    if pdf_file is not None:
        write_atomic(pdf_file, pdf.render(record))
        written.append(pdf_file)
        click.echo(pdf_file)
    RunFolder(folder).write_rendered(written)
