"""Text that others wrote, made harmless to look at: hidden characters shown, long text cut, links allow-listed.

`finalize` runs on everything a template prints, so no field of a record can be forgotten.
"""

from __future__ import annotations

import re

from markupsafe import Markup

DASH = "–"
BREAK = "\u200b"
"""a place where a line may end"""
_NAMES = {0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL", 0xAD: "SHY", 0xFEFF: "BOM"}
# C0 (but tab and line feed), DEL, C1, soft hyphen, bidi controls, invisible spaces and operators, line
# separators, interlinear anchors, surrogates, noncharacters, tag characters. Zero-width (non-)joiners stay:
# emoji and Persian are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)
_UNBROKEN = re.compile(r"\S{200,}")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5}(?:v\d+)?)")
_HTTPS = re.compile(r"https://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:/[A-Za-z0-9._~%/#=&?+-]*)?")


def visible(text: str) -> str:
    """`text` with every character that hides or reorders others written out, such as ⟨ESC⟩ or ⟨U+202E⟩."""
    return _HIDDEN.sub(_written_out, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`text` as one line of a terminal or a log: no hidden character, no break, nothing a CI service obeys.

    A line that starts with `::` after blanks, or holds `##[`, is a command to the runner of GitHub Actions; a table
    may break a line anywhere.
    """
    joined = " ".join(visible(text).split()).replace("##[", "# #[")
    return re.sub(":(?=:)", ": ", joined)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"⟨{_NAMES.get(code, f'U+{code:04X}')}⟩"


def finalize(value: object) -> object:
    """What a template prints instead of `value`: hidden characters shown, unknown as a dash."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Markup):
        return Markup(visible(str(value)))
    return visible(str(value))


def breakable(value: object) -> object:
    """`finalize` for paper, with places to break in long unbroken text.

    Without them WeasyPrint lays out all that is left of such a text for every line of it, which takes time that
    grows with its square.
    """
    if isinstance(value, Markup):
        # A part of the page that was printed before: what stands between its places to break is still made visible.
        return Markup(BREAK.join(visible(part) for part in str(value).split(BREAK)))
    printed = finalize(value)
    if isinstance(printed, Markup) or not isinstance(printed, str):
        return printed
    return _UNBROKEN.sub(lambda run: BREAK.join(re.findall(".{1,80}", run.group())), printed)


def short(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, cut in the middle so that both ends can be recognised."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail - 1]}…{text[len(text) - tail :]}"


def tied(sentence: str) -> str:
    """`sentence` with numbers tied to their unit, so that no line ends between them, and with true minus signs."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", re.sub(r"(?<=\d) (?=%|points\b)", "\u00a0", sentence))


def words(name: str) -> str:
    """An identifier as words: `over_refusal_rate` becomes "over refusal rate"."""
    return name.replace("_", " ")


def linked(source: str) -> tuple[tuple[str, str | None], ...]:
    """`source` in pieces (text, address); only arXiv ids and plain https addresses get one."""
    pieces: list[tuple[str, str | None]] = []
    for piece in re.split(r"(\s+)", source):
        bare = piece.rstrip(".,;")
        if found := _ARXIV.fullmatch(bare):
            pieces.append((piece, f"https://arxiv.org/abs/{found[1]}"))
        else:
            pieces.append((piece, bare if _HTTPS.fullmatch(bare) else None))
    return tuple(pieces)


def capital(phrase: str) -> str:
    """`phrase` with its first letter as a capital, unless it starts with an identifier; the others stay."""
    return phrase if "_" in phrase.split(" ", 1)[0] else phrase[:1].upper() + phrase[1:]


def full_stop(phrase: str) -> str:
    """`phrase` as a sentence: a capital first, a full stop last."""
    told = capital(phrase.strip())
    return told if not told or told.endswith((".", "!", "?")) else f"{told}."
