"""JSON from a hostile folder: one reading, bounded, or refused. Nothing here knows what the keys mean."""

from __future__ import annotations

import json
import math
from typing import Any

from auditor.errors import UnsafeCheckpoint

MAX_DEPTH = 48
"""nested levels; real configurations have fewer than ten"""
MAX_INTEGER = 2**128
"""tokenizers write 10**30 for no limit"""


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """Decode a JSON object that every reader would understand alike.

    Refused are duplicate keys (readers differ on which one counts), NaN, integers beyond 128
    bits, text that is not UTF-8, and deep nesting. Raises UnsafeCheckpoint that names `where`.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise UnsafeCheckpoint(f"{where}: is not UTF-8 text") from None
    except RecursionError:
        raise UnsafeCheckpoint(f"{where}: is nested too deeply") from None
    except ValueError as error:
        raise UnsafeCheckpoint(f"{where}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise UnsafeCheckpoint(f"{where}: holds a {type(value).__name__}, not an object")
    _check_values(value, where)
    return value


def quoted(text: object) -> str:
    """A string from the folder as one short visible line: controls and direction marks become escapes."""
    shown = ascii(text)
    return shown if len(shown) <= 80 else shown[:76] + "...'"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {quoted(key)} occurs twice")
            seen.add(key)
    return found


def _constant(name: str) -> dict[str, str]:
    """Infinity, as limits of some released models say it, in the spelling that transformers itself writes."""
    if name == "NaN":
        raise ValueError(f"{name} is not JSON")
    return {"__float__": name}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _check_values(value: Any, where: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        for item in level:
            _check_scalar(item, where)
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return
    raise UnsafeCheckpoint(f"{where}: is nested more than {MAX_DEPTH} levels deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_scalar(value: Any, where: str) -> None:
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        raise UnsafeCheckpoint(f"{where}: holds an integer beyond 128 bits")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UnsafeCheckpoint(f"{where}: holds text that is not Unicode ({quoted(value)})") from None
