"""Hooks as plain loops use them: one change at some modules, for all rows of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from auditor.model.sites import Site
from auditor.model.target import TargetModel

Change = Callable[[Tensor], Tensor]


@contextmanager
def hooked(target: TargetModel, sites: Sequence[Site], change: Change) -> Iterator[None]:
    """Let `change` take the place of the stream at some sites."""

    def before(_module: Any, args: tuple[Any, ...]) -> Any:
        return (change(args[0]), *args[1:])

    def after(_module: Any, _args: Any, output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    with ExitStack() as stack:
        for site in sites:
            module: torch.nn.Module = target.module(site)
            if site.point == "resid_pre":
                handle = module.register_forward_pre_hook(before)
            else:
                handle = module.register_forward_hook(after)
            stack.callback(handle.remove)
        yield


def removing(unit: Tensor) -> Change:
    """Take the component along a unit vector away."""
    return lambda x: x - (x @ unit)[..., None] * unit


def removing_in_place(unit: Tensor) -> Change:
    """The same without a new tensor."""
    return lambda x: x.sub_((x @ unit)[..., None] * unit)


def putting(vector: Tensor) -> Change:
    """Add a vector at every token."""
    return lambda x: x + vector


def putting_in_place(vector: Tensor) -> Change:
    """The same without a new tensor."""
    return lambda x: x.add_(vector)
