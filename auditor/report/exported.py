"""What exported documents share: times, addresses, and text that fits one line."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from auditor.canonical import readable_json
from auditor.findings.record import AuditRecord
from auditor.report.numbers import moment
from auditor.report.text import DASH, short, visible

TOOL = "checkpoint-auditor"
TITLE = 240
"""characters of a title"""
_EPOCH = datetime.fromtimestamp(0, UTC)


def tool_version(record: AuditRecord) -> str:
    """Version of auditor that concluded the audit."""
    return record.environment.versions.get(TOOL, "unknown")


def instant(text: str) -> str:
    """A recorded time as RFC 3339 in UTC; the start of 1970 for a text that is no time."""
    return f"{moment(text) or _EPOCH:%Y-%m-%dT%H:%M:%SZ}"


def line(text: str, limit: int = TITLE) -> str:
    """`text` on one line, hidden characters shown, cut in the middle; a dash where nothing is left."""
    return short(" ".join(visible(text).split()), limit) or DASH


def address(path: str) -> str:
    """A path inside the run folder as a URI reference."""
    return quote(path.encode("utf-8", "backslashreplace"))


def as_json(document: object) -> str:
    """A document as JSON that a person can read, the same text for the same document."""
    return readable_json(document).decode()
