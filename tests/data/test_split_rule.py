from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.data.examples import Dataset, Example
from auditor.data.split import draw, split
from auditor.errors import ConfigError

SPLITS = {"fit", "validation", "threshold", "evaluation"}


def dataset(sizes: Sequence[int], domains: Sequence[str] = ("",), name: str = "d") -> Dataset:
    """One group for each size, groups taking domains in turn."""
    examples = tuple(
        Example(
            id=f"{group}-{i}",
            prompt="x",
            label=i % 2 == 0,
            group=f"g{group}",
            domain=domains[group % len(domains)],
        )
        for group, size in enumerate(sizes)
        for i in range(size)
    )
    return Dataset(name, examples, ("no", "yes"), "en", "", {})


def groups_by_split(data: Dataset, seed: int = 0) -> dict[str, set[str]]:
    placed = split(data, seed)
    found: dict[str, set[str]] = defaultdict(set)
    for example in data.examples:
        found[placed[example.id]].add(example.group)
    return found


@given(
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=60),
    domains=st.integers(1, 20),
    seed=st.integers(0, 2**40),
)
def test_every_part_has_groups_and_no_group_is_in_two(sizes: list[int], domains: int, seed: int) -> None:
    data = dataset(sizes, [f"domain {i}" for i in range(domains)])
    parts = groups_by_split(data, seed)
    assert set(parts) == SPLITS
    assert sum(map(len, parts.values())) == len(sizes)
    assert len(set().union(*parts.values())) == len(sizes)


@given(st.permutations(range(40)), st.integers(0, 99))
def test_depends_on_groups_alone_not_on_the_order_of_the_file(order: list[int], seed: int) -> None:
    data = dataset([1] * 40)
    shuffled = Dataset("d", tuple(data.examples[i] for i in order), ("no", "yes"), "en", "", {})
    assert split(data, seed) == split(shuffled, seed)


def test_shares_are_two_one_two_fifths_and_four_to_one() -> None:
    sizes = {name: len(groups) for name, groups in groups_by_split(dataset([2] * 100)).items()}
    assert sizes == {"fit": 32, "validation": 8, "threshold": 20, "evaluation": 40}


def test_each_domain_is_split_by_itself() -> None:
    data = dataset([1] * 200, ["a", "b"])
    placed = split(data, 3)
    counts = Counter((e.domain, placed[e.id]) for e in data.examples)
    assert counts["a", "evaluation"] == counts["b", "evaluation"] == 40
    assert counts["a", "validation"] == counts["b", "validation"] == 8


def test_seed_and_name_change_the_split_and_nothing_else_does() -> None:
    data, other = dataset([1] * 50), dataset([1] * 50, name="other")
    assert split(data, 0) == split(data, 0)
    assert split(data, 0) != split(data, 1)
    assert split(data, 0) != split(other, 0)


def test_is_the_same_on_every_machine() -> None:
    assert groups_by_split(dataset([1] * 5), 7) == {
        "fit": {"g0"},
        "validation": {"g2"},
        "threshold": {"g4"},
        "evaluation": {"g1", "g3"},
    }


def test_refuses_too_few_groups_and_a_group_in_two_domains() -> None:
    with pytest.raises(ConfigError, match="3 groups cannot be split"):
        split(dataset([9, 9, 9]), 0)
    two = Example(id="z", prompt="x", label=True, group="g0", domain="b")
    straddling = Dataset("d", (*dataset([1] * 9, ["a"]).examples, two), ("no", "yes"), "en", "", {})
    with pytest.raises(ConfigError, match="'g0' lies in two domains"):
        split(straddling, 0)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    n=st.integers(0, 120),
    more=st.integers(0, 60),
    seed=st.integers(0, 99),
)
def test_draw_is_even_over_groups_and_stable_by_prefix(sizes: list[int], n: int, more: int, seed: int) -> None:
    pool = dataset(sizes).examples
    drawn = draw(pool, n, seed)
    assert len(drawn) == len(set(drawn)) == min(n, len(pool))
    assert draw(pool, n + more, seed)[: len(drawn)] == drawn
    taken, held = Counter(e.group for e in drawn), Counter(e.group for e in pool)
    most = max(taken.values(), default=0)
    assert all(taken[group] >= min(most - 1, size) for group, size in held.items())


def test_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    pool = list(dataset([6] * 20).examples)
    shuffled = Random(1).sample(pool, len(pool))
    assert draw(pool, 30, 5) == draw(shuffled, 30, 5)
    assert draw(pool, 30, 5) != draw(pool, 30, 6)
