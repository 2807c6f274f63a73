"""The arithmetic of edits on a batch whose rows may each have others. Pure functions of tensors; no hook, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.model.edits import MASKS, Edit
from auditor.model.sites import Site

RowEdits = Sequence[Edit] | Sequence[Sequence[Edit]]


@dataclass(eq=False)
class Rows:
    """Which rows of a batch are still there, for whoever acts on each of them in another way."""

    kept: Tensor | None = None
    """int64, numbers that the rows had at first; None: all of them"""

    def keep(self, among: Tensor) -> None:
        """Let all go but some. `among`: int64, places among those that are left."""
        self.kept = among if self.kept is None else self.kept[among]

    def of(self, x: Tensor) -> Tensor:
        """What is left of something with one entry a row, or one for all."""
        return x if self.kept is None or x.shape[0] == 1 else x[self.kept.to(x.device)]


@dataclass(frozen=True, eq=False)
class Step:
    """The k-th edit of every row at one site; rows without one have u = 0."""

    u: Tensor
    """[rows or 1, 1, d_model]"""
    removed: Tensor
    """[rows or 1, 1, 1] β"""
    added: Tensor
    """[rows or 1, 1, 1] γ"""
    mask: Tensor
    """int64 [rows or 1] index into MASKS"""


def by_row(edits: RowEdits) -> tuple[list[list[Edit]], set[int]]:
    """One list of edits a row (a single one for all rows), and the batch size that follows from it, if any."""
    flat = [edit for edit in edits if isinstance(edit, Edit)]
    if len(flat) == len(edits):
        return [flat], set()
    if flat:
        raise ValueError("edits are one list for all rows, or one list for each row")
    return [list(row) for row in edits if not isinstance(row, Edit)], {len(edits)}


def steps_at(rows: list[list[Edit]], site: Site, d_model: int) -> list[Step]:
    """What is done at one site, one step after the other."""
    here = [
        [edit for edit in row if site in edit.where and not (len(row) == 1 and _is_clean(edit, site))] for row in rows
    ]
    steps = []
    for k in range(max(len(row) for row in here)):
        turn = [row[k] if k < len(row) else None for row in here]
        nothing = np.zeros(d_model, np.float32)
        u = torch.from_numpy(np.stack([nothing if edit is None else edit.vector for edit in turn]))
        removed = torch.tensor([0.0 if edit is None else edit.removed for edit in turn])
        added = torch.tensor([0.0 if edit is None else edit.added for edit in turn])
        mask = torch.tensor([0 if edit is None else MASKS.index(edit.positions) for edit in turn])
        steps.append(Step(u[:, None], removed[:, None, None], added[:, None, None], mask))
    return steps


def _is_clean(edit: Edit, site: Site) -> bool:
    """Whether a stream that only this edit changes has no part along its direction at the site.

    That is so where the edit ablates whatever was written to it before: a third of the sites of Arditi et al.
    (arXiv:2406.11717) need no work.
    """
    before = site.layer - 1
    if site.point != "resid_pre" or before < 0 or (edit.kind, edit.removed, edit.positions) != ("ablate", 1.0, "all"):
        return False
    parts = {Site(before, "resid_pre"), Site(before, "attn_out"), Site(before, "mlp_out")}
    return parts <= edit.where or Site(before, "resid_post") in edit.where


def contracted(gradient: Tensor, x: Tensor, edits: Sequence[Edit], real: Tensor) -> Tensor:
    """What the gradient at one site [rows, columns, d_model] says of the coefficients of edits. [rows, n_edits]"""
    u = torch.from_numpy(np.stack([edit.vector for edit in edits])).to(x.device).T
    norms = torch.tensor([edit.norm for edit in edits], dtype=torch.float32, device=x.device)
    added = torch.tensor([edit.kind == "add" for edit in edits], device=x.device)
    along = torch.where(added, norms, -(x.float() @ u)) * (gradient.float() @ u)
    return along.masked_fill(~real.to(x.device)[..., None], 0).sum(dim=1)


def where_masks_hold(tokens: Tensor, prompt_lens: Tensor) -> Tensor:
    """Where each mask of MASKS holds. [4, rows, columns]"""
    real = tokens >= 0
    ends = prompt_lens.to(tokens.device)[:, None]
    prompt, last = real & (tokens < ends), real & (tokens == ends - 1)
    return torch.stack([real, prompt, real & ~prompt, last])


def edited(x: Tensor, steps: list[Step], touched: Tensor, left: Rows) -> Tensor:
    """Every kind of edit, where it touches, computed in float32 or wider; other entries are unchanged."""
    rows = torch.arange(x.shape[0], device=x.device)
    y = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
    for step in steps:
        terms = (left.of(t) for t in (step.u, step.removed, step.added))
        u, removed, added = (t.to(device=x.device, dtype=y.dtype) for t in terms)
        where = touched.to(x.device)[left.of(step.mask).to(x.device).expand(x.shape[0]), rows]
        along = (added - removed * (y @ u.mT)) * where[..., None]
        y.addcmul_(along, u)
    return y.to(x.dtype)
