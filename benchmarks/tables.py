"""What is printed: the machine, and two Markdown tables for each job."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from auditor.model.load import machine_memory
from benchmarks.timing import Contest, Timing

LIBRARIES = ("torch", "transformers", "numpy", "scipy", "scikit-learn")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine(dtype: str, peak: float) -> str:
    """The machine as far as it decides the figures, and how busy it was."""
    name, flags = _processor()
    busy = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    lines = [
        f"{name} ({', '.join(flags) or 'no vector flags known'}), {os.cpu_count()} cores, "
        f"{machine_memory() / 2**30:.0f} GiB, {platform.system()} {platform.machine()}",
        f"threads: {torch.get_num_threads()}, load of the last minute {busy}, Python {platform.python_version()}",
        ", ".join(f"{library} {version(library)}" for library in LIBRARIES),
        f"matrix-product peak measured: {peak:.0f} GFLOP/s in {dtype}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _processor() -> tuple[str, list[str]]:
    """Its name, and what it has for matrix products."""
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return platform.processor() or "unknown processor", []
    found = dict(line.split(":", 1) for line in facts.read_text().splitlines() if ":" in line)
    plain = {key.strip(): value.strip() for key, value in found.items()}
    flags = plain.get("flags", "").split()
    return plain.get("model name", "unknown processor"), [flag for flag in CPU_FLAGS if flag in flags]


def tables(contest: Contest, timings: Sequence[Timing], peak: float) -> str:
    """How long it took; and apart from that, how much was computed and at what rate."""
    (ours,) = (timing for timing in timings if timing.name == contest.ours)
    lines = [f"### {contest.name}", "", f"{contest.what}; {len(ours.seconds)} repetitions.", ""]
    lines += ["| | seconds (median) | times ours (95 %) | difference |", "|---|---|---|---|"]
    for timing in timings:
        middle, low, high = timing.ratio
        told = "1" if timing is ours else f"{middle:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"| {timing.name} | {np.median(timing.seconds):.2f} | {told} | {_number(timing.difference)} |")
    if ours.choice is not None:
        lines += ["", f"Chosen by every contestant: {ours.choice}."]
    lines += [f"\n{note}." for note in contest.notes]
    if ours.cost is not None:
        lines += ["", *_work(timings, ours, peak)]
    return "\n".join(lines)


def _work(timings: Sequence[Timing], ours: Timing, peak: float) -> list[str]:
    """Rows × layers × tokens beside ours, and the share of the peak."""
    lines = [
        "| | rows × layers × tokens | times ours | logits of tokens | GFLOP | share of the peak |",
        "|---|---|---|---|---|---|",
    ]
    for timing in timings:
        cost = timing.cost
        if cost is None or ours.cost is None:
            continue
        beside = cost.layer_tokens / ours.cost.layer_tokens
        share = cost.gflop / float(np.median(timing.seconds)) / peak
        figures = f"{cost.layer_tokens:,.0f} | {beside:.2f} | {cost.head_tokens:,.0f} | {cost.gflop:,.0f} | {share:.0%}"
        lines.append(f"| {timing.name} | {figures} |")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
