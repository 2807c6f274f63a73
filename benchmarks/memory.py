"""Peak memory by the number of prompts: `python -m benchmarks.memory --model FOLDER 200 4000`. Linux only.

Each count is measured in a process of its own, after the model is loaded (and compared with float32, which is left
out). Three jobs go through the same code as a run: activations of every layer, averaged over the tokens of each text;
the same read back a site at a time; the KL divergence that two additions cost, beside the unedited target.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from auditor.arrays import copied
from auditor.bundle import RunFolder
from auditor.checkpoint.admit import admit
from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.measure.effects import KL
from auditor.measure.runner import Asked, Runner
from auditor.model.edits import Edit
from auditor.model.load import load_target
from auditor.model.sites import Site
from benchmarks.models import DEMO, ROOT

SETS = ("truth_cities", "truth_translations", "truth_animals", "truth_companies", "truth_people")
MIB = 1 << 20


def main() -> int:
    """Start a process for each count, or be one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[200, 4000])
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    if len(options.counts) == 1:
        for line in measured(options.model, options.dtype, options.counts[0]):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        return 0
    for count in options.counts:
        again = [sys.executable, "-m", "benchmarks.memory", "--model", options.model, "--dtype", options.dtype]
        subprocess.run([*again, str(count)], check=True)
    return 0


def measured(model: Path, dtype: str, count: int) -> Iterator[str]:
    """Peak resident memory of each job, beside what is allowed, in MiB."""
    imports = resident("VmRSS")
    target, plan = load_target(admit(model), dtype=dtype)
    weights = sum(p.numel() * p.element_size() for p in target.model.parameters()) / MIB
    allowed = 1.25 * weights + 300
    yield f"{count} prompts: imports {imports:.0f}, weights {weights:.0f}, allowed {allowed:.0f} above imports"
    texts = [e for name in SETS for e in read(ROOT / "probes" / "data" / f"{name}.jsonl").examples]
    examples = [replace(e, id=str(i)) for i, e in enumerate(texts[:count])]
    with tempfile.TemporaryDirectory(prefix="auditor-memory-", dir=Path.cwd()) as out:
        runner = Runner(target, plan, RunFolder.create(Path(out) / "run"), "memory")
        for job in (extraction, site_by_site, divergence):
            forget_peak()
            job(runner, examples)
            yield f"  {job.__name__:<14}{resident('VmHWM') - imports:7.0f} above imports"


def extraction(runner: Runner, examples: list[Example]) -> None:
    """Every layer, averaged over the tokens of each text."""
    runner.activations(examples, _sites(runner), "completion_tokens", mean=True)


def site_by_site(runner: Runner, examples: list[Example]) -> None:
    """The same, finished and read back."""
    x = runner.activations(examples, _sites(runner), "completion_tokens", mean=True)
    for site in range(x.shape[1]):
        copied(x[:, site]).mean()


def divergence(runner: Runner, examples: list[Example]) -> None:
    """Two additions at the middle layer, and what each costs."""
    target, drawn = runner.target, np.random.default_rng(0).standard_normal((2, runner.target.d_model))
    units = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    site = Site(target.n_layers // 2, "resid_pre")
    arms = [(Edit("add", u, 1.0, 1.0, (site,)),) for u in units]
    asked = [Asked(example, edits=arm, prefilled=True) for arm in arms for example in examples]
    runner.ask(asked, {"kl": KL().nats}, beside_unedited=True)


def _sites(runner: Runner) -> list[Site]:
    return [Site(layer, "resid_post") for layer in range(runner.target.n_layers)]


def resident(field: str) -> float:
    """VmRSS or VmHWM, the peak, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def forget_peak() -> None:
    """Let the peak begin again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.exit(main())
