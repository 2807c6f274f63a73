"""Views of the data sets by split: the only way from a data set to its rows. No torch, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auditor.config import Scalar
from auditor.data.examples import Dataset, Example, Split
from auditor.data.split import split

SELECTION: tuple[Split, ...] = ("fit", "validation")


@dataclass(frozen=True)
class View:
    """A data set, or the part of it in which row fields have given values."""

    data: str
    where: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The data set and what it is narrowed to, for tables."""
        return " · ".join([self.data, *(value for _, value in self.where)])

    def holds(self, example: Example) -> bool:
        """Whether an example of the data set belongs to this view."""
        return all(getattr(example, field) == value for field, value in self.where)

    def conditions(self, **more: Scalar) -> dict[str, Scalar]:
        """Item-row fields that select this view."""
        return {"dataset": self.data, **dict(self.where), **more}


class Library:
    """Data sets by name, each split once by the seed of the run."""

    def __init__(self, read: Callable[[str], Dataset], seed: int) -> None:
        self._read, self.seed = read, seed
        self._split: dict[str, dict[str, Split]] = {}
        self.opened: dict[str, Dataset] = {}

    def dataset(self, name: str) -> Dataset:
        """The data set, read and split when first asked for."""
        if name not in self.opened:
            self.opened[name] = self._read(name)
            self._split[name] = split(self.opened[name], seed=self.seed)
        return self.opened[name]

    def examples(self, view: View, splits: Sequence[Split]) -> tuple[Example, ...]:
        """The examples of a view that lie in the given splits, in file order."""
        data = self.dataset(view.data)
        return tuple(
            example for example in data.examples if self._split[view.data][example.id] in splits and view.holds(example)
        )

    def split_of(self, view: View, example: Example) -> Split:
        """The split that an example's group was dealt to."""
        return self._split[view.data][example.id]
