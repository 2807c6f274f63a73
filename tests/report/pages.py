"""What the report's tests share: records to render, and a small reader of HTML that keeps structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from typing import Any

from auditor.findings.record import AuditRecord
from auditor.report import html
from tests.runfolder import sample_record

VOID = {"meta", "br", "hr", "img", "input", "link"}


@dataclass
class Node:
    """An element of a page."""

    tag: str
    attrs: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list)

    def all(self, tag: str = "", **attrs: str) -> Iterator[Node]:
        """Every element below this one, in order; `class_` asks for one class among several."""
        for child in self.children:
            if isinstance(child, Node):
                if (not tag or child.tag == tag) and child.has(**attrs):
                    yield child
                yield from child.all(tag, **attrs)

    def one(self, tag: str = "", **attrs: str) -> Node:
        found = list(self.all(tag, **attrs))
        assert len(found) == 1, f"{len(found)} of {tag} {attrs}"
        return found[0]

    def has(self, **attrs: str) -> bool:
        return all(
            value in (self.attrs.get("class") or "").split() if key == "class_" else self.attrs.get(key) == value
            for key, value in attrs.items()
        )

    @property
    def text(self) -> str:
        """All text below, blanks run together."""
        return " ".join("".join(self.pieces()).split())

    def pieces(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in ("style", "title", "desc"):
                yield from child.pieces()
                if child.tag not in ("span", "a", "code", "strong", "em", "bdi", "tspan"):
                    yield " "


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(page: str) -> Node:
    """The elements of a page; fails where one is not closed in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root], "an element is left open"
    return reader.root


@cache
def record(redaction: Any = "full") -> AuditRecord:
    """A whole audit with findings of every status but two, charts, instruments and samples."""
    return sample_record(redaction=redaction)


def changed(base: AuditRecord | None = None, **fields: Any) -> AuditRecord:
    """A record with other top-level fields, validated again."""
    return AuditRecord.model_validate((base or record()).model_dump() | fields)


@cache
def page() -> Node:
    """The rendered sample."""
    return read(html.render(record()))
