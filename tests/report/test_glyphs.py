"""A character that no font has is written out and said to be, never drawn as a blank box."""

from __future__ import annotations

import io

import pytest
import weasyprint
from pypdf import PdfReader

from auditor.cli import doctor
from auditor.report import pdf
from auditor.report.glyphs import undrawable, written_out
from tests.report.pages import changed, record

NOWHERE = "\U000f0000"
"""for private use: no font has it"""


def test_what_no_font_has_is_found_and_what_the_report_carries_is_not() -> None:
    assert undrawable(weasyprint, f"{NOWHERE} is nowhere, {NOWHERE}") == NOWHERE
    assert undrawable(weasyprint, "Äéžλ Ж ✓ ✕ − … ⟨ESC⟩\u200b\n") == ""


def test_it_is_written_as_its_code_with_a_place_to_break() -> None:
    assert written_out(f"a{NOWHERE}b", NOWHERE) == "a⟨U+F0000⟩\u200bb"
    assert written_out("a", "") == "a"


@pytest.mark.parametrize("name", [f"model {NOWHERE}", "model"])
def test_the_pdf_says_that_it_wrote_characters_out(name: str) -> None:
    checkpoint = record().checkpoint.model_copy(update={"name": name})
    small = changed(results=[], findings=[], datasets=[], checkpoint=checkpoint.model_dump())
    first = " ".join(PdfReader(io.BytesIO(pdf.render(small))).pages[0].extract_text().split())
    assert ("⟨U+F0000⟩" in first.replace("\u200b", "")) == (NOWHERE in name)
    assert ("no font for 1 of the characters" in first) == (NOWHERE in name)
    assert NOWHERE not in first


def test_the_doctor_names_the_scripts_without_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "undrawable", lambda _, text: "".join(c for c in text if c in "漢🔥"))
    assert doctor.fonts_state().startswith("none for Chinese, emoji: ")
    assert "fonts-noto-cjk" in doctor.fonts_state()
    monkeypatch.setattr(doctor, "undrawable", lambda *_: "")
    assert doctor.fonts_state() == "all that were tried"
