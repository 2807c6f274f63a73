"""A data set on the Hub that the user named: one split at one commit, through the optional `datasets` extra.

Only the parent process comes here. Rows are streamed; of each row the plain values are kept, text and numbers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from auditor.canonical import canonical_json
from auditor.config_data import DataFile
from auditor.data.tables import MAX_LINE, Row, Table, table_of
from auditor.errors import ConfigError

NAMED = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w][\w./-]*))?", re.ASCII)
EXTRA = "pip install 'checkpoint-auditor[datasets]'"


class DataHub(Protocol):
    """The two calls to the Hub, as a seam for tests."""

    def commit(self, repo: str, revision: str | None) -> str:
        """Commit that a revision stands for. Raises ConfigError."""
        ...

    def rows(self, repo: str, commit: str, subset: str, split: str) -> Iterable[Row]:
        """Rows of one split. Raises ConfigError, also while they are read."""
        ...


def hub_table(file: DataFile, place: str, hub: DataHub | None = None) -> tuple[DataFile, Table]:
    """The rows of a split, and the declaration with the commit that they were read at.

    Raises ConfigError for a name that is not org/name, a split that is not given, a missing `datasets` library, a Hub
    that does not answer, rows whose sha256 is not the declared one, and what `table_of` refuses.
    """
    named = NAMED.fullmatch(file.hub)
    if named is None:
        raise ConfigError(f"{place}.hub: {file.hub!r} is not org/name or org/name@revision")
    if not file.split:
        raise ConfigError(f"{place}.split: say which split of {named['repo']}, such as train")
    hub = hub or HuggingFace()
    commit = hub.commit(named["repo"], named["revision"])
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ConfigError(f"{place}.hub: the Hub gave no commit for {file.hub}")
    shown = f"{named['repo']} ({file.split})"
    digest = hashlib.sha256()
    plain = _plain(hub.rows(named["repo"], commit, file.subset, file.split), shown, digest)
    table = table_of(plain, shown, "")
    found = digest.hexdigest()
    if file.sha256 and found != file.sha256.lower():
        raise ConfigError(f"{place}.sha256: the rows hash to {found}, declared is {file.sha256}")
    return file.model_copy(update={"hub": f"{named['repo']}@{commit}"}), Table(table.rows, table.columns, found)


def _plain(rows: Iterable[Row], shown: str, digest: hashlib._Hash) -> Iterator[tuple[str, Row]]:
    """Rows with their plain values, each put into the digest as it passes."""
    for number, row in enumerate(rows, start=1):
        kept = {name: value for name, value in row.items() if _is_plain(value)}
        line = canonical_json(kept)
        if len(line) > MAX_LINE:
            raise ConfigError(f"{shown}: row {number}: more than {MAX_LINE:,} bytes")
        digest.update(line + b"\n")
        yield f"{shown}: row {number}", kept


def _is_plain(value: object) -> bool:
    return value is None or (isinstance(value, str | int | float) and not _is_odd(value))


def _is_odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


class HuggingFace:
    """The real Hub."""

    def commit(self, repo: str, revision: str | None) -> str:
        """See `DataHub`."""
        from huggingface_hub import HfApi

        try:
            return HfApi().dataset_info(repo, revision=revision, timeout=30).sha or ""
        except _errors() as error:
            raise ConfigError(f"{repo}: {_told(error)}") from error

    def rows(self, repo: str, commit: str, subset: str, split: str) -> Iterator[Row]:
        """See `DataHub`."""
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise ConfigError(f"{repo}: reading from the Hub needs the datasets library: {EXTRA}") from error
        try:
            yield from load_dataset(repo, subset or None, split=split, revision=commit, streaming=True)
        except _errors() as error:
            raise ConfigError(f"{repo}: {_told(error)}") from error


def _errors() -> tuple[type[Exception], ...]:
    """What a call to the Hub may raise; which HTTP library it builds on depends on its version."""
    from huggingface_hub import errors

    return (errors.HTTPError, OSError, ValueError, RuntimeError)  # type: ignore[attr-defined]


def _told(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return f"the Hub gave no data ({reason}). Fetch the file elsewhere and give its path"
