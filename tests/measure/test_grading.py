"""An answer is right or false only where it plainly says so."""

from __future__ import annotations

import pytest

from auditor.measure.grading import grade, names

RIGHT = names("the Netherlands | Netherlands | Holland")
WRONG = ("the Netherlands", "Netherlands", "Holland", "Niger", "Nigeria", "the United States", "U.S.", "Peru")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The city of Utrecht is in the Netherlands.", "right"),
        ("HOLLAND", "right"),
        ("It is in Peru.", "false"),
        ("Utrecht is in the U.S. It is a port.", "false"),
        ("Sure! Here you go. It lies in Peru.", "false"),
        ("It is in Peru. Holland is elsewhere.", "false"),
        ("It is in Holland. Peru is elsewhere.", "right"),
        ("Peruvian cities are high up.", "neither"),
        ("Nigeria", "false"),
        ("", "neither"),
        ("I'm sorry, but I can't help with that.", "neither"),
        ("In Europe.", "neither"),
        ("It is in Holland, a part of Peru.", "neither"),
        ("It is not in Peru.", "neither"),
        ("It isn't in Holland.", "neither"),
        ("It isn’t in Holland.", "neither"),
        ("A false answer would be Peru.", "neither"),
        ("The wrong answer: Peru", "neither"),
    ],
)
def test_grades(answer: str, expected: str) -> None:
    assert grade(answer, RIGHT, WRONG) == expected


def test_a_name_of_both_sorts_is_right() -> None:
    assert grade("Leeds is in the UK.", ["England", "UK"], ["Scotland", "UK"]) == "right"


def test_a_name_with_marks_is_one_word() -> None:
    assert grade("It is (U.S.), they say", ["U.S."], []) == "right"
    assert grade("Nigerian", ["Niger"], []) == "neither"
