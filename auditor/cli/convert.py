"""`auditor convert`: a GGUF file to a safetensors folder. The work is done by checkpoint/convert.py."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.checkpoint.convert import convert_gguf


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def convert(file: Path, folder: Path) -> None:
    """Convert a GGUF file into the new folder FOLDER, in a process of its own.

    The folder appears whole or not at all, and holds auditor_provenance.json with the sha256 of the file.
    What was quantised stays as coarse as it was: the audit is then of these weights.
    """
    click.echo(f"converting {file.name}; this takes about a minute for each 200 MB", err=True)
    convert_gguf(file, folder)
    click.echo(str(folder))
