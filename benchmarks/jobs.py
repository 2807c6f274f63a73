"""The jobs by name. Each is done by us and by others; a job is given a model and an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.extraction import extraction
from benchmarks.models import Bench
from benchmarks.probing import probe_sweep
from benchmarks.selection import direction_selection
from benchmarks.steering import steering_sweep
from benchmarks.timing import Contest

JOBS: dict[str, Callable[[Bench, Path], Contest]] = {
    "extraction": extraction,
    "direction_selection": direction_selection,
    "probe_sweep": probe_sweep,
    "steering_sweep": steering_sweep,
}
