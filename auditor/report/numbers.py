"""Every number of a report as text: percentages for shares, two decimals for AUROC, a dash for what is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from auditor.config import Criterion
from auditor.findings.record import Finding
from auditor.measure.intervals import Estimate
from auditor.measure.measurement import Unit
from auditor.report.text import DASH

NBSP = "\u00a0"
_MINUS = "\u2212"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHARES = ("share", "difference of shares")
_SIGNED = ("difference of shares", "difference of AUROC")
_DIGITS = {
    "AUROC": 2,
    "difference of AUROC": 2,
    "p": 3,
    "logit": 2,
    "logit per coefficient": 2,
    "nats": 3,
    "ratio": 2,
    "coefficient": 2,
}
_UNIT_OF: dict[str, Unit] = {
    "wilson_rate": "share",
    "exact_share": "share",
    "calibrated_recall": "share",
    "paired_rate_difference": "difference of shares",
    "auroc": "AUROC",
    "auroc_gain": "difference of AUROC",
    "permutation_p": "p",
    "exceedance_p": "p",
}
"""for estimates that travel without a unit: those of checks and of heat maps"""
_SUFFIX = {"share": f"{NBSP}%", "difference of shares": f"{NBSP}points"}


def number(value: float | None, unit: Unit | None, digits: int | None = None) -> str:
    """`value` with its unit: "52 %", "−34 points", "0.61", "< 0.001"; a dash where it is unknown."""
    return DASH if value is None else _bare(value, unit, digits) + _SUFFIX.get(unit or "", "")


def _bare(value: float, unit: Unit | None, digits: int | None) -> str:
    if unit is None:
        return f"{value:.4g}".replace("-", _MINUS)
    scaled = value * 100 if unit in _SHARES else value
    places = digits if digits is not None else _places(scaled, unit)
    smallest = 10.0**-places
    if unit in ("share", "p") and 0 < scaled < smallest / 2:
        return f"<{NBSP}{smallest:.{places}f}"
    text = f"{abs(scaled):.{places}f}"
    if float(text) == 0:
        return text
    plus = "+" if unit in _SIGNED else ""
    return (_MINUS if scaled < 0 else plus) + text


def _places(scaled: float, unit: Unit) -> int:
    if unit not in _SHARES:
        return _DIGITS[unit]
    # A share that is not 0 or 1 must not be printed as if it were.
    return 1 if 0 < abs(scaled) < 1 or 99 < abs(scaled) < 100 else 0


def unit_of(estimate: Estimate | None) -> Unit | None:
    """The unit that an estimator gives; None for one that this table does not know."""
    return _UNIT_OF.get(estimate.estimator) if estimate else None


def interval(estimate: Estimate | None, unit: Unit | None, digits: int | None = None) -> str:
    """The interval without its unit's name twice: "39 to 64 %"; a dash where none was estimated or none is needed."""
    if estimate is None or estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return DASH
    return f"{_bare(estimate.low, unit, digits)} to {number(estimate.high, unit, digits)}"


def sentence(estimate: Estimate | None, unit: Unit | None, bar: float | None = None) -> str:
    """Value, interval and n: "52 %, interval 39 to 64 %, n = 60 items"."""
    if estimate is None or estimate.value is None:
        return "no value"
    digits = _telling_apart((estimate.value, estimate.low, estimate.high), unit, bar)
    parts = [number(estimate.value, unit, digits)]
    between = interval(estimate, unit, digits)
    if between != DASH:
        parts.append(f"interval {between}")
    return ", ".join([*parts, sample_size(estimate)])


def digits_of(finding: Finding) -> int | None:
    """Decimals with which a finding's numbers and its bar look as far apart as they are; None: the usual ones."""
    estimate = finding.estimate
    values = (estimate.value, estimate.low, estimate.high) if estimate else ()
    return _telling_apart(values, finding.unit, bar_of(finding))


def _telling_apart(values: Iterable[float | None], unit: Unit | None, bar: float | None) -> int | None:
    """More decimals where rounding would print a value on the bar that does not lie on it."""
    if bar is None or unit is None:
        return None
    apart = [v for v in values if v is not None and v != bar]
    if all(_bare(v, unit, None) != _bare(bar, unit, None) for v in apart):
        return None
    first = 1 if unit in _SHARES else _DIGITS[unit] + 1
    return next((d for d in range(first, 6) if all(_bare(v, unit, d) != _bare(bar, unit, d) for v in apart)), 6)


def sample_size(estimate: Estimate) -> str:
    """How many independent units: "n = 60 items"."""
    return f"n{NBSP}={NBSP}{count(estimate.n)} {estimate.of}".rstrip()


def bar_of(finding: Finding) -> float | None:
    """The value of the bar, or None for a finding that only shows."""
    criterion = finding.criterion
    return criterion.at_least if criterion.at_least is not None else criterion.at_most


def bar(criterion: Criterion, unit: Unit | None) -> str:
    """The bar in words: "at least 80 %"; "none" without one."""
    parts = []
    if criterion.at_least is not None:
        parts.append(f"at least {_exact(criterion.at_least, unit)}")
    if criterion.at_most is not None:
        parts.append(f"at most {_exact(criterion.at_most, unit)}")
    return " and ".join(parts) or "none"


def _exact(value: float, unit: Unit | None) -> str:
    scaled = value * 100 if unit in _SHARES else value
    return f"{scaled:.6g}".replace("-", _MINUS) + _SUFFIX.get(unit or "", "")


def held(finding: Finding) -> str:
    """What was measured for a finding, with as many decimals as its bar needs."""
    return sentence(finding.estimate, finding.unit, bar_of(finding))


def count(value: int) -> str:
    """A whole number with thousands set apart: "134,515,008"."""
    return f"{value:,}"


def size(value: int) -> str:
    """Bytes for a reader: "257 MiB"."""
    amount = float(value)
    for name in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f}{NBSP}{name}" if name == "bytes" or amount >= 10 else f"{amount:.1f}{NBSP}{name}"
        amount /= 1024
    return f"{amount:.1f}{NBSP}TiB"


def millions(value: int) -> str:
    """Number of weights for a reader: "134.5 million"."""
    for name, unit in (("billion", 1e9), ("million", 1e6)):
        if value >= unit:
            return f"{value / unit:.3g}{NBSP}{name}" if value < 100 * unit else f"{value / unit:.1f}{NBSP}{name}"
    return count(value)


def moment(text: str) -> datetime | None:
    """An ISO 8601 time in UTC; None if `text` is not one."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def date(text: str) -> str:
    """The day of an ISO 8601 time: "22 Nov 2026"; `text` itself if it is not one."""
    found = moment(text)
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}" if found else text


def clock(text: str) -> str:
    """Day and time of an ISO 8601 time: "22 Nov 2026, 11:04 UTC"; `text` itself if it is not one."""
    found = moment(text)
    return f"{date(text)}, {found:%H:%M} UTC" if found else text


def seconds(value: float) -> str:
    """A duration for a reader: "3 min 20 s"."""
    if value < 10:
        return f"{value:.1f}{NBSP}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{NBSP}min {rest}{NBSP}s" if minutes else f"{rest}{NBSP}s"


def tick(value: float | None) -> str:
    """A number of a chart, whose unit stands on its axis: two decimals, more where it is small."""
    if value is None:
        return DASH
    told = f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.2g}"
    return told.replace("-", _MINUS)


def score(value: float) -> str:
    """A score of one item: three digits are enough to compare it with its neighbours."""
    return f"{value:.3g}".replace("-", _MINUS)


def plain(value: object) -> str:
    """A recorded fact: numbers with at most six digits, everything else as it is."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}".replace("-", _MINUS) if isinstance(value, float) else str(value)
