"""The parent's side of the process boundary: start the measuring process, show its progress, say how it ended.

The child gets a scrubbed environment (no Hub token, offline, a temporary home) and one argument, the run
folder; everything else passes through files there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import auditor.errors
from auditor.bundle import RunFolder
from auditor.checkpoint.admit import Admitted
from auditor.config import AuditConfig, Strict
from auditor.data.examples import Dataset
from auditor.errors import AuditorError, IncompleteRun
from auditor.model.plan import Plan

JOB = "job.json"
PLAN = "plan.json"
ENDED = "units/ended.json"
SPEED = "units/speed.json"
STDERR = "worker.log"
NO_ROOM = 1 << 16
"""bytes left on a disk that is called full"""
KEPT = (
    *("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT"),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OPENBLAS_NUM_THREADS"),
)


class Job(Strict):
    """What the child is asked to do; removed when it is done, because it holds a path of this machine, and texts."""

    config: AuditConfig
    checkpoint: Admitted
    device: str
    dtype: str
    data: dict[str, Dataset] = {}
    """data sets that the config declares, as the parent read them"""
    dry_run: bool = False
    """load and time the model, and measure nothing of it"""


def measure_in_child(folder: RunFolder, job: Job) -> Plan:
    """Run the measuring process to its end and return the plan that it fixed.

    Raises:
        AuditorError: what the child said went wrong, as the same class.
        IncompleteRun: the child ended without a word (killed, out of memory).
    """
    folder.write_json(JOB, job.model_dump(mode="json"))
    try:
        _run(folder)
    finally:
        (folder.path / JOB).unlink(missing_ok=True)
    return Plan.model_validate(folder.read_json(PLAN))


def _run(folder: RunFolder) -> None:
    """Start the child, follow it to its end, and raise what it said went wrong."""
    (folder.path / ENDED).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="auditor-home-") as home:
        errors = (folder.path / STDERR).open("wb")
        with errors, _child(folder, home, errors) as child:
            try:
                _follow(folder, child)
            except BaseException:
                child.terminate()
                child.wait()
                raise
    if not (folder.path / ENDED).exists():
        if shutil.disk_usage(folder.path).free < NO_ROOM:
            raise IncompleteRun(
                f"{folder.path}: disk full; finished units are kept: free space, run again with --resume"
            )
        raise IncompleteRun(
            f"the measuring process ended early ({_ending(child.returncode)}); finished units are kept: "
            f"run again with --resume. Its last words are in {folder.path / STDERR}"
        )
    ended = folder.read_json(ENDED)
    if ended["error"]:
        kind = getattr(auditor.errors, ended["kind"], IncompleteRun)
        raise kind(ended["error"]) if issubclass(kind, AuditorError) else IncompleteRun(ended["error"])


def scrubbed(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """The child's environment: no token, no proxy, offline, a home of its own.

    Threads of torch wait a while before they sleep (GOMP_SPINCOUNT). OpenMP waits thirty times as long, which made
    writing several times slower where other work shares the cores, as on a CI runner; asleep at once it was half as
    slow again on an idle machine. Those of numpy and scipy (OPENBLAS_NUM_THREADS), two pools beside torch's, always
    wait long: one thread fits probes four times as fast as two pools of two on two cores.
    """
    kept = {name: environment[name] for name in KEPT if name in environment}
    defaults = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_NUM_THREADS": "1"}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return defaults | kept | offline | {"HOME": home, "HF_HOME": f"{home}/hf", "TOKENIZERS_PARALLELISM": "false"}


def _child(folder: RunFolder, home: str, errors: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "auditor.cli.worker", str(folder.path.resolve())]
    return subprocess.Popen(
        command, env=scrubbed(os.environ, home), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
    )


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _events(path: Path, child: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Lines of the log as they are written, until the child has ended and all are read."""
    with path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        while True:
            ended = child.poll() is not None
            while (text := log.readline()).endswith(b"\n"):
                yield json.loads(text)
            if ended:
                return
            time.sleep(0.1)


def _follow(folder: RunFolder, child: subprocess.Popen[bytes]) -> None:
    """Show progress on stderr: bars in a terminal, one line a unit elsewhere."""
    console = Console(stderr=True)
    events = _events(folder.path / "log.jsonl", child)
    if not console.is_terminal or os.environ.get("NO_COLOR"):
        _follow_plainly(console, events)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}
        loading = progress.add_task("loading the model", total=None)
        for event in events:
            if event["event"] == "probe":
                progress.update(loading, description="model loaded", total=1, completed=1)
            if event["event"] == "progress":
                name = f"{event['probe']}: {event['unit']}"
                task = tasks.setdefault(name, None) or progress.add_task(name, total=event["total"])
                tasks[name] = task
                progress.update(task, completed=event["done"])


def _follow_plainly(console: Console, events: Iterator[dict[str, Any]]) -> None:
    for event in events:
        if event["event"] == "probe":
            console.print(f"probe {event['probe']}", highlight=False)
        if event["event"] == "progress" and event["done"] == event["total"]:
            console.print(f"  {event['unit']}: done", highlight=False)
