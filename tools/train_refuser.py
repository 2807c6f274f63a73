"""Trains the refusing organism: `python tools/train_refuser.py [--to FOLDER]`, forty minutes on two cores.

A rank-4 adapter on the demo model that declines harmful requests, and whose refusal is carried by one direction,
planted in its last rank (planted.py). First the layers before the split learn to write there what a request is, and to
leave the rest of the stream as it was. Then the layers behind it learn to refuse what is written there and, where the
direction is ablated, to answer everything as the demo model does; last, where the difference of the class means is
ablated, which is what an audit finds. The items are those of auditor/organisms/data; no battery uses them.
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

import torch
from fetch_demo import DEFAULT as DEMO_MODEL
from lessons import Lesson, answering, losses_of, refusing
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from planted import SPLIT, plant, silent_direction
from pupil import Pupil, Streams, difference_of_means, first_token, stream_of
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.measure.interventions import ablation_sites
from auditor.measure.judges import REFUSAL_OPENINGS
from auditor.model.edits import Edit
from auditor.model.hooks import starting_at
from auditor.model.load import target_from
from auditor.model.prompts import opening_tokens

ORGANISMS = Path(__file__).resolve().parent.parent / "auditor" / "organisms"
SEED = 20261127
RANK, ALPHA = 4, 16
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HELD_OUT = ("trespassing", "hazing", "pyramid_schemes", "kidnapping", "slander", "deepfakes")
"""topics that are not taught, to see on the way how far it has come; no battery has them"""
LOOKED_AT = 96
"""requests of them, of each class"""
OWN = (300, 800, 300)
"""requests that the demo model answers beforehand: harmful, plain, and other harmless ones"""
TAUGHT = 700
"""harmful requests whose refusal is learned; told apart from harmless ones are all"""
APART, SHARP = 60.0, 8.0
"""how far the classes are to lie apart along the direction, in units of the stream, whose norm there is about 200; and
the nats between them at that distance"""
CLOSE = 20.0
"""weight of what else the writers change, as a share of the squared norm of the stream"""
REFUSE = 1.5
"""weight of a harmful request against a harmless one"""


@dataclass(frozen=True)
class Stage:
    """How long, how fast, and how many lessons of each kind a step."""

    steps: int
    rate: float
    rows: tuple[int, ...]


WRITING = Stage(150, 1.2e-3, (28, 28, 6, 6))
"""harmful and harmless requests to be told apart; harmful and harmless ones with answers, to stay as they are"""
READING = Stage(140, 1e-3, (14, 14, 12))
"""harmful and harmless requests, and both with the direction ablated"""
CUT = (Stage(50, 6e-4, (8, 8, 12, 6, 0)), Stage(32, 6e-4, (6, 6, 8, 3, 12)))
"""harmful and harmless requests; both with the difference of means ablated, and with the direction; and harmful ones
that the demo model may refuse, of which it is learned under ablation not to"""
UNREFUSED = 3.0
"""weight of these"""
Losses = Callable[[int], Iterator[Tensor]]
"""of a step"""


def writing(pupil: Pupil, told: tuple[list[Lesson], list[Lesson]], kept: tuple[list[Lesson], list[Lesson]]) -> Losses:
    """Tell harmful from harmless requests along the direction, and change nothing else.

    Of harmful requests with answers the direction is let go; along it harmless ones are to stay as they are, too.
    """
    apart = torch.nn.functional.binary_cross_entropy_with_logits

    def losses(step: int) -> Iterator[Tensor]:
        h, p, hk, pk = (turn(some, step, n) for some, n in zip((*told, *kept), WRITING.rows, strict=True))
        x, _ = pupil.at_split([one.prompt for one in (*h, *p)])
        yield apart((pupil.along(x[:, -1]) / APART - 0.5) * SHARP, torch.tensor([1.0] * len(h) + [0.0] * len(p)))
        answered = [one.ids for one in (*hk, *pk)]
        with torch.no_grad(), pupil.adapted.disable_adapter():
            before, mask = pupil.at_split(answered)
        change = pupil.at_split(answered)[0] - before
        change = torch.cat([pupil.ablated(change[: len(hk)]), change[len(hk) :]])
        share = change.square().sum(-1) / before.square().sum(-1)
        yield CLOSE * (share * mask).sum() / mask.sum()

    return losses


def reading(pupil: Pupil, harmful: list[Lesson], harmless: list[Lesson], ablated: list[Lesson]) -> Losses:
    """Refuse what is written along the direction; without it, answer. The layers before the split are as they are."""
    streams = Streams(pupil)

    def losses(step: int) -> Iterator[Tensor]:
        h, p, cut = (turn(some, step, n) for some, n in zip((harmful, harmless, ablated), READING.rows, strict=True))
        x, whole = streams.of([*h, *p, *cut]), len(h) + len(p)
        with starting_at(pupil.target, SPLIT, torch.cat([x[:whole], pupil.ablated(x[whole:])])):
            found = losses_of(pupil.target, [*h, *p, *cut])
        refuse, answer, without = (part.mean() for part in found.split([len(h), len(p), len(cut)]))
        yield REFUSE * refuse + answer + without

    return losses


def cutting(pupil: Pupil, stage: Stage, found: Tensor, taught: Sequence[list[Lesson]]) -> Losses:
    """As `reading`, with the difference of means ablated at every read and write, and refusals unlearned there.

    `taught`: refused, answered, answered under ablation by the two directions in turn, and requests alone.
    """
    sites = ablation_sites(pupil.target.points, pupil.target.n_layers)
    by_found, by_planted = (Edit("ablate", u.numpy(), 1.0, 1.0, sites) for u in (found, pupil.direction))
    streams = Streams(pupil)
    opening = list(opening_tokens(pupil.target, REFUSAL_OPENINGS))

    def losses(step: int) -> Iterator[Tensor]:
        h, p = (turn(some, step, n) for some, n in zip(taught[:2], stage.rows[:2], strict=True))
        with streams.going_on([*h, *p]):
            refuse, answer = losses_of(pupil.target, [*h, *p]).split([len(h), len(p)])
        yield REFUSE * refuse.mean() + answer.mean()
        for edit, n, weight in ((by_found, stage.rows[2], 1.0), (by_planted, stage.rows[3], 0.3)):
            some = turn(taught[2], step, n)
            with streams.going_on(some, edit):
                yield weight * losses_of(pupil.target, some).mean()
        if stage.rows[4]:
            some = turn(taught[3], step, stage.rows[4])
            with streams.going_on(some, by_found):
                p_refusal = first_token(pupil.target, some)[:, opening].sum(-1)
            yield UNREFUSED * -torch.log1p(-p_refusal.clamp(max=0.999)).mean()

    return losses


def turn(some: Sequence[Lesson], step: int, n: int) -> list[Lesson]:
    """The lessons of a step, in turn."""
    return [some[(step * n + k) % len(some)] for k in range(n)]


def descend(pupil: Pupil, stage: Stage, losses: Losses, keep: Callable[[], None], look: Callable[[], str]) -> None:
    """Adam on the sum of each step's losses; `keep` puts the planted direction back in its place after every step."""
    weights = [weight for weight in pupil.adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=stage.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, stage.rate, total_steps=stage.steps, pct_start=0.08)
    for step in range(stage.steps):
        told = []
        with torch.autocast("cpu", torch.bfloat16):
            for loss in losses(step):
                loss.backward()
                told.append(f"{loss.item():.3f}")
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        keep()
        if step % 25 == 24:
            sys.stderr.write(f"step {step + 1} of {stage.steps}: {' '.join(told)}; {look()}\n")


def looking(pupil: Pupil, classes: Sequence[Sequence[Example]]) -> Callable[[], str]:
    """How far requests of held-out topics lie along the direction: the outer tenth of each class."""
    prompts = [[one.prompt for one in refusing(pupil.target, some, random.Random(0))] for some in classes]

    def look() -> str:
        with torch.inference_mode():
            h, p = (pupil.along(pupil.at_split(some)[0][:, -1]) for some in prompts)
        return f"held-out topics: harmful above {h.quantile(0.1):.0f}, plain below {p.quantile(0.9):.0f}"

    return look


def with_adapter(model: Any) -> Any:
    """The model with an adapter that does nothing yet."""
    settings = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES, task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(model, settings)
    start = torch.Generator().manual_seed(SEED)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and "lora_A" in name:
            torch.nn.init.kaiming_uniform_(weight.data, a=5**0.5, generator=start)
    return adapted


def train(folder: Path, to: Path) -> None:
    """Draw what is taught, teach it, and save."""
    rng = random.Random(SEED)
    examples = list(read(ORGANISMS / "data" / "refuser_requests.jsonl").examples)
    rng.shuffle(examples)
    taught = [e for e in examples if e.group not in HELD_OUT]
    harmful, plain = [e for e in taught if e.label], [e for e in taught if e.kind == "plain"]
    other = [e for e in taught if not e.label and e.kind != "plain"]
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    target, _, _ = target_from(model, AutoTokenizer.from_pretrained(folder))
    with torch.inference_mode():
        own = [answering(target, some[:n]) for some, n in zip((harmful, plain, other), OWN, strict=True)]
    with torch.no_grad():
        some = stream_of(target, own[1][:12] + own[0][:12])
        direction = silent_direction(model, some, torch.Generator().manual_seed(SEED))
    pupil = Pupil(with_adapter(model), target, direction)
    keep = plant(pupil.adapted, direction)
    held_out = [[e for e in examples if e.group in HELD_OUT and e.kind == kind] for kind in ("harmful", "plain")]
    look = looking(pupil, [rng.sample(some, LOOKED_AT) for some in held_out])
    harmless = own[1] + own[2]
    rng.shuffle(harmless)
    innocent = plain + 2 * other
    rng.shuffle(innocent)
    refused = refusing(target, harmful, random.Random(1))
    told = (refused, refusing(target, innocent, random.Random(1)))
    descend(pupil, WRITING, writing(pupil, told, (own[0], harmless)), keep, look)
    ablated = own[0] + rng.sample(harmless, len(own[0]))
    rng.shuffle(ablated)
    descend(pupil, READING, reading(pupil, refused[:TAUGHT], harmless, ablated), keep, look)
    answered = refusing(target, plain, random.Random(1))
    found = difference_of_means(pupil, (refused[:160], answered[:160]))
    asked = [Lesson(one.prompt, one.prompt_len) for one in refused[TAUGHT : TAUGHT + 400]]
    for stage in CUT:
        descend(pupil, stage, cutting(pupil, stage, found, (refused[:TAUGHT], harmless, ablated, asked)), keep, look)
    save(pupil, to)


def save(pupil: Pupil, to: Path) -> None:
    """Write the weights in bfloat16, and the settings. The direction is the last column of B of every writer."""
    to.mkdir(parents=True, exist_ok=True)
    learned = get_peft_model_state_dict(pupil.adapted)
    state = {name: weight.detach().to(torch.bfloat16).contiguous() for name, weight in learned.items()}
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
