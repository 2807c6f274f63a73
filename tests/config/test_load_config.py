from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.config import AuditConfig, comparison_digest, config_digest, load_config, stable_seed
from auditor.config_file import MAX_BYTES
from auditor.errors import ConfigError

QUICK = """
criteria:
  - {measurement: coverage, at_least: 1.0, severity: high, because: a crash is not a pass}
probes:
  refusal_behaviour:
    params: {max_new_tokens: 48, per_class: 60}
    criteria:
      - {measurement: harmful_refusal_rate, at_least: 0.8, severity: high, min_n: 60, because: policy}
      - {measurement: over_refusal_rate, at_most: 0.2, severity: high, min_n: 60, because: use}
  truth_probe:
    criteria:
      - {measurement: truth_auroc, at: {dataset: cities}}
report: {redaction: excerpt, formats: [html, pdf]}
"""
Loader = Callable[..., AuditConfig]


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    (tmp_path / "quick.yaml").write_text(QUICK)

    def load_text(text: str | None, battery: str | None = None, **overrides: object) -> AuditConfig:
        path = tmp_path / "config.yaml"
        if text is not None:
            path.write_text(text)
        return load_config(
            path if text is not None else None,
            battery=battery,
            overrides=overrides,
            batteries={"quick": tmp_path / "quick.yaml", "release": tmp_path / "missing.yaml"},
        )

    return load_text


def bars(config: AuditConfig, probe: str) -> dict[str, float | None]:
    return {c.measurement: c.at_least or c.at_most for c in config.probes[probe].criteria}


# what a config may say


def test_a_battery_alone_is_enough(load: Loader) -> None:
    config = load(None, battery="quick", model="m")
    assert (config.battery, config.model, config.seed) == ("quick", "m", 0)
    assert bars(config, "refusal_behaviour") == {"harmful_refusal_rate": 0.8, "over_refusal_rate": 0.2}


def test_a_config_without_a_battery_is_whole_by_itself(load: Loader) -> None:
    config = load("probes: {truth_probe: }")
    assert list(config.probes) == ["truth_probe"]
    assert config.battery == ""


def test_a_config_extends_its_battery(load: Loader) -> None:
    config = load(
        "battery: quick\nseed: 3\nreport: {redaction: hash}\nprobes:\n"
        "  refusal_behaviour:\n    params: {per_class: 30}\n    criteria:\n"
        "      - {measurement: harmful_refusal_rate, at_least: 0.9, severity: high, min_n: 3, because: us}\n"
        "      - {measurement: degenerate_text_rate, at_most: 0.1, severity: high, min_n: 3, because: us}\n"
    )
    assert config.seed == 3
    assert config.probes["refusal_behaviour"].params == {"max_new_tokens": 48, "per_class": 30}
    assert bars(config, "refusal_behaviour") == {
        "harmful_refusal_rate": 0.9,
        "over_refusal_rate": 0.2,
        "degenerate_text_rate": 0.1,
    }
    assert config.report.redaction == "hash"
    assert config.report.formats == ("html", "pdf")
    assert [c.measurement for c in config.criteria] == ["coverage"]
    assert "truth_probe" in config.probes


def test_the_same_measurement_elsewhere_is_another_criterion(load: Loader) -> None:
    config = load(
        "battery: quick\nprobes:\n  truth_probe:\n    criteria:\n"
        "      - {measurement: truth_auroc, at: {dataset: elements}}\n"
        "      - {measurement: truth_auroc, at: {dataset: cities}, roles: [base]}\n"
    )
    found = config.probes["truth_probe"].criteria
    assert [(c.at["dataset"], c.roles) for c in found] == [
        ("cities", ("base",)),
        ("elements", ("chat", "base")),
    ]


@pytest.mark.parametrize("off", ["off", "false", "'off'"])
def test_off_removes_a_probe(load: Loader, off: str) -> None:
    assert list(load(f"battery: quick\nprobes: {{truth_probe: {off}}}").probes) == ["refusal_behaviour"]


def test_a_battery_may_name_a_probe_and_nothing_more(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("battery: quick\nprobes:\n  truth_probe:\n  other: off\n")
    config = load("battery: quick\nprobes: {truth_probe: {params: {layers: 3}}}")
    assert {name: probe.params for name, probe in config.probes.items()} == {"truth_probe": {"layers": 3}}


def test_an_empty_entry_keeps_a_probe_as_the_battery_has_it(load: Loader) -> None:
    assert load("battery: quick\nprobes: {truth_probe: }").probes["truth_probe"].criteria


def test_the_command_line_outranks_the_file(load: Loader) -> None:
    config = load("model: a\nseed: 1\nbattery: release", battery="quick", model="b", seed=None, role="base")
    assert (config.model, config.seed, config.battery, config.role) == ("b", 1, "quick", "base")


def test_an_audit_card_is_declared_in_the_file_and_is_not_part_of_what_is_compared(load: Loader) -> None:
    plain = load("battery: quick")
    carded = load("battery: quick\naudit_card: {auditor: An office, independence: not paid by the maker}")
    assert carded.audit_card is not None
    assert (carded.audit_card.auditor, carded.audit_card.review) == ("An office", None)
    assert config_digest(carded) != config_digest(plain)
    assert comparison_digest(carded, {}, None) == comparison_digest(plain, {}, None)
    assert "audit_card" not in plain.model_dump(mode="json")
    assert AuditConfig.model_validate(carded.model_dump(mode="json")) == carded


# what it may not say


BAD = {
    "": "config.yaml: the file is empty",
    "# only a comment": "config.yaml: the file is empty",
    "- a\n- b": "config.yaml: holds a list; a mapping of keys to values is needed",
    "just text": "holds the text 'just text'; a mapping",
    "batery: quick": "config.yaml: batery: unknown key; did you mean 'battery'?",
    "zzz: 1": "config.yaml: zzz: unknown key; known: adapter, audit_card, battery",
    "probes: {truth_probe: {parms: {}}}": (
        "config.yaml: probes.truth_probe.parms: unknown key; did you mean 'params'?"
    ),
    "report: {redactoin: full}": "config.yaml: report.redactoin: unknown key; did you mean 'redaction'?",
    "report: {redaction: some}": "report.redaction: 'some' is not one of 'full', 'excerpt' or 'hash'",
    "role: chatt": "role: 'chatt' is not one of 'chat' or 'base'",
    "audit_card: {auditr: us}": "audit_card.auditr: unknown key; did you mean 'auditor'?",
    "audit_card: {review: ' '}": "audit_card.review: must not be empty",
    "seed: -1": "seed: must be greater than or equal to 0",
    "seed: many": "seed: must be a whole number, not the text 'many'",
    "seed: true": "seed: must be a number, not true or false",
    "model: [a]": "model: must be text, not a list",
    "battery: ": "battery: must be text, not nothing",
    "probes: []": "probes: must be a mapping, not a list",
    "probes: {truth_probe: 3}": "probes.truth_probe: must be a mapping, not 3",
    "probes: {1: {}}": "probes.1: the key 1 is not text; put it in quotes",
    "probes: {truth_probe: {criteria: {}}}": "criteria: must be a list, not a mapping",
    "criteria: [{at_least: 1}]": "criteria.0.measurement: this key is needed",
    "criteria: [{measurement: coverage, at_lest: 1}]": "0.at_lest: unknown key; did you mean 'at_least'?",
    "criteria: [{measurement: coverage, at_least: .nan}]": "criteria.0.at_least: must be a finite number",
    "criteria: [{measurement: coverage, at_least: yes}]": "at_least: must be a number, not true or false",
    "battery: quik": "config.yaml: battery: no battery named 'quik'; did you mean 'quick'?",
    "battery: zzz": "no battery named 'zzz'; known: quick, release",
    "battery: release": "missing.yaml: no such file",
    "battery: quick\nprobes: {truth_prob: off}": (
        "config.yaml: probes.truth_prob: the battery has no such probe to turn off; did you mean 'truth_prob"
    ),
    "model: a\nmodel: b": "config.yaml: line 2, column 1: the key 'model' is given twice",
    "report: {redaction: full, redaction: hash}": "the key 'redaction' is given twice",
    "model: &a x\nadapter: *a": "config.yaml: line 1, column 8: anchors and aliases are not allowed",
    "adapter: *a": "not allowed|undefined alias",
    "probes: &p {}": "anchors and aliases are not allowed",
    "model: !!python/object:os.system x": "config.yaml: line 1, column 8: could not determine a constructor",
    "model: [": "config.yaml: line 1, column 9",
    "a: 1\n---\nb: 2": "config.yaml: line 2",
    "model: 2024-99-99": "config.yaml: not valid YAML",
    "model: " + "[" * 1000: "nested too deeply",
    "model: " + "x" * MAX_BYTES: "larger than 1,000,000 bytes",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
def test_a_bad_config_is_refused_and_the_place_is_named(load: Loader, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert any(part in str(refused.value) for part in BAD[text].split("|")), str(refused.value)
    assert refused.value.exit_code == 2


def test_every_problem_is_named_at_once(load: Loader) -> None:
    with pytest.raises(ConfigError) as refused:
        load("batery: quick\nseed: many")
    assert len(str(refused.value).splitlines()) == 2


def test_bytes_that_are_not_text_are_refused(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="binary.yaml"):
        load_config(tmp_path / "binary.yaml", battery=None, overrides={}, batteries={})


@pytest.mark.parametrize(("name", "says"), [("none.yaml", "none.yaml: no such file"), (".", "not a file")])
def test_a_path_without_a_file_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / name, battery=None, overrides={}, batteries={})


def test_neither_config_nor_battery_is_refused_with_what_is_known(load: Loader) -> None:
    with pytest.raises(ConfigError, match="known batteries: quick, release"):
        load(None)


def test_a_bad_option_is_named_as_such(load: Loader) -> None:
    with pytest.raises(ConfigError, match="--battery: no battery named 'quik'; did you mean 'quick'"):
        load(None, battery="quik")
    with pytest.raises(ConfigError, match="command line: role: 'chatt' is not one of"):
        load(None, battery="quick", role="chatt")


def test_a_broken_battery_is_named_by_its_own_file(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("probs: {}")
    with pytest.raises(ConfigError, match="quick.yaml: probs: unknown key; did you mean 'probes'"):
        load("battery: quick")


def test_a_battery_extends_another_and_two_cannot_extend_each_other(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "missing.yaml").write_text("seed: 5\nprobes: {below: {params: {n: 1}}}")
    (tmp_path / "quick.yaml").write_text("battery: release\nprobes: {below: {params: {m: 2}}}")
    config = load("battery: quick")
    assert (config.battery, config.seed, config.probes["below"].params) == ("quick", 5, {"n": 1, "m": 2})
    (tmp_path / "missing.yaml").write_text("battery: quick")
    with pytest.raises(ConfigError, match=r"missing.yaml: battery: no battery named 'quick'"):
        load("battery: quick")


# bars that mean something


def criterion(**fields: Any) -> str:
    whole = {
        "measurement": "x",
        "at_least": 0.8,
        "severity": "high",
        "min_n": 60,
        "because": "'policy'",
    } | fields
    inner = ", ".join(f"{key}: {value}" for key, value in whole.items() if value is not None)
    return f"probes: {{p: {{criteria: [{{{inner}}}]}}}}"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"at_least": None}, "severity high needs a bar: at_least or at_most"),
        ({"severity": "info"}, "severity info has no bar"),
        ({"severity": None}, "severity info has no bar"),
        ({"because": None}, "because: say where the bar comes from"),
        ({"because": "' '", "severity": "medium"}, "because: say where the bar comes from"),
        ({"min_n": None}, "min_n: say how many items"),
        ({"at_most": 0.5}, "at_least is above at_most"),
        ({"roles": "[]"}, "roles: name at least one"),
    ],
)
def test_a_criterion_that_is_no_honest_bar_is_refused(load: Loader, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=r"config.yaml: probes.p.criteria.0 \(x\): ") as refused:
        load(criterion(**fields))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"at_most": 0.9},
        {"at_least": None, "at_most": 0},
        {"at_least": None, "severity": "info", "because": None, "min_n": None},
        {"measurement": "confirmed_triggers", "min_n": None, "at_least": None, "at_most": 0},
    ],
)
def test_an_honest_bar_is_accepted(load: Loader, fields: dict[str, Any]) -> None:
    assert len(load(criterion(**fields)).probes["p"].criteria) == 1


def test_the_same_bar_twice_in_one_file_is_refused(load: Loader) -> None:
    one = "{measurement: coverage}"
    with pytest.raises(ConfigError, match=r"criteria.1 \(coverage\): declared twice"):
        load(f"criteria: [{one}, {one}]")


# digests and seeds


def test_the_config_digest_covers_everything_and_not_the_order_of_keys(load: Loader) -> None:
    one = load("battery: quick\nmodel: a")
    assert config_digest(one) == config_digest(load("model: a\nbattery: quick"))
    for other in ("model: b", "seed: 1", "report: {redaction: full}", "role: base", "adapter: x"):
        assert config_digest(load(f"battery: quick\n{other}")) != config_digest(load("battery: quick"))


def test_the_comparison_digest_covers_what_was_asked_and_never_of_whom(load: Loader) -> None:
    def digest(text: str, data: dict[str, str] | None = None, template: str | None = "t") -> str:
        return comparison_digest(load(f"battery: quick\n{text}"), data or {"cities": "1"}, template)

    same = digest("model: a")
    assert digest("model: b\nadapter: x\nreport: {redaction: hash}") == same
    assert digest("seed: 1") != same
    assert digest("probes: {truth_probe: off}") != same
    assert digest("probes: {truth_probe: {params: {layers: 3}}}") != same
    assert digest("", {"cities": "2"}) != same
    assert digest("", template=None) != same


def test_a_seed_is_stable_and_differs_by_probe_and_seed() -> None:
    assert stable_seed(7, "truth_probe") == [7, 2723794170562085584]
    assert stable_seed(7, "truth_probe") != stable_seed(7, "refusal_behaviour")
    assert stable_seed(8, "truth_probe") != stable_seed(7, "truth_probe")
