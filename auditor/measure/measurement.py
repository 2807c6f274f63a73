"""The words a probe reports in: measurements, instruments' qualifications, charts, samples. No torch, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import Field

from auditor.config import Scalar, Strict
from auditor.measure.intervals import Estimate

if TYPE_CHECKING:
    from auditor.measure.bench import Bench
    from auditor.measure.cost import Survey, Work

Role = Literal["primary", "alternative", "control", "null"]
EvidenceClass = Literal["observed", "decodable", "causal", "behavioural"]
Unit = Literal[
    "share",
    "difference of shares",
    "AUROC",
    "difference of AUROC",
    "p",
    "logit",
    "logit per coefficient",
    "nats",
    "ratio",
    "coefficient",
]


@dataclass(frozen=True)
class MeasurementSpec:
    """A measurement that a probe may report, declared so that `auditor check` catches a typo."""

    name: str
    unit: Unit
    evidence: EvidenceClass
    plain: str
    """a noun phrase for page one, such as "harmful requests refused" """
    at: tuple[str, ...] = ()
    """keys by which one name is reported several times, such as layer or dataset"""
    limits: str = ""
    """one sentence on what the number cannot show"""


class Measurement(Strict):
    """A number with its interval, and where it was taken."""

    name: str
    estimate: Estimate
    unit: Unit
    at: dict[str, Scalar] = {}
    role: Role = "primary"
    note: str = ""
    exploratory: bool = False
    """of an instrument that its own rule did not choose: shown, and held against no bar"""
    instrument: str = ""
    """name of the qualification of what it was read with; empty if it was not read with an instrument"""


Rule = Literal["low at least", "low above", "value at most", "n at least", "has a value"]
"""what a check asks of its estimate"""


class Check(Strict):
    """One thing an instrument had to show on this model before it may be read. The outcome follows from the numbers."""

    name: str
    estimate: Estimate | None
    """None = not run, which counts as not passed"""
    rule: Rule
    bar: float = 0.0
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the estimate keeps the rule; None when the check was not run."""
        if self.estimate is None:
            return None
        if self.rule == "n at least":
            return self.estimate.n >= self.bar
        if self.rule == "has a value":
            return self.estimate.value is not None
        number = self.estimate.value if self.rule == "value at most" else self.estimate.low
        if number is None:
            return False
        if self.rule == "value at most":
            return number <= self.bar
        return number > self.bar if self.rule == "low above" else number >= self.bar

    @property
    def need(self) -> str:
        """The requirement in words."""
        if self.rule == "has a value":
            return "can be measured"
        word = {"low at least": "lower bound at least", "low above": "lower bound above"}.get(self.rule, self.rule)
        return f"{word} {self.bar:g}"


class Comparison(Strict):
    """An instrument's task done by the target's own output, without activations; annotates, never disqualifies."""

    name: str
    """likelihood: what the target gives the text; asked: its answer to a question in words"""
    alone: Estimate | None = None
    """AUROC on the examples on which the instrument is judged; None = not run"""
    gain: Estimate | None = None
    """AUROC of the instrument minus that, paired"""
    flagged: Estimate | None = None
    """share of the positives above the threshold that the instrument's share of its negatives passes"""
    note: str = ""
    """why it was not run"""


class Qualification(Strict):
    """Whether one instrument proved itself on the model under audit."""

    instrument: str
    """such as mass_mean"""
    dataset: str
    at: dict[str, Scalar]
    """layer, point, position"""
    checks: tuple[Check, ...]
    beside: tuple[Comparison, ...] = ()
    """what the target's own output does on the same examples"""

    @property
    def name(self) -> str:
        """By which a measurement says what it was read with."""
        return f"{self.instrument} on {self.dataset}"

    @property
    def tied(self) -> str:
        """A plain sentence where the target's own output ranks as well as the instrument; empty where none does.

        A tie in AUROC need not hold at the threshold, so both shares that are flagged there are given.
        """
        found = [
            (one, one.alone.value, one.gain)
            for one in self.beside
            if one.alone and one.gain and one.alone.value is not None and (one.gain.low or 0.0) <= 0
        ]
        if not found:
            return ""
        best, alone, gain = max(found, key=lambda each: each[1])
        difference = gain.value or 0.0
        between = "" if gain.low is None else f" ({gain.low:+.2f} to {gain.high:+.2f})"
        told = (
            "By AUROC, reading activations adds nothing that these items show: the model's own output reaches "
            f"{alone:.2f}, the instrument {alone + difference:.2f}, a difference of {difference:+.2f}{between}."
        )
        own, recall = best.flagged, next((c for c in self.checks if c.rule == "has a value"), None)
        theirs = recall.estimate if recall else None
        if not (recall and own and theirs) or own.value is None or theirs.value is None:
            return told
        both = f"{own.value:.0%} for the output and {theirs.value:.0%} for the instrument"
        return f"{told} Beside that, {recall.name} is {both}."

    @property
    def qualified(self) -> bool:
        """True when every check was run and passed."""
        return bool(self.checks) and all(check.passed is True for check in self.checks)

    @property
    def reason(self) -> str:
        """Why it does not qualify: the first check that it does not pass, and the names of the others."""
        failed = [check for check in self.checks if check.passed is not True]
        if not failed:
            return ""
        others = f"; nor does it pass: {', '.join(check.name for check in failed[1:])}" if failed[1:] else ""
        return f"{failed[0].name}: {_told(failed[0])}{others}"


def _told(check: Check) -> str:
    found = check.estimate
    if found is None:
        return check.note
    interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    value = "no value" if found.value is None else f"{found.value:.2f}{interval}"
    told = f"n = {found.n}" if check.rule == "n at least" else value
    return f"{told}, needs {check.need}" + (f"; {check.note}" if check.note else "")


class Series(Strict):
    """One line of a chart."""

    name: str
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    chosen: int | None = None
    """index into x of the point that was chosen"""


class LineChart(Strict):
    """Values over an ordered axis, with bands: a layer profile."""

    kind: Literal["line"] = "line"
    title: str
    caption: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    series: tuple[Series, ...]
    reference: float | None = None
    """a horizontal line, such as AUROC 0.5"""
    measurement: str = ""
    """the measurement that is drawn, so that `verify` can hold the one against the other"""
    at: tuple[str, str] = ("", "")
    """keys of the measurement's `at` that name the series and the place on the axis"""


class Axes(NamedTuple):
    """What a chart is called and what its axes are."""

    title: str
    caption: str
    x_label: str
    y_label: str
    reference: float | None = None


class HeatMap(Strict):
    """Values over two lists of names: a transfer matrix."""

    kind: Literal["heat"] = "heat"
    title: str
    caption: str
    row_label: str
    column_label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Estimate | None, ...], ...]
    """cells[row][column]"""


class RocSeries(Strict):
    """One detector: what it finds for what it flags falsely, on held-out items."""

    name: str
    auroc: Estimate
    fpr: tuple[float, ...]
    """share of held-out negatives at or above each threshold, from 0 to 1"""
    tpr: tuple[float, ...]
    """share of held-out positives there"""
    negatives: int
    """named negatives, of which 1 % lie above the threshold of the point"""
    recall: Estimate
    """share of held-out positives above that threshold; not measured with too few named negatives"""
    flagged: Estimate
    """share of held-out negatives above it"""


class RocChart(Strict):
    """Detectors against each other over all thresholds, each with the point at 1 % of named negatives."""

    kind: Literal["roc"] = "roc"
    title: str
    caption: str
    named: str
    """what the named negatives are"""
    series: tuple[RocSeries, ...]


Chart = Annotated[LineChart | HeatMap | RocChart, Field(discriminator="kind")]


class TokenScores(Strict):
    """An answer token by token: what a detector makes of each."""

    detector: str
    """column of the item table in which the answer's own score stands, the mean of these"""
    scores: tuple[float, ...]
    texts: tuple[str, ...]
    """what each token adds to the text; shorter than `scores` where the redaction mode hides the rest"""


class Sample(Strict):
    """One item that is shown, its texts already redacted."""

    measurement: str
    """which measurement it illustrates"""
    id: str
    dataset: str
    kind: str
    prompt: str
    answer: str
    values: dict[str, float]
    picked: str = ""
    """why it was picked; empty for an item drawn at random"""
    tokens: TokenScores | None = None


class ProbeResult(Strict):
    """What one probe reports."""

    probe: str
    status: Literal["measured", "abstained", "error"]
    reason: str = ""
    """why it abstained or failed"""
    measurements: tuple[Measurement, ...] = ()
    qualifications: tuple[Qualification, ...] = ()
    charts: tuple[Chart, ...] = ()
    samples: tuple[Sample, ...] = ()
    facts: dict[str, Scalar | list[Scalar]] = {}
    """what was found on the way and must be on record: token sets, system prompts, chosen layers"""


Params = TypeVar("Params", bound=Strict)


@dataclass(frozen=True)
class Probe(Generic[Params]):
    """One question of the battery: what a file in probes/ ends with."""

    params: type[Params]
    measurements: tuple[MeasurementSpec, ...]
    source: str
    """arXiv:… or https://…"""
    run: Callable[[Bench, Params], None]
    cost: Callable[[Survey, Params], Sequence[Work]] | None = None
    """what it asks of the target at most, for --dry-run; None is not known"""


@dataclass(frozen=True)
class LoadedProbe:
    """A probe and where its code comes from."""

    name: str
    probe: Probe[Any]
    question: str
    """its module docstring"""
    distribution: str
    version: str
    sha256: str
    """of its file"""
    data_dir: Path
    """where its data sets lie"""
