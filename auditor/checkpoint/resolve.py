"""From what the user named to a folder of real files: a local path, or a Hub id fetched at a fixed commit.

Only the parent process comes here, as the only one that may hold a Hub token. What is fetched is not yet
admitted.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from auditor.errors import ConfigError, UnsafeCheckpoint

HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w][\w./-]*))?", re.ASCII)
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""weights, settings, templates and tokenizer data; no pickle and no code is fetched"""
UNWANTED = ("*/*",)


class Hub(Protocol):
    """The two calls to the Hub, as a seam for tests."""

    def describe(self, repo: str, revision: str | None) -> tuple[str, list[str]]:
        """Commit that the revision stands for, and the names of all files. Raises ConfigError."""
        ...

    def fetch(self, repo: str, commit: str, into: Path) -> None:
        """Fetch the wanted files as real files. Raises ConfigError."""
        ...


def resolve(model: str, cache: Path, hub: Hub | None = None) -> tuple[Path, str | None]:
    """Folder of a model, and its commit if it came from the Hub (`org/name` or `org/name@revision`).

    An existing local path always wins. Fetched folders are kept in `cache` by commit. Raises ConfigError for
    a path that does not exist and a Hub that does not answer or does not know the name; UnsafeCheckpoint when
    the Hub has no safetensors for it.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path, None
    match = HUB_ID.fullmatch(model)
    if match is None:
        raise ConfigError(no_such_folder(path))
    hub, repo = hub or HuggingFace(), match["repo"]
    try:
        commit, names = hub.describe(repo, match["revision"])
    except ConfigError as error:
        raise ConfigError(f"{no_such_folder(path)}, and as a Hub id: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ConfigError(f"{repo}: the Hub gave no commit for this revision")
    if not any(name.endswith(".safetensors") for name in names):
        raise UnsafeCheckpoint(
            f"{repo}: the Hub has no safetensors for it, and other forms of weights are not loaded. "
            "Convert it in a sandbox you trust, and give that folder"
        )
    folder = cache / repo.replace("/", "--") / commit
    if not folder.is_dir():
        _fetch_whole(hub, repo, commit, folder)
    return folder, commit


def default_cache() -> Path:
    """Where fetched and converted checkpoints are kept for this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auditor" / "models"


def no_such_folder(path: Path) -> str:
    """The message for a path that does not exist, with the closest name beside it."""
    parent = path.parent
    beside = [entry.name for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f"{path}: no such folder" + (f" (did you mean {close[0]}?)" if close else "")


class HuggingFace:
    """The real Hub."""

    def describe(self, repo: str, revision: str | None) -> tuple[str, list[str]]:
        """See `Hub`."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            info = HfApi().model_info(repo, revision=revision, timeout=30)
        except GatedRepoError as error:
            raise ConfigError("access is gated; accept its terms on the Hub and set HF_TOKEN") from error
        except RevisionNotFoundError as error:
            raise ConfigError(f"the Hub knows no revision {revision}") from error
        except RepositoryNotFoundError as error:
            raise ConfigError("the Hub does not have it, or it is private and HF_TOKEN is not set") from error
        except _network_errors() as error:
            raise ConfigError(_unreachable(error)) from error
        return info.sha or "", [file.rfilename for file in info.siblings or []]

    def fetch(self, repo: str, commit: str, into: Path) -> None:
        """See `Hub`."""
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(
                repo,
                revision=commit,
                local_dir=into,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
            )
        except _network_errors() as error:
            raise ConfigError(f"{repo}: {_unreachable(error)}") from error


def _fetch_whole(hub: Hub, repo: str, commit: str, folder: Path) -> None:
    """Fetch into a folder beside, and move it into place only when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as beside:
            whole = Path(beside) / "model"
            hub.fetch(repo, commit, whole)
            # times of fetching, which would differ at the next machine
            shutil.rmtree(whole / ".cache", ignore_errors=True)
            whole.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise ConfigError(f"{folder.parent}: cannot be written ({error.strerror})") from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What a call to the Hub may raise; which HTTP library it builds on depends on its version."""
    from huggingface_hub import errors

    return (errors.HTTPError, OSError, ValueError)  # type: ignore[attr-defined]


def _unreachable(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"the Hub could not be reached ({reason}). Fetch the model elsewhere and give its folder"
