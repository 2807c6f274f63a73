"""Files that people write: strict YAML in, errors in plain words out. Knows no config key; no torch."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from auditor.errors import ConfigError

MAX_BYTES = 1_000_000


class Strict(BaseModel):
    """Frozen, refuses keys it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _StrictLoader(yaml.SafeLoader):
    """Plain data only: no key twice, no anchors or aliases (which can grow without bound)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise yaml.constructor.ConstructorError(
                None, None, "anchors and aliases are not allowed here", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises ConfigError for a missing, empty, too large or broken file, and for one that is not a mapping.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    if not path.is_file():
        raise ConfigError(f"{path}: not a file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes, so it is not a config file")
    try:
        value = yaml.load(path.read_bytes(), Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{path}: {place}{error.problem or error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML ({error})") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if value is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds {_kind(value)}; a mapping of keys to values is needed")
    return value


def suggestion(name: object, known: Iterable[str]) -> str:
    """The nearest known name as "; did you mean 'x'?", or else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def in_plain_words(error: ValidationError, model: type[BaseModel], source: str) -> ConfigError:
    """What pydantic found, one line each: the file, the dotted path, what is wrong and the way out."""
    lines = []
    for detail in error.errors():
        place = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        lines.append(": ".join(part for part in (source, place, _problem(detail, model)) if part))
    return ConfigError("\n".join(dict.fromkeys(lines)))


_NEEDED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + suggestion(detail["loc"][-1], _keys_at(model, detail["loc"][:-1]))
    if kind == "missing":
        return "this key is needed"
    if kind == "invalid_key" or detail["loc"][-1:] == ("[key]",):
        return f"the key {given!r} is not text; put it in quotes"
    if kind == "literal_error":
        return f"{given!r} is not one of {context['expected']}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind in _NEEDED:
        return f"must be {_NEEDED[kind]}, not {_kind(given)}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"must be {message}" if detail["msg"].startswith("Input should be ") else message


def _keys_at(model: Any, path: Sequence[str | int]) -> tuple[str, ...]:
    """Keys that a model knows at a path inside it."""
    here = model
    for part in path:
        here = _plain_type(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
        elif get_origin(here) is dict:
            here = get_args(here)[1]
        elif get_origin(here) in (tuple, list):
            here = get_args(here)[0]
    here = _plain_type(here)
    return tuple(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else ()


def _plain_type(annotation: Any) -> Any:
    """X of `X | None`; anything else as it is."""
    chosen = [part for part in get_args(annotation) if part is not NoneType]
    optional = NoneType in get_args(annotation) and len(chosen) == 1
    return chosen[0] if optional else annotation


def _kind(value: object) -> str:
    """A value as a reader of YAML would name it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return f"the text {value!r}"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
