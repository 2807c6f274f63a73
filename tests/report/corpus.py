"""Strings that a checkpoint, a plugin or an operator could bring into a report, and a record full of them."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from auditor.config import AuditCard
from auditor.findings.record import AuditRecord
from tests.report.pages import record

HOSTILE = (
    "<script>alert(1)</script>",
    "</style><script>alert(2)</script><style>",
    "javascript:alert(3)",
    'https://evil.example/"><img src=x onerror=alert(4)>',
    "\x1b[31mred\x1b[0m\x07",
    "a\u202egpj.exe\u2066x\u2069\u200f",
    "漢字かな交じり文の長い文章テキスト",
    "👩\u200d💻🔥🇪🇺",
    "مرحبا بالعالم שלום",
    "{{ 7*7 }}{% raw %}",
    "</title></svg><script>alert(5)</script>",
    "&lt;b&gt;&#60;",
    "\x00\x01\x7f\x85\u2028\ufeff\U000e0041",
    '" onmouseover="alert(6)',
    "a\n::error file=x::injected\r\n::set-output name=y::z",
    "%0A::warning::percent]]>",
    '=HYPERLINK("http://evil.example") | [click](http://evil.example) ![x](http://evil.example/p.png) {0}',
    "x" * 300,
)
LONG = "x" * 20_000
_TEXTS = {
    "answer", "because", "caption", "column_label", "columns", "dataset", "device", "distribution", "dtype",
    "dtype_reason", "id", "instrument", "limits", "machine", "model_type", "named",
    "not_applicable", "note", "notes", "of",
    "path", "plain", "prompt", "question", "reason", "revision", "row_label", "rows", "scope", "source", "texts",
    "title", "verdict_reasons", "version", "would_change", "x_label", "y_label",
}  # fmt: skip
_MAPPINGS = {"at", "card", "facts", "provenance", "versions"}


def hostile_record(base: AuditRecord | None = None) -> AuditRecord:
    """`base`, or the sample, with every free text made hostile; a name and an answer of 20,000 unbroken characters."""
    strings = cycle(HOSTILE)

    def spoil(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            if key in _MAPPINGS:
                return {f"{name} {next(strings)}": spoil(v, "note") for name, v in value.items()}
            return {name: spoil(v, name) for name, v in value.items()}
        if isinstance(value, list):
            return [spoil(v, key) for v in value]
        return f"{next(strings)} {value}" if isinstance(value, str) and key in _TEXTS else value

    clean = (base or record()).model_dump(mode="json")
    dirty: dict[str, Any] = spoil(clean, "") | {"config": clean["config"]}
    dirty["checkpoint"]["name"] = f"<script>alert(7)</script>{LONG}"
    dirty["results"][0]["samples"][0]["answer"] = LONG
    said = dict(zip(AuditCard.model_fields, HOSTILE, strict=False))
    dirty["config"] = clean["config"] | {"audit_card": said}
    return AuditRecord.model_validate(dirty)
