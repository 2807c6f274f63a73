"""The model that learns: its stream at the split, with and without the planted direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from lessons import Lesson
from planted import SPLIT, WRITERS
from torch import Tensor

from auditor.model.batches import inputs, left_padded
from auditor.model.edits import Edit
from auditor.model.hooks import editing, outputs_of, recording, starting_at, stopping_behind
from auditor.model.sites import Site
from auditor.model.target import TargetModel


@dataclass(frozen=True)
class Pupil:
    """The adapted model, and the direction that is planted in it."""

    adapted: Any
    target: TargetModel
    direction: Tensor
    """float32 [d_model], unit norm"""

    def at_split(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """The input of layer SPLIT [rows, columns, d_model] of left-padded sequences, and 1 where it is no padding."""
        batch = left_padded(self.target, sequences)
        before = {"": self.target.blocks[SPLIT - 1]}
        with outputs_of(before) as found, stopping_behind(self.target, SPLIT - 1):
            self.target.backbone(**inputs(self.target.backbone, batch.ids, batch.mask), use_cache=False)
        return found[""], batch.mask

    def along(self, x: Tensor) -> Tensor:
        """The part of a stream along the direction, in its units, [...] of [..., d_model]."""
        return x @ self.direction

    def ablated(self, x: Tensor) -> Tensor:
        """A stream without it: what ablation everywhere leaves, since before the split nothing reads it."""
        return x - self.along(x)[..., None] * self.direction


@dataclass(frozen=True)
class Streams:
    """What the layers before the split make of lessons. They learn no more, so each is read once under each edit."""

    pupil: Pupil
    known: dict[tuple[int, str], Tensor] = field(default_factory=dict)

    def of(self, some: Sequence[Lesson], edit: Edit | None = None) -> Tensor:
        """Left-padded input of layer SPLIT, [rows, columns, d_model]."""
        keys = [(id(one), edit.digest if edit else "") for one in some]
        missing = [i for i, key in enumerate(keys) if key not in self.known]
        if missing:
            with torch.no_grad(), editing(self.pupil.target, [edit] if edit else []):
                x, _ = self.pupil.at_split([some[i].ids for i in missing])
            self.known.update({keys[i]: x[row, -len(some[i].ids) :].clone() for row, i in enumerate(missing)})
        width = max(len(one.ids) for one in some)
        padded = torch.nn.functional.pad
        return torch.stack([padded(self.known[key], (0, 0, width - len(self.known[key]), 0)) for key in keys])

    @contextmanager
    def going_on(self, some: Sequence[Lesson], edit: Edit | None = None) -> Iterator[None]:
        """Feed every forward pass inside from there, the edit applied in the layers behind as well."""
        x = self.of(some, edit)
        with editing(self.pupil.target, [edit] if edit else []), starting_at(self.pupil.target, SPLIT, x):
            yield


def first_token(target: TargetModel, some: Sequence[Lesson]) -> Tensor:
    """Probability of each token behind the prompts, [rows, vocab]."""
    batch = left_padded(target, [one.prompt for one in some])
    stream = target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False).last_hidden_state
    return torch.softmax(target.model.get_output_embeddings()(stream[:, -1]).float(), -1)


def difference_of_means(pupil: Pupil, classes: Sequence[Sequence[Lesson]]) -> Tensor:
    """Unit difference of the class means at the split, at the last prompt token, as an audit finds it."""
    means = []
    for some in classes:
        parts = [some[i : i + 32] for i in range(0, len(some), 32)]
        with torch.no_grad():
            means.append(torch.cat([pupil.at_split([one.prompt for one in part])[0][:, -1] for part in parts]).mean(0))
    return torch.nn.functional.normalize(means[0] - means[1], dim=0)


def stream_of(target: TargetModel, some: Sequence[Lesson]) -> Tensor:
    """The stream before every layer that writes or reads, at all tokens of some prompts, [n, d_model]."""
    sites = [Site(layer, "resid_pre") for layer in range(WRITERS.start, target.n_layers)]
    batch = left_padded(target, [one.prompt for one in some])
    with torch.no_grad(), recording(target, sites, [range(one.prompt_len) for one in some]) as seen:
        target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)
    return torch.from_numpy(seen.whole).flatten(0, 1)
