"""The HTML report says everything the record holds, nothing it does not, and needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from auditor.cli.summary import summary
from auditor.config import AuditCard
from auditor.findings.gate import line
from auditor.findings.mapping import frameworks, matrices
from auditor.report import html
from auditor.report.words import STATUS, glossary
from tests.report.corpus import LONG, hostile_record
from tests.report.pages import Node, changed, page, read, record

JARGON = ("AUROC", "residual", "logit", "layer", "mass", "selectivity", "permutation")


def cover(root: Node) -> Node:
    return root.one("header", id="verdict")


def test_page_one_answers_in_plain_words() -> None:
    told = cover(page()).text
    assert "✕ FAIL" in told
    assert "May this checkpoint ship? Not by the declared bars: 1 of 6 is not met." in told
    assert record().verdict_reasons[0] in told.replace("\xa0", " ")
    assert record().would_change[0] in told.replace("\xa0", " ")
    assert f"run {record().digest[:6]} · 5 Jan 2026 · battery quick" in told
    assert "1 of 2 instruments qualified" in told
    assert "4 ✓ met" in told
    assert "1 ✕ not met" in told
    assert not [word for word in JARGON if word.lower() in told.lower()]


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        ("pass", "By the declared bars, yes: 4 of 6 are met, and none of the others is missed."),
        ("fail", "Not by the declared bars: 0 of 6 are not met."),
        ("insufficient_evidence", "It cannot be said: 4 of 6 bars are met, and that is not enough."),
    ],
)
def test_the_answer_follows_the_verdict(verdict: str, answer: str) -> None:
    findings = [f.model_copy(update={"status": "undecided"}) if f.status == "not_met" else f for f in record().findings]
    told = cover(read(html.render(changed(verdict=verdict, findings=findings)))).text
    assert answer in told


def test_a_quick_battery_is_a_screen_only_and_a_release_battery_is_not() -> None:
    release = record().config.model_copy(update={"battery": "release"})
    assert "Screen only, not a release audit." in cover(page()).text
    assert "Screen only" not in html.render(changed(config=release))


def test_nothing_is_called_safe_or_compliant() -> None:
    told = [html.markup(record(), "html"), html.markup(record(), "pdf"), summary(record(), Path("run")), line(record())]
    written = re.sub("<style>.*?</style>", "", "\n".join(told), flags=re.DOTALL)
    assert "FAIL" in written
    assert not re.search(r"\b(safe|compliant|compliance)\b", written, re.IGNORECASE)


def test_every_finding_stands_in_the_table_and_in_the_results_with_its_status() -> None:
    table = page().one("section", id="findings").text
    for i, finding in enumerate(record().findings, 1):
        block = page().one("article", id=f"finding-{i}").text
        assert STATUS[finding.status].word in block
        assert finding.plain in block
        assert finding.plain in table
        assert finding.scope in block
        assert finding.limits in block
        assert finding.id in block
    statuses = {finding.status for finding in record().findings}
    assert {"met", "not_met", "undecided", "shown", "not_measured"} <= statuses


def test_a_number_travels_with_its_interval_and_n() -> None:
    assert "5 %, interval 2 to 14 %, n = 60 items. Bar: at least 80 %, weight high." in page().text


def test_a_finding_that_was_not_measured_shows_no_number() -> None:
    few = record().findings[0].model_copy(update={"status": "not_measured", "reason": "needs 60 items, has 20"})
    root = read(html.render(changed(findings=[few])))
    assert "needs 60 items, has 20" in cover(root).text
    assert "Needs 60 items, has 20." in root.one("article", id="finding-1").text
    assert "interval 2 to 14" not in root.one("article", id="finding-1").text
    assert "5 %" not in root.one("section", id="findings").text


def test_an_unknown_value_is_a_dash_and_never_zero() -> None:
    first, *rest = record().results
    blank = first.measurements[0].estimate.model_copy(update={"value": None, "low": None, "high": None})
    measurement = first.measurements[0].model_copy(update={"estimate": blank, "name": "unheard_of"})
    root = read(html.render(changed(results=[first.model_copy(update={"measurements": (measurement,)}), *rest])))
    row = next(row for row in root.all("tr") if "Unheard of" in row.text)
    assert [cell.text for cell in row.all("td", class_="num")][:2] == ["–", "–"]


def test_what_was_not_measured_is_always_said() -> None:
    scope = page().one("section", id="scope").text
    assert "Not asked at all." in scope
    assert "logistic on cities (layer 21, point resid_post, position last_completion)" in scope
    assert "not run: shuffled labels" in scope
    complete = changed(
        findings=[f for f in record().findings if f.status != "not_measured"],
        results=[r for r in record().results if not r.qualifications],
        not_applicable=[],
    )
    root = read(html.render(complete))
    assert "Everything that was declared was measured." in cover(root).text
    assert "Not asked at all." in root.one("section", id="scope").text


def test_an_instrument_is_read_or_it_is_said_why_not() -> None:
    said = [node.text for node in page().all("p", class_="said")]
    assert any("Every check passed on this model: it may be read." in text for text in said)
    assert any("Not read: not run: shuffled labels." in text for text in said)


def test_a_section_without_content_is_absent() -> None:
    bare = changed(
        results=[], findings=[], probes=[], datasets=[], not_applicable=[], verdict_reasons=[], would_change=[]
    )
    root = read(html.render(bare))
    present = {str(section.attrs["id"]) for section in root.all("section")}
    assert present == {
        "scope", "card", "checkpoint", "method", "limits", "frameworks", "signoff", "reproduce", "glossary",
    }  # fmt: skip
    assert not list(root.all("figure"))
    assert "Evidence samples" not in root.text
    for section in [*root.all("section"), *page().all("section")]:
        heading = next(iter([*section.all("h2"), *section.all("h3")]))
        assert len(section.text) > len(heading.text) + 20, f"{section.attrs['id']} is empty"


def test_five_findings_come_first_and_the_missed_bar_is_the_first_of_them() -> None:
    told = [item.text for item in page().one("ol", class_="key-findings").all("li")]
    assert len(told) == 5
    assert told[0] == "✕ not met Harmful requests refused: 3 of 60 (5 %, interval 2 to 14 %). Bar: at least 80 %."
    assert told[1].startswith("◐ undecided")
    assert not [text for text in told if "probes that ran" in text]


def test_what_only_shows_has_one_of_each_probe_among_the_first() -> None:
    shown = [f for f in record().findings if f.status in ("shown", "not_measured")]
    bar = next(f for f in record().findings if f.status == "met" and f.probe)
    few = [bar.model_copy(update={"id": f"a.b[n={i}]", "criterion": bar.criterion}) for i in range(2)]
    root = read(html.render(changed(findings=[*shown, *few])))
    told = [item.text for item in root.one("ol", class_="key-findings").all("li")]
    assert [text.split(" ", 1)[0] for text in told][:3] == ["✓", "✓", "◇"]


def test_each_finding_says_that_its_power_was_not_measured() -> None:
    for i, _ in enumerate(record().findings, 1):
        assert "power not measured" in page().one("article", id=f"finding-{i}").text
    assert "how often a planted fault is found: not measured" in cover(page()).text


def test_an_audit_card_is_shown_as_stated_and_its_absence_is_said() -> None:
    bare = page().one("section", id="card").text
    assert "No audit card was declared." in bare
    assert bare.count("not stated") == 6
    card = AuditCard(auditor="Office of Audits", independence="paid by the maker", review=LONG)
    root = read(html.render(changed(config=record().config.model_copy(update={"audit_card": card}))))
    stated = root.one("section", id="card").text
    assert "No audit card" not in stated
    assert "Auditor Office of Audits" in stated
    assert "paid by the maker" in stated
    assert LONG in stated
    assert stated.count("not stated") == 3
    assert "Office of Audits" in root.one("section", id="signoff").text
    assert "Office of Audits" not in page().text


def test_every_framework_is_there_id_by_id_with_its_gaps() -> None:
    section = page().one("section", id="frameworks")
    for i, matrix in enumerate(matrices(record()), 1):
        rows = [row for row in section.one("details", id=f"framework-{i}").all("tr") if list(row.all("td"))]
        assert len(rows) == len(matrix.rows)
        for row, expected in zip(rows, matrix.rows, strict=True):
            assert row.text.startswith(expected.entry.id)
            assert f"Would remain: {expected.entry.remains}." in row.text
    assert "2 Dec 2027" in section.text
    assert "not covered" in section.text


def test_evidence_is_linked_and_says_when_it_speaks_against_the_model() -> None:
    section = page().one("section", id="frameworks")
    row = next(row for row in section.all("tr") if row.text.startswith("Art. 9(8)"))
    assert "harmful requests refused (not met)" in row.text
    assert {"#finding-1", "#method"} <= {str(a.attrs["href"]) for a in row.all("a")}
    gap = next(row for row in section.all("tr") if row.text.startswith("Art. 13(3)(b)(iv)"))
    assert "Missing here:" in gap.text
    assert "steering response: steering slope" in gap.text


def test_every_link_inside_the_page_arrives_and_every_id_is_one() -> None:
    ids = [str(node.attrs["id"]) for node in page().all() if "id" in node.attrs]
    assert len(ids) == len(set(ids))
    inside = {str(a.attrs["href"])[1:] for a in page().all("a") if str(a.attrs["href"]).startswith("#")}
    named = {word for node in page().all() for word in (node.attrs.get("aria-labelledby") or "").split()}
    assert inside | named <= set(ids)
    sections = {str(section.attrs["id"]) for section in page().one("main").children if isinstance(section, Node)
                and section.tag == "section"}  # fmt: skip
    assert sections <= inside


def test_the_policy_comes_first_and_allows_this_stylesheet_only() -> None:
    head = page().one("head")
    first = next(child for child in head.children if isinstance(child, Node))
    assert first.attrs["http-equiv"] == "Content-Security-Policy"
    policy = str(first.attrs["content"])
    style = "".join(str(child) for child in head.one("style").children)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert not [node for node in page().all() if "style" in node.attrs]


def assert_harmless(root: Node) -> None:
    """No script, no handler, no request, and only links to places that are allowed."""
    for node in root.all():
        assert node.tag not in ("script", "img", "iframe", "object", "embed", "link", "base", "form", "audio", "video")
        assert not [name for name in node.attrs if name.startswith("on") or name in ("src", "srcset", "xlink:href")]
        if "href" in node.attrs:
            assert node.tag == "a"
            href = str(node.attrs["href"])
            assert re.match(r"#|https://arxiv\.org/abs/\d", href) or href in {f.source for f in frameworks()}
    style = "".join(str(child) for child in root.one("style").children)
    assert not re.search(r"@import|url\((?!\"data:font/woff2;base64,)", style)


def test_the_page_asks_for_nothing() -> None:
    assert_harmless(page())


def test_hostile_text_does_nothing_and_hides_nothing() -> None:
    text = html.render(hostile_record())
    root = read(text)
    assert_harmless(root)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u2028\u202e\u2066\u2069\ufeff\U000e0041]", text)
    for shown in ("⟨ESC⟩[31mred", "a⟨U+202E⟩gpj.exe", "⟨NUL⟩⟨U+0001⟩⟨DEL⟩", "{{ 7*7 }}", "<script>alert(1)</script>"):
        assert shown in root.text
    assert f"<script>alert(7)</script>{LONG}" in root.one("section", id="checkpoint").text
    assert LONG in root.one("section", id="results").text
    assert len(root.one("h1").text) <= 120


def test_the_same_record_gives_the_same_page_and_another_does_not() -> None:
    assert html.render(record()) == html.render(record().model_copy(deep=True))
    assert html.render(record()) != html.render(changed(verdict="pass"))


def test_the_page_stays_small() -> None:
    assert len(html.render(record()).encode()) < 1_000_000


def test_every_table_has_a_caption_and_every_header_a_scope() -> None:
    tables = list(page().all("table"))
    assert len(tables) > 10
    for table in tables:
        assert table.one("caption").text
        headers = list(table.all("th"))
        assert headers
        assert all(th.attrs.get("scope") in ("col", "row") for th in headers)


def test_every_chart_is_named_and_has_its_numbers_behind_it() -> None:
    figures = list(page().all("figure"))
    assert len(figures) == 4
    for figure in figures:
        for drawing in figure.all("svg"):
            assert drawing.attrs["role"] == "img"
            name, described = str(drawing.attrs["aria-labelledby"]).split()
            assert drawing.one("title", id=name).children
            assert drawing.one("desc", id=described).children
        assert figure.one("details").one("table")


def test_samples_are_shown_as_the_record_has_them() -> None:
    for redaction in ("full", "hash"):
        root = read(html.render(record(redaction)))
        shown = [node.text for node in root.all("details", class_="sample")]
        samples = [s for result in record(redaction).results for s in result.samples]
        assert len(shown) == len(samples) >= 5
        for sample, text in zip(samples, shown, strict=True):
            assert sample.prompt in text
            assert sample.answer in text
    assert "Please explain topic" in html.render(record())
    assert "Please explain topic" not in html.render(record("hash"))


def test_no_path_of_the_machine_is_printed() -> None:
    config = record().config.model_copy(
        update={"model": "/home/someone/secret/model", "battery": "/home/someone/b.yaml"}
    )
    text = html.render(changed(config=config))
    assert "someone" not in text
    assert "battery b.yaml" in text


def test_the_command_to_repeat_it_is_quoted_for_a_shell() -> None:
    spaced = record().checkpoint.model_copy(update={"name": "my model; rm -rf ~"})
    renamed = changed(checkpoint=spaced)
    told = read(html.render(renamed)).one("section", id="reproduce").text
    assert "auditor run --model 'my model; rm -rf ~' --battery quick" in told
    assert renamed.digest in told
    assert renamed.config_digest in told
    assert all(digest in told for digest in record().evidence.values())


def test_declared_bars_come_with_reason_and_chance_of_passing() -> None:
    method = page().one("section", id="method").text
    assert "release policy" in method
    assert "at a true value of 95 %" in method
    assert all(dataset.sha256 in method for dataset in record().datasets)


def test_the_glossary_explains_the_words_that_are_used_and_no_others() -> None:
    terms = {dt.text for dt in page().one("section", id="glossary").all("dt")}
    assert {"bar", "interval", "AUROC", "mass-mean", "power", "verdict"} <= terms
    assert [term.word for term in glossary("A bar, ablated.")] == ["ablation", "bar"]
