"""Makes the trait data sets for steering: matters of taste, praise, and scenes, as items with two options each.

One example is one option of an item: the prompt is the user's text without the options, the completion is the
option, and the label says whether it shows the trait. Nothing is left to chance.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml
from make_examples import SOURCE
from make_scenes import NAMES as SCENES
from make_scenes import SIDES, broken_promises, filled, scene_card, scene_examples, slug

from auditor.data.examples import Example

PHRASINGS = 3
"""frames in which each subject is put"""
THINGS = 5
"""things that each pair of adjectives is asked about"""


def sycophancy_examples(table: dict[str, Any]) -> list[Example]:
    """Each subject in three frames, with the user on either side; every option agrees as often as it differs."""
    frames = table["frames"]
    examples = []
    for number, sides in enumerate(table["subjects"]):
        group = "+".join(slug(side) for side in sides)
        for phrasing, taken in ((p, t) for p in range(PHRASINGS) for t in (0, 1)):
            frame = (number + phrasing * len(frames) // PHRASINGS) % len(frames)
            prompt = filled(frames[frame], sides[taken], sides[1 - taken])
            for other in (0, 1):
                agrees = other == 0
                examples.append(
                    Example(
                        id=f"{group}-{phrasing}-{SIDES[taken]}-{'agrees' if agrees else 'differs'}",
                        prompt=prompt,
                        completion=filled(table["option"], sides[taken ^ other], sides[1 - (taken ^ other)]),
                        label=agrees,
                        group=group,
                        chat=True,
                        kind="letters",
                        polarity=SIDES[taken],
                        template=f"frame-{frame:02d}",
                        pair=f"{group}-{phrasing}-{SIDES[taken]}",
                    )
                )
    return sorted(examples, key=lambda example: example.id)


def sentiment_examples(table: dict[str, Any]) -> list[Example]:
    """Each pair of adjectives as two answers about five things, each time asked in another frame."""
    frames, things = table["frames"], table["things"]
    examples = []
    for number, pair in enumerate(table["adjectives"]):
        group = "+".join(pair)
        for turn in range(THINGS):
            slot = THINGS * number + turn
            prompt = frames[slot % len(frames)].format(thing=things[slot % len(things)])
            for adjective, good in zip(pair, (True, False), strict=True):
                examples.append(
                    Example(
                        id=f"{group}-{turn}-{'good' if good else 'bad'}",
                        prompt=prompt,
                        completion=table["option"].format(x=adjective),
                        label=good,
                        group=group,
                        chat=True,
                        kind="words",
                        template=f"frame-{slot % len(frames):02d}",
                        pair=f"{group}-{turn}",
                    )
                )
    return sorted(examples, key=lambda example: example.id)


MAKERS = {
    "trait_sycophancy": sycophancy_examples,
    "trait_sentiment": sentiment_examples,
    **dict.fromkeys(SCENES, scene_examples),
}
CARDS = {
    "trait_sycophancy": {
        "class_names": ["differs from the user", "agrees with the user"],
        "balance": (
            "Six items a subject: three frames, each with the user on either side. The two options of an item differ "
            "in the side alone, and every option agrees with the user as often as it differs. Half of the frames "
            "name the user's side first."
        ),
        "limits": (
            "Matters of taste with two named sides, in English. Agreement is with a stated preference, not with a "
            "false claim or a bad plan; the agreeing option repeats words that the user praised."
        ),
    },
    "trait_sentiment": {
        "class_names": ["finds fault", "praises"],
        "balance": (
            "Five things a pair of adjectives, each asked about in another frame. The two answers of an item differ "
            "in one word, and no adjective is in two pairs, so that words seen in fitting say nothing about others."
        ),
        "limits": (
            "Adjectives of praise and blame in English, in one short sentence. Some fit what they are said of "
            "better than others, and the positive ones are the more common words."
        ),
    },
}


def trait_table(name: str) -> dict[str, Any]:
    """The table that a trait is made from."""
    table: dict[str, Any] = yaml.safe_load((SOURCE / f"{name}.yaml").read_text())
    return table


def traits() -> list[tuple[list[Example], dict[str, Any]]]:
    """The examples of each trait with their card, which still lacks sizes, figures and sha256."""
    found = []
    for name, make in MAKERS.items():
        table = trait_table(name)
        _refuse_repeats(name, table)
        card = {
            "name": name,
            "about": table["about"].strip(),
            "origin": f"written for this project: src/{name}.yaml put into sentences",
            "licence": "Apache-2.0",
            "language": "en",
            "built": "tools/build_data.py; nothing is left to chance",
            **(scene_card(table) if name in SCENES else CARDS[name]),
        }
        found.append((make(table), card))
    return found


def _refuse_repeats(name: str, table: dict[str, Any]) -> None:
    if name in SCENES:
        broken = broken_promises(table)
        if broken:
            raise SystemExit("\n".join(f"{name}: {fault}" for fault in broken))
        return
    words = [word for pair in table.get("subjects", table.get("adjectives")) for word in pair]
    again = [word for word, n in Counter([*words, *table.get("things", ())]).items() if n > 1]
    if again:
        raise SystemExit(f"{name}: occurs more than once: {', '.join(again)}")
