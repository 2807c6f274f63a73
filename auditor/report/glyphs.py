"""Which characters cannot be drawn here: neither the fonts of the report nor those of the machine have them.

Asked before a PDF is made, since WeasyPrint draws a blank box for each and PDF/A forbids that.
"""

from __future__ import annotations

import io
import logging
from functools import cache
from typing import Any
from unicodedata import category

from auditor.report import html
from auditor.report.text import BREAK

_NO_GLYPH = ".notdef glyph"
"""how WeasyPrint's remark on a character without a glyph begins; the last of its arguments is the character's code"""

_NOT_DRAWN = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")
"""controls, joiners, blanks: Unicode's general categories"""


class _Remarks(logging.Handler):
    """The characters that WeasyPrint has no glyph for, as it says while it draws."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the character of a remark on a missing glyph."""
        if str(record.msg).startswith(_NO_GLYPH) and isinstance(record.args, tuple):
            self.found.add(chr(int(str(record.args[-1]))))


def undrawable(weasyprint: Any, text: str) -> str:
    """The characters of `text` that would be blank boxes, each once, in the order of their codes."""
    exotic = sorted(c for c in {*text} - _carried() if category(c) not in _NOT_DRAWN)
    if not exotic:
        return ""
    logger, remarks = logging.getLogger("weasyprint"), _Remarks()
    before = logger.level, logger.propagate
    logger.addHandler(remarks)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        weasyprint.HTML(string=f"<style>{html.stylesheet()}</style><p>{' '.join(exotic)}</p>").write_pdf()
    finally:
        logger.removeHandler(remarks)
        logger.setLevel(before[0])
        logger.propagate = before[1]
    return "".join(sorted(remarks.found))


def written_out(page: str, characters: str) -> str:
    """`page` with these characters as their codes, such as ⟨U+6F22⟩, and a place to break after each."""
    return page.translate({ord(c): f"⟨U+{ord(c):04X}⟩{BREAK}" for c in characters})


@cache
def _carried() -> frozenset[str]:
    """The characters of the fonts that every report carries."""
    from fontTools.ttLib import TTFont  # which WeasyPrint brings

    return frozenset(chr(code) for face in html.fonts() for code in TTFont(io.BytesIO(face), lazy=True).getBestCmap())
