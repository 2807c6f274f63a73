"""Leakage and balance: what is wrong with a data set before any model sees it. No model, no torch.

What the words themselves give away is measured, not checked here: see `auditor.measure.baselines`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.data.examples import Example

TEMPLATE_SHARE = 0.05
"""a frame that makes up more of a class could stand in for the class"""
FEWEST_GROUPS = 50
"""two fifths of them are 20 evaluation groups, the fewest an instrument may qualify on"""
LARGEST_GROUP = 0.10
"""a group that holds more of the examples decides a group-held-out figure alone"""


@dataclass(frozen=True)
class Problem:
    """One thing found wrong with a data set."""

    check: str
    """both labels, duplicate, template, one-sided group, few groups, large group, straddling group, pair"""
    detail: str


def problems(examples: Sequence[Example], *, both_classes: bool = True) -> list[Problem]:
    """Everything wrong with the examples, in a fixed order; empty if nothing is.

    `both_classes`: whether each group must hold examples of both classes.
    """
    found = [*_repeated_texts(examples), *_frequent_templates(examples), *_group_sizes(examples)]
    found += _straddling_groups(examples)
    found += _broken_pairs(examples)
    if both_classes:
        found += _one_sided_groups(examples)
    return found


def _repeated_texts(examples: Sequence[Example]) -> Iterator[Problem]:
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_text[" ".join(example.text.casefold().split())].append(example)
    for same in by_text.values():
        if len(same) > 1:
            check = "both labels" if len({example.label for example in same}) == 2 else "duplicate"
            yield Problem(check, f"{', '.join(example.id for example in same)}: {same[0].text!r}")


def _frequent_templates(examples: Sequence[Example]) -> Iterator[Problem]:
    """A class is a label, or one kind of examples within it."""
    class_sizes = Counter((example.label, example.kind) for example in examples)
    uses = Counter(((example.label, example.kind), example.template) for example in examples if example.template)
    for ((label, kind), template), n in sorted(uses.items()):
        share = n / class_sizes[label, kind]
        if template and share > TEMPLATE_SHARE:
            name = f"{'positive' if label else 'negative'} {kind}".strip()
            yield Problem("template", f"{template!r} makes up {share:.1%} of the {name} examples")


def _group_sizes(examples: Sequence[Example]) -> Iterator[Problem]:
    sizes = Counter(example.group for example in examples)
    if len(sizes) < FEWEST_GROUPS:
        yield Problem("few groups", f"{len(sizes)} groups; {FEWEST_GROUPS} leave 20 for evaluation")
    for group, n in sorted(sizes.items()):
        if n / len(examples) > LARGEST_GROUP:
            yield Problem("large group", f"{group!r} holds {n / len(examples):.1%} of the examples")


def _one_sided_groups(examples: Sequence[Example]) -> Iterator[Problem]:
    labels: dict[str, set[bool]] = defaultdict(set)
    for example in examples:
        labels[example.group].add(example.label)
    for group, held in sorted(labels.items()):
        if len(held) == 1:
            yield Problem("one-sided group", f"{group!r} holds one class only")


def _straddling_groups(examples: Sequence[Example]) -> Iterator[Problem]:
    domains: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        domains[example.group].add(example.domain)
    for group, names in sorted(domains.items()):
        if len(names) > 1:
            yield Problem("straddling group", f"{group!r} lies in {', '.join(sorted(names))}")


def _broken_pairs(examples: Sequence[Example]) -> Iterator[Problem]:
    """A contrast pair is a positive and a negative example of one group and one template."""
    pairs: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.pair:
            pairs[example.pair].append(example)
    for name, members in sorted(pairs.items()):
        if sorted(example.label for example in members) != [False, True]:
            yield Problem("pair", f"{name!r} is not one positive and one negative example")
        elif len({(example.group, example.template) for example in members}) > 1:
            yield Problem("pair", f"the two of {name!r} differ in group or template")
