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
"""methods by which a configuration class takes a name from `**kwargs`"""
READ_WITH_DEFAULT = re.compile(
    r"""(?:getattr|hasattr)\(\s*[\w.]*config(?:\.get_text_config\(\))?,\s*["']([a-z]\w*)["']"""
)


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
    """Keys that the configuration or the model of a type declares or reads; None when there is no such class.

    The library keeps each configuration in one self-contained module, so only bases in that module count.
    Models read some keys that no configuration declares, with a default: `getattr(config, "head_dim", ...)`.
    """
    declared = _config_class(model_type)
    if declared is None:
        return None
    path, module, body = declared
    return frozenset(_keys(module, body) | _read_by_models(path.parent))


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


def _config_class(model_type: str) -> tuple[Path, ast.Module, ast.ClassDef] | None:
    """The class statement whose body says `model_type = "<model_type>"`, with its file and module."""
    says_so = re.compile(rf"^    model_type\b.*[\"']{re.escape(model_type)}[\"']", re.MULTILINE)
    for path in _config_sources(model_type):
        text = path.read_text(encoding="utf-8")
        if not says_so.search(text):
            continue
        module = ast.parse(text)
        for body in module.body:
            if isinstance(body, ast.ClassDef) and _literal(body, "model_type") == model_type:
                return path, module, body
    return None


def _config_sources(model_type: str) -> Iterator[Path]:
    """Configuration sources, the likeliest first."""
    yield from sorted((_models() / model_type.replace("-", "_")).glob("configuration_*.py"))
    yield from sorted(_models().glob("*/configuration_*.py"))


def _keys(module: ast.Module, body: ast.ClassDef) -> set[str]:
    """All spellings that a class knows, with those of its bases."""
    keys = _declared(body) | _aliases(body) | _read_from_kwargs(body) | _set_by_methods(body)
    bases = {ast.unparse(base) for base in body.bases}
    for other in module.body:
        if isinstance(other, ast.ClassDef) and other.name in bases:
            keys |= _keys(module, other)
    return keys


def _read_by_models(folder: Path) -> set[str]:
    """Public names that the model code beside a configuration asks of it with a default."""
    names: set[str] = set()
    for path in sorted(folder.glob("modeling_*.py")):
        names.update(READ_WITH_DEFAULT.findall(path.read_text(encoding="utf-8")))
    return names


def _declared(body: ast.ClassDef) -> set[str]:
    """Fields of the dataclass."""
    return {
        item.target.id
        for item in body.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
    }


def _aliases(body: ast.ClassDef) -> set[str]:
    """Both sides of the map from common names to those of this model."""
    aliases = _literal(body, "attribute_map")
    return {*aliases, *aliases.values()} if isinstance(aliases, dict) else set()


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


def _literal(body: ast.ClassDef, name: str) -> object:
    """Value of a class attribute that is written as a literal; None otherwise."""
    for item in body.body:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        value = getattr(item, "value", None)
        if isinstance(target, ast.Name) and target.id == name and value is not None:
            try:
                return ast.literal_eval(value)
            except ValueError:
                return None
    return None
