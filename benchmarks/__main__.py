"""Time the jobs side by side: `python -m benchmarks --size demo [JOB …]`. Prints Markdown; see docs/benchmarks.md."""

from __future__ import annotations

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled", "DO_NOT_TRACK": "1"}
# set before a library reads them: a peer must not look anything up
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in a run, and for all contestants

import argparse
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cost import counted, peak_gflops
from benchmarks.jobs import JOBS
from benchmarks.models import MODELS, bench_of
from benchmarks.sizes import SIZES, TRIAL
from benchmarks.tables import machine, tables
from benchmarks.timing import run


def main() -> int:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], help="all of them by default")
    parser.add_argument("--size", choices=list(MODELS), default="demo", help="which model, and how much is done")
    parser.add_argument("--trial", action="store_true", help="do very little; the figures then say nothing")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options = parser.parse_args()
    target, plan = MODELS[options.size](options.dtype)
    sizes = TRIAL if options.trial else SIZES[options.size]
    bench = bench_of(target, plan, sizes, trained=options.size == "demo")
    peak = peak_gflops(target.dtype)
    say(f"## {options.size}, {plan.dtype}{', trial' if options.trial else ''}\n\n{machine(plan.dtype, peak)}")
    for name in options.jobs or JOBS:
        with TemporaryDirectory() as scratch:
            contest = JOBS[name](bench, Path(scratch))
            timings = run(contest, options.repetitions, partial(counted, target))
        peak = max(peak, peak_gflops(target.dtype))
        say(tables(contest, timings, peak))
    return 0


def say(text: str) -> None:
    """One part of the report, as soon as it is known."""
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
