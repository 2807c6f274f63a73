"""What exported documents share: ids that follow from the audit, times, and text that fits one line."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from auditor.canonical import readable_json
from auditor.errors import ConfigError
from auditor.findings.record import AuditRecord, Finding, Status
from auditor.report.numbers import moment
from auditor.report.text import DASH, short, visible

TOOL = "checkpoint-auditor"
NAMESPACE = f"pkg:pypi/{TOOL}"
"""a package URL: names the tool, claims no web address"""
TITLE = 240
"""characters of a title"""
_IDS = uuid5(NAMESPACE_URL, NAMESPACE)
_EPOCH = datetime.fromtimestamp(0, UTC)


def identity(audit: str, *parts: str) -> str:
    """UUID (version 5) of a part of an audit, given the audit's digest: the same part has the same one each time."""
    return str(uuid5(_IDS, "\x1f".join((audit, *parts))))


def tool_version(record: AuditRecord) -> str:
    """Version of auditor that concluded the audit."""
    return record.environment.versions.get(TOOL, "unknown")


def instant(text: str, days: int = 0) -> str:
    """A recorded time, `days` later, as RFC 3339 in UTC; the start of 1970 for a text that is no time."""
    return f"{(moment(text) or _EPOCH) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def written(record: AuditRecord) -> str:
    """When the document counts as written: SOURCE_DATE_EPOCH where it is set, else when the audit ended.

    Raises ConfigError when SOURCE_DATE_EPOCH is no number of seconds.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None:
        return instant(record.environment.finished)
    try:
        return instant(datetime.fromtimestamp(int(seconds), UTC).isoformat())
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"SOURCE_DATE_EPOCH: {seconds!r} is not a number of seconds; unset it") from error


def line(text: str, limit: int = TITLE) -> str:
    """`text` on one line, hidden characters shown, cut in the middle; a dash where nothing is left."""
    return short(" ".join(visible(text).split()), limit) or DASH


def address(path: str) -> str:
    """A path inside the run folder as a URI reference."""
    return quote(path.encode("utf-8", "backslashreplace"))


def said(status: Status) -> str:
    """A status as exports write it: `not-met`."""
    return status.replace("_", "-")


def evidence_of(finding: Finding, record: AuditRecord) -> dict[str, str]:
    """The hashed files that a finding's number rests on: path to sha256, sorted."""
    tables = {column.table for column in finding.estimate.columns} if finding.estimate else set()
    return {path: record.evidence[path] for path in sorted(tables) if path in record.evidence}


def as_json(document: object) -> str:
    """A document as JSON that a person can read, the same text for the same document."""
    return readable_json(document).decode()
