"""Confounded models and data: each would make a good number out of nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from auditor.data.examples import Dataset, Example
from auditor.model.sites import Site
from tests.bench.test_qualification import N_LAYERS, SIGNAL_LAYER, PlantedTarget, hash_of
from tests.probes import test_refusal_direction as refusal

WITHIN = np.eye(refusal.D)[20]
"""an axis along which prompts of one class differ, and which knows nothing of the classes"""


def wordless(n_groups: int, *, of_one_class: bool = False) -> Dataset:
    """Four statements a group, whose text tells neither group nor label; labels are balanced in groups or between."""
    examples = tuple(
        Example(
            id=f"{g}-{i}",
            prompt="",
            completion=f"It has {'value' if i < 2 else 'number'} one.",
            label=bool((g if of_one_class else i) % 2),
            group=f"group {g:03d}",
            domain="planted",
        )
        for g in range(n_groups)
        for i in range(4)
    )
    return Dataset("planted", examples, ("false", "true"), "en", "0" * 64, {})


class Noise:
    """Activations of noise alone, the same whenever they are read; `at` adds to them at the signal layer."""

    def __init__(self, d_model: int, n_layers: int = N_LAYERS) -> None:
        self.d_model = d_model
        self.target = PlantedTarget()
        self.target.n_layers, self.target.d_model = n_layers, d_model

    def at(self, example: Example) -> Any:
        """What the signal layer knows of an example [d_model]."""
        return 0.0

    def nll(self, asked):
        """It finds every text as likely as any other."""
        return np.zeros(len(asked))

    def activations(self, examples, sites, position, *, mean=False):
        rows = np.zeros((len(examples), len(sites), self.d_model), np.float32)
        for row, example in zip(rows, examples, strict=True):
            for i, site in enumerate(sites):
                if site.point == "resid_post":  # the embeddings say nothing
                    row[i] = np.random.default_rng([hash_of(example.id), site.layer]).normal(size=self.d_model)
                if site == Site(SIGNAL_LAYER, "resid_post"):
                    row[i] += self.at(example)
        return rows


class Fingerprints(Noise):
    """The stream says which entity a statement is about, and nothing else."""

    def at(self, example):
        return np.random.default_rng(hash_of(example.group)).normal(scale=3, size=self.d_model)


class OneSalientAxis(Noise):
    """Every group lies far on one side or the other of one axis, and the labels happen to follow it."""

    def at(self, example):
        return 30.0 * np.eye(self.d_model)[0] * (1 if example.label else -1)


class BrittleUnderAny(refusal.PlantedRunner):
    """It stops to refuse whatever is ablated."""

    def _logits(self, example, edits):
        logits = super()._logits(example, edits)
        if any(edit.removed for edit in edits):
            logits[refusal.SORRY] = -4.0
        return logits


class BrittleWithinClass(refusal.PlantedRunner):
    """It stops to refuse when what prompts of one class differ by is ablated, as when its refusal is."""

    def _stream(self, example, signal):
        side = 1 if hash_of(example.prompt) % 2 else -1
        return super()._stream(example, signal) + 2.0 * side * WITHIN

    def _logits(self, example, edits):
        logits = super()._logits(example, edits)
        if any(edit.removed and abs(edit.vector @ WITHIN) > 0.5 for edit in edits):
            logits[refusal.SORRY] = -4.0
        return logits
