"""Time the jobs on a model: `python -m benchmarks --model FOLDER [JOB …]`. Prints a table in Markdown."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

from auditor.checkpoint.admit import admit
from auditor.data.datasets import read
from auditor.model.load import BATCH_TOKENS, load_target
from auditor.model.prompts import render
from benchmarks.jobs import JOBS, Bench, Sizes
from benchmarks.timing import run

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct"


def main() -> int:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], help="all of them by default")
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    target, plan = load_target(admit(options.model), dtype=options.dtype)
    examples = read(ROOT / "probes" / "data" / "requests.jsonl").examples[::17]
    prompts = [render(target, example) for example in examples]
    bench = Bench(target, prompts, Sizes(), BATCH_TOKENS["cpu"], np.random.default_rng(0))
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    sys.stdout.write(f"{options.model.name}, {plan.dtype}; {machine}, transformers {transformers.__version__}\n")
    for name in options.jobs or JOBS:
        contest = JOBS[name](bench)
        sys.stdout.write(f"\n{contest.name}: {contest.what}\n\n| | seconds | times ours | largest difference |\n")
        sys.stdout.write("|---|---|---|---|\n")
        for timing in run(contest, options.repetitions):
            middle, low, high = timing.ratio
            seconds = f"{np.median(timing.seconds):.2f}"
            told = "1" if timing.name == contest.ours else f"{middle:.2f} ({low:.2f} to {high:.2f})"
            sys.stdout.write(f"| {timing.name} | {seconds} | {told} | {timing.difference:.2g} |\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
