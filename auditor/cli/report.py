"""`auditor report`: HTML, PDF and machine formats, from a run folder's audit.json alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditor.bundle import RENDERED, RunFolder, write_atomic
from auditor.errors import ConfigError, OutputError, VerifyMismatch
from auditor.findings.record import AuditRecord, load
from auditor.findings.verify import verify
from auditor.report import html, pdf, signature
from auditor.report.formats import FORMATS

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--html", "html_file", metavar="F", type=_FILE, help="Write only the HTML report, to F.")
@click.option("--pdf", "pdf_file", metavar="F", type=_FILE, help="Write only the PDF report, to F.")
@click.option("--format", "name", type=click.Choice(list(FORMATS)), help="Write only this, to standard output.")
@click.option("--output", metavar="F", type=_FILE, help="Write what --format names to F instead.")
@click.option(
    "--sign",
    "key",
    metavar="KEY.pem",
    type=_FILE,
    help=f"With --format intoto: sign, and write {signature.ATTESTATION} into DIR.",
)
def report(
    folder: Path,
    html_file: Path | None,
    pdf_file: Path | None,
    name: str | None,
    output: Path | None,
    key: Path | None,
) -> None:
    """Render the report of the run folder DIR again, from its audit.json alone.

    Without options both report.html and report.pdf are written into DIR. The path of each file is printed.
    """
    record = load(folder)
    home = folder if folder.is_dir() else folder.parent
    _refuse_what_does_not_fit(name, output, key)
    if key is not None:
        click.echo(_signed(record, RunFolder(home), key))
    elif name is not None:
        _export(FORMATS[name](record), output, home)
    else:
        _pages(record, html_file, pdf_file, home)


def _refuse_what_does_not_fit(name: str | None, output: Path | None, key: Path | None) -> None:
    if output is not None and name is None:
        raise ConfigError(f"--output needs --format: {', '.join(FORMATS)}")
    if key is not None and (name != "intoto" or output is not None):
        raise ConfigError("--sign goes with --format intoto alone; it writes into the run folder, whose files it signs")


def _signed(record: AuditRecord, folder: RunFolder, key: Path) -> Path:
    """Sign a folder that agrees with itself; no signature should stand under one that does not."""
    found = verify(folder)
    if found.problems:
        raise VerifyMismatch(f"{folder.path}: not signed, because `auditor verify {folder.path}` finds what differs")
    return signature.sign(record, folder, key)


def _export(text: str, output: Path | None, home: Path) -> None:
    """Print a machine format, or write it where the user says; never over the evidence."""
    if output is None:
        click.echo(text, nl=False)
        return
    inside = output.resolve().is_relative_to(home.resolve())
    if inside and output.exists() and output.resolve().relative_to(home.resolve()).as_posix() not in _rendered(home):
        raise OutputError(f"{output}: belongs to the run; name another file")
    write_atomic(output, text.encode())
    click.echo(output)
    if inside:
        RunFolder(home).write_rendered([output])


def _rendered(home: Path) -> set[str]:
    return set(RunFolder(home).read_json(RENDERED)["files"]) if (home / RENDERED).exists() else set()


def _pages(record: AuditRecord, html_file: Path | None, pdf_file: Path | None, home: Path) -> None:
    if html_file is None and pdf_file is None:
        html_file, pdf_file = home / "report.html", home / "report.pdf"
    for path in (html_file, pdf_file):
        if path is not None and path.exists() and path.suffix not in (".html", ".pdf"):
            raise OutputError(f"{path}: exists and is not a report; name another file")
    for path in _written(record, html_file, pdf_file):
        click.echo(path)
        if path.resolve().is_relative_to(home.resolve()):
            RunFolder(home).write_rendered([path])


def _written(record: AuditRecord, html_file: Path | None, pdf_file: Path | None) -> Iterator[Path]:
    """Each file as soon as it is whole, so that a missing PDF library costs the PDF only."""
    if html_file is not None:
        write_atomic(html_file, html.render(record).encode())
        yield html_file
    if pdf_file is not None:
        write_atomic(pdf_file, pdf.render(record))
        yield pdf_file
