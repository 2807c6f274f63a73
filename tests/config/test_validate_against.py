from __future__ import annotations

from dataclasses import dataclass

import pytest

from auditor.config import AuditConfig, Criterion, ProbeConfig, Strict, config_digest, validate_against
from auditor.errors import ConfigError
from auditor.measure.measurement import MeasurementSpec, Probe


class Params(Strict):
    per_class: int = 60
    kl_max: float = 0.1


@dataclass(frozen=True)
class Loaded:
    probe: Probe


PROBES = {
    "refusal_behaviour": Loaded(
        Probe(
            params=Params,
            measurements=(
                MeasurementSpec("harmful_refusal_rate", "share", "behavioural", "harmful requests refused"),
                MeasurementSpec("truth_auroc", "AUROC", "decodable", "told apart", at=("dataset", "layer")),
                MeasurementSpec("effect", "logit", "causal", "effect"),
            ),
            source="arXiv:0000.00000",
            run=lambda bench, params: None,
        )
    )
}


def config(
    params: dict[str, object] | None = None, probe: str = "refusal_behaviour", **criterion: object
) -> AuditConfig:
    criteria = (Criterion.model_validate(criterion),) if criterion else ()
    return AuditConfig(probes={probe: ProbeConfig(params=params or {}, criteria=criteria)})


def test_parameters_are_filled_in_so_that_digests_do_not_depend_on_what_was_left_out() -> None:
    short, long = config({"kl_max": 0.2}), config({"per_class": 60, "kl_max": 0.2})
    checked = validate_against(short, PROBES)
    assert checked.probes["refusal_behaviour"].params == {"per_class": 60, "kl_max": 0.2}
    assert config_digest(checked) == config_digest(validate_against(long, PROBES))
    assert config_digest(checked) != config_digest(validate_against(config(), PROBES))


@pytest.mark.parametrize(
    "criterion",
    [
        {"measurement": "harmful_refusal_rate", "at_least": 0.8},
        {"measurement": "truth_auroc", "at": {"dataset": "cities"}},
        {"measurement": "effect", "at_least": 3.0},
    ],
)
def test_a_declared_measurement_is_accepted(criterion: dict[str, object]) -> None:
    assert validate_against(config(**criterion), PROBES).probes["refusal_behaviour"].criteria


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (
            config(probe="refusal_behavior"),
            "no probe named 'refusal_behavior'; did you mean 'refusal_behaviour'",
        ),
        (config(probe="zzz"), "no probe named 'zzz'; known: refusal_behaviour"),
        (
            config({"kl_mx": 1}),
            "config: probes.refusal_behaviour.params: kl_mx: unknown key; did you mean 'kl_max'",
        ),
        (config({"per_class": "x"}), "params: per_class: must be a whole number, not the text 'x'"),
        (
            config(measurement="harmful_refusal_rat"),
            "0: the probe reports no measurement 'harmful_refusal_rat'; did you mean 'harmful_refusal_rate'",
        ),
        (
            config(measurement="truth_auroc", at={"datset": "cities"}),
            "criteria.0.at: unknown key 'datset'; did you mean 'dataset'",
        ),
        (
            config(measurement="harmful_refusal_rate", at={"layer": 3}),
            "unknown key 'layer'; harmful_refusal_rate is reported once, without 'at'",
        ),
        (
            config(measurement="harmful_refusal_rate", at_least=80),
            "criteria.0.at_least: 80 is not a share between 0 and 1 (80 % is 0.80)",
        ),
        (
            config(measurement="harmful_refusal_rate", good_value=95),
            "criteria.0.good_value: 95 is not a share between 0 and 1 (80 % is 0.80)",
        ),
        (
            AuditConfig(criteria=(Criterion(measurement="coverge"),)),
            "config: criteria.0: 'coverge' is not measured of a run as a whole; did you mean 'coverage'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_that_nothing_declares_is_refused(declared: AuditConfig, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        validate_against(declared, PROBES)
    assert says in str(refused.value)
    assert refused.value.exit_code == 2


def test_coverage_is_a_criterion_of_the_run() -> None:
    asked = {name: ProbeConfig() for name in PROBES}
    declared = AuditConfig(criteria=(Criterion(measurement="coverage"),), probes=asked)
    assert validate_against(declared, PROBES).criteria == declared.criteria


def test_a_config_that_asks_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="asks no probe"):
        validate_against(AuditConfig(), PROBES)
