"""What charts of several series share: where the data lie, and the names of the series with their line and marker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditor.report import svg
from auditor.report.text import DASH, words

DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")


@dataclass(frozen=True)
class Frame:
    """Where the data lie in a drawing, in user units and in data units."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Where a value lies across, in user units."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low or 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value lies up, in user units."""
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low or 1.0) * (self.bottom - self.top)


def legend(names: Sequence[str], width: float) -> tuple[list[Markup], float]:
    """The names of series with their line and marker, in as many rows as they need; and the height of these."""
    parts: list[Markup] = []
    x, y = 0.0, 12.0
    for i, one in enumerate(names):
        name = svg.wrap(words(one), width - 40, lines=1)[0] if one.strip() else DASH
        needed = 34 + svg.text_width(name) + 14
        if x and x + needed > width:
            x, y = 0.0, y + 20
        tone = series_colour(i)
        parts.append(svg.line((x, y - 4), (x + 26, y - 4), tone, width=2, dash=DASHES[i % len(DASHES)]))
        parts.append(svg.marker(i, x + 13, y - 4, tone))
        parts.append(svg.text(x + 34, y, name))
        x += needed
    return parts, y + 12


def curve(points: Iterable[tuple[float, float]], i: int) -> Markup:
    """The line of a series through points in user units."""
    colour, dash = series_colour(i), DASHES[i % len(DASHES)]
    attributes: dict[str, object] = {
        "points": " ".join(f"{svg.trimmed(x)},{svg.trimmed(y)}" for x, y in points),
        "class": f"l-{colour}",
        "fill": "none",
        "stroke": svg.COLOURS[colour],
        "stroke-width": 2.0,
    }
    return svg.element("polyline", attributes | ({"stroke-dasharray": dash} if dash else {}))


def series_colour(i: int) -> str:
    """Name of the colour of a series."""
    return f"s{i % svg.SERIES}"
