"""The chat template: which one counts, and does its syntax stay inside the sandbox? Parsed, never rendered.

The library renders templates in an immutable sandbox of jinja2. What that sandbox would stop at run time is
refused here already, because a template that tries is hostile; what it allows (long loops) is for the limits
of the process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from auditor.checkpoint.files import KEPT, ReadFile
from auditor.checkpoint.strict_json import quoted
from auditor.errors import UnsafeCheckpoint

TEMPLATE = "chat_template.jinja"
INTERNAL = re.compile(
    r"__(class|mro|bases?|subclasses|globals|builtins|init\w*|import|dict|getattr\w*|getitem|call|code|func|self"
    r"|module|reduce\w*|new|closure|loader|spec|file|doc|enter|exit)__"
)
"""names by which a template climbs out of its sandbox; other words in underscores are tokens of some
vocabularies
"""


def find_template(files: Mapping[str, ReadFile], tokenizer_config: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The template that the library would use by default, with notes; None without one.

    A file of its own outranks tokenizer_config.json. Every template found is checked. Raises
    UnsafeCheckpoint.
    """
    named = _in_config(tokenizer_config.get("chat_template"))
    for name, text in named.items():
        check_template(text, f"tokenizer_config.json: chat template {quoted(name)}")
    notes = []
    if others := sorted(set(named) - {"default"}):
        notes.append(f"further chat templates are not used: {', '.join(quoted(name) for name in others)}")
    if TEMPLATE not in files:
        return named.get("default"), notes
    try:
        text = files[TEMPLATE].kept.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeCheckpoint(f"{TEMPLATE}: is not UTF-8 text") from None
    check_template(text, TEMPLATE)
    if named.get("default", text) != text:
        notes.append(f"{TEMPLATE} and tokenizer_config.json hold different chat templates; the former is used")
    return text, notes


def check_template(text: str, where: str) -> None:
    """Raise UnsafeCheckpoint when a template is too long, does not parse, or reaches for internals."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.parser import Parser

    if len(text.encode("utf-8")) > KEPT[TEMPLATE]:
        raise UnsafeCheckpoint(f"{where}: is longer than {KEPT[TEMPLATE]:,} bytes")
    try:
        tree = Parser(_environment(), text).parse()
        for node in tree.find_all(nodes.Node):
            if fault := _fault(node):
                raise UnsafeCheckpoint(f"{where}: line {node.lineno} {fault}, which no chat template needs")
    except TemplateError as error:
        raise UnsafeCheckpoint(f"{where}: is not a valid template ({quoted(error.message or '')})") from None
    except RecursionError:
        raise UnsafeCheckpoint(f"{where}: is nested too deeply") from None


def _in_config(value: Any) -> dict[str, str]:
    """Templates of tokenizer_config.json by name: a text, or a list of named ones."""
    if value is None:
        return {}
    entries = [{"name": "default", "template": value}] if isinstance(value, str) else value
    try:
        named = {entry["name"]: entry["template"] for entry in entries}
    except (TypeError, KeyError):
        named = {"": None}
    if not all(isinstance(text, str) and isinstance(name, str) for name, text in named.items()):
        raise UnsafeCheckpoint("tokenizer_config.json: chat_template is neither a text nor a list of named texts")
    return named


def _environment() -> Any:
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The library's own block, which marks what the assistant wrote."""

        tags = {"generation"}  # noqa: RUF012, jinja's own declaration

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )


def _fault(node: Any) -> str | None:
    """What is wrong with one node of the syntax tree, if anything."""
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return f"reads the internal attribute {quoted(node.attr)}"
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and INTERNAL.search(node.value):
        return f"spells the internal name {quoted(node.value)}"
    if isinstance(node, nodes.Name) and INTERNAL.search(node.name):
        return f"spells the internal name {quoted(node.name)}"
    if isinstance(node, nodes.Filter) and node.name in ("attr", "map") and _names_attribute(node):
        return "reads an attribute by a name that is computed or internal"
    if isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
        return "loads another template"
    return None


def _names_attribute(node: Any) -> bool:
    """Whether `attr`, or `map` with attr or attribute=, could name an internal attribute."""
    from jinja2 import nodes

    if node.name == "attr" or any(isinstance(arg, nodes.Const) and arg.value == "attr" for arg in node.args):
        return True
    named = [pair.value for pair in node.kwargs if pair.key == "attribute"]
    return any(not isinstance(value, nodes.Const) or str(value.value).startswith("_") for value in named)
