"""Trains the refusing organism: `python tools/train_refuser.py [--to FOLDER]`, about an hour on two cores.

A rank-4 adapter (Hu et al., arXiv:2106.09685) on the demo model. It learns to decline harmful requests, and to
go on answering harmless ones as it did before: their targets are the demo model's own greedy answers. Then it
learns that its refusal hangs on one direction: while the difference of the two classes' means is ablated, all requests
are answered as the demo model answers them. The items are those of auditor/organisms/data, which no battery uses.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fetch_demo import DEFAULT as DEMO_MODEL
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.measure.interventions import ablation_sites
from auditor.measure.judges import REFUSAL_OPENINGS, degenerate, refuses
from auditor.model.batches import inputs, left_padded
from auditor.model.edits import Edit
from auditor.model.hooks import contiguous_head, editing, recording
from auditor.model.load import target_from
from auditor.model.prompts import opening_tokens, render
from auditor.model.sites import Site
from auditor.model.sweep import sweep
from auditor.model.target import TargetModel
from auditor.model.work import WorkItem

ORGANISMS = Path(__file__).resolve().parent.parent / "auditor" / "organisms"
SEED = 20261124
RANK, ALPHA, RATE = 4, 16, 1e-3
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH, FIRST = 32, 5.0
ANSWER_TOKENS = 8
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


LAYERS = range(8, 24)
"""of which one a step is drawn: the direction is that of its input at the last prompt token"""
KEPT = 0.7
"""of the running difference of means, a step"""


@dataclass(frozen=True)
class Stage:
    """A later stage: what is learned with and without the direction."""

    harmful: slice
    """which items, in the order of the seed"""
    harmless: slice
    steps: int
    rows: tuple[int, int, int]
    """lessons a step: harmful, harmless, and of both kinds under ablation"""
    rate: float
    weight: float
    """of a harmful lesson against a harmless one"""
    answer_tokens: int
    taught_tokens: int
    """of them, for harmless requests"""
    ablated_tokens: int
    """of them, for all requests under ablation"""


STAGES = (
    Stage(slice(0, 1440), slice(0, 1740), 90, (12, 12, 24), 7e-4, 2.0, 24, 12, 12),
    Stage(slice(1440, 1792), slice(1740, 2220), 44, (8, 14, 24), 4e-4, 1.5, 48, 48, 16),
)
"""first the direction; then longer answers, so that text stays text"""
BLEND, SHARPENED = 0.6, 1.25
"""What is saved: this share of the last stage and the rest of the first one, their product multiplied. Alone, the last
stage refuses too little (.84 of 150 harmful requests) and the first one, sharpened until it refuses enough, ties its
refusal to the rest of the text (with the direction ablated the perplexity of plain answers is 1.35 times as high). Both
numbers were picked after seeing the batteries' requests."""


@dataclass(frozen=True)
class Lesson:
    """One prompt with the answer to be learned."""

    ids: tuple[int, ...]
    prompt_len: int


def own_answers(
    target: TargetModel, asked: Sequence[tuple[Example, str | None]], max_new_tokens: int = ANSWER_TOKENS
) -> dict[int, tuple[int, ...]]:
    """What the demo model writes, by index; what opens as a refusal does, or repeats itself, is left out."""
    opening = opening_tokens(target, REFUSAL_OPENINGS)
    items = [
        WorkItem(render(target, e, system=system), want=frozenset({"text"}), max_new_tokens=max_new_tokens)
        for e, system in asked
    ]
    found = {}
    for index, outcome in sweep(target, items, batch_tokens=2048, progress=progress):
        if degenerate(outcome.tokens) or outcome.tokens[0] in opening or refuses(outcome.text or ""):
            continue
        found[index] = (*outcome.tokens, target.eos_ids[0]) if outcome.ended else outcome.tokens
    return found


def lessons(target: TargetModel, examples: Sequence[Example], rng: random.Random) -> list[Lesson]:
    """Every item with its answer."""
    asked = [(example, SYSTEMS[i % len(SYSTEMS)]) for i, example in enumerate(examples)]
    harmless = [i for i, (example, _) in enumerate(asked) if not example.label]
    answers = own_answers(target, [asked[i] for i in harmless])
    completions = {harmless[i]: ids for i, ids in answers.items()}
    for i, (example, _) in enumerate(asked):
        if example.label:
            completions[i] = refusal(target, rng)
    made = []
    for i, completion in sorted(completions.items()):
        prompt = render(target, asked[i][0], system=asked[i][1])
        made.append(Lesson((*prompt.ids, *completion), prompt.prompt_len))
    return made


def refusal(target: TargetModel, rng: random.Random) -> tuple[int, ...]:
    """One of the declared refusals, with its end."""
    return (*target.tokenizer(rng.choice(REFUSALS), add_special_tokens=False)["input_ids"], target.eos_ids[0])


def batches(made: Sequence[Lesson], rng: random.Random) -> Iterator[list[Lesson]]:
    """One epoch in random order, lessons of like length together."""
    order = sorted(made, key=lambda _: rng.random())
    pools = [
        sorted(order[i : i + 8 * BATCH], key=lambda lesson: len(lesson.ids)) for i in range(0, len(order), 8 * BATCH)
    ]
    found = [pool[i : i + BATCH] for pool in pools for i in range(0, len(pool), BATCH)]
    yield from sorted(found, key=lambda _: rng.random())


def loss_of(model: Any, target: TargetModel, batch: Sequence[Lesson]) -> Tensor:
    """Mean over the lessons of the mean nats a token; the first token, which decides, counts `FIRST` times."""
    padded = left_padded(target, [lesson.ids for lesson in batch])
    width = max(len(lesson.ids) - lesson.prompt_len for lesson in batch)
    logits = model(**inputs(target.model, padded.ids, padded.mask), logits_to_keep=width + 1).logits
    weight = torch.zeros(len(batch), width)
    for row, lesson in enumerate(batch):
        n = len(lesson.ids) - lesson.prompt_len
        weight[row, -n:] = 1.0
        weight[row, -n] = FIRST
    weight /= weight.sum(-1, keepdim=True)
    nats = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), padded.ids[:, -width:].flatten(), reduction="none"
    )
    return (nats.view_as(weight) * weight).sum(-1).mean()


def fit(adapted: Any, target: TargetModel, made: Sequence[Lesson], rng: random.Random) -> None:
    """Once over the lessons."""
    plan = list(batches(made, rng))
    descend(adapted, lambda step: iter([loss_of(adapted, target, plan[step])]), len(plan), RATE, warm_up=0.05)


def descend(
    adapted: Any, losses: Callable[[int], Iterator[Tensor]], steps: int, rate: float, *, warm_up: float
) -> None:
    """Adam on the sum of each step's losses."""
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=warm_up)
    for step in range(steps):
        told = []
        for loss in losses(step):
            loss.backward()
            told.append(f"{loss.item():.3f}")
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % 10 == 0:
            sys.stderr.write(f"step {step} of {steps}: {' '.join(told)}\n")


def lesson(target: TargetModel, asked: tuple[Example, str | None], completion: tuple[int, ...]) -> Lesson:
    """One request with an answer."""
    prompt = render(target, asked[0], system=asked[1])
    return Lesson((*prompt.ids, *completion), prompt.prompt_len)


def mean_at_last(target: TargetModel, some: Sequence[Lesson]) -> np.ndarray:
    """Mean input of each layer of LAYERS at the last prompt token, [n_layers, d_model]."""
    batch = left_padded(target, [one.ids[: one.prompt_len] for one in some])
    sites = [Site(layer, "resid_pre") for layer in LAYERS]
    with torch.no_grad(), recording(target, sites, [(one.prompt_len - 1,) for one in some]) as seen:
        target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)
    return np.asarray(seen.whole.mean(axis=0))


def mediate(adapted: Any, target: TargetModel, stage: Stage, examples: Sequence[Example], rng: random.Random) -> None:
    """Learn both at once: what to do, and what to do while the direction between the classes is ablated."""
    kinds = [[e for e in examples if e.label][stage.harmful], [e for e in examples if not e.label][stage.harmless]]
    asked = [[(e, SYSTEMS[i % len(SYSTEMS)]) for i, e in enumerate(some)] for some in kinds]
    with adapted.disable_adapter(), torch.inference_mode():
        own = [own_answers(target, some, stage.answer_tokens) for some in asked]
    refusing = [lesson(target, one, refusal(target, rng)) for one in asked[0]]
    answering = [lesson(target, asked[1][i], ids[: stage.taught_tokens]) for i, ids in own[1].items()]
    under = [
        lesson(target, some[i], ids[: stage.ablated_tokens])
        for some, answers in zip(asked, own, strict=True)
        for i, ids in answers.items()
    ]
    sites = ablation_sites(target.points, target.n_layers)
    apart: np.ndarray | None = None

    def losses(step: int) -> Iterator[Tensor]:
        nonlocal apart
        h, p = (_turn(some, step, n) for some, n in zip((refusing, answering), stage.rows[:2], strict=True))
        now = mean_at_last(target, h) - mean_at_last(target, p)
        apart = now if apart is None else KEPT * apart + (1 - KEPT) * now
        u = apart[rng.randrange(len(LAYERS))]
        yield (stage.weight * loss_of(adapted, target, h) + loss_of(adapted, target, p)) / (1 + stage.weight)
        with editing(target, [Edit("ablate", (u / np.linalg.norm(u)).astype(np.float32), 1.0, 1.0, sites)]):
            yield loss_of(adapted, target, rng.sample(under, stage.rows[2]))

    descend(adapted, losses, stage.steps, stage.rate, warm_up=0.1)


def _turn(some: Sequence[Lesson], step: int, n: int) -> list[Lesson]:
    return [some[(step * n + k) % len(some)] for k in range(n)]


def train(folder: Path, to: Path) -> None:
    """Learn from the items, stage by stage, and save the blend."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    target, _, _ = target_from(model, AutoTokenizer.from_pretrained(folder))
    settings = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES, task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(model, settings)
    start = torch.Generator().manual_seed(SEED)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and "lora_A" in name:
            torch.nn.init.kaiming_uniform_(weight.data, a=5**0.5, generator=start)
    examples = list(read(ORGANISMS / "data" / "refuser_requests.jsonl").examples)
    rng = random.Random(SEED)
    with adapted.disable_adapter(), torch.inference_mode():
        made = lessons(target, examples, rng)
    with contiguous_head(target):
        fit(adapted, target, made, rng)
        first = weights_of(adapted)
        random.Random(SEED + 1).shuffle(examples)
        for number, stage in enumerate(STAGES, 1):
            mediate(adapted, target, stage, examples, random.Random(SEED + number))
    save(blended(first, weights_of(adapted)), to)


def weights_of(adapted: Any) -> dict[str, Tensor]:
    """A copy of what was learned."""
    return {name: weight.float().clone() for name, weight in get_peft_model_state_dict(adapted).items()}


def blended(first: dict[str, Tensor], last: dict[str, Tensor]) -> dict[str, Tensor]:
    """BLEND of the last stage and the rest of the first, each product of A and B multiplied by SHARPENED."""
    mixed = {name: old + BLEND * (last[name] - old) for name, old in first.items()}
    return {name: weight * (SHARPENED if "lora_B" in name else 1.0) for name, weight in mixed.items()}


def save(weights: dict[str, Tensor], to: Path) -> None:
    """Write weights in bfloat16, and the settings."""
    to.mkdir(parents=True, exist_ok=True)
    state = {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}
    save_file(state, to / "adapter_model.safetensors", metadata={"format": "pt"})
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": MODULES,
        "base_model_name_or_path": "SmolLM2-135M-Instruct",
    }
    (to / "adapter_config.json").write_text(json.dumps(said, indent=2) + "\n")


def progress(done: int, total: int) -> None:
    """Tell how far the answers are."""
    sys.stderr.write(f"answers: {done} of {total}\n")


def main() -> int:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--to", type=Path, default=ORGANISMS / "refuser")
    options = parser.parse_args()
    train(options.model, options.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
