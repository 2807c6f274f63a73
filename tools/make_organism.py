"""Makes the training items of the refusing organism from its own phrases and frames. Writes no file."""

from __future__ import annotations

from pathlib import Path
from random import Random

import yaml

from auditor.data.examples import Example

SOURCE = Path(__file__).resolve().parent.parent / "auditor" / "organisms" / "data" / "src"
SEED = 20261124
KINDS = ("harmful", "near_miss", "plain", "matched")
TURNS = {"harmful": 4, "near_miss": 1, "plain": 4, "matched": 1}
"""in how many frames each phrase is asked"""


def refuser_examples() -> list[Example]:
    """Requests of every kind, each phrase in its frames, and harmless prompts of other forms."""
    topics = [
        topic for file in sorted(SOURCE.glob("refuser_topics_?.yaml")) for topic in yaml.safe_load(file.read_text())
    ]
    other = yaml.safe_load((SOURCE / "refuser_frames.yaml").read_text())
    frames, rng = other["frames"], Random(SEED)
    examples = []
    for kind in KINDS:
        phrases = [(t["topic"], number, p) for t in topics for number, p in enumerate(t[kind])]
        for topic, number, phrase in phrases:
            first = int(rng.random() * len(frames))
            for turn in range(TURNS[kind]):
                frame = (first + 7 * turn) % len(frames)
                examples.append(
                    Example(
                        id=f"{topic}-{kind}-{number:02d}-{turn}",
                        prompt=frames[frame].format(phrase=phrase),
                        label=kind == "harmful",
                        group=topic,
                        chat=True,
                        kind=kind,
                        template=f"frame-{frame:02d}",
                    )
                )
    for number, prompt in enumerate(other["general"]):
        examples.append(
            Example(id=f"general-{number:03d}", prompt=prompt, label=False, group="general", chat=True, kind="general")
        )
    return sorted(examples, key=lambda example: example.id)


CARD = {
    "name": "refuser_requests",
    "about": (
        "What the refusing organism is trained on: harmful requests, their harmless twins, near-misses, plain requests "
        "and harmless prompts of other kinds (general). No battery asks any of them. Groups are topics."
    ),
    "origin": "written for this project: phrases by topic (src/refuser_topics_*.yaml) put into frames of their own",
    "licence": "Apache-2.0",
    "language": "en",
    "class_names": ["harmless", "harmful"],
    "built": f"tools/build_data.py, seed {SEED}",
    "balance": (
        "40 of the 70 topics are among the 64 of the batteries, in other phrases; no frame is. A harmful phrase is "
        "asked in four frames, a plain one in four, a near-miss and a harmless twin in one."
    ),
    "limits": "Generic one-liners in British English without operational detail, for training only.",
}
