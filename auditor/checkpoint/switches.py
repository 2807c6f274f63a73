"""Keys that ask for code from outside the library, in any JSON file. Refuses; never repairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auditor.checkpoint.strict_json import quoted
from auditor.errors import UnsafeCheckpoint

CODE_SWITCHES = ("trust_remote_code", "kernels", "use_kernels", "kernel_config", "custom_generate")
IMPLEMENTATIONS = frozenset(
    [
        "eager",
        "sdpa",
        "flash_attention_2",
        "flash_attention_3",
        "flash_attention_4",
        "flex_attention",
        "torch",
        "triton",
        "flash",
        "grouped_mm",
        "batched_mm",
    ]
)
"""of attention and expert layers inside the library; any other name, with a slash above all, is code to fetch
"""
LABELS = ("id2label", "label2id", "task_specific_params")
"""below these keys stands free text"""


def refuse_code(raw: dict[str, Any], where: str) -> None:
    """Raise UnsafeCheckpoint when a key at any depth of a decoded file asks for foreign code."""
    for place, tree in objects(raw, where):
        for key, value in tree.items():
            if key in CODE_SWITCHES and value:
                raise UnsafeCheckpoint(f"{place}: {key} asks for code from outside the library; remove the key")
            if "implementation" in key or "attn_impl" in key:
                _refuse_foreign(value, f"{place}: {quoted(key)}")


def objects(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a tree with the place to name, the outermost first; labels are not entered."""
    pending: list[tuple[str, Any]] = [(where, value)]
    while pending:
        place, item = pending.pop()
        if isinstance(item, dict):
            yield place, item
            pending += [(f"{place}: {quoted(key)}", inner) for key, inner in item.items() if key not in LABELS]
        elif isinstance(item, list):
            pending += [(place, inner) for inner in item if isinstance(inner, dict | list)]


def _refuse_foreign(value: Any, where: str) -> None:
    """One name, or one for each part of the model."""
    for name in value.values() if isinstance(value, dict) else [value]:
        if not (name is None or isinstance(name, bool) or (isinstance(name, str) and name in IMPLEMENTATIONS)):
            raise UnsafeCheckpoint(f"{where} names {quoted(name)}, which the library does not have; remove the key")
