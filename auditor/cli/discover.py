"""Finds probes and batteries by their entry points: shipped ones and third-party ones alike."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from auditor.errors import ConfigError
from auditor.measure.measurement import LoadedProbe, Probe

PROBES = "auditor.probes"
BATTERIES = "auditor.batteries"


def probe_names() -> list[str]:
    """Names of all installed probes, sorted."""
    return sorted(point.name for point in importlib.metadata.entry_points(group=PROBES))


def load_probes(names: list[str] | None = None) -> dict[str, LoadedProbe]:
    """Load probes by name; all of them when no names are given.

    Raises:
        ConfigError: an unknown name, or a probe that cannot be loaded (never skipped in silence).
    """
    points = {point.name: point for point in importlib.metadata.entry_points(group=PROBES)}
    loaded = {}
    for name in sorted(points) if names is None else names:
        if name not in points:
            close = difflib.get_close_matches(name, points, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"probes: no probe named {name!r}; {hint}Known: {', '.join(sorted(points))}")
        loaded[name] = _load(points[name])
    return loaded


def _load(point: importlib.metadata.EntryPoint) -> LoadedProbe:
    try:
        module = importlib.import_module(point.module)
        probe = module.PROBE
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"probe {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(probe, Probe) or not module.__doc__ or not module.__file__:
        raise ConfigError(f"probe {point.name!r}: {point.value} needs a module docstring and PROBE = Probe(...)")
    file = Path(module.__file__)
    return LoadedProbe(
        name=point.name,
        probe=probe,
        question=module.__doc__.strip(),
        distribution=point.dist.name if point.dist else "",
        version=point.dist.version if point.dist else "",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        data_dir=file.parent / "data",
    )


def battery_paths() -> Mapping[str, Path]:
    """Installed batteries: name to YAML file."""
    found: dict[str, Path] = {}
    for point in importlib.metadata.entry_points(group=BATTERIES):
        module = importlib.import_module(point.module)
        folder = Path(str(module.__file__)).parent
        found |= {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return found
