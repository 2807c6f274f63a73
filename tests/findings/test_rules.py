from __future__ import annotations

import re
from pathlib import Path

from auditor.cli.discover import battery_paths, load_probes
from auditor.config import RUN_MEASUREMENTS, load_config
from auditor.findings.rules import rule_id, rule_table

DOC = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")


def shipped_checks() -> set[str]:
    """Every criterion of every shipped battery as probe.measurement."""
    batteries = battery_paths()
    configs = [load_config(None, battery=name, overrides={}, batteries=batteries) for name in batteries]
    checks = {
        f"{probe}.{c.measurement}" for config in configs for probe, p in config.probes.items() for c in p.criteria
    }
    return checks | {criterion.measurement for config in configs for criterion in config.criteria}


def test_every_criterion_of_a_shipped_battery_has_an_id() -> None:
    assert shipped_checks() - set(rule_table().values()) == set()


def test_an_id_is_a_family_letter_and_three_digits_and_names_one_check() -> None:
    assert [rule for rule in rule_table() if not re.fullmatch(r"[A-Z]\d{3}", rule)] == []
    checks = list(rule_table().values())
    assert len(checks) == len(set(checks))


def test_a_family_is_one_probe() -> None:
    families = {(rule[0], check.partition(".")[0] if "." in check else "") for rule, check in rule_table().items()}
    assert len({letter for letter, _ in families}) == len(families)


def test_every_id_names_what_a_probe_declares() -> None:
    declared = {f"{name}.{spec.name}" for name, p in load_probes().items() for spec in p.probe.measurements}
    assert set(rule_table().values()) - declared == set(RUN_MEASUREMENTS)


def test_a_check_goes_by_its_id_and_a_third_party_one_by_its_name() -> None:
    assert rule_id("refusal_behaviour", "harmful_refusal_rate") == "R001"
    assert rule_id("", "coverage") == "A001"
    assert rule_id("their_probe", "their_rate") == "their_probe.their_rate"


def test_the_published_table_is_the_table_in_force() -> None:
    published = re.findall(r"^\| ([A-Z]\d{3}) \| `([^`]+)` \|$", DOC, re.MULTILINE)
    assert dict(published) == dict(rule_table())
