"""Bytes that mean one value: canonical JSON and hashes. No files but those it hashes."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any


def canonical_json(value: object) -> bytes:
    """Encode a value so that equal values give equal bytes: sorted keys, no spaces, UTF-8.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot hold.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _utf8(text)


def readable_json(value: object) -> bytes:
    """As `canonical_json`, but laid out for a person: one line a value, and a newline at the end."""
    return _utf8(json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def parse_json(data: bytes) -> Any:
    """Decode JSON. Raises ValueError when it is broken or holds NaN or infinity, which JSON does not have."""
    return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)


def sha256_hex(data: bytes) -> str:
    """Lower-case hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Lower-case hex digest of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _utf8(text: str) -> bytes:
    # a lone surrogate cannot be UTF-8; inside a JSON string its backslash form means the same
    return text.encode("utf-8", "backslashreplace")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
