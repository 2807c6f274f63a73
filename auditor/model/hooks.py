"""The only file that registers a hook: edits are applied and activations read here, inside `with`.

    with editing(target, edits), recording(target, sites, positions) as seen:
        target.model(input_ids=..., attention_mask=...)

Which token a column holds is read from the attention mask of each forward pass, so padding, a key-value cache and any
loop that drives the model are understood. Every `with` removes its own handles and no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.errors import UnsupportedModel
from auditor.model.arithmetic import RowEdits, Rows, Step, by_row, contracted, edited, steps_at, where_masks_hold
from auditor.model.batches import token_positions
from auditor.model.edits import Edit
from auditor.model.sites import Site
from auditor.model.target import TargetModel


@contextmanager
def editing(target: TargetModel, edits: RowEdits, *, prompt_lens: Sequence[int] = ()) -> Iterator[Rows]:
    """Apply edits in every forward pass inside the block, in the order given at each site.

    Each edited tensor is a new one. Nested blocks: the inner one acts first. Yields the rows of the batch, which may
    become fewer.

    Args:
        target: the model.
        edits: a list of edits for all rows of the batch, or one list for each row.
        prompt_lens: tokens of each row's prompt, needed unless every edit touches all tokens.

    Raises:
        UnsupportedModel: a site that the model does not have.
        ValueError: edits, prompt lengths and batch disagree about the number of rows, or a vector about d_model.
    """
    rows, sizes = by_row(edits)
    if prompt_lens:
        sizes.add(len(prompt_lens))
    named = {site: None for row in rows for edit in row for site in edit.sites}
    for edit in (edit for row in rows for edit in row):
        if edit.vector.shape != (target.d_model,):
            raise ValueError(f"a vector of {edit.vector.shape[0]} for a residual stream of {target.d_model}")
        if edit.positions != "all" and not prompt_lens:
            raise ValueError(f"an edit of {edit.positions!r} tokens needs the lengths of the prompts")
    left = Rows()
    with ExitStack() as stack:
        if named:
            columns = stack.enter_context(_columns(target, prompt_lens, left))
        for site in named:
            here = steps_at(rows, site, target.d_model)

            def change(x: Tensor, steps: list[Step] = here) -> Tensor:
                if left.kept is None and not sizes <= {x.shape[0]}:
                    raise ValueError(f"edits or prompts for {sizes} rows, a batch of {x.shape[0]}")
                return edited(x, steps, columns.touched, left)

            # prepended, so that whoever records at the same site sees what the edit made of it
            stack.enter_context(_on_site(target, site, change, prepend=True))
        yield left


@dataclass(frozen=True, eq=False)
class Seen:
    """What `recording` has read so far."""

    sites: tuple[Site, ...]
    values: NDArray[np.float32]
    """[n_asked, n_sites, d_model]; asked tokens in order of row, then as asked"""
    read: NDArray[np.bool_]
    """[n_asked, n_sites] whether a forward pass has come by"""

    @property
    def whole(self) -> NDArray[np.float32]:
        """`values`, once every token was reached. Raises LookupError before."""
        if not self.read.all():
            raise LookupError(f"{int((~self.read).any(axis=1).sum())} tokens were never seen")
        return self.values

    def at(self, site: Site) -> NDArray[np.float32]:
        """[n_asked, d_model] at one site. Raises LookupError for tokens that no forward pass has reached."""
        index = self.sites.index(site)
        if not self.read[:, index].all():
            raise LookupError(f"{int((~self.read[:, index]).sum())} tokens were never seen at {site}")
        found: NDArray[np.float32] = self.values[:, index]
        return found


@contextmanager
def recording(target: TargetModel, sites: Sequence[Site], positions: Sequence[Sequence[int]]) -> Iterator[Seen]:
    """Keep the activations at some sites and tokens of every forward pass inside the block, as float32 on the CPU.

    Only the asked tokens are taken, inside the hook. Reads see the edits of an `editing` block around or inside this
    one. Where several passes hold the same token the last one counts.

    Args:
        target: the model.
        sites: each named once.
        positions: for each row of the batch the tokens to keep, from 0, padding not counted.

    Raises:
        UnsupportedModel: a site that the model does not have.
        ValueError: the batch has another number of rows than `positions`.
    """
    rows = torch.tensor([row for row, asked in enumerate(positions) for _ in asked], dtype=torch.int64)
    tokens = torch.tensor([token for asked in positions for token in asked], dtype=torch.int64)
    shape = (len(tokens), len(sites))
    seen = Seen(tuple(sites), np.zeros((*shape, target.d_model), np.float32), np.zeros(shape, np.bool_))
    with ExitStack() as stack:
        columns = stack.enter_context(_columns(target))
        for index, site in enumerate(sites):

            def keep(x: Tensor, index: int = index) -> None:
                if x.shape[0] != len(positions):
                    raise ValueError(f"positions of {len(positions)} rows, a batch of {x.shape[0]}")
                here = columns.tokens.cpu()[rows] == tokens[:, None]
                hit = here.any(-1)
                taken = x[rows[hit].to(x.device), here[hit].int().argmax(-1).to(x.device)]
                seen.values[hit.numpy(), index] = taken.float().cpu().numpy()
                seen.read[hit.numpy(), index] = True

            stack.enter_context(_on_site(target, site, keep))
        yield seen


@contextmanager
def starting_at(target: TargetModel, layer: int, x: Tensor) -> Iterator[None]:
    """Pass over the blocks before `layer`, and feed it `x` [rows, columns, d_model] in every forward pass inside."""

    def passed_over(*args: Any, **kwargs: Any) -> Any:
        stream = args[0] if args else kwargs["hidden_states"]
        return (stream,) if target.starts_late == "tuple" else stream

    def feed(stream: Tensor) -> Tensor:
        return x.to(device=stream.device, dtype=stream.dtype)

    with ExitStack() as stack:
        for block in target.blocks[:layer]:
            block.forward = passed_over
            stack.callback(vars(block).pop, "forward")
        stack.enter_context(_on_site(target, Site(layer, "resid_pre"), feed, prepend=True))
        yield


class _Enough(Exception):  # noqa: N818, not an error
    """The pass has come as far as it is wanted."""


@contextmanager
def stopping_behind(target: TargetModel, layer: int) -> Iterator[None]:
    """End a forward pass inside behind a block; what it would have returned is lost, and the block ends with it."""

    def stop(_module: nn.Module, _args: Any, _output: Any) -> None:
        raise _Enough

    handle = target.blocks[layer].register_forward_hook(stop)
    try:
        with suppress(_Enough):
            yield
    finally:
        handle.remove()


@dataclass(eq=False)
class Slopes:
    """How fast something at the end of a forward pass changes with the coefficients of edits, all of them at 0."""

    root: Tensor
    """the stream before the first block, to which the backward pass has to go"""
    values: Tensor
    """float32 [rows, n_edits]; whole after the backward pass"""


@contextmanager
def differentiating(target: TargetModel, edits: Sequence[Edit]) -> Iterator[Slopes]:
    """Gather the slopes of edits of all tokens in one forward and one backward pass inside the block.

    At each site the gradient is contracted with the directions as it comes by: of an addition what remains is
    norm · Σ g·u, of an ablation −Σ (g·u)(x·u), over its sites and the tokens of a row; no gradient is kept.

    Raises:
        UnsupportedModel: a site that the model does not have.
        ValueError: an edit of some tokens only, or one that at coefficient 0 still does something.
    """
    if any(edit.kind == "replace" or edit.positions != "all" for edit in edits):
        raise ValueError("slopes are of additions and ablations of all tokens")
    slopes = Slopes(torch.empty(0), torch.empty(0))
    handles: list[Any] = []

    def begin(x: Tensor) -> Tensor:
        slopes.root = x.detach().requires_grad_()
        slopes.values = torch.zeros(x.shape[0], len(edits), device=x.device)
        return slopes.root

    with ExitStack() as stack:
        columns = stack.enter_context(_columns(target))
        stack.enter_context(_on_site(target, Site(0, "resid_pre"), begin, prepend=True))
        for site in {site: None for edit in edits for site in edit.sites}:
            here = [i for i, edit in enumerate(edits) if site in edit.where]

            def watch(x: Tensor, here: list[int] = here) -> None:
                def add(gradient: Tensor) -> None:
                    found = contracted(gradient, x.detach(), [edits[i] for i in here], columns.tokens >= 0)
                    slopes.values[:, here] += found.to(slopes.values.device)

                handles.append(x.register_hook(add))  # type: ignore[no-untyped-call]

            stack.enter_context(_on_site(target, site, watch))
        stack.callback(lambda: [handle.remove() for handle in handles])
        yield slopes


@contextmanager
def contiguous_head(target: TargetModel) -> Iterator[None]:
    """Feed the head of the model its last columns as one block of memory.

    torch multiplies a slice of a longer tensor row by row, and copies the weights of the head for each row: 100 rows
    took 5.4 GB and 11 s with a head of 57 MB, where the same numbers take 0.02 GB and 2.4 s.
    """

    def whole(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].contiguous(), *args[1:])

    handle = target.model.get_output_embeddings().register_forward_pre_hook(whole)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def outputs_of(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Copies of the tensors that modules return, in the order in which they run.

    A module that runs more than once is left out, as is one that returns no tensor.
    """
    found: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()
    with ExitStack() as stack:
        for name, module in modules.items():

            def keep(_module: nn.Module, _args: Any, output: Any, name: str = name) -> None:
                first = output[0] if isinstance(output, tuple) else output
                runs[name] += 1
                if isinstance(first, Tensor):
                    found[name] = first.clone()

            stack.callback(module.register_forward_hook(keep).remove)
        yield found
    for name, times in runs.items():
        if times > 1:
            found.pop(name, None)


def library_hidden_states(model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, ...] | None:
    """The library's own list of hidden states, leaving the model as it was.

    Asking for them makes transformers 5 install capturing hooks for good, and remember that it did. Both are undone, or
    the library would later look for hooks that someone removed and silently return nothing.
    """
    installed = "_output_capturing_hooks_installed"
    before = {module: set(module._forward_hooks) for module in model.modules()}
    flagged = {module for module in before if installed in vars(module)}
    try:
        output = model(**inputs, output_hidden_states=True, use_cache=False)
    finally:
        for module, handles in before.items():
            for added in set(module._forward_hooks) - handles:
                del module._forward_hooks[added]
            if module not in flagged:
                vars(module).pop(installed, None)
    states: tuple[Tensor, ...] | None = getattr(output, "hidden_states", None)
    return states


class _Columns:
    """Which token each column of the running forward pass holds."""

    tokens: Tensor
    """int64 [rows, columns] position in the row's own text; −1 at padding"""
    touched: Tensor
    """bool [4, rows, columns] where each mask of MASKS holds"""


@contextmanager
def _columns(target: TargetModel, prompt_lens: Sequence[int] = (), rows: Rows | None = None) -> Iterator[_Columns]:
    columns = _Columns()
    ends = torch.tensor(prompt_lens or [0])

    def look(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else kwargs["input_ids"]
        mask = kwargs.get("attention_mask")
        if mask is None:
            cache = kwargs.get("past_key_values")
            past = 0 if cache is None else cache.get_seq_length()
            mask = torch.ones(ids.shape[0], past + ids.shape[1], dtype=torch.int64, device=ids.device)
        if mask.ndim != 2:
            raise ValueError(f"the attention mask is [rows, columns], not {list(mask.shape)}")
        columns.tokens = token_positions(mask)[:, -ids.shape[1] :]
        columns.touched = where_masks_hold(columns.tokens, ends if rows is None else rows.of(ends))

    handle = target.backbone.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield columns
    finally:
        handle.remove()


@contextmanager
def _on_site(
    target: TargetModel, site: Site, act: Callable[[Tensor], Tensor | None], *, prepend: bool = False
) -> Iterator[None]:
    """Let `act` see the stream at a site; what it returns, if anything, takes its place."""
    module = target.module(site)

    def on_stream(x: Any) -> Tensor | None:
        if not (isinstance(x, Tensor) and x.ndim == 3 and x.shape[-1] == target.d_model):
            found = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise UnsupportedModel(f"{site.point} is not [rows, tokens, {target.d_model}] but {found}")
        return act(x)

    def on_input(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = on_stream(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = on_stream(kwargs.get("hidden_states"))
        return None if new is None else (args, {**kwargs, "hidden_states": new})

    def on_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            new = on_stream(output[0])
            return None if new is None else (new, *output[1:])
        return on_stream(output)

    if site.point == "resid_pre":
        handle = module.register_forward_pre_hook(on_input, with_kwargs=True, prepend=prepend)
    else:
        handle = module.register_forward_hook(on_output, prepend=prepend)
    try:
        yield
    finally:
        handle.remove()
