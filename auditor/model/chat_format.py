"""ChatFormat: what a tokenizer does with a conversation, found by trying it. No torch, no model.

A template may add a system text, a date or a thinking block by itself; each is found here, dates and thinking are
fixed, and all of it goes on record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from os.path import commonprefix
from typing import Any, Literal

import jinja2

from auditor.config import Scalar
from auditor.errors import UnsupportedModel

Thinking = Literal["none", "switched off", "always on"]
FROZEN_DATE = date(2026, 1, 1)
"""the day every template is told it is, so that the same audit renders the same prompts"""
FRAME = "Question: {user}\nAnswer:"
"""what a user's text is put into when the tokenizer has no chat template"""

_DIRECTIVES = ["%Y", "%y", "%m", "%d", "%b", "%B", "%a", "%A", "%j"]
_DATES = {code: FROZEN_DATE.strftime(code) for code in _DIRECTIVES} | {
    **{"%-d": "1", "%-m": "1", "%e": " 1", "%F": FROZEN_DATE.isoformat()},
    **{"%H": "00", "%I": "12", "%M": "00", "%S": "00", "%p": "AM"},
}
# The library passes only plain data to a template, so a stopped clock has to be written as template code.
_CLOCK = (
    "{%- macro strftime_now(format='%Y-%m-%d') -%}{{ format"
    + "".join(f".replace({code!r}, {text!r})" for code, text in _DATES.items())
    + " }}{%- endmacro -%}"
)
_USER, _SYSTEM = "USERTEXT", "SYSTEMTEXT"
_ENDINGS = ("a", "Z", "7", ".", "?")
"""of user texts: what their renderings nevertheless end with alike comes from the template"""
_REFUSALS = (jinja2.TemplateError, TypeError, ValueError, KeyError, ArithmeticError)
"""what a template raises for a conversation that it does not accept"""


@dataclass(frozen=True)
class ChatFormat:
    """How a user's text becomes the tokens of a prompt."""

    template: str | None
    """chat template with a fixed clock; None: the user's text is framed as question and answer"""
    options: Mapping[str, Scalar]
    """what the template is told beside the messages"""
    has_system_role: bool
    injected_system: str | None
    """system text that the template adds by itself when none is given"""
    thinking: Thinking
    before_user: str
    """everything the template writes before a lone user's text, dates included"""
    special_prefix: tuple[int, ...]
    """tokens that the tokenizer puts before raw text, such as BOS"""
    suffix: tuple[int, ...]
    """tokens that always follow the user's text: the template's post-instruction tokens"""

    @property
    def facts(self) -> dict[str, Scalar]:
        """What belongs on record."""
        framed = None if self.template else FRAME
        dated = "date_string" in self.options or (self.template or "").startswith(_CLOCK)
        return {
            "chat_template": self.template is not None,
            "framed_as": framed,
            "system_role": self.has_system_role,
            "injected_system": self.injected_system,
            "before_user_text": self.before_user,
            "tokens_after_user_text": len(self.suffix),
            "thinking": self.thinking,
            "date_given_to_template": FROZEN_DATE.isoformat() if dated else None,
        }


def chat_text(tokenizer: Any, chat: ChatFormat, user: str, system: str | None = None) -> str:
    """The text of a prompt up to where the answer starts. `system` needs a system role."""
    if chat.template is None:
        return FRAME.format(user=user)
    return _applied(tokenizer, chat.template, chat.options, _messages(user, system))


def plain_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Tokens of a text as it stands; special tokens written in it are recognised, none is added."""
    return tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def detect_format(tokenizer: Any) -> ChatFormat:
    """Find out how this tokenizer renders conversations.

    Raises:
        UnsupportedModel: it has a chat template that cannot render, or loses, a single user's text.
    """
    prefix = _special_prefix(tokenizer)
    if getattr(tokenizer, "chat_template", None) is None:
        before = FRAME.partition("{user}")[0]
        suffix = _suffix(tokenizer, lambda user: FRAME.format(user=user))
        return ChatFormat(None, {}, False, None, "none", before, prefix, suffix)
    template, options, thinking = _settled(tokenizer.get_chat_template())

    def render(user: str, system: str | None = None) -> str:
        return _applied(tokenizer, template, options, _messages(user, system))

    try:
        lone = render(_USER)
    except _REFUSALS as error:
        raise UnsupportedModel(f"the chat template cannot render a user's text: {error}") from error
    if _USER not in lone:
        raise UnsupportedModel("the chat template loses the user's text")
    has_system, injected = _system(render, lone)
    if thinking == "none" and "<think>" in lone.rpartition(_USER)[2]:
        thinking = "always on"
    before = lone.partition(_USER)[0]
    suffix = _suffix(tokenizer, render)
    return ChatFormat(template, options, has_system, injected, thinking, before, prefix, suffix)


def _messages(user: str, system: str | None) -> list[dict[str, str]]:
    given = [] if system is None else [{"role": "system", "content": system}]
    return [*given, {"role": "user", "content": user}]


def _applied(tokenizer: Any, template: str, options: Mapping[str, Scalar], messages: list[dict[str, str]]) -> str:
    text: str = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=True, **options
    )
    return text


def _settled(source: str) -> tuple[str, dict[str, Scalar], Thinking]:
    """The template with its clock stopped, what it is told, and whether thinking could be switched off."""
    options: dict[str, Scalar] = {}
    thinking: Thinking = "none"
    if "enable_thinking" in source:
        options["enable_thinking"], thinking = False, "switched off"
    if "date_string" in source:
        options["date_string"] = FROZEN_DATE.strftime("%d %b %Y")
    return (_CLOCK + source if "strftime_now" in source else source), options, thinking


def _system(render: Callable[..., str], lone: str) -> tuple[bool, str | None]:
    """Whether a system message is rendered, and the text that stands in its place when none is given."""
    try:
        given = render(_USER, _SYSTEM)
    except _REFUSALS:
        return False, None
    before, found, after = given.partition(_SYSTEM)
    if not found:
        return False, None
    if not (lone.startswith(before) and lone.endswith(after) and len(lone) > len(before) + len(after)):
        return True, None
    return True, lone[len(before) : len(lone) - len(after)]


def _special_prefix(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer puts before ordinary text. What some put behind it (EOS) would end the prompt: left out."""
    plain = plain_ids(tokenizer, _USER)
    full = tuple(tokenizer(_USER, verbose=False)["input_ids"])
    starts = [i for i in range(len(full) - len(plain) + 1) if full[i : i + len(plain)] == plain]
    return full[: starts[0]] if starts else ()


def _suffix(tokenizer: Any, render: Callable[[str], str]) -> tuple[int, ...]:
    """Tokens with which every rendering ends, whatever the user's text ends with."""
    backwards = [plain_ids(tokenizer, render(f"Say {ending}"))[::-1] for ending in _ENDINGS]
    return tuple(commonprefix(backwards))[::-1]
