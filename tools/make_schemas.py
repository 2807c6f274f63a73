"""Write docs/audit.schema.json and docs/items.schema.json: what a reader of a run folder may rely on.

Run it after a change of the record; a test fails while the files are stale.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from auditor.atomic import write_atomic
from auditor.canonical import readable_json
from auditor.config import Strict
from auditor.findings.record import SCHEMA_VERSION, AuditRecord

DOCS = Path(__file__).parents[1] / "docs"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Tokens(Strict):
    """An answer token by token, for the few items that are shown so."""

    scores: list[float]
    """of a detector, for each token"""
    texts: list[str]
    """what each token adds to the text; shorter where the redaction mode hides the rest"""


class Item(Strict):
    """One line of items/<probe>.jsonl: an example, what the model answered and how it was scored."""

    dataset: str
    id: str
    """of the example, unique in its data set"""
    kind: str
    """such as harmful, plain, statement"""
    split: str
    """fit, validation, threshold or evaluation"""
    group: str
    """examples of one group never lie on both sides of a split"""
    label: int
    """1 for the positive class, else 0"""
    polarity: str
    """affirmed or negated, where the data set has both"""
    text: str
    """the example by the redaction mode of the config: whole, an excerpt, or a hash"""
    text_sha256: str
    """of the whole text, in UTF-8"""
    answers: dict[str, str]
    """what the model wrote, by arm; redacted likewise"""
    values: dict[str, float | None]
    """scores by column; null is not measured"""
    tokens: dict[str, Tokens] = {}
    """by the column of the detector; only in rows that are shown token by token"""


def schemas() -> dict[str, dict[str, Any]]:
    """File name to schema."""
    return {
        "audit.schema.json": _schema(AuditRecord, f"audit.json, schema version {SCHEMA_VERSION}"),
        "items.schema.json": _schema(Item, "a line of items/<probe>.jsonl"),
    }


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    refs, found = models_json_schema([(model, "serialization")], ref_template="#/$defs/{model}")
    defs = found["$defs"]
    for described in _within(model):
        for field, text in _field_docs(described).items():
            defs[described.__name__]["properties"][field]["description"] = text
    root = refs[(model, "serialization")]
    return {"$schema": DRAFT, **root, "title": title, "$defs": defs}


def _within(annotation: Any) -> set[type[BaseModel]]:
    """Every model that a type holds, itself among them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = [field.annotation for field in annotation.model_fields.values()]
        # a checkpoint holds its adapter, which is a checkpoint
        return {annotation}.union(*(_within(field) for field in fields if annotation not in get_args(field)))
    return set().union(*(_within(part) for part in get_args(annotation)))


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The text under each field of a model."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    if not isinstance(tree, ast.ClassDef):
        raise TypeError(f"{model} is no class")
    docs = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[field.target.id] = " ".join(str(below.value.value).split())
    return docs


def main() -> None:
    """Write both files."""
    for name, schema in schemas().items():
        write_atomic(DOCS / name, readable_json(schema))


if __name__ == "__main__":
    main()
