"""The stylesheet and the fonts: enough contrast in light and dark, a glyph for every mark, few bytes."""

from __future__ import annotations

import io
import re
from importlib.resources import files
from itertools import pairwise

import pytest
from fontTools.ttLib import TTFont

from auditor.report import html, svg, words
from auditor.report.strips import SHADES
from tests.report.test_report_charts import contrast

CSS = files("report_templates").joinpath("style.css").read_text(encoding="utf-8")
FONTS = files("report_templates").joinpath("fonts")
WASHES = {"good": "good-wash", "bad": "bad-wash", "open": "open-wash", "none": "wash"}


def palette(dark: bool) -> dict[str, str]:
    light, night = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", night)) if dark else found


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_every_ground(dark: bool) -> None:
    colours = palette(dark)
    for ground in ("paper", "wash", "good-wash", "bad-wash", "open-wash"):
        for ink in ("ink", "muted", "link"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for shade in range(1, SHADES):
        assert contrast(colours["ink"], colours[f"shade-{shade}"]) >= 4.5, shade
    for tone, wash in WASHES.items():
        assert contrast(colours[tone], colours["paper"]) >= 4.5
        assert contrast(colours[tone], colours[wash]) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_lines_and_points_of_charts_stand_out(dark: bool) -> None:
    colours = palette(dark)
    for name in ("line", *(f"s{i}" for i in range(svg.SERIES))):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for tone in ("ink", "good", "bad", "open"):
        assert contrast(colours[tone], colours["meets"]) >= 3, tone


@pytest.mark.parametrize("dark", [False, True])
def test_shades_of_tokens_are_told_apart_in_greyscale_too(dark: bool) -> None:
    colours = palette(dark)
    grounds = [colours["paper"], *(colours[f"shade-{shade}"] for shade in range(1, SHADES))]
    assert all(contrast(one, colours["ink"]) > 1.1 * contrast(two, colours["ink"]) for one, two in pairwise(grounds))
    assert f"shade-{SHADES}" not in CSS


def test_drawings_and_stylesheet_agree_on_the_light_colours() -> None:
    assert {name: palette(dark=False)[name] for name in svg.COLOURS} == svg.COLOURS
    for name in svg.COLOURS:
        assert f".f-{name} {{ fill: var(--{name}) }}" in CSS or f".l-{name} {{ stroke: var(--{name}) }}" in CSS


def test_every_mark_and_every_written_out_character_has_a_glyph() -> None:
    covered: set[int] = set()
    for face in FONTS.iterdir():
        if face.name.endswith(".woff2"):
            covered |= set(TTFont(io.BytesIO(face.read_bytes())).getBestCmap())
    signs = [*words.STATUS.values(), *words.VERDICT.values(), *words.RESULT.values(), *words.CHECK.values()]
    needed = "".join(sign.mark for sign in signs) + "⟨⟩–−…·↑→↓▼✓✕“”’ÄéßłžΣλЖ"
    assert not [c for c in needed if ord(c) not in covered]


def test_fonts_are_small_and_come_with_their_licence() -> None:
    sizes = [len(face.read_bytes()) for face in FONTS.iterdir() if face.name.endswith(".woff2")]
    assert len(sizes) == 4
    assert sum(sizes) < 300_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in FONTS.joinpath("OFL.txt").read_text(encoding="utf-8")


def test_the_stylesheet_cannot_end_its_own_element() -> None:
    assert "</" not in html.stylesheet()
    assert "color-scheme: light dark" in html.stylesheet()
