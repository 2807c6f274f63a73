"""One record as one self-contained HTML page: no script, no request, every field of the record escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from auditor.findings import wording
from auditor.findings.outcome import GateOutcome
from auditor.findings.record import AuditRecord
from auditor.report import charts, details, gaps, numbers, profile, strips, text, view, words

_FONTS = (
    ("Auditor Sans", 400, "AuditorSans-Regular.woff2"),
    ("Auditor Sans", 600, "AuditorSans-Semibold.woff2"),
    ("Auditor Mono", 400, "AuditorMono-Regular.woff2"),
    ("Auditor Symbols", 400, "AuditorSymbols-Regular.woff2"),
)


def render(record: AuditRecord, outcome: GateOutcome | None = None) -> str:
    """The report of `record` as one HTML file, with what a gate decided: the same input gives the same text."""
    return markup(record, "html", outcome)


def markup(
    record: AuditRecord, medium: view.Medium, outcome: GateOutcome | None = None, *, undrawable: str = ""
) -> str:
    """The page structure that both the HTML file and the PDF are made of.

    `undrawable`: characters that are written out because no font here has them.
    """
    return filled("report.html.j2", view.page(record, medium, outcome, undrawable=undrawable), medium)


def filled(template: str, page: object, medium: view.Medium = "html") -> str:
    """A page template with its stylesheet inside and the hash by which its policy admits no other."""
    style = stylesheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # The stylesheet is a file of this package, not a word of it comes from a record.
    return _environment(medium).get_template(template).render(page=page, style=Markup(style), style_hash=digest)


@cache
def stylesheet() -> str:
    """The stylesheet with its fonts inside, so that a report needs no other file."""
    faces = [
        f'@font-face{{font-family:"{family}";font-weight:{weight};font-display:block;'
        f'src:url("data:font/woff2;base64,{base64.b64encode(_resource("fonts", name)).decode()}") format("woff2")}}'
        for family, weight, name in _FONTS
    ]
    return "\n".join([*faces, _resource("style.css").decode("utf-8")])


def fonts() -> tuple[bytes, ...]:
    """The font files that every report carries."""
    return tuple(_resource("fonts", name) for _, _, name in _FONTS)


@cache
def _environment(medium: view.Medium) -> Environment:
    env = Environment(
        loader=FunctionLoader(lambda name: _resource(name).decode("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.breakable if medium == "pdf" else text.finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(charts=charts, details=details, gaps=gaps, numbers=numbers, profile=profile)
    env.globals.update(strips=strips, text=text, view=view, wording=wording, words=words)
    return env


def _resource(*path: str) -> bytes:
    return files("report_templates").joinpath(*path).read_bytes()
