"""The PDF is the same report on paper: numbered, bookmarked, tagged, closed to the outside, always the same bytes."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from xml.etree import ElementTree

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from auditor.canonical import readable_json
from auditor.errors import AuditorError, ConfigError
from auditor.findings.mapping import frameworks
from auditor.findings.record import AuditRecord
from auditor.report import html, pdf
from tests.report.corpus import LONG, hostile_record
from tests.report.pages import changed, record


@cache
def short_record() -> AuditRecord:
    """The sample without most of its samples, which only make it longer."""
    results = [r.model_copy(update={"samples": r.samples[:5]}) for r in record().results]
    return changed(results=results)


@cache
def written() -> bytes:
    return pdf.render(short_record())


@cache
def document() -> PdfReader:
    return PdfReader(io.BytesIO(written()))


def bare() -> AuditRecord:
    """The sample without what makes it long."""
    return changed(results=[], findings=[], datasets=[])


def objects() -> Iterator[DictionaryObject]:
    """Every dictionary of the document."""
    for number in range(1, int(document().trailer["/Size"])):
        found = document().get_object(number)
        if isinstance(found, DictionaryObject):
            yield found


def text_of(reader: PdfReader) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def test_page_one_holds_the_verdict_and_the_whole_chart() -> None:
    first = text_of(document())[0]
    assert "✕ FAIL" in first
    assert "May this checkpoint ship?" in first
    assert "Not measured, and why" in first
    assert "4 ✓ met" in first


def test_every_page_carries_its_number_and_the_identity() -> None:
    pages = text_of(document())
    for i, text in enumerate(pages, 1):
        assert f"page {i} of {len(pages)}" in text
        assert f"audit identity {short_record().digest}" in text


def test_bookmarks_name_the_sections() -> None:
    titles = [item.title for item in document().outline if not isinstance(item, list)]
    assert titles[0] == "Verdict"
    assert [re.sub(r"^\d+ ", "", title) for title in titles[1:]] == [
        "Findings",
        "Scope and what was not measured",
        "Who audited, and how",
        "The checkpoint",
        "Method and declared bars",
        "Results",
        "Limits and validity",
        "Laws, standards and threat lists",
        "Sign-off",
        "Reproduce and verify",
        "Glossary",
    ]


def test_it_is_tagged_titled_and_brings_its_fonts() -> None:
    root = document().trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert document().metadata.title.startswith("FAIL: SmolLM2-135M-Instruct")  # type: ignore[union-attr]
    names = {str(font["/BaseFont"]) for page in document().pages for font in page["/Resources"]["/Font"].values()}
    assert names
    assert all(re.match(r"/[A-Z]{6}\+Auditor-(Sans|Mono|Symbols)", name) for name in names)


def metadata() -> ElementTree.Element:
    return ElementTree.fromstring(document().trailer["/Root"]["/Metadata"].get_object().get_data())


def test_it_says_that_it_follows_pdf_a_3a_and_pdf_ua_1() -> None:
    rdf = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
    assert len(list(metadata().iter(f"{rdf}RDF"))) == 1
    said = {key: value for element in metadata().iter(f"{rdf}Description") for key, value in element.attrib.items()}
    assert said["{http://www.aiim.org/pdfa/ns/id/}part"] == "3"
    assert said["{http://www.aiim.org/pdfa/ns/id/}conformance"] == "A"
    assert said["{http://www.aiim.org/pdfua/ns/id/}part"] == "1"
    described = [element.text for element in metadata().iter("{http://www.aiim.org/pdfa/ns/property#}name")]
    assert described == ["part"]
    root = document().trailer["/Root"]
    assert root["/OutputIntents"][0]["/S"] == "/GTS_PDFA1"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]


def test_the_record_and_the_manifest_are_inside() -> None:
    reader = PdfReader(io.BytesIO(pdf.render(bare(), {"manifest.json": b"{}\n"})))
    assert {name: found[0] for name, found in reader.attachments.items()} == {
        "audit.json": readable_json(bare().model_dump(mode="json")),
        "manifest.json": b"{}\n",
    }
    named = [file.get_object() for file in reader.trailer["/Root"]["/AF"]]
    assert [(str(file["/UF"]), str(file["/AFRelationship"])) for file in named] == [
        ("audit.json", "/Source"),
        ("manifest.json", "/Supplement"),
    ]
    assert set(document().attachments) == {"audit.json"}


def test_every_figure_has_a_name_and_every_link_says_where_it_goes() -> None:
    figures = [o for o in objects() if o.get("/S") == "/Figure"]
    assert len(figures) == 4
    assert all(o["/Alt"] for o in figures)
    links = [o for o in objects() if o.get("/Subtype") == "/Link"]
    assert len(links) > 50
    assert all(o["/Contents"] for o in links)


def test_every_heading_of_a_table_says_which_way_it_looks_and_is_found_by_the_cells() -> None:
    headings = [o for o in objects() if o.get("/S") == "/TH"]
    assert {str(o["/A"]["/Scope"]) for o in headings} == {"/Column", "/Row"}
    for heading in headings:
        rows = heading["/P"]["/P"]["/S"]
        assert heading["/A"]["/Scope"] == ("/Column" if rows == "/THead" else "/Row")
    names = document().trailer["/Root"]["/StructTreeRoot"]["/IDTree"]["/Names"]
    known = {str(name): element.get_object() for name, element in zip(names[::2], names[1::2], strict=True)}
    assert list(known) == sorted(known)
    assert known == {str(o["/ID"]): o for o in headings}
    told = [name for o in objects() if o.get("/S") == "/TD" for name in o["/A"].get("/Headers", ())]
    assert len(told) > 500
    assert set(map(str, told)) <= set(known)


def test_a_list_holds_items_and_nothing_else() -> None:
    lists = [o for o in objects() if o.get("/S") == "/L"]
    assert len(lists) > 10
    assert {str(kid["/S"]) for o in lists for kid in o["/K"]} <= {"/LI", "/L"}
    assert {str(o["/P"]["/S"]) for o in objects() if o.get("/S") == "/LI"} == {"/L"}


PICTURE = "R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="
"""a GIF of one pixel"""


def test_no_reader_may_smooth_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    page = f'<html lang="en"><img alt="a dot" src="data:image/gif;base64,{PICTURE}">'
    monkeypatch.setattr(html, "markup", lambda *_: page)
    reader = PdfReader(io.BytesIO(pdf.render(bare())))
    found = [reader.get_object(number) for number in range(1, int(reader.trailer["/Size"]))]
    pictures = [o for o in found if isinstance(o, DictionaryObject) and o.get("/Subtype") == "/Image"]
    assert pictures
    assert not [o for o in pictures if o["/Interpolate"].value]


def test_what_is_folded_on_screen_is_open_on_paper() -> None:
    text = " ".join(text_of(document()))
    assert "The numbers in this chart" in text
    assert "0.92 (0.86 to 0.98), chosen" in text
    assert "I'm sorry, but I can't help with that request." in text


def test_the_same_record_gives_the_same_bytes_and_leaves_the_clock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "17")
    assert pdf.render(short_record()) == written()
    assert os.environ["SOURCE_DATE_EPOCH"] == "17"
    assert document().metadata.creation_date.isoformat() == "2026-01-05T09:04:40+00:00"  # type: ignore[union-attr]


def test_hostile_text_is_printed_whole_and_links_nowhere() -> None:
    reader = PdfReader(io.BytesIO(pdf.render(hostile_record(short_record()))))
    pages = [text.replace("\0", "") for text in text_of(reader)]
    assert "".join(pages).count("x") > 2 * len(LONG)
    assert "U+200B" not in "".join(pages)
    assert "FAIL" in pages[0]
    targets = [
        str(annotation.get_object()["/A"]["/URI"])
        for page in reader.pages
        for annotation in page.get("/Annots", ())
        if "/URI" in annotation.get_object().get("/A", {})
    ]
    known = ("https://arxiv.org/abs/", *(framework.source for framework in frameworks()))
    assert not [target for target in targets if not target.startswith(known)]
    assert "/JavaScript" not in reader.trailer["/Root"].get("/Names", {})


@pytest.mark.parametrize("address", ["https://example.org/a.png", "file:///etc/hostname"])
def test_a_page_that_asks_for_something_is_not_rendered(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(html, "markup", lambda *_: f'<img src="{address}">')
    with pytest.raises(AuditorError, match="outside itself"):
        pdf.render(record())


def test_without_its_libraries_it_names_the_command_and_html_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ConfigError, match="apt-get install libpango"):
        pdf.render(record())
    assert "✕" in html.render(record())
