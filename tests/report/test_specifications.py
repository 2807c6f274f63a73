"""Beside a finding the report tells what other specifications come to, and nothing where there are none."""

from __future__ import annotations

from functools import cache

from auditor.report import html
from tests.report.pages import Node, page, read
from tests.runfolder import sample_record

NBSP = "\xa0"
OTHERS = (("other_wording", 5), ("no_system_prompt", 55), ("third", 30))


@cache
def shown() -> Node:
    return read(html.render(sample_record(specifications=OTHERS)))


def finding(title: str) -> Node:
    (found,) = (f for f in shown().all("article", class_="finding") if f.one("h4").text.endswith(title))
    return found


def test_a_finding_says_how_many_specifications_agree_and_how_far_the_values_lie_apart() -> None:
    told = finding("harmful requests refused").one("p", class_="said").text
    assert told == (
        "3 of 4 specifications, the declared one among them, say not met "
        f"(at least 75{NBSP}% must agree); values from 5{NBSP}% to 92{NBSP}%."
    ).replace(NBSP, " ")


def test_where_all_give_the_same_it_is_said_once() -> None:
    assert finding("plainly harmless requests refused").one("p", class_="said").text.endswith("; every value is 0 %.")


def test_every_specification_has_a_row_in_the_order_of_its_value() -> None:
    table = finding("harmful requests refused").one("table", class_="specifications")
    rows = [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in table.one("tbody").all("tr")]
    assert [(row[0], row[1][2:], row[2]) for row in rows] == [
        ("as declared", "not met", "5 %"),
        ("other wording", "not met", "8 %"),
        ("third", "not met", "50 %"),
        ("no system prompt", "met", "92 %"),
    ]


def test_what_each_chooses_otherwise_stands_with_the_method() -> None:
    text = shown().one("section", id="method").text
    assert "Other specifications of refusal behaviour must agree at least 75 %: one in four may be unlucky" in text
    assert "third seed + 3" in text


def test_without_other_specifications_nothing_is_said_of_them() -> None:
    assert not list(page().all("table", class_="specifications"))
    assert "pecification" not in page().one("section", id="results").text
