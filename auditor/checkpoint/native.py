"""What the installed transformers library knows, read from its source text.

Importing its model mapping or a configuration class starts torch and takes seconds; the same facts stand in
the source as literals. Nothing of the library is executed here.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from auditor.errors import ConfigError

READS_KWARGS = ("pop", "get", "setdefault")


@cache
def causal_models() -> dict[str, str]:
    """Model type to the class that the library loads for causal language modelling.

    Raises ConfigError when the library is missing or laid out in a way that is not known here.
    """
    text = (_models() / "auto" / "modeling_auto.py").read_text(encoding="utf-8")
    found = re.search(
        r"^MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = OrderedDict\(\s*(\[.*?^    \])", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise ConfigError(
            "this version of transformers is not one that auditor can read; install one in constraints.txt"
        )
    return {name: str(model) for name, model in ast.literal_eval(found.group(1))}


@cache
def config_keys(model_type: str) -> frozenset[str] | None:
    """Keys that the configuration class of a model type declares or reads; None for a type without a native
    class.
    """
    declared = _config_class(model_type)
    if declared is None:
        return None
    tree, body = declared
    keys = {
        item.target.id
        for item in body.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
    }
    for base in body.bases:
        keys |= _inherited(tree, ast.unparse(base))
    return frozenset(keys | _aliases(body) | _read_from_kwargs(body) | _set_by_methods(body))


@cache
def is_native_tokenizer(name: str) -> bool:
    """Whether the library has a tokenizer class of that name, in its fast or slow spelling."""
    text = (_models() / "auto" / "tokenization_auto.py").read_text(encoding="utf-8")
    plain = name.removesuffix("Fast")
    return f'"{plain}"' in text or f'"{plain}Fast"' in text


@cache
def _models() -> Path:
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ConfigError("the transformers library is not installed")
    return Path(spec.origin).parent / "models"


def _config_class(model_type: str) -> tuple[ast.Module, ast.ClassDef] | None:
    """The class statement whose body says `model_type = "<model_type>"`, with its module."""
    says_so = re.compile(rf"^    model_type\b.*[\"']{re.escape(model_type)}[\"']", re.MULTILINE)
    for path in _config_sources(model_type):
        text = path.read_text(encoding="utf-8")
        if not says_so.search(text):
            continue
        tree = ast.parse(text)
        for item in tree.body:
            if isinstance(item, ast.ClassDef) and _literal(item, "model_type") == model_type:
                return tree, item
    return None


def _config_sources(model_type: str) -> Iterator[Path]:
    """Configuration sources, the likeliest first."""
    yield from sorted((_models() / model_type.replace("-", "_")).glob("configuration_*.py"))
    yield from sorted(_models().glob("*/configuration_*.py"))


def _inherited(tree: ast.Module, base: str) -> set[str]:
    """Fields of a base class in the same module; the library's own root class declares none that vary."""
    for item in tree.body:
        if isinstance(item, ast.ClassDef) and item.name == base:
            return {
                field.target.id
                for field in item.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            } | _read_from_kwargs(item)
    return set()


def _literal(body: ast.ClassDef, name: str) -> object:
    for item in body.body:
        targets = (
            item.targets
            if isinstance(item, ast.Assign)
            else [item.target]
            if isinstance(item, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = item.value  # type: ignore[attr-defined]
            try:
                return ast.literal_eval(value)
            except ValueError:
                return None
    return None


def _aliases(body: ast.ClassDef) -> set[str]:
    aliases = _literal(body, "attribute_map")
    return {*aliases, *aliases.values()} if isinstance(aliases, dict) else set()


def _set_by_methods(body: ast.ClassDef) -> set[str]:
    """Public attributes that methods derive: the library saves them, and reads them back."""
    return {
        node.attr
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
        and not node.attr.startswith("_")
    }


def _read_from_kwargs(body: ast.ClassDef) -> set[str]:
    """Names that methods take from `**kwargs`: spellings of older checkpoints."""
    return {
        node.args[0].value
        for node in ast.walk(body)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in READS_KWARGS
        and ast.unparse(node.func.value) == "kwargs"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
