"""`auditor report`: HTML, PDF and machine formats, from a run folder's audit.json alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditor.bundle import RunFolder, write_atomic
from auditor.cli.exports import write_export
from auditor.cli.terms import decided
from auditor.errors import ConfigError, OutputError, VerifyMismatch
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord, load
from auditor.findings.verify import verify
from auditor.report import html, pdf, signature
from auditor.report.formats import DECIDED, FORMATS

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
@click.option("--policy", metavar="F", type=_FILE, help="Show what the gate decides by the policy in F.")
@click.option("--waivers", metavar="F", type=_FILE, help="Show what the gate decides with the waivers in F.")
@click.option("--baseline", metavar="DIR", type=click.Path(path_type=Path), help="Likewise, against that run.")
def report(  # noqa: PLR0913 one parameter an option
    folder: Path,
    html_file: Path | None,
    pdf_file: Path | None,
    name: str | None,
    output: Path | None,
    key: Path | None,
    policy: Path | None,
    waivers: Path | None,
    baseline: Path | None,
) -> None:
    """Render the report of the run folder DIR again, from its audit.json alone.

    Without options both report.html and report.pdf are written into DIR. The path of each file is printed. With the
    terms of a gate, pages and formats for pipelines also say what it decides by them today.
    """
    record = load(folder)
    home = folder if folder.is_dir() else folder.parent
    if name is not None and (html_file is not None or pdf_file is not None):
        raise ConfigError("--format goes without --html and --pdf; call report once for each")
    _refuse_what_does_not_fit(name, output, key)
    outcome = None
    if policy or waivers or baseline:
        if name is not None and name not in DECIDED:
            raise ConfigError(f"--format {name} knows no policy, waivers or baseline; {', '.join(DECIDED)} do")
        outcome = decided(folder, record, policy_file=policy, waivers_file=waivers, baseline=baseline)
    if key is not None:
        click.echo(_signed(record, RunFolder(home), key))
    elif name is None:
        _pages(record, outcome, html_file, pdf_file, home=home)
    else:
        text = DECIDED[name](record, outcome) if outcome else FORMATS[name](record)
        if output is None:
            click.echo(text, nl=False)
        else:
            write_export(text, output)
            click.echo(output)


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


def _pages(
    record: AuditRecord, outcome: GateOutcome | None, html_file: Path | None, pdf_file: Path | None, *, home: Path
) -> None:
    if html_file is None and pdf_file is None:
        html_file, pdf_file = home / "report.html", home / "report.pdf"
    for path, suffix in ((html_file, ".html"), (pdf_file, ".pdf")):
        if path is not None and path.exists() and path.suffix != suffix:
            raise OutputError(f"{path}: exists and is not a report; name another file")
    for path in _written(record, outcome, html_file, pdf_file, home=home):
        click.echo(path)
        if path.resolve().is_relative_to(home.resolve()):
            RunFolder(home).write_rendered([path])


def manifest(home: Path) -> dict[str, bytes]:
    """The manifest of a run folder, to go into its PDF; nothing where there is none."""
    path = home / "manifest.json"
    return {path.name: path.read_bytes()} if path.is_file() else {}


def _written(
    record: AuditRecord, outcome: GateOutcome | None, html_file: Path | None, pdf_file: Path | None, *, home: Path
) -> Iterator[Path]:
    """Each file as soon as it is whole, so that a missing PDF library costs the PDF only."""
    if html_file is not None:
        write_atomic(html_file, html.render(record, outcome).encode())
        yield html_file
    if pdf_file is not None:
        write_atomic(pdf_file, pdf.render(record, manifest(home), outcome))
        yield pdf_file
