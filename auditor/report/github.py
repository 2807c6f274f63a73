"""One record for GitHub Actions: a job summary in Markdown, and annotations as workflow commands.

What a model, a plugin or a config wrote reaches a log that obeys commands and a page that renders Markdown, so every
text is escaped for where it goes. Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report.cases import TOLD, Case, Outcome, battery_name, cases, model_name
from auditor.report.decision import Decision, decision
from auditor.report.exported import line
from auditor.report.numbers import bar, held
from auditor.report.text import DASH
from auditor.report.words import STATUS, VERDICT

SUMMARY_BYTES = 1024 * 1024
"""what GitHub keeps of one step"""
ANNOTATIONS = 10
"""of each level that GitHub shows for one step"""
CELL = 400
"""characters of one field"""
_TAIL = 400
"""bytes kept back for the line that says how much was left out"""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#!|~$@])")
_SIGN: dict[Outcome, str] = {
    **{status: f"{sign.mark} {sign.word}" for status, sign in STATUS.items()},
    "crashed": "✕ the probe crashed",
    "not_applicable": "– not applicable",
}


def render(record: AuditRecord, outcome: GateOutcome | None = None) -> str:
    """The job summary: verdict, reasons, every criterion, what would change it; at most 1 MiB of UTF-8."""
    return summary(record, SUMMARY_BYTES, outcome)


def summary(record: AuditRecord, limit: int, outcome: GateOutcome | None = None) -> str:
    """The job summary, by the gate's outcome, in at most `limit` bytes, whole lines; what is left out is counted."""
    kept: list[str] = []
    room = limit - _TAIL
    lines = list(_lines(record, outcome))
    for told in lines:
        room -= len(told.encode()) + 1
        if room < 0:
            break
        kept.append(told)
    left = len(lines) - len(kept)
    cut = f"\n{left} more lines were left out for want of room; the report and audit.json have them.\n" if left else ""
    return "\n".join(kept) + "\n" + cut if limit > _TAIL else ""


def commands(record: AuditRecord, outcome: GateOutcome | None = None) -> tuple[str, ...]:
    """Workflow commands, one line each: at most ten errors (what fails the gate) and ten warnings (what holds it back).

    A gate that does not pass for another reason has a warning of its own.
    """
    found, decided = [case for case in cases(record, outcome) if case.blocks], decision(record, outcome)
    errors = [_command("error", case) for case in found if case.effect == "fail"]
    warnings = [_command("warning", case) for case in found if case.effect != "fail"]
    if not found and decided.exit_code:
        warnings = [f"::warning title=auditor::{_data(line(decided.because, TOLD))}"]
    return (*errors[:ANNOTATIONS], *warnings[:ANNOTATIONS])


def _lines(record: AuditRecord, outcome: GateOutcome | None) -> Iterator[str]:
    decided, found = decision(record, outcome), cases(record, outcome)
    sign = VERDICT[decided.verdict]
    yield f"## {sign.mark} auditor: {sign.word}"
    yield ""
    yield f"{_markdown(model_name(record))}, battery {_markdown(battery_name(record))}: {decided.line}"
    yield ""
    yield from _listed("Why", decided.reasons)
    yield from _listed("Waived", [f"{case.trace.id}: {case.ruled}" for case in found if case.waiver])
    yield from _listed("Waivers that do not hold", _turned_down(found))
    yield from _listed("Warnings", outcome.warnings if outcome else ())
    yield "| | rule | what | measured | bar | severity |"
    yield "|---|---|---|---|---|---|"
    for case in found:
        yield _row(case)
    yield ""
    yield from _listed(_what_would_change(record, decided), record.would_change)
    yield f"Audit `{record.digest}`. It says what was measured and how the declared bars were met, nothing beyond."


def _turned_down(found: Sequence[Case]) -> list[str]:
    return [f"{case.trace.id}: {why}" for case in found if case.ruling for why in case.ruling.turned_down]


def _what_would_change(record: AuditRecord, decided: Decision) -> str:
    """The record knows it of its own verdict only."""
    own = f"What would change the verdict by the declared bars alone ({VERDICT[record.verdict].word})"
    return own if decided.by_terms else "What would change this"


def _listed(head: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield f"**{head}**"
        yield ""
        yield from (f"- {_markdown(sentence)}" for sentence in sentences)
        yield ""


def _row(case: Case) -> str:
    finding = case.finding
    value = DASH if finding is None else held(finding)
    if case.outcome in ("not_measured", "crashed", "not_applicable"):
        value = finding.reason if finding else case.told
    cells = (case.trace.rule, case.title, value, bar(case.criterion, case.unit), case.criterion.severity)
    sign = _SIGN[case.outcome] + (", worse than the baseline" if case.fell_behind else "")
    sign += ", waived" if case.waiver else ""
    return f"| {sign} | " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    """`text` on one line as plain words of a Markdown page: no link, image, HTML, table, formula or mention."""
    safe = _MARKDOWN.sub(r"\\\1", line(text, CELL).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return safe.replace("://", "&#58;//").replace("www.", "www&#46;")


def _command(level: str, case: Case) -> str:
    place = f"file={_property(case.trace.file)},line={case.trace.line}"
    return f"::{level} {place},title={_property(f'{case.trace.rule} {case.title}')}::{_data(case.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
