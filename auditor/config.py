"""The declared battery: what will be measured and which bars were set before the run.

`AuditConfig` is one validated value. A config file extends a battery (the same form); both are read here
and nowhere else. No torch, no model, no probe code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from auditor.canonical import canonical_json, sha256_hex
from auditor.config_data import DataSet
from auditor.config_file import Strict as Strict
from auditor.config_file import in_plain_words, read_mapping, suggestion
from auditor.config_multiverse import Multiverse, runs, specification_of
from auditor.errors import ConfigError

if TYPE_CHECKING:
    from auditor.measure.measurement import MeasurementSpec, Probe


def _not_a_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(_not_a_switch)]
Count = Annotated[int, BeforeValidator(_not_a_switch), Field(ge=0)]
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Scalar = str | int | float | bool | None
Severity = Literal["high", "medium", "info"]
ModelRole = Literal["chat", "base"]

EXACT_COUNTS = frozenset({"coverage", "confirmed_triggers"})
"""measurements that count everything there is, so that no minimum n is asked of them"""
RUN_MEASUREMENTS = ("coverage",)
"""what a criterion of the run as a whole may name"""


class Criterion(Strict):
    """A bar for one measurement, declared before the run. Without a bar it only shows (severity info)."""

    measurement: str
    at: dict[str, Scalar] = {}
    at_least: Number | None = None
    at_most: Number | None = None
    severity: Severity = "info"
    min_n: Count = 0
    """fewer independent units than this: not measured"""
    roles: tuple[ModelRole, ...] = ("chat", "base")
    """to which declared roles it applies; elsewhere it is not applicable"""
    because: str = ""
    """the source of the bar"""
    good_value: Number | None = None
    """a declared good value, at which the probability of passing is printed"""


class ProbeConfig(Strict):
    """One probe of the battery: its parameters (validated by the probe's own Params) and its bars."""

    params: dict[str, Any] = {}
    criteria: tuple[Criterion, ...] = ()
    multiverse: Multiverse | None = Field(default=None, exclude_if=lambda multiverse: multiverse is None)


class ReportConfig(Strict):
    """How findings are shown."""

    redaction: Literal["full", "excerpt", "hash"] = "excerpt"
    formats: tuple[Literal["html", "pdf"], ...] = ("html", "pdf")


class AuditCard(Strict):
    """What only people can say of an audit; what is left out is reported as not stated.

    Source: Audit Cards, arXiv:2504.13839.
    """

    auditor: Said | None = None
    """who audited: person, team, organisation"""
    independence: Said | None = None
    """what ties the auditor to whoever made the model: employer, payment, other interests"""
    access: Said | None = None
    """what the auditor could see: weights, inner states, training data, documents, people"""
    methodology: Said | None = None
    """why this battery, and what else was done"""
    process_integrity: Said | None = None
    """who could change the model, the items or the bars, and when; who ran it"""
    review: Said | None = None
    """who checked the audit, and how an objection is raised"""


class AuditConfig(Strict):
    """Everything that was declared before the run."""

    model: str = ""
    adapter: str | None = None
    battery: str = ""
    role: ModelRole | None = None
    """None: chat if the tokenizer has a chat template, else base"""
    seed: Count = 0
    criteria: tuple[Criterion, ...] = ()
    """bars for the run as a whole: coverage"""
    probes: dict[str, ProbeConfig] = {}
    datasets: dict[str, DataSet] = Field(default={}, exclude_if=lambda declared: not declared)
    """data sets of one's own, by name; left out of a record that has none"""
    report: ReportConfig = ReportConfig()
    audit_card: AuditCard | None = Field(default=None, exclude_if=lambda card: card is None)
    """absent where none was declared, so that the digest of a config without one is what it always was"""


class LoadedProbe(Protocol):
    """What a config is checked against: a probe and the name it was found under."""

    @property
    def probe(self) -> Probe[Any]:
        """The question with its parameters and the measurements it may report."""


def load_config(
    path: Path | None,
    *,
    battery: str | None,
    overrides: Mapping[str, object],
    batteries: Mapping[str, Path],
) -> AuditConfig:
    """Read a config file on top of the battery it extends, then the command line's own values.

    `battery` (an option) outranks the file's `battery:` key; an override that is None says nothing.
    Raises ConfigError naming file, dotted path and the nearest known name.
    """
    own = read_mapping(path) if path else {}
    merged = _switched_on(own)
    _validated(merged, str(path))
    name = battery or own.get("battery")
    if name:
        base = _battery(name, batteries, "--battery" if battery else f"{path}: battery")
        merged = {**_merged(base, own, str(path)), "battery": name}
    elif not path:
        raise ConfigError(f"give a config file or --battery; known batteries: {', '.join(sorted(batteries))}")
    given = {key: value for key, value in overrides.items() if value is not None}
    return _validated({**merged, **given}, "command line")


def validate_against(config: AuditConfig, probes: Mapping[str, LoadedProbe], *, source: str = "config") -> AuditConfig:
    """The config with every parameter filled in, checked against the probes that are installed.

    Raises ConfigError for an unknown probe or parameter, and for a criterion on a measurement or `at` key
    that the probe does not declare.
    """
    for i, criterion in enumerate(config.criteria):
        if criterion.measurement not in RUN_MEASUREMENTS:
            known = suggestion(criterion.measurement, RUN_MEASUREMENTS)
            problem = f"{criterion.measurement!r} is not measured of a run as a whole{known}"
            raise ConfigError(f"{source}: criteria.{i}: {problem}")
    if not config.probes:
        raise ConfigError(f"{source}: asks no probe; name a battery (--battery quick) or list probes")
    checked = {}
    for name, declared in config.probes.items():
        if name not in probes:
            raise ConfigError(f"{source}: probes: no probe named {name!r}{suggestion(name, probes)}")
        probe, place = probes[name].probe, f"{source}: probes.{name}"
        specs = {spec.name: spec for spec in probe.measurements}
        for i, criterion in enumerate(declared.criteria):
            _check_declared(criterion, specs, f"{place}.criteria.{i}")
        for other, specification in declared.multiverse.specifications.items() if declared.multiverse else ():
            for unknown in sorted({*specification.measurements} - {*specs}):
                where = f"{place}.multiverse.specifications.{other}.measurements"
                raise ConfigError(f"{where}: the probe reports no measurement {unknown!r}{suggestion(unknown, specs)}")
        checked[name] = declared.model_copy(update={"params": _checked_runs(config, name, probe, place)})
    return config.model_copy(update={"probes": checked})


def _checked_runs(config: AuditConfig, name: str, probe: Probe[Any], place: str) -> dict[str, Any]:
    """A probe's parameters, filled in. Each specification must be valid, and another, or a choice would count twice."""
    known: dict[bytes, str] = {}
    filled: dict[str, dict[str, Any]] = {}
    for run, under, chosen in runs(config, name):
        other = specification_of(run)
        where = f"{place}.multiverse.specifications.{other}" if other else place
        try:
            filled[run] = probe.params.model_validate(under.probes[run].params).model_dump(mode="json")
        except ValidationError as error:
            raise in_plain_words(error, probe.params, f"{where}.params") from error
        twin = known.setdefault(canonical_json([filled[run], under.seed, chosen.dtype]), where)
        if twin != where:
            raise ConfigError(f"{where}: chooses the same as {twin}; leave it out")
    return filled[name]


def config_digest(config: AuditConfig) -> str:
    """sha256 of everything that was declared."""
    return sha256_hex(canonical_json(config.model_dump(mode="json")))


def comparison_digest(config: AuditConfig, dataset_hashes: Mapping[str, str], template_digest: str | None) -> str:
    """sha256 of what two audits must share to be compared: what was asked, of which data, in which template.

    Never the model, the adapter, who audited, or how the report shows it.
    """
    asked = config.model_dump(mode="json", include={"probes", "criteria", "seed"})
    return sha256_hex(canonical_json({**asked, "data": dict(dataset_hashes), "template": template_digest}))


def stable_seed(seed: int, name: str) -> list[int]:
    """Entropy for `numpy.random.default_rng`: the run's seed and a hash of the name, equal everywhere."""
    return [seed, int(sha256_hex(name.encode())[:16], 16)]


def _validated(document: Mapping[str, Any], source: str) -> AuditConfig:
    try:
        config = AuditConfig.model_validate(document)
    except ValidationError as error:
        raise in_plain_words(error, AuditConfig, source) from error
    declared = [("criteria", config.criteria)]
    declared += [(f"probes.{name}.criteria", probe.criteria) for name, probe in config.probes.items()]
    problems = []
    for place, criteria in declared:
        subjects = [_subject(criterion.model_dump()) for criterion in criteria]
        for i, criterion in enumerate(criteria):
            twice = ["declared twice"] if subjects[i] in subjects[:i] else []
            where = f"{source}: {place}.{i} ({criterion.measurement})"
            problems += [f"{where}: {problem}" for problem in [*_bar_problems(criterion), *twice]]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _bar_problems(criterion: Criterion) -> Iterator[str]:
    """What makes a criterion no honest bar."""
    bars = [bar for bar in (criterion.at_least, criterion.at_most) if bar is not None]
    if not criterion.roles:
        yield "roles: name at least one of 'chat', 'base'"
    if criterion.severity == "info":
        if bars:
            yield "severity info has no bar; remove at_least and at_most, or set severity: medium or high"
        return
    if not bars:
        yield f"severity {criterion.severity} needs a bar: at_least or at_most"
    if bars != sorted(bars):
        yield "at_least is above at_most, so nothing can meet it"
    if not criterion.because.strip():
        yield "because: say where the bar comes from"
    if criterion.min_n < 1 and criterion.measurement not in EXACT_COUNTS:
        yield "min_n: say how many items the bar needs (at least 1)"


def _check_declared(criterion: Criterion, specs: Mapping[str, MeasurementSpec], place: str) -> None:
    spec = specs.get(criterion.measurement)
    if spec is None:
        known = suggestion(criterion.measurement, specs)
        raise ConfigError(f"{place}: the probe reports no measurement {criterion.measurement!r}{known}")
    for key in criterion.at:
        if key not in spec.at:
            known = suggestion(key, spec.at) or f"; {spec.name} is reported once, without 'at'"
            raise ConfigError(f"{place}.at: unknown key {key!r}{known}")
    for field in ("at_least", "at_most", "good_value"):
        value = getattr(criterion, field)
        if spec.unit == "share" and value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{place}.{field}: {value:g} is not a share between 0 and 1 (80 % is 0.80)")


def _battery(name: str, batteries: Mapping[str, Path], place: str) -> dict[str, Any]:
    """The document of a battery, on top of the one that it extends."""
    if name not in batteries:
        raise ConfigError(f"{place}: no battery named {name!r}{suggestion(name, batteries)}")
    path = batteries[name]
    own = _switched_on(read_mapping(path))
    extends = _validated(own, str(path)).battery
    if extends in ("", name):
        return own
    others = {other: batteries[other] for other in batteries if other != name}  # so that no circle is walked
    return _merged(_battery(extends, others, f"{path}: battery"), own, str(path))


def _switched_on(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without the probes set to `off` (which YAML reads as false)."""
    probes = document.get("probes", {})
    if not isinstance(probes, dict):
        return dict(document)  # refused by validation, which says where
    on = {name: {} if probe is None else probe for name, probe in probes.items() if not _is_off(probe)}
    return {**document, "probes": on}


def _is_off(probe: object) -> bool:
    return probe is False or probe == "off"


def _merged(base: Mapping[str, Any], own: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A valid document on top of the valid one it extends."""
    merged = {**base, **own}
    merged["report"] = {**base.get("report", {}), **own.get("report", {})}
    merged["criteria"] = _merged_criteria(base.get("criteria", []), own.get("criteria", []))
    known = base.get("probes", {})
    probes = dict(known)
    for name, probe in own.get("probes", {}).items():
        if not _is_off(probe):
            probes[name] = _merged_probe(known.get(name) or {}, probe or {})
        elif name in known:
            del probes[name]
        else:
            raise ConfigError(
                f"{source}: probes.{name}: the battery has no such probe to turn off{suggestion(name, known)}"
            )
    return {**merged, "probes": probes}


def _merged_probe(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    params = {**base.get("params", {}), **own.get("params", {})}
    criteria = _merged_criteria(base.get("criteria", []), own.get("criteria", []))
    return {**base, **own, "params": params, "criteria": criteria}


def _merged_criteria(base: Iterable[Mapping[str, Any]], own: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Own criteria take the place of those on the same measurement and `at`, or follow."""
    merged = {_subject(criterion): criterion for criterion in base}
    return list((merged | {_subject(criterion): criterion for criterion in own}).values())


def _subject(criterion: Mapping[str, Any]) -> str:
    """What a criterion is about; a document holds at most one for each."""
    return f"{criterion['measurement']} {sorted(criterion.get('at', {}).items())}"
