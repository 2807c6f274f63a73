"""One record as a PDF: the same page structure as the HTML, printed by WeasyPrint, the same bytes each time.

PDF/A-3a and PDF/UA-1 at once: tagged, with its fonts, its colours and the record itself inside. WeasyPrint is
imported only when a PDF is asked for, because it needs libraries of the system.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from auditor.canonical import readable_json
from auditor.errors import AuditorError, ConfigError
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report import html
from auditor.report.glyphs import undrawable, written_out
from auditor.report.numbers import moment

VARIANT = "pdf/a-3a"
RECORD = "audit.json"
UA_1 = b"""<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" pdfuaid:part="1" />
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA identification</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name>
<pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>part of ISO 14289 that the file follows</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
"""
"""PDF/UA-1 beside PDF/A-3a in the metadata; PDF/A wants a property that it does not know to be described"""
NEEDED = (
    "the PDF report needs Pango and HarfBuzz from the system; on Debian or Ubuntu: "
    "sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0; on macOS: brew install pango. "
    "The HTML report works without them."
)


def render(
    record: AuditRecord, attached: Mapping[str, bytes] | None = None, outcome: GateOutcome | None = None
) -> bytes:
    """The report of `record` as a PDF with the record inside, and other files by name, such as the manifest.

    The same record, files and outcome of a gate give the same bytes on the same machine.

    Errors:
        ConfigError: the libraries that WeasyPrint needs are missing.
        AuditorError: a page asked for something outside itself.
    """
    weasyprint = _weasyprint()
    page = _page(weasyprint, record, outcome)
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=("data",), fail_on_errors=True)
    identifier = hashlib.sha256(page.encode()).hexdigest().encode()
    contents = {RECORD: readable_json(record.model_dump(mode="json")), **(attached or {})}
    with _dated(record.environment.finished) as when, _quiet():
        try:
            document = weasyprint.HTML(string=page, url_fetcher=fetcher)
            written: bytes = document.write_pdf(
                pdf_variant=VARIANT,
                pdf_identifier=identifier,
                # An Attachment can be read once, so each document gets its own.
                attachments=[_attachment(weasyprint, name, data, when) for name, data in contents.items()],
                finisher=_follow_ua,
            )
        except weasyprint.urls.FatalURLFetchingError as error:
            # It is a BaseException: left alone, it would pass every handler of ours.
            raise AuditorError(f"the report asked for something outside itself and was not rendered: {error}") from None
    return written


def _page(weasyprint: Any, record: AuditRecord, outcome: GateOutcome | None) -> str:
    """The page in characters that can be drawn here; it says so where some had to be written out."""
    page = html.markup(record, "pdf", outcome)
    with _quiet():
        missing = undrawable(weasyprint, page)
    return written_out(html.markup(record, "pdf", outcome, undrawable=missing), missing) if missing else page


def _attachment(weasyprint: Any, name: str, data: bytes, when: datetime) -> Any:
    relationship = "Source" if name == RECORD else "Supplement"
    told = "the record that this report shows" if name == RECORD else "evidence beside the record"
    return weasyprint.Attachment(
        string=data, name=name, description=told, created=when, modified=when, relationship=relationship
    )


def _follow_ua(_document: Any, pdf: Any) -> None:
    """Mend what WeasyPrint leaves open of the two standards that the file follows.

    It names one of them in the metadata, lists every attachment twice, and asks for smooth pictures.
    """
    metadata = pdf.objects[int(pdf.catalog["Metadata"].split()[0])]
    metadata.stream = [part.replace(b"</rdf:RDF>", UA_1 + b"</rdf:RDF>") for part in metadata.stream]
    pdf.catalog["AF"][:] = dict.fromkeys(pdf.catalog["AF"])
    _mend_tables(pdf)
    for image in pdf.objects:
        # Emoji are pictures of their font, and PDF/A lets no reader smooth a picture.
        if "Interpolate" in getattr(image, "extra", ()):
            image.extra["Interpolate"] = "false"


def _mend_tables(pdf: Any) -> None:
    """Say which way each heading of a table looks, and list the ids by which cells name their headings."""
    dictionaries: list[Any] = [o for o in pdf.objects if isinstance(o, dict)]
    elements = {o.reference: o for o in dictionaries if o.get("Type") == "/StructElem"}
    for element in elements.values():
        if element["S"] == "/TH":
            rows = elements[elements[element["P"]]["P"]]
            element["A"]["Scope"] = "/Column" if rows["S"] == "/THead" else "/Row"
    named = sorted((e for e in elements.values() if "ID" in e), key=lambda e: str(e["ID"].string))
    (root,) = (o for o in dictionaries if o.get("Type") == "/StructTreeRoot")
    array, dictionary = type(root["K"]), type(root)
    root["IDTree"] = dictionary({"Names": array(part for e in named for part in (e["ID"], e.reference))})


def _weasyprint() -> Any:
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        raise ConfigError(f"{NEEDED} ({str(error).splitlines()[0]})") from error
    return weasyprint


@contextmanager
def _dated(finished: str) -> Iterator[datetime]:
    """Date what is written by the audit, not by the clock, and put the environment back."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    when = moment(finished) or datetime.fromtimestamp(0, UTC)
    os.environ["SOURCE_DATE_EPOCH"] = str(int(when.timestamp()))
    try:
        yield when
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks on CSS that only browsers know, on a machine without fonts, and of Python on a colour profile that
    WeasyPrint leaves to be closed, out of the user's terminal.
    """
    loggers = [logging.getLogger("weasyprint"), logging.getLogger("fontTools")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No fonts configured")
            warnings.filterwarnings("ignore", message="unclosed file .*icc", category=ResourceWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
