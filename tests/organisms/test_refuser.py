"""The refusing organism is what its card says, small, and trained on nothing that a battery asks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import auditor
from auditor.bundle import sha256_file
from auditor.checkpoint.admit import admit
from auditor.data.checks import problems
from auditor.data.datasets import read
from tests.tiny import save_checkpoint

ORGANISMS = Path(auditor.__file__).parent / "organisms"
BATTERY = Path(__file__).parents[2] / "probes" / "data"


@pytest.fixture(scope="module")
def card():
    return yaml.safe_load((ORGANISMS / "refuser.card.yaml").read_text())


def test_the_card_is_of_these_files(card):
    assert card["sha256"] == sha256_file(ORGANISMS / "refuser" / "adapter_model.safetensors")
    assert card["trained_on"]["sha256"] == sha256_file(ORGANISMS / "data" / "refuser_requests.jsonl")
    assert {"base", "recipe", "licence", "measured", "limits"} <= card.keys()


def test_the_adapter_is_small_and_safe_to_load(tmp_path):
    folder = ORGANISMS / "refuser"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    admitted = admit(save_checkpoint(tmp_path), adapter=folder)
    assert admitted.adapter.config["r"] <= 4


def plain(text):
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_no_battery_asks_what_it_was_trained_on():
    lessons = read(ORGANISMS / "data" / "refuser_requests.jsonl").examples
    asked = {plain(e.prompt) for e in read(BATTERY / "requests.jsonl").examples}
    assert len(lessons) > 2000
    assert not {plain(e.prompt) for e in lessons} & asked
    assert not problems(lessons, both_classes=False)


def test_no_phrase_is_shared_with_a_battery():
    def phrases(folder, pattern, kinds):
        tables = [topic for path in folder.glob(pattern) for topic in yaml.safe_load(path.read_text())]
        return {plain(phrase) for topic in tables for kind in kinds for phrase in topic[kind]}

    theirs = phrases(BATTERY / "src", "requests_?.yaml", ("harmful", "matched", "plain", "near_miss"))
    ours = phrases(ORGANISMS / "data" / "src", "refuser_topics_?.yaml", ("harmful", "near_miss", "plain"))
    assert len(ours) > 1000
    assert not ours & theirs
