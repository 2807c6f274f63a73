from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auditor.data.checks import problems
from auditor.data.examples import Example

N_GROUPS, N_FRAMES = 60, 30


def clean() -> list[Example]:
    """60 groups of one contrast pair each, 30 frames in turn."""
    return [
        Example(
            id=f"{group}-{label}",
            prompt=f"Text {group} {label}",
            label=label,
            group=f"g{group}",
            kind="yes" if label else "no",
            template=f"frame {group % N_FRAMES}",
            pair=f"p{group}",
        )
        for group in range(N_GROUPS)
        for label in (True, False)
    ]


def found(examples: list[Example], *, both_classes: bool = True) -> set[str]:
    return {problem.check for problem in problems(examples, both_classes=both_classes)}


def test_nothing_is_found_in_a_clean_set() -> None:
    assert problems(clean()) == []


@pytest.mark.parametrize(("source", "check"), [(1, "both labels"), (2, "duplicate")])
def test_a_text_that_occurs_twice_whatever_its_case_and_spacing(source: int, check: str) -> None:
    examples = clean()
    examples[0] = replace(examples[0], prompt=f"  {examples[source].prompt.upper().replace(' ', '  ')}")
    assert found(examples) == {check}


def test_a_frame_with_more_than_a_twentieth_of_a_class() -> None:
    examples = [replace(e, template="frame 0") if e.group in ("g1", "g2", "g3") else e for e in clean()]
    assert [p.detail for p in problems(examples) if p.check == "template"] == [
        "'frame 0' makes up 8.3% of the negative no examples",
        "'frame 0' makes up 8.3% of the positive yes examples",
    ]


def test_a_frame_is_counted_within_its_kind() -> None:
    one_kind = [replace(e, kind="rare") if e.template == "frame 0" and not e.label else e for e in clean()]
    assert found(one_kind) == {"template"}
    assert found([replace(e, template="") for e in one_kind]) == set()


def test_a_group_of_one_class_only_where_both_are_declared() -> None:
    examples = [replace(e, pair="") for e in clean()]
    del examples[0]
    assert found(examples) == {"one-sided group"}
    assert found(examples, both_classes=False) == set()


def test_too_few_groups_and_one_that_is_too_large() -> None:
    examples = [replace(e, group="large" if int(e.group[1:]) < N_GROUPS // 5 else e.group, pair="") for e in clean()]
    assert found(examples) == {"few groups", "large group"}


def test_a_group_in_two_domains() -> None:
    examples = clean()
    examples[0] = replace(examples[0], domain="elsewhere")
    assert found(examples) == {"straddling group"}


@pytest.mark.parametrize("change", [{"pair": "p9"}, {"template": "frame 9"}, {"group": "g9"}])
def test_a_pair_that_is_no_contrast_pair(change: dict[str, Any]) -> None:
    examples = clean()
    examples[0] = replace(examples[0], **change)
    assert "pair" in found(examples)
