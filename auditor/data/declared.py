"""Data sets of the user's own: declared in a config, read and checked before anything is loaded. No torch, no model.

What is said of them (files, hashes, licences, groups, leakage and balance) goes into their cards, and so on record.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.canonical import canonical_json, sha256_hex
from auditor.config import AuditConfig
from auditor.config_data import DataFile, DataSet, data_named
from auditor.config_file import Strict, read_mapping, suggestion
from auditor.config_multiverse import runs, specification_of
from auditor.data.checks import FEWEST_GROUPS, problems
from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.data.hub import DataHub, hub_table
from auditor.data.mapping import mapped, require_whole
from auditor.data.split import split
from auditor.data.tables import Table, read_table
from auditor.errors import ConfigError

if TYPE_CHECKING:
    from auditor.measure.measurement import LoadedProbe

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
PRESETS = Path(__file__).with_name("presets.yaml")
WORDS = {
    "both labels": "texts that carry both labels: {}",
    "duplicate": "texts that stand there more than once: {}",
    "template": "sentence frames that could stand in for a class: {}",
    "few groups": f"fewer than {FEWEST_GROUPS} groups, so an instrument may find too few to qualify on",
    "large group": "groups that hold more than a tenth of the examples: {}",
    "one-sided group": "groups that hold one class only: {}",
    "straddling group": "groups that lie in two domains: {}",
    "pair": "broken pairs: {}",
}
"""what the checks find, in words"""
UNPAIRED = "no pairs are named (columns: {pair: …}), so likelihood scores whole statements, and none is asked about"
JUDGED = ("fit", "validation", "evaluation")
"""splits that need both classes where something is fitted to labels"""


def reader(folder: Path, declared: Mapping[str, Dataset] | None) -> Callable[[str], Dataset]:
    """Data sets by name: those that were declared, and those that lie in a probe's folder."""
    own = declared or {}
    return lambda name: own[name] if name in own else read(folder / f"{name}.jsonl")


def read_declared(
    config: AuditConfig,
    probes: Mapping[str, LoadedProbe],
    *,
    root: Path,
    source: str = "config",
    hub: DataHub | None = None,
) -> tuple[AuditConfig, dict[str, Dataset]]:
    """The data sets that a config declares, and the config with what was found filled in: presets, hashes, commits.

    Paths start at `root`. The config that is returned holds file names, no paths.

    Raises:
        ConfigError: a probe names a data set that there is not, or fits to labels of which a split holds one class;
            a name that is taken; a file or a row that is not as declared; too few groups.
    """
    shipped = {name: sorted(path.stem for path in p.data_dir.glob("*.jsonl")) for name, p in probes.items()}
    filled: dict[str, DataSet] = {}
    found: dict[str, Dataset] = {}
    for name, declared in config.datasets.items():
        place = f"{source}: datasets.{name}"
        if not NAME.fullmatch(name):
            raise ConfigError(f"{place}: a name is made of a-z, 0-9 and _, begins with a letter, and has at most 64")
        if any(name in names for names in shipped.values()):
            raise ConfigError(f"{place}: a data set of this name is shipped; choose another")
        filled[name], found[name] = _read(name, declared, root, place, hub)
    for name, probe in probes.items():
        for run, under, _ in runs(config, name):
            other = specification_of(run)
            place = f"{source}: probes.{name}" + (f".multiverse.specifications.{other}" if other else "")
            params = probe.probe.params.model_validate(under.probes[run].params)
            _check_names(params, {*shipped[name], *found}, found, f"{place}.params", seed=under.seed)
    return config.model_copy(update={"datasets": filled}), found


def _check_names(params: Strict, known: set[str], found: Mapping[str, Dataset], place: str, *, seed: int) -> None:
    for where, name, mark in data_named(params):
        if name not in known:
            raise ConfigError(f"{place}.{where}: no data set named {name!r}{suggestion(name, known)}")
        if not mark.both_classes or name not in found:
            continue
        data, dealt = found[name], split(found[name], seed)
        for part in JUDGED:
            if len({e.label for e in data.examples if dealt[e.id] == part}) < 2:
                raise ConfigError(
                    f"{place}.{where}: {name}: the {part} split holds one class only; the probe fits to labels, so "
                    "more groups are needed, or groups that hold both classes"
                )


def _read(name: str, declared: DataSet, root: Path, place: str, hub: DataHub | None) -> tuple[DataSet, Dataset]:
    files: list[DataFile] = []
    examples: list[Example] = []
    told: dict[str, str] = {}
    for i, given in enumerate(declared.files):
        where = f"{place}.files.{i}"
        file = with_preset(given, where)
        require_whole(file, where)
        file, table = _table(file, root, where, hub)
        prefix = f"{i + 1}/" if len(declared.files) > 1 else ""
        made = mapped(file, table, place=where, prefix=prefix)
        examples += made.examples
        told[f"{i + 1}"] = _source(file, table, made.left_out)
        files.append(file.model_copy(update={"path": Path(file.path).name, "sha256": table.sha256}))
    whole = declared.model_copy(update={"files": tuple(files)})
    data = _dataset(name, whole, tuple(examples), told)
    split(data, 0)  # too few groups, or one that lies in two domains
    return whole, data


def _table(file: DataFile, root: Path, place: str, hub: DataHub | None) -> tuple[DataFile, Table]:
    if bool(file.path) == bool(file.hub):
        raise ConfigError(f"{place}: give path: or hub:")
    if file.hub:
        return hub_table(file, place, hub)
    if file.subset or file.split:
        raise ConfigError(f"{place}: subset and split are of a data set on the Hub, not of a path")
    kind = file.format or Path(file.path).suffix.lstrip(".").lower()
    if kind not in ("csv", "jsonl", "json"):
        raise ConfigError(f"{place}.format: say csv, jsonl or json; {Path(file.path).name!r} does not tell")
    path = root / file.path
    if not path.is_file():
        raise ConfigError(f"{place}.path: {path}: {'not a file' if path.exists() else 'no such file'}")
    return file, read_table(path, str(path), kind, file.sha256)


def with_preset(file: DataFile, place: str) -> DataFile:
    """A file's declaration on top of the preset that it names.

    Raises ConfigError for an unknown preset.
    """
    if not file.preset:
        return file
    if file.preset not in presets():
        raise ConfigError(f"{place}.preset: no preset named {file.preset!r}{suggestion(file.preset, presets())}")
    base, own = (one.model_dump(exclude_unset=True) for one in (presets()[file.preset], file))
    columns = {**base.get("columns", {}), **own.get("columns", {})}
    known = {part: text for part, text in base.get("values", {}).items() if part not in own.get("columns", {})}
    values = {**known, **own.get("values", {})}
    if own.get("group"):
        columns.pop("group", None)
    elif "group" in own.get("columns", {}):
        base.pop("group", None)
    return DataFile.model_validate({**base, **own, "columns": columns, "values": values})


@cache
def presets() -> Mapping[str, DataFile]:
    """What is known of public sets, by name."""
    return {name: DataFile.model_validate(known) for name, known in read_mapping(PRESETS).items()}


def _source(file: DataFile, table: Table, left_out: int) -> str:
    """One file in words, for the card."""
    name = file.hub or Path(file.path).name
    which = "".join(f", {part}" for part in (file.subset, file.split) if part)
    kept = f"{len(table.rows) - left_out} rows" + (f", {left_out} left out" if left_out else "")
    origin = f", from {file.origin}" if file.origin else ""
    return f"{name}{which}: {kept}, sha256 {table.sha256}, {file.licence}{origin}"


def _dataset(name: str, declared: DataSet, examples: tuple[Example, ...], files: Mapping[str, str]) -> Dataset:
    digest = sha256_hex(canonical_json([vars(example) for example in examples]))
    card = {
        "name": name,
        "about": declared.about or "declared in the config",
        "licence": ", ".join(dict.fromkeys(file.licence for file in declared.files)),
        "language": declared.language,
        "class_names": list(declared.class_names),
        "sha256": digest,
        "file": files,
        "groups": _groups(examples),
        "checks": "; ".join(found_wrong(examples)) or "nothing found",
    }
    return Dataset(name, examples, declared.class_names, declared.language, digest, card)


def _groups(examples: tuple[Example, ...]) -> str:
    groups = Counter(example.group for example in examples)
    rows = {(example.group, example.row) for example in examples}
    if len(rows) == len(groups):
        return f"{len(groups)}, one for each row: rows were treated as independent; near-duplicates may straddle splits"
    alone = len(groups) - len({group for group, n in Counter(group for group, _ in rows).items() if n > 1})
    single = f", {alone} of them of one row, which is treated as independent" if alone else ""
    return f"{len(groups)}, the largest of {max(groups.values())} examples{single}"


def found_wrong(examples: tuple[Example, ...]) -> Iterator[str]:
    """What the leakage and balance checks find, counted; ids and texts stay out of the record."""
    labels = {example.label for example in examples}
    if len(labels) < 2:
        yield "one class only"
    counts = Counter(problem.check for problem in problems(examples, both_classes=len(labels) == 2))
    yield from (WORDS[check].format(n) for check, n in counts.items())
    if len(labels) == 2 and not any(example.pair or example.prompt for example in examples):
        yield UNPAIRED
