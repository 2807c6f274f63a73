"""docs/methods.md explains every measurement that a shipped probe declares, in all its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.cli.discover import load_probes
from auditor.measure.intervals import ESTIMATORS

METHODS = Path(__file__).parents[2] / "docs/methods.md"
PARTS = ("Formula", "Unit", "Estimator", "Columns", "Fails")
DECLARED = [(name, spec) for name, loaded in load_probes().items() for spec in loaded.probe.measurements]


def sections() -> dict[str, str]:
    """Text by heading, on one line each."""
    parts = METHODS.read_text().split("\n## ")[1:]
    return {heading: " ".join(body.split()) for heading, _, body in (part.partition("\n") for part in parts)}


def section(probe: str, measurement: str) -> str:
    """The section of a measurement; where two probes report one of the same name, the one that names the probe."""
    found = {heading: text for heading, text in sections().items() if measurement in heading.replace(",", "").split()}
    assert found, f"docs/methods.md has no section on {measurement}"
    return next((text for heading, text in found.items() if probe in heading), next(iter(found.values())))


@pytest.mark.parametrize(("probe", "spec"), DECLARED, ids=[f"{probe}.{spec.name}" for probe, spec in DECLARED])
def test_a_section_has_all_its_parts(probe, spec) -> None:
    text = section(probe, spec.name)
    assert [part for part in PARTS if f"**{part}" not in text] == []
    assert any(f"`{estimator}`" in text for estimator in ESTIMATORS)
    assert spec.unit in text.partition("**Unit**")[2]


def test_every_section_on_a_measurement_is_on_one_that_exists() -> None:
    declared = {spec.name for _, spec in DECLARED} | {"coverage"}
    named = [heading.split(" (")[0].split(", ") for heading in sections() if heading.replace("_", "").islower()]
    probes = set(load_probes())
    assert {name for names in named for name in names} - probes == declared
