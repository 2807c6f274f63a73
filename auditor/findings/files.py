"""Whether the files of a run folder are those that its two lists of hashes name. Reads bytes, never what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.bundle import MANIFEST, RENDERED, SEALED, WORK, RunFolder
from auditor.canonical import readable_json, sha256_file
from auditor.errors import AuditorError, IncompleteRun, VerifyMismatch

REPORTS = ("report.html", "report.pdf")
"""what people read first, so that it may not lie there unlisted"""
RECORD_CHANGED = f"audit.json: changed since {MANIFEST} was written"
_MISSING = "missing"
_UNREADABLE = (AuditorError, AttributeError, KeyError, TypeError, ValueError)
Hashes = Mapping[str, str]


@dataclass(frozen=True)
class Seals:
    """What the lists of a run folder say of its files."""

    checked: Mapping[str, int]
    """files and work files that a list names"""
    problems: Sequence[str]
    """one line each, which begins with the file"""
    unlisted: tuple[str, ...]
    """files that no list names"""


def read_seals(folder: RunFolder) -> Seals:
    """Hold every file against the lists: sealed ones must be there, work may be gone, nothing may differ."""
    listed, problems = _sealed(folder)
    rendered = _lists(folder, RENDERED, ("files",), problems)["files"] if (folder.path / RENDERED).exists() else {}
    work = folder.hashes(WORK)
    kept = {name: digest for name, digest in listed["work"].items() if name in work}
    shown = {name: sha256_file(folder.path / name) for name in {*rendered, *REPORTS} if _is_file(folder, name)}
    problems += differences(kept, work, MANIFEST)
    problems += differences(rendered, shown, RENDERED)
    known = {MANIFEST, RENDERED, *listed["files"], *work, *rendered, *REPORTS, *folder.hashes(SEALED)}
    checked = {"files": len(listed["files"]) + len(rendered), "work files": len(kept)}
    return Seals(checked, problems, tuple(name for name in _names(folder.path) if name not in known))


def refuse_changed(folder: RunFolder) -> None:
    """Raises IncompleteRun when a sealed file is gone, VerifyMismatch when one is not what the manifest says."""
    _, problems = _sealed(folder)
    if (folder.path / MANIFEST).is_file():
        gone = [problem for problem in problems if problem.endswith(_MISSING)]
    else:
        gone = [f"{MANIFEST}: {_MISSING}"]
    if gone:
        raise IncompleteRun(f"{folder.path / gone[0]}, so this is not a complete run folder")
    if problems:
        raise VerifyMismatch(f"{folder.path / problems[0]}; see auditor verify {folder.path}")


def _sealed(folder: RunFolder) -> tuple[Mapping[str, Hashes], list[str]]:
    """The lists of the manifest, and what of it or of the files that it seals is not as it was."""
    problems: list[str] = []
    listed = _lists(folder, MANIFEST, ("files", "work"), problems)
    return listed, [*problems, *differences(listed["files"], folder.hashes(SEALED), MANIFEST)]


def differences(listed: Hashes, present: Hashes, where: str) -> Iterator[str]:
    """One line for each file that is missing, not in the list `where`, or not what the list says."""
    for name in sorted({*listed, *present}):
        if name not in present:
            yield f"{name}: listed in {where} but {_MISSING}"
        elif name not in listed:
            yield f"{name}: not listed in {where}"
        elif listed[name] != present[name]:
            yield f"{name}: changed since {where} was written"


def _lists(folder: RunFolder, name: str, parts: Sequence[str], problems: list[str]) -> Mapping[str, Hashes]:
    """The lists that a file holds; empty ones where it cannot be read, which is a problem."""
    try:
        document = folder.read_json(name)
        found = {part: dict(document[part]) for part in parts}
        if (folder.path / name).read_bytes() != readable_json(found):
            problems.append(f"{name}: changed since it was written")
    except _UNREADABLE as error:
        problems.append(f"{name}: cannot be read ({error})")
        return {part: {} for part in parts}
    return found


def _is_file(folder: RunFolder, name: str) -> bool:
    try:
        return folder.file(name).is_file()
    except AuditorError:
        return False


def _names(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
