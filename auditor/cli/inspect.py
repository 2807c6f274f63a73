"""`auditor inspect`: what is in a checkpoint, and may it be loaded. Loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from auditor.checkpoint.admit import admit
from auditor.checkpoint.identity import CheckpointIdentity
from auditor.checkpoint.resolve import default_cache, resolve
from auditor.errors import UnsafeCheckpoint, UnsupportedModel


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON on stdout, also when it is refused.")
def inspect(model: str, as_json: bool) -> None:
    """Show what is in a checkpoint, and whether it is safe to load.

    MODEL is a folder, or a Hub id as org/name or org/name@revision. Nothing of it is loaded or run. Exits
    with 4 when it is refused, with 2 when it is of a kind that is not measured.
    """
    try:
        folder, commit = resolve(model, default_cache())
        identity = admit(folder, name=model.partition("@")[0] if commit else None, revision=commit).identity
    except (UnsafeCheckpoint, UnsupportedModel) as error:
        if as_json:
            refusal = {"safe_to_load": False, "exit_code": error.exit_code, "reason": str(error)}
            click.echo(json.dumps(refusal, indent=1))
        raise
    if as_json:
        click.echo(json.dumps({"safe_to_load": True, **identity.model_dump(mode="json")}, indent=1))
    else:
        click.echo("\n".join(described(identity)))


def described(identity: CheckpointIdentity) -> list[str]:
    """Lines for a person: what it is, its files, what was noticed."""
    dtypes = ", ".join(f"{name} {count:,}" for name, count in identity.stored_dtypes.items())
    template = identity.template_digest
    facts = {
        "verdict": "safe to load",
        "type": identity.model_type,
        "weights": f"{identity.parameters:,} ({dtypes})",
        "revision": identity.revision or "",
        "identity": f"sha256 {identity.digest}",
        "chat template": f"sha256 {template[:12]}" if template else "none: prompts are given as plain text",
        **{f"origin: {key}": str(value) for key, value in identity.provenance.items()},
    }
    width = max(len(name) for name in facts)
    lines = [identity.name, *(f"  {name:<{width}}  {value}" for name, value in facts.items() if value), ""]
    lines += _table(
        ("file", "size", "sha256", "use"),
        [(file.path, _size(file.size), file.sha256[:12], file.use.replace("_", " ")) for file in identity.files],
    )
    if identity.notes:
        lines += ["", "  noticed", *(f"  · {note}" for note in identity.notes)]
    return lines


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return [
        "  "
        + "  ".join(
            f"{cell:>{width}}" if i == 1 else f"{cell:<{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
