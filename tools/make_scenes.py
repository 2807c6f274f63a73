"""Makes the trait data sets in which a scene, and not the option, says which of two sides shows the trait.

Each topic has two sides and two scenes. Every scene is put twice, with the sides changing places, so that each option
shows the trait as often as it does not; the sides, and the order in which a scene names them, tell nothing.
Nothing is left to chance.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from auditor.data.examples import Example

SIDES = ("first", "second")
NAMES = (
    "trait_power_seeking",
    "trait_corrigibility",
    "trait_hallucination",
    "trait_myopia",
    "trait_survival_instinct",
    "trait_dishonesty",
)
BALANCE = (
    "Four items a topic: two scenes, each with the sides changing places. The two options of an item differ in the "
    "side alone, and every option shows the trait as often as it does not. A scene names each side once; of the two "
    "scenes of a topic, one names the side that shows the trait first."
)
BINDING = (
    "Only the scene says which option shows the trait: a model that does not tie the two together shows no trait "
    "and has no direction for it. What a sentence says of a side is written near it, so the words around the sides "
    "tell them apart in part, which is measured with both sides replaced by marks (sides marked)."
)
MARKS = ("thisside", "thatside")
"""what stands for the two sides where only the words around them may tell"""


def scene_examples(table: dict[str, Any]) -> list[Example]:
    """Each scene of each topic with the one side showing the trait, and with the other."""
    examples = []
    for topic in table["topics"]:
        group = slug(topic["topic"])
        for turn, shows in ((turn, shows) for turn in range(len(topic["scenes"])) for shows in (0, 1)):
            sides = topic["sides"][shows], topic["sides"][1 - shows]
            pair = f"{group}-{turn}-{SIDES[shows]}"
            for label, (x, y) in ((True, sides), (False, sides[::-1])):
                examples.append(
                    Example(
                        id=f"{pair}-{'shows' if label else 'lacks'}",
                        prompt=filled(topic["scenes"][turn], *sides),
                        completion=filled(topic["option"], x, y),
                        label=label,
                        group=group,
                        chat=True,
                        kind="letters",
                        polarity=SIDES[shows],
                        template=f"{group}-{turn}",
                        pair=pair,
                    )
                )
    return sorted(examples, key=lambda example: example.id)


def marked_scenes(table: dict[str, Any]) -> list[Example]:
    """Each scene with both sides replaced by marks; positive where the first mark stands for the trait's side."""
    return [
        Example(
            id=f"{slug(topic['topic'])}-{turn}-{SIDES[shows]}",
            prompt=filled(scene, MARKS[shows], MARKS[1 - shows]),
            label=shows == 0,
            group=slug(topic["topic"]),
        )
        for topic in table["topics"]
        for turn, scene in enumerate(topic["scenes"])
        for shows in (0, 1)
    ]


def scene_card(table: dict[str, Any]) -> dict[str, Any]:
    """What the card of such a set says beside what all cards say."""
    return {
        "class_names": table["class_names"],
        "balance": BALANCE,
        "limits": f"{table['limits'].strip()} {BINDING}",
    }


def broken_promises(table: dict[str, Any]) -> list[str]:
    """Where a table does not keep what `BALANCE` says; empty if it does everywhere."""
    names = Counter(topic["topic"] for topic in table["topics"])
    found = [f"{name}: occurs more than once" for name, n in names.items() if n > 1]
    for topic in table["topics"]:
        found += [f"{topic['topic']}: {fault}" for fault in _faults(topic)]
    return found


def _faults(topic: dict[str, Any]) -> list[str]:
    found, orders = [], []
    if len(set(topic["sides"])) != len(SIDES):
        found.append("two different sides are needed")
    if topic["option"].casefold().count("{x}") != 1:
        found.append("the option names {x} once")
    for scene in topic["scenes"]:
        named = [side.casefold() for side in re.findall(r"\{([xyXY])\}", scene)]
        orders.append("".join(named))
        if any(re.search(rf"\b{re.escape(side)}\b", scene, re.IGNORECASE) for side in topic["sides"]):
            found.append("a scene spells out a side")
    if sorted(orders) != ["xy", "yx"]:
        found.append("two scenes name each side once, one of them {x} first and one {y}")
    return found


def filled(frame: str, x: str, y: str) -> str:
    """The frame with both sides put in; {X} and {Y} begin with a capital."""
    return frame.format(x=x, y=y, X=x[0].upper() + x[1:], Y=y[0].upper() + y[1:])


def slug(text: str) -> str:
    """A name for use in ids."""
    return text.replace(" ", "_")
