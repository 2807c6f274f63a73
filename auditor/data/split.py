"""The split rule: which groups are for choosing, for thresholds, for evaluation. No model, no torch.

Order comes from sha256 alone, so a split depends on the seed, the data set's name and its groups, and on
nothing else: not on the order of the file, the library or the machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from auditor.canonical import canonical_json, sha256_hex
from auditor.data.examples import Dataset, Example, Split
from auditor.errors import ConfigError

FEWEST_GROUPS = 4
"""one each for fit, validation, threshold and evaluation"""


def split(dataset: Dataset, seed: int) -> dict[str, Split]:
    """Deal every example to a split, by group -> {example id: split}.

    Within each domain (the stratum) the groups, ordered by sha256(seed, data set, group), go .40 / .20 / .40
    to selection, threshold and evaluation; selection again 4 : 1 to fit and validation. Domains with fewer
    than four groups are dealt together; if even together they are fewer, they join the largest domain.

    Raises ConfigError for fewer than four groups, and for a group that lies in two domains.
    """
    placed: dict[str, Split] = {}
    for groups in _strata(dataset):
        ordered = sorted(groups, key=lambda group: _rank(seed, dataset.name, group))
        placed.update(zip(ordered, _parts(len(ordered)), strict=True))
    return {example.id: placed[example.group] for example in dataset.examples}


def draw(examples: Sequence[Example], n: int, seed: int) -> tuple[Example, ...]:
    """Take n examples, spread evenly over the groups: one of each in turn, groups and items in random order.

    The first 60 of 150 are the same as 60 drawn at once. Where there are fewer than n, all are returned.
    """
    by_group: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_group[example.group].append(example)
    turns = []
    for group, members in by_group.items():
        members.sort(key=lambda example: _rank(seed, "item", example.id))
        turns += [(turn, _rank(seed, "group", group), example) for turn, example in enumerate(members)]
    turns.sort(key=lambda entry: entry[:2])
    return tuple(example for _, _, example in turns[:n])


def _strata(dataset: Dataset) -> list[list[str]]:
    domain_of: dict[str, str] = {}
    for example in dataset.examples:
        if domain_of.setdefault(example.group, example.domain) != example.domain:
            raise ConfigError(
                f"{dataset.name}: the group {example.group!r} lies in two domains, "
                f"{domain_of[example.group]!r} and {example.domain!r}; a group belongs to one"
            )
    if len(domain_of) < FEWEST_GROUPS:
        raise ConfigError(
            f"{dataset.name}: {len(domain_of)} groups cannot be split; at least {FEWEST_GROUPS} are needed"
        )
    domains: dict[str, list[str]] = defaultdict(list)
    for group, domain in domain_of.items():
        domains[domain].append(group)
    return _merge_small([domains[name] for name in sorted(domains)])


def _merge_small(strata: list[list[str]]) -> list[list[str]]:
    large = [groups for groups in strata if len(groups) >= FEWEST_GROUPS]
    rest = [group for groups in strata if len(groups) < FEWEST_GROUPS for group in groups]
    if len(rest) >= FEWEST_GROUPS:
        return [*large, rest]
    if rest:
        max(large, key=len).extend(rest)
    return large


def _parts(n: int) -> Iterable[Split]:
    """The splits of n ordered groups, n >= 4; none is empty."""
    selection = max(2, int(0.4 * n + 0.5))
    validation = max(1, int(selection / 5 + 0.5))
    threshold = max(1, int(0.2 * n + 0.5))
    sizes: dict[Split, int] = {
        "fit": selection - validation,
        "validation": validation,
        "threshold": threshold,
        "evaluation": n - selection - threshold,
    }
    return [name for name, size in sizes.items() for _ in range(size)]


def _rank(*key: str | int) -> str:
    return sha256_hex(canonical_json(key))
