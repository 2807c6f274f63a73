"""Declares data sets for tests: a config with one data set, its files written on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auditor.cli.discover import load_probes
from auditor.config import AuditConfig, validate_against
from auditor.data.declared import read_declared
from auditor.data.examples import Dataset

FACTS = {
    "licence": "CC0-1.0",
    "columns": {"completion": "statement", "label": "correct", "group": "stone"},
    "positive": ["yes"],
    "negative": ["no"],
}
HEADER = "statement,correct,stone"


def stones(n: int = 6) -> list[str]:
    """Rows of a CSV of true and false statements, two a group."""
    return [f"Stone {i} is {word}.,{label},s{i}" for i in range(n) for word, label in (("red", "yes"), ("blue", "no"))]


def csv_of(*rows: str) -> str:
    """A CSV with the usual header."""
    return "\n".join([HEADER, *rows]) + "\n"


def declared(
    folder: Path, *files: dict[str, Any], probes: dict[str, Any] | None = None, hub: Any = None, **changes: Any
) -> tuple[AuditConfig, dict[str, Dataset]]:
    """What is read of a config that declares `mine`; a file's `text` is written to its path first."""
    told = []
    for file in files:
        if "text" in file:
            text = file["text"]
            (folder / file["path"]).write_bytes(text if isinstance(text, bytes) else text.encode())
        told.append({key: value for key, value in file.items() if key != "text"})
    own = {"language": "en", "class_names": ["false", "true"], "files": told} | changes
    loaded = load_probes(list(probes or {"truth_probe": {}}))
    asked = {"datasets": {"mine": own}, "probes": probes or {"truth_probe": {}}}
    config = AuditConfig.model_validate(json.loads(json.dumps(asked)))
    return read_declared(validate_against(config, loaded), loaded, root=folder, source="a.yaml", hub=hub)


def facts(text: str | bytes, **changes: Any) -> dict[str, Any]:
    """A declared CSV file of facts."""
    return {"path": "facts.csv", "text": text, **FACTS, **changes}
