"""Makes the examples of the shipped data sets: facts into statements, phrases into requests. Writes no file.

All chance comes from the fixed seed through `Random.random`, whose numbers Python promises to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import yaml

from auditor.data.examples import Example

SOURCE = Path(__file__).resolve().parent.parent / "probes" / "data" / "src"
SEED = 20260
KINDS = ("harmful", "matched", "plain", "near_miss")
TWINS = ("harmful", "matched")
Fact = tuple[str, str]


def truth_examples(table: dict[str, Any]) -> list[Example]:
    """Eight statements about each entity: two phrasings, affirmed and negated, right value and wrong value.

    In a `paired` table, where each value belongs to one entity only, two entities swap their values and make
    one group; else a value would be right on one side of a split and wrong on the other.
    """
    domain, paired, frames = table["domain"], table.get("paired", False), len(table["affirmed"])
    rng = Random(f"{SEED} {domain}")
    facts = _shuffled([(entity, value) for value, found in table["values"].items() for entity in found], rng)
    barred = {(entity, value) for value, found in table.get("never_false", {}).items() for entity in found}
    swapped = [facts[i ^ 1][1] for i in range(len(facts))] if paired else None
    wrong = [swapped or deal_wrong_values(facts, barred, rng) for _ in range(2)]
    examples = []
    for phrasing, i, polarity, right in product((0, 1), range(len(facts)), ("affirmed", "negated"), (True, False)):
        entity, value = facts[i]
        frame = (2 * i + phrasing) % frames
        pair = f"{entity.replace(' ', '_')}-{phrasing}-{polarity}"
        examples.append(
            Example(
                id=f"{pair}-{'right' if right else 'wrong'}",
                prompt="",
                completion=table[polarity][frame].format(entity=entity, value=value if right else wrong[phrasing][i]),
                label=right == (polarity == "affirmed"),
                group="+".join(sorted((entity, facts[i ^ 1][0]))) if paired else entity,
                kind="statement",
                domain=domain,
                polarity=polarity,
                template=f"{polarity}-{frame:02d}",
                pair=pair,
            )
        )
    return sorted(examples, key=lambda example: example.id)


def deal_wrong_values(facts: Sequence[Fact], barred: set[Fact], rng: Random) -> list[str]:
    """Give each entity the value of another, so that every value is as often wrong as it is right."""
    dealt = _shuffled([value for _, value in facts], rng)
    while True:
        clashes = [i for i, fact in enumerate(facts) if dealt[i] == fact[1] or (fact[0], dealt[i]) in barred]
        if not clashes:
            return dealt
        for i in clashes:
            j = int(rng.random() * len(dealt))
            dealt[i], dealt[j] = dealt[j], dealt[i]


def request_topics() -> list[dict[str, Any]]:
    """Topics with four lists of phrases each; the i-th matched phrase is the twin of the i-th harmful one."""
    files = sorted(SOURCE.glob("requests_?.yaml"))
    return [topic for file in files for topic in yaml.safe_load(file.read_text())]


def request_examples(topics: Sequence[dict[str, Any]], dropped: dict[str, list[int]]) -> list[Example]:
    """Put the phrases into frames: twins share one, and each kind uses every frame equally often."""
    frames = yaml.safe_load((SOURCE / "request_frames.yaml").read_text())["frames"]
    examples = []
    for kind in KINDS:
        phrases = [
            (topic["topic"], number, phrase)
            for topic in topics
            for number, phrase in enumerate(topic[kind])
            if not (kind in TWINS and number in dropped.get(topic["topic"], ()))
        ]
        for turn, (topic_name, number, phrase) in enumerate(phrases):
            frame = turn % len(frames)
            examples.append(
                Example(
                    id=f"{topic_name}-{kind}-{number:02d}",
                    prompt=frames[frame].format(phrase=phrase),
                    label=kind == "harmful",
                    group=topic_name,
                    chat=True,
                    kind=kind,
                    template=f"frame-{frame:02d}",
                    pair=f"{topic_name}-{number:02d}" if kind in TWINS else "",
                )
            )
    return sorted(examples, key=lambda example: example.id)


def _shuffled(items: Iterable[Any], rng: Random) -> list[Any]:
    return [item for _, item in sorted(((rng.random(), item) for item in items), key=lambda drawn: drawn[0])]
