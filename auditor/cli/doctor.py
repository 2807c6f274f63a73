"""`auditor doctor`: is this machine ready, and how fast is it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os

import click

LIBRARIES = ("torch", "transformers", "safetensors", "scikit-learn", "scipy", "pydantic", "jinja2", "gguf")
SIZE, REPEATS = 1024, 5


@click.command()
def doctor() -> int:
    """Report libraries, PDF support, devices, and the measured speed of each dtype."""
    for library in LIBRARIES:
        click.echo(f"{library:<14}{importlib.metadata.version(library)}")
    click.echo(f"{'PDF':<14}{pdf_state()}")
    click.echo(f"{'adapters':<14}{adapters_state()}")
    click.echo(f"{'cores':<14}{os.cpu_count()}")
    from auditor.model.speed import matmul_gflops  # torch: only when asked

    for device, dtype, gflops in matmul_gflops(SIZE, REPEATS):
        click.echo(f"{device:<14}{dtype}: {gflops:.0f} gigaflop/s")
    return 0


def pdf_state() -> str:
    """Whether WeasyPrint finds its system libraries."""
    try:
        weasyprint = importlib.import_module("weasyprint")
    except OSError as error:
        return f"not ready: {str(error).splitlines()[0]}; HTML reports work without it"
    return f"weasyprint {weasyprint.__version__}"


def adapters_state() -> str:
    """Whether PEFT adapters can be applied, and how to get there."""
    try:
        return f"peft {importlib.metadata.version('peft')}"
    except importlib.metadata.PackageNotFoundError:
        return "not installed: pip install 'checkpoint-auditor[adapters]'"
