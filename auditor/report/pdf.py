"""One record as a PDF: the same page structure as the HTML, printed by WeasyPrint, tagged, the same bytes each time.

WeasyPrint is imported only when a PDF is asked for, because it needs libraries of the system.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from auditor.errors import AuditorError, ConfigError
from auditor.findings.record import AuditRecord
from auditor.report import html
from auditor.report.numbers import moment

VARIANT = "pdf/ua-1"
NEEDED = (
    "the PDF report needs Pango and HarfBuzz from the system; on Debian or Ubuntu: "
    "sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0; on macOS: brew install pango. "
    "The HTML report works without them."
)


def render(record: AuditRecord) -> bytes:
    """The report of `record` as a PDF; the same record gives the same bytes on the same machine.

    Errors:
        ConfigError: the libraries that WeasyPrint needs are missing.
        AuditorError: a page asked for something outside itself.
    """
    weasyprint = _weasyprint()
    page = html.markup(record, "pdf")
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data",), fail_on_errors=True)
    identifier = hashlib.sha256(page.encode()).hexdigest().encode()
    with _dated(record.environment.finished), _quiet():
        try:
            document = weasyprint.HTML(string=page, url_fetcher=fetcher)
            written: bytes = document.write_pdf(pdf_variant=VARIANT, pdf_identifier=identifier)
        except weasyprint.urls.FatalURLFetchingError as error:
            # It is a BaseException: left alone, it would pass every handler of ours.
            raise AuditorError(f"the report asked for something outside itself and was not rendered: {error}") from None
    return written


def _weasyprint() -> Any:
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        raise ConfigError(f"{NEEDED} ({str(error).splitlines()[0]})") from error
    return weasyprint


@contextmanager
def _dated(finished: str) -> Iterator[None]:
    """Date what is written by the audit, not by the clock, and put the environment back."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    found = moment(finished)
    os.environ["SOURCE_DATE_EPOCH"] = str(int(found.timestamp()) if found else 0)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks on CSS that only browsers know, and on a machine without fonts, out of the user's terminal."""
    loggers = [logging.getLogger("weasyprint"), logging.getLogger("fontTools")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No fonts configured")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
