"""`auditor doctor`: is this machine ready, and how fast is it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os

import click

from auditor.report.glyphs import undrawable

LIBRARIES = ("torch", "transformers", "safetensors", "scikit-learn", "scipy", "pydantic", "jinja2", "gguf")
SCRIPTS = {
    "Chinese": "漢",
    "Japanese": "か",
    "Korean": "한",
    "Arabic": "ع",
    "Hebrew": "ש",
    "Hindi": "ह",
    "Thai": "ก",
    "emoji": "🔥",
}
"""a character of each; Latin, Greek and Cyrillic come with every report"""
SIZE, REPEATS = 1024, 5


@click.command()
def doctor() -> int:
    """Report libraries, PDF support, devices, and the measured speed of each dtype."""
    for library in LIBRARIES:
        click.echo(f"{library:<14}{importlib.metadata.version(library)}")
    click.echo(f"{'PDF':<14}{pdf_state()}")
    click.echo(f"{'fonts':<14}{fonts_state()}")
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


def fonts_state() -> str:
    """Which scripts a PDF made here can hold, and how to get the others."""
    try:
        weasyprint = importlib.import_module("weasyprint")
    except OSError:
        return "not looked at without PDF"
    missing = undrawable(weasyprint, "".join(SCRIPTS.values()))
    lacking = [name for name, character in SCRIPTS.items() if character in missing]
    if not lacking:
        return "all that were tried"
    return (
        f"none for {', '.join(lacking)}: a PDF writes their characters as codes; on Debian or Ubuntu: "
        "sudo apt-get install fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji"
    )


def adapters_state() -> str:
    """Whether PEFT adapters can be applied, and how to get there."""
    try:
        return f"peft {importlib.metadata.version('peft')}"
    except importlib.metadata.PackageNotFoundError:
        return "not installed: pip install 'checkpoint-auditor[adapters]'"
