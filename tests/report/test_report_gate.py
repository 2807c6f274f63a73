"""The report shows what a gate decided beside the declared bars: waivers in force and expired, never in their place."""

from __future__ import annotations

import pytest

from auditor.report import html
from tests.findings.decisions import HARMFUL, NEAR, against, outcome_of, record_with, waiver
from tests.report.corpus import HOSTILE, LONG
from tests.report.pages import Node, read
from tests.report.test_decided import EXPIRED, Given, decided, expired, fell_behind, unwaived, waived
from tests.report.test_report_html import assert_harmless


def shown(of: Given) -> Node:
    return read(html.render(*of))


def test_without_an_outcome_the_page_knows_no_gate() -> None:
    record = record_with(over="not_met")
    page = shown((record, None))  # type: ignore[arg-type]
    assert not list(page.all("section", id="gate"))
    assert not list(page.all("p", class_="gated"))
    assert "waived" not in page.text


def test_a_waived_miss_stays_a_miss_and_says_who_accepts_it_until_when() -> None:
    page = shown(waived())
    assert "✕ FAIL" in page.one("div", class_="verdict").one("p", class_="stamp").text
    gated = page.one("p", class_="gated").text
    assert gated == "By the gate's terms, on 1 Jun 2026: ✓ PASS, with 1 of these waived."
    section = page.one("section", id="gate")
    (row,) = section.one("table").one("tbody").all("tr")
    for told in ("✕ not met", "100 %", "1 Jan 2026 to 31 Dec 2026", "A. Owner, B. Approver", "known since spring"):
        assert told in row.text
    assert "waived" in page.one("section", id="findings").text
    assert "Accepted up to 1 until 2026-12-31; owner A. Owner" in page.one("section", id="results").text
    assert "Why the gate does not pass" not in section.text


def test_an_expired_waiver_is_named_and_its_finding_fails_again() -> None:
    page = shown(expired())
    assert page.one("p", class_="gated").text == "By the gate's terms, on 1 Jun 2026: ✕ FAIL; a waiver does not hold."
    section = page.one("section", id="gate").text
    assert "No finding is waived." in section
    assert EXPIRED in section.partition("Waivers that do not hold")[2]
    assert EXPIRED[1:] in page.one("section", id="results").text
    assert "do not hold" not in shown(unwaived()).one("section", id="gate").text


def test_a_waiver_without_use_and_a_baseline_are_told() -> None:
    assert "nothing here needs it" in shown(decided(waiver())).one("section", id="gate").text
    of = decided(baseline=against(record_with(), harmful="worse"))
    section = shown(of).one("section", id="gate").text
    assert f"{HARMFUL}: worse than in the baseline by 0.2" in section
    assert "run abcdef; 8 differences tested. Worse beyond chance: harmful requests refused." in section


def test_what_fell_behind_the_baseline_is_named_where_a_waiver_accepts_it() -> None:
    section = shown(fell_behind(waiver(HARMFUL))).one("section", id="gate").text
    assert "Worse beyond chance: harmful requests refused (waived)." in section
    assert "Worse" not in shown(decided(baseline=against(record_with()))).one("section", id="gate").text


@pytest.mark.parametrize("until", ["2026-12-31", "2026-05-31"])
def test_the_words_of_a_waiver_are_data(until: str) -> None:
    record = record_with(over="not_met", near="not_met")
    for text in (" ".join(HOSTILE), LONG):
        said = {"reason": text, "owner": text, "approved_by": text, "expires": until}
        of = record, outcome_of(record, waiver(**said), waiver(NEAR, **said))
        assert_harmless(shown(of))
