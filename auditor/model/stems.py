"""Stems: which texts share more than what all of them begin with, and which of them go together. No torch, no model.

Twins, such as a question in two orders, differ in their last words. Their stem is read once, and each goes on from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from os.path import commonprefix

Ids = tuple[int, ...]

SHORTEST = 4
"""tokens below which nothing shared is worth reading by itself"""
PASS = 64
"""tokens that a pass of its own costs, about, however few go through it"""
MOST = 64
"""texts of one stem: of a larger family, more than a batch holds, little more would be saved"""
KEPT = 2
"""columns whose keys and values a batch with stems holds, for each padded token that it may feed: as many as rows of
24 tokens hold behind 24. With 3 or 6 nothing got faster"""


@dataclass(frozen=True)
class Text:
    """A text, as far as a plan asks."""

    ids: Ids
    """those of its tokens that others may share"""
    alike: Hashable
    """what else texts must have in common to share"""
    end: int
    """columns it takes at last: tokens, and those to be written"""


def stems(texts: Sequence[Text], known: int) -> list[Ids]:
    """The stem of every text, () for one without: the stems that leave the fewest tokens to read.

    `known`: tokens that are known already, of every text. Texts that share a stem are neighbours in lexicographic
    order, so the best way to cut that order into families is found text by text. None where little is saved in all.
    """
    by_kind: dict[Hashable, list[int]] = {}
    for index, text in enumerate(texts):
        by_kind.setdefault(text.alike, []).append(index)
    found: list[Ids] = [()] * len(texts)
    saved = 0
    for kind in by_kind.values():
        order = sorted(kind, key=lambda i: texts[i].ids)
        for start, end, length in _families([texts[i].ids for i in order], known):
            saved += (end - start - 1) * (length - known)
            for index in order[start:end]:
                found[index] = texts[index].ids[:length]
    worth = saved >= PASS and 10 * saved >= sum(text.end - known for text in texts)
    return found if worth else [()] * len(texts)


def _families(ordered: Sequence[Ids], known: int) -> list[tuple[int, int, int]]:
    """Where each family starts and ends and how many tokens it shares, for texts in lexicographic order."""
    shared = [len(commonprefix([a, b])) for a, b in zip(ordered, ordered[1:], strict=False)]
    best = [(0, -1, 0)] * (len(ordered) + 1)
    """tokens saved in the first n texts; where their last family starts, and its length"""
    for end in range(1, len(ordered) + 1):
        best[end] = (best[end - 1][0], end - 1, 0)
        length = len(ordered[end - 1])
        for start in range(end - 2, max(-1, end - 1 - MOST), -1):
            length = min(length, shared[start])
            if length - known < SHORTEST:
                break
            saved = best[start][0] + (end - start - 1) * (length - known)
            if saved > best[end][0]:
                best[end] = (saved, start, length)
    families = []
    end = len(ordered)
    while end:
        _, start, length = best[end]
        if length:
            families.append((start, end, length))
        end = start
    return families[::-1]


def in_families(texts: Sequence[Text], own: Sequence[Ids], known: int, budget: int) -> list[list[int]]:
    """Indices of texts with stems in batches, families together, those with the longest ends first.

    A batch feeds at most `budget` tokens, those of stems among them and padding counted, and holds at most KEPT times
    as many columns. A text above that is a batch by itself.
    """
    families: dict[tuple[Hashable, Ids], list[int]] = {}
    for index, (text, stem) in enumerate(zip(texts, own, strict=True)):
        families.setdefault((text.alike, stem), []).append(index)
    left = {index: texts[index].end - len(own[index]) for index in range(len(texts))}
    batches: list[list[int]] = []
    names: set[tuple[Hashable, Ids]] = set()
    width = longest = 0
    for name, family in sorted(families.items(), key=lambda one: (-max(left[i] for i in one[1]), -len(one[0][1]))):
        for index in family:
            rows, n_stems = (len(batches[-1]) + 1, len(names | {name})) if batches else (1, 1)
            width, longest = max(width, left[index]), max(longest, len(name[1]))
            fed = rows * width + n_stems * (longest - known)
            if not batches or fed > budget or rows * (longest + width) + n_stems * longest > KEPT * budget:
                batches.append([])
                names, width, longest = set(), left[index], len(name[1])
            batches[-1].append(index)
            names.add(name)
    return batches
