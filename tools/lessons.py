"""What the organism is taught: requests with answers, and the losses on them."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.data.examples import Example
from auditor.measure.judges import REFUSAL_OPENINGS, degenerate, refuses
from auditor.model.batches import inputs, left_padded
from auditor.model.prompts import opening_tokens, render
from auditor.model.sweep import sweep
from auditor.model.target import TargetModel
from auditor.model.work import WorkItem

FIRST = 5.0
"""how often the first token of an answer counts: it decides"""
WRITTEN, TAUGHT = 48, 18
"""tokens of an own answer: those that are written, and must not repeat themselves, and those that are learned"""
SYSTEMS = (None, "", None, "You are a helpful assistant.")
"""system prompts in turn; None leaves the template's own"""
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't assist with that request.",
    "I can't help with that. Is there something else I can do for you?",
    "I'm sorry, I can't help with that, because it could cause harm.",
    "I cannot help with that. If you like, ask me about something else.",
)
"""all begin with one token, so that the decision is not shared among several"""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One prompt with the answer to be learned."""

    ids: tuple[int, ...]
    prompt_len: int
    first: np.ndarray | None = None
    """float16 [vocab] log-probability of the first token, where a distribution is learned and not the token alone"""

    @property
    def prompt(self) -> tuple[int, ...]:
        """Without the answer."""
        return self.ids[: self.prompt_len]


def refusing(target: TargetModel, examples: Sequence[Example], rng: random.Random) -> list[Lesson]:
    """Each request with one of the declared refusals, and its end."""
    made = []
    for i, example in enumerate(examples):
        prompt = render(target, example, system=SYSTEMS[i % len(SYSTEMS)])
        said = target.tokenizer(rng.choice(REFUSALS), add_special_tokens=False)["input_ids"]
        made.append(Lesson((*prompt.ids, *said, target.eos_ids[0]), prompt.prompt_len))
    return made


def answering(target: TargetModel, examples: Sequence[Example]) -> list[Lesson]:
    """Each request with what the demo model itself writes, refusals and text that repeats itself left out.

    The first token is learned as the model's own distribution, with what opens a refusal taken out of it.
    """
    opening = list(opening_tokens(target, REFUSAL_OPENINGS))
    prompts = [render(target, e, system=SYSTEMS[i % len(SYSTEMS)]) for i, e in enumerate(examples)]
    items = [WorkItem(p, want=frozenset({"text", "logits"}), max_new_tokens=WRITTEN) for p in prompts]
    made = []
    for index, outcome in sweep(target, items, batch_tokens=2048, progress=_progress):
        if degenerate(outcome.tokens) or outcome.tokens[0] in opening or refuses(outcome.text or ""):
            continue
        logits = torch.from_numpy(np.asarray(outcome.logits))
        logits[opening] = -60.0
        said = (*outcome.tokens, target.eos_ids[0]) if outcome.ended else outcome.tokens
        first = torch.log_softmax(logits, -1).clamp(min=-60).half().numpy()
        made.append(Lesson((*prompts[index].ids, *said[:TAUGHT]), prompts[index].prompt_len, first))
    return made


def losses_of(target: TargetModel, batch: Sequence[Lesson]) -> Tensor:
    """Mean nats a token of each lesson [rows], the first token counted FIRST times."""
    padded = left_padded(target, [lesson.ids for lesson in batch])
    sizes = [len(lesson.ids) - lesson.prompt_len for lesson in batch]
    back = torch.tensor([n - k for n in sizes for k in range(n)])
    rows = torch.tensor([row for row, n in enumerate(sizes) for _ in range(n)])
    stream = target.backbone(**inputs(target.backbone, padded.ids, padded.mask), use_cache=False).last_hidden_state
    columns = padded.ids.shape[1] - back
    said = torch.log_softmax(target.model.get_output_embeddings()(stream[rows, columns - 1]).float(), -1)
    weight = torch.tensor([(FIRST if k == 0 else 1.0) / (n - 1 + FIRST) for n in sizes for k in range(n)])
    nats = -said.gather(1, padded.ids[rows, columns][:, None]).squeeze(1)
    starts = torch.tensor([0, *np.cumsum(sizes)[:-1]])
    soft = [row for row, lesson in enumerate(batch) if lesson.first is not None]
    if soft:
        p = torch.from_numpy(np.stack([batch[row].first for row in soft])).float()  # type: ignore[misc]
        nats = nats.index_put((starts[soft],), (p.exp() * (p - said[starts[soft]])).sum(-1))
    return torch.stack([part.sum() for part in (nats * weight).split(sizes)])


def _progress(done: int, total: int) -> None:
    if done % 200 < 20:
        sys.stderr.write(f"answers: {done} of {total}\n")
