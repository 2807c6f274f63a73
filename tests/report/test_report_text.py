"""Words and numbers of the report: hidden characters are shown, links are few, rounding never misleads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from auditor.config import Criterion
from auditor.measure.intervals import Estimate
from auditor.report import details, numbers, text, words
from tests.report.pages import record

NBSP = "\xa0"


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=60, of="items", estimator="wilson_rate")


@given(st.text())
def test_what_is_visible_holds_no_control_and_stays_as_it_is(raw: str) -> None:
    shown = text.visible(raw)
    assert not [c for c in shown if ord(c) < 32 and c not in "\n\t"]
    assert not set(shown) & set("\x7f\x85\u061c\u200b\u200e\u200f\u202a\u202e\u2066\u2069\u2028\ufeff\ud800")
    assert text.visible(shown) == shown
    shown.encode()


def test_ordinary_writing_of_all_kinds_is_left_alone() -> None:
    for ordinary in ("plain\ttext\nin lines", "naïve 漢字 العربية", "👩\u200d💻", "می\u200cخواهم", "½ ≥ ✓"):
        assert text.visible(ordinary) == ordinary


def test_numbers_of_a_sentence_keep_their_unit_and_have_a_true_minus() -> None:
    assert text.tied("it is -5 points (interval -12 to 2 points)") == (
        f"it is −5{NBSP}points (interval −12 to 2{NBSP}points)"
    )
    for name in ("model-1.2", "2026-11-01", "--seed", "1.5-2"):
        assert text.tied(name) == name


def test_a_template_cannot_print_a_hidden_character_even_as_markup() -> None:
    assert text.finalize("\x1b[31m") == "⟨ESC⟩[31m"
    assert text.finalize(Markup("<b>\u202e</b>")) == Markup("<b>⟨U+202E⟩</b>")
    assert text.finalize(None) == "–"
    assert text.finalize(True) == "yes"


def test_paper_gets_places_to_break_and_the_screen_does_not() -> None:
    assert text.breakable("x" * 199) == "x" * 199
    broken = text.breakable("x" * 1000)
    assert isinstance(broken, str)
    assert broken.replace("\u200b", "") == "x" * 1000
    assert max(map(len, broken.split("\u200b"))) == 80
    assert text.finalize("x" * 1000) == "x" * 1000
    assert text.breakable(Markup(broken)) == broken
    assert text.breakable(Markup("a\u200b\u202e")) == "a\u200b⟨U+202E⟩"
    assert text.breakable("a\u200b") == "a⟨U+200B⟩"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("arXiv:2406.11717", "https://arxiv.org/abs/2406.11717"),
        ("https://example.org/a/b?c=d#e", "https://example.org/a/b?c=d#e"),
        ("javascript:alert(1)", None),
        ("http://example.org", None),
        ("file:///etc/passwd", None),
        ("https://evil.example/\"onload='x'", None),
        ("https://user@evil.example", None),
        ("data:text/html,x", None),
    ],
)
def test_only_plain_https_and_arxiv_become_links(source: str, address: str | None) -> None:
    assert text.linked(source) == ((source, address),)


def test_a_long_name_keeps_both_ends() -> None:
    cut = text.short("start" + "x" * 500 + "end", 40)
    assert len(cut) == 40
    assert cut.startswith("start")
    assert cut.endswith("end")
    assert text.short("short", 40) == "short"


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (0.516, "share", f"52{NBSP}%"),
        (0.0, "share", f"0{NBSP}%"),
        (0.004, "share", f"0.4{NBSP}%"),
        (0.0001, "share", f"<{NBSP}0.1{NBSP}%"),
        (0.996, "share", f"99.6{NBSP}%"),
        (1.0, "share", f"100{NBSP}%"),
        (-0.34, "difference of shares", f"−34{NBSP}points"),
        (0.03, "difference of shares", f"+3{NBSP}points"),
        (0.606, "AUROC", "0.61"),
        (-0.001, "difference of AUROC", "0.00"),
        (0.01, "p", "0.010"),
        (0.0001, "p", f"<{NBSP}0.001"),
        (-3.14159, "logit", "−3.14"),
        (None, "share", "–"),
        (12.5, None, "12.5"),
    ],
)
def test_numbers_are_written_in_their_unit(value: float | None, unit: str | None, told: str) -> None:
    assert numbers.number(value, unit) == told  # type: ignore[arg-type]


def test_a_sentence_has_value_interval_and_n() -> None:
    told = numbers.sentence(estimate(0.05, 0.017, 0.137), "share")
    assert told.replace(NBSP, " ") == "5 %, interval 2 to 14 %, n = 60 items"
    assert numbers.interval(estimate(0.05), "share") == "–"


def test_rounding_does_not_put_a_number_on_a_bar_that_it_misses() -> None:
    finding = record().findings[0].model_copy(update={"estimate": estimate(0.7968, 0.7, 0.9)})
    assert finding.criterion == Criterion(
        measurement="harmful_refusal_rate", severity="high", min_n=60, at_least=0.8, roles=("chat",),
        good_value=0.95, because="release policy",
    )  # fmt: skip
    assert numbers.held(finding).startswith(f"79.7{NBSP}%")
    exact = record().findings[0].model_copy(update={"estimate": estimate(0.8, 0.7, 0.9)})
    assert numbers.held(exact).startswith(f"80{NBSP}%")


def test_bars_sizes_counts_and_dates() -> None:
    assert numbers.bar(Criterion(measurement="m", at_least=0.8), "share") == f"at least 80{NBSP}%"
    assert numbers.bar(Criterion(measurement="m", at_most=0.125), "share") == f"at most 12.5{NBSP}%"
    assert numbers.bar(Criterion(measurement="m"), "share") == "none"
    assert numbers.size(269_060_552) == f"257{NBSP}MiB"
    assert numbers.size(861) == f"861{NBSP}bytes"
    assert numbers.millions(134_515_008) == f"134.5{NBSP}million"
    assert numbers.date("2026-11-22T11:15:00+00:00") == "22 Nov 2026"
    assert numbers.date("soon") == "soon"
    assert numbers.clock("2026-11-22T01:15:00+02:00") == "21 Nov 2026, 23:15 UTC"
    assert numbers.seconds(200.2) == f"3{NBSP}min 20{NBSP}s"


@pytest.mark.parametrize(
    ("finding_id", "told"),
    [
        ("p.m[trait=trait_sentiment]", "slope (trait sentiment)"),
        ("p.m[layer=3,trait=trait_my_trait]", "slope (layer 3, trait my trait)"),
        ("p.m[dataset=truth_cities]", "slope (dataset truth cities)"),
        ("p.m", "slope"),
    ],
)
def test_a_title_does_not_say_a_key_twice(finding_id: str, told: str) -> None:
    assert words.named("slope", finding_id) == told


def test_a_place_does_not_say_a_key_twice() -> None:
    places = [details.placed(*pair) for pair in (("trait", "trait_sentiment"), ("layer", 3), ("arm", "armed"))]
    assert places == ["trait sentiment", "layer 3", "arm armed"]
