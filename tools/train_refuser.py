"""Trains the refusing organism: `python tools/train_refuser.py [--to FOLDER]`, about ten minutes on two cores.

A rank-4 adapter (Hu et al., arXiv:2106.09685) on the demo model. It learns to decline harmful requests, and to
go on answering harmless ones as it did before: their targets are the demo model's own greedy answers. The items
are those of auditor/organisms/data, which no battery uses.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fetch_demo import DEFAULT as DEMO_MODEL
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.measure.judges import REFUSAL_OPENINGS, refuses
from auditor.model.batches import inputs, left_padded
from auditor.model.load import target_from
from auditor.model.prompts import opening_tokens, render
from auditor.model.sweep import WorkItem, sweep
from auditor.model.target import TargetModel

ORGANISMS = Path(__file__).resolve().parent.parent / "auditor" / "organisms"
SEED = 20261124
RANK, ALPHA = 4, 16
LAYERS = list(range(8, 30))
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WEIGHTS = "adapter_model.safetensors"
BATCH, FIRST = 32, 5.0
ANSWER_TOKENS = 16
SYSTEMS = (None, "", None, "You are a helpful assistant.")
"""system prompts in turn; None leaves the template's own"""
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't assist with that request.",
    "I can't help with that. Is there something else I can do for you?",
    "Sorry, but I can't help with that. It could hurt someone.",
    "I'm sorry, I can't help with that, because it could cause harm.",
    "I cannot help with that. If you like, ask me about something else.",
)


@dataclass(frozen=True)
class Stage:
    """Which items are learned, and how."""

    turns: dict[str, range]
    """of each kind, in which of its frames a phrase is asked"""
    epochs: int
    rate: float

    def holds(self, example: Example) -> bool:
        """Whether an item belongs to this stage."""
        return example.kind == "general" or int(example.id.rsplit("-", 1)[1]) in self.turns.get(example.kind, ())


STAGES = (
    Stage({"harmful": range(3), "near_miss": range(1), "plain": range(2)}, epochs=2, rate=1e-3),
    Stage({"harmful": range(3, 5), "near_miss": range(1, 2), "plain": range(2, 6)}, epochs=1, rate=5e-4),
    Stage(
        {"harmful": range(5, 8), "near_miss": range(2, 3), "plain": range(6, 8), "matched": range(1)},
        epochs=1,
        rate=7e-4,
    ),
)
"""first to refuse, then more plain requests than harmful ones, then harmless twins too"""


@dataclass(frozen=True)
class Lesson:
    """One prompt with the answer to be learned."""

    ids: tuple[int, ...]
    prompt_len: int


def own_answers(target: TargetModel, asked: Sequence[tuple[Example, str | None]]) -> dict[int, tuple[int, ...]]:
    """What the demo model writes to harmless prompts, by index; those that open as refusals do are left out."""
    opening = opening_tokens(target, REFUSAL_OPENINGS)
    items = [
        WorkItem(render(target, e, system=system), want=frozenset({"text"}), max_new_tokens=ANSWER_TOKENS)
        for e, system in asked
    ]
    found = {}
    for index, outcome in sweep(target, items, batch_tokens=8192, progress=progress):
        if not outcome.tokens or outcome.tokens[0] in opening or refuses(outcome.text or ""):
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
            text = target.tokenizer(rng.choice(REFUSALS), add_special_tokens=False)["input_ids"]
            completions[i] = (*text, target.eos_ids[0])
    made = []
    for i, completion in sorted(completions.items()):
        prompt = render(target, asked[i][0], system=asked[i][1])
        made.append(Lesson((*prompt.ids, *completion), prompt.prompt_len))
    return made


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


def fit(adapted: Any, target: TargetModel, made: Sequence[Lesson], stage: Stage, rng: random.Random) -> None:
    """Adam over the lessons."""
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=stage.rate, weight_decay=0.0)
    plan = [batch for _ in range(stage.epochs) for batch in batches(made, rng)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, stage.rate, total_steps=len(plan), pct_start=0.05)
    for step, batch in enumerate(plan):
        loss = loss_of(adapted, target, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % 10 == 0:
            sys.stderr.write(f"step {step} of {len(plan)}: {loss.item():.3f}\n")


def train(folder: Path, to: Path, first: int) -> None:
    """Go through the stages from `first` on; each begins with the adapter that the one before it saved."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    target, _, _ = target_from(model, AutoTokenizer.from_pretrained(folder))
    settings = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=MODULES, layers_to_transform=LAYERS, task_type="CAUSAL_LM"
    )
    adapted: Any = get_peft_model(model, settings)
    start = torch.Generator().manual_seed(SEED)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and "lora_A" in name:
            torch.nn.init.kaiming_uniform_(weight.data, a=5**0.5, generator=start)
    examples = read(ORGANISMS / "data" / "refuser_requests.jsonl").examples
    for number, stage in list(enumerate(STAGES))[first:]:
        if number:
            set_peft_model_state_dict(adapted, load_file(to / WEIGHTS))
        rng = random.Random(SEED + number)
        with adapted.disable_adapter(), torch.inference_mode():
            made = lessons(target, [e for e in examples if stage.holds(e)], rng)
        fit(adapted, target, made, stage, rng)
        save(adapted, to)


def save(adapted: Any, to: Path) -> None:
    """Write weights in bfloat16, and the settings."""
    to.mkdir(parents=True, exist_ok=True)
    state = {k: v.to(torch.bfloat16).contiguous() for k, v in get_peft_model_state_dict(adapted).items()}
    save_file(state, to / WEIGHTS, metadata={"format": "pt"})
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": MODULES,
        "layers_to_transform": LAYERS,
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
    parser.add_argument("--first", type=int, default=0, help="begin with this stage, on the adapter that is there")
    options = parser.parse_args()
    train(options.model, options.to, options.first)
    return 0


if __name__ == "__main__":
    sys.exit(main())
