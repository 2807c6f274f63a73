"""Every probe, shipped or third-party, keeps the contract."""

from __future__ import annotations

import pytest

from auditor.cli.discover import battery_paths, load_probes, probe_names
from auditor.config import load_config, validate_against
from auditor.errors import ConfigError


@pytest.mark.parametrize("name", probe_names())
def test_a_probe_is_a_question_with_declared_measurements(name: str) -> None:
    loaded = load_probes([name])[name]
    assert "?" in loaded.question.split("\n\n")[0]
    assert loaded.probe.source.startswith(("arXiv:", "https://"))
    names = [spec.name for spec in loaded.probe.measurements]
    assert len(names) == len(set(names)) > 0
    assert all(spec.limits and spec.plain and spec.plain[0].islower() for spec in loaded.probe.measurements)
    assert loaded.probe.params() == loaded.probe.params.model_validate({})


@pytest.mark.parametrize("battery", sorted(battery_paths()))
def test_a_shipped_battery_is_valid_and_every_bar_has_a_reason(battery: str) -> None:
    config = load_config(None, battery=battery, overrides={}, batteries=battery_paths())
    config = validate_against(config, load_probes(list(config.probes)))
    bars = [c for probe in config.probes.values() for c in probe.criteria if c.severity != "info"]
    assert bars
    assert all(bar.because and bar.min_n for bar in bars)


def test_an_unknown_probe_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no probe named 'truth_prob'; did you mean 'truth_probe'"):
        load_probes(["truth_prob"])
