"""The few drawing words our charts need: escaped elements, wrapped text, axes, colours. Knows no record.

Colours are presentation attributes, because the style of a page does not reach a drawing in the PDF; the class
beside each lets a browser repaint it in dark mode (report_templates/style.css).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from markupsafe import Markup, escape

from auditor.report.text import visible

COLOURS = {
    "ink": "#1c2126",
    "muted": "#555d66",
    "line": "#8a929b",
    "grid": "#dfe3e7",
    "meets": "#e3f1ec",
    "paper": "#ffffff",
    # status: Okabe-Ito bluish green, vermillion and blue, darkened until text in them reads on paper
    "good": "#00694d",
    "bad": "#a63c06",
    "open": "#005a8d",
    "none": "#555d66",
    # series: Okabe-Ito, those that stand out on paper first
    "s0": "#0072b2",
    "s1": "#d55e00",
    "s2": "#009e73",
    "s3": "#000000",
    "s4": "#b0588a",
    "s5": "#b37800",
}
"""class name to colour on paper; the stylesheet has the same names as variables, light and dark"""
SERIES = 6
FONT = "'Auditor Sans','Auditor Symbols',system-ui,sans-serif"
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]
"""x and y in user units"""


def element(name: str, attributes: dict[str, object], *children: Markup | str) -> Markup:
    """One SVG element; attribute values and text children are escaped."""
    told = "".join(f' {key}="{escape(_value(v))}"' for key, v in attributes.items())
    return Markup(f"<{name}{told}>{''.join(map(escape, children))}</{name}>")


def _value(value: object) -> str:
    return trimmed(value) if isinstance(value, float) else visible(str(value))


def trimmed(value: float) -> str:
    """At most two decimals, the same on every machine: 12.5, 3, 0.33."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def drawing(key: str, width: float, height: float, *, title: str, desc: str, body: Iterable[Markup]) -> Markup:
    """A whole chart as an image with a name and a description for those who cannot see it."""
    attributes: dict[str, object] = {
        "xmlns": "http://www.w3.org/2000/svg",
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-desc",
        "class": "chart",
        "viewBox": f"0 0 {trimmed(width)} {trimmed(height)}",
        "width": float(width),
        "height": float(height),
        "font-family": FONT,
        "font-size": "13",
    }
    title_tag = element("title", {"id": f"{key}-title"}, visible(title))
    desc_tag = element("desc", {"id": f"{key}-desc"}, visible(desc))
    return element("svg", attributes, title_tag, desc_tag, *body)


def text(x: float, y: float, content: str, *, anchor: Anchor = "start", colour: str = "ink", **more: object) -> Markup:
    """One line of text with its baseline at y."""
    attributes: dict[str, object] = {"x": float(x), "y": float(y), "class": f"f-{colour}", "fill": COLOURS[colour]}
    if anchor != "start":
        attributes["text-anchor"] = anchor
    attributes |= {key.replace("_", "-"): value for key, value in more.items()}
    return element("text", attributes, visible(content))


def line(start: Point, end: Point, colour: str, *, width: float = 1, dash: str = "") -> Markup:
    """A straight line."""
    attributes: dict[str, object] = {
        "x1": float(start[0]),
        "y1": float(start[1]),
        "x2": float(end[0]),
        "y2": float(end[1]),
        "class": f"l-{colour}",
        "stroke": COLOURS[colour],
        "stroke-width": float(width),
    }
    if dash:
        attributes["stroke-dasharray"] = dash
    return element("line", attributes)


def rect(x: float, y: float, width: float, height: float, colour: str) -> Markup:
    """A filled rectangle."""
    attributes: dict[str, object] = {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}
    return element("rect", attributes | {"class": f"f-{colour}", "fill": COLOURS[colour]})


def marker(kind: int, x: float, y: float, colour: str, *, size: float = 4.5, hollow: bool = False) -> Markup:
    """A point whose shape tells its series apart without colour: circle, square, triangle, diamond, cross, bar."""
    s = size
    shapes: tuple[Sequence[tuple[float, float]], ...] = (
        (),
        ((-s, -s), (s, -s), (s, s), (-s, s)),
        ((0, -s * 1.2), (s * 1.15, s * 0.9), (-s * 1.15, s * 0.9)),
        ((0, -s * 1.35), (s * 1.35, 0), (0, s * 1.35), (-s * 1.35, 0)),
        ((-s * 1.15, -s * 0.9), (s * 1.15, -s * 0.9), (0, s * 1.2)),
        ((-s * 0.4, -s * 1.4), (s * 0.4, -s * 1.4), (s * 0.4, s * 1.4), (-s * 0.4, s * 1.4)),
    )
    paint: dict[str, object] = {"class": f"f-{colour}", "fill": COLOURS[colour]}
    if hollow:
        paint = {
            "class": f"f-paper l-{colour}",
            "fill": COLOURS["paper"],
            "stroke": COLOURS[colour],
            "stroke-width": 2.0,
        }
    points = shapes[kind % len(shapes)]
    if not points:
        return element("circle", {"cx": float(x), "cy": float(y), "r": float(s)} | paint)
    told = " ".join(f"{trimmed(x + dx)},{trimmed(y + dy)}" for dx, dy in points)
    return element("polygon", {"points": told} | paint)


def text_width(content: str, size: float = 13) -> float:
    """A generous estimate in user units, since the reader's font is not known."""
    return sum(1.05 if unicodedata.east_asian_width(c) in "WF" else 0.54 for c in content) * size


def wrap(content: str, width: float, *, size: float = 13, lines: int = 2) -> tuple[str, ...]:
    """`content` in at most `lines` lines of `width`; the rest is cut with an ellipsis."""
    done: list[str] = []
    current = ""
    for word in visible(content).split():
        joined = f"{current} {word}".strip()
        if text_width(joined, size) <= width:
            current = joined
            continue
        if current:
            done.append(current)
        current = _cut(word, width, size)
        if len(done) == lines:
            return (*done[:-1], _cut(f"{done[-1]} …", width, size))
    if current:
        done.append(current)
    if len(done) > lines:
        return (*done[: lines - 1], _cut(f"{done[lines - 1]} …", width, size))
    return tuple(done)


def _cut(content: str, width: float, size: float) -> str:
    if text_width(content, size) <= width:
        return content
    kept = content.rstrip(" …")[: max(1, math.ceil(width / (0.5 * size)))]
    while len(kept) > 1 and text_width(f"{kept}…", size) > width:
        kept = kept[:-1]
    return f"{kept}…"


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> tuple[float, ...]:
    """At most `most` round values from `low` to `high`; only whole numbers if `whole`."""
    span = high - low
    if span <= 0:
        return (low,)
    magnitude = 10.0 ** math.floor(math.log10(span))
    steps = (m * magnitude * scale for scale in (0.1, 1.0) for m in (1, 2, 2.5, 5, 10))
    if whole:
        steps = (s for s in (1.0, 2.0, *steps, span) if s >= 1 and float(s).is_integer())
    step = next((s for s in steps if math.floor(high / s + 1e-9) - math.ceil(low / s - 1e-9) < most), span)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) for i in range(first, last + 1))


def aligned(values: Sequence[float]) -> tuple[str, ...]:
    """Labels of ticks, all with the decimals that the finest of them needs: 0.5, 0.6, … 1.0."""
    places = max((len(f"{v:.6f}".rstrip("0").partition(".")[2]) for v in values), default=0)
    return tuple(f"{v:.{places}f}".replace("-", "\u2212") for v in values)
