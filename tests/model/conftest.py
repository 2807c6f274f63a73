from __future__ import annotations

import numpy as np
import pytest

from auditor.data.examples import Example
from auditor.model.prompts import Prompt, render
from auditor.model.target import TargetModel
from tests.tiny import D_MODEL, FAMILIES, tiny_target


@pytest.fixture(params=FAMILIES)
def target(request: pytest.FixtureRequest) -> TargetModel:
    return tiny_target(request.param)


@pytest.fixture
def llama() -> TargetModel:
    return tiny_target("llama")


@pytest.fixture
def gpt2() -> TargetModel:
    """Absolute positions: the family that wrong position ids break."""
    return tiny_target("gpt2")


@pytest.fixture
def u() -> np.ndarray:
    """A unit direction."""
    vector = np.random.default_rng(7).normal(size=D_MODEL)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


TEXTS = ("Why do birds sing?", "Paris", "the city of Paris is in France, yes or no", "a b c d e f")
COMPLETIONS = ("In the morning.", "is in France", "no", "g h")


@pytest.fixture
def examples() -> list[Example]:
    """User turns of different lengths, each with an answer."""
    pairs = zip(TEXTS, COMPLETIONS, strict=True)
    return [Example(str(i), p, True, str(i), completion=c, chat=True) for i, (p, c) in enumerate(pairs)]


@pytest.fixture
def prompts(target: TargetModel, examples: list[Example]) -> list[Prompt]:
    return [render(target, example) for example in examples]
