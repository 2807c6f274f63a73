"""The models that are measured, with the requests that are put to them. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from auditor.checkpoint.admit import admit
from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.model.batches import Batch, in_batches, left_padded
from auditor.model.dtypes import NAMED
from auditor.model.load import load_target, target_from
from auditor.model.plan import Plan
from auditor.model.prompts import Prompt, render
from auditor.model.target import TargetModel
from benchmarks.sizes import Sizes

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct"
REFUSER = ROOT / "auditor" / "organisms" / "refuser"
REQUESTS = ROOT / "probes" / "data" / "requests.jsonl"
SEED = 20261125


@dataclass(frozen=True, eq=False)
class Bench:
    """A model with requests for it."""

    target: TargetModel
    plan: Plan
    harmful: Sequence[Example]
    plain: Sequence[Example]
    sizes: Sizes
    rng: np.random.Generator
    trained: bool = True
    """False for random weights: all directions do nearly nothing to refusal, and a choice between ties is none"""

    def prompts(self, n: int) -> list[Prompt]:
        """The first requests of both kinds, in turn."""
        both = [example for pair in zip(self.harmful, self.plain, strict=False) for example in pair]
        return [render(self.target, example) for example in both[:n]]

    def batches(self, prompts: Sequence[Prompt]) -> list[tuple[list[int], Batch]]:
        """Batches of whole prompts, the longest first, as any careful loop makes them."""
        found = in_batches([len(p.ids) for p in prompts], self.plan.batch_tokens)
        return [(rows, left_padded(self.target, [prompts[i].ids for i in rows])) for rows in found]

    def units(self, n: int) -> list[np.ndarray]:
        """Random unit vectors [d_model]."""
        drawn = self.rng.standard_normal((n, self.target.d_model))
        return list((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32))


def bench_of(target: TargetModel, plan: Plan, sizes: Sizes, *, trained: bool) -> Bench:
    """A model with the shipped requests, spread over their topics."""
    examples = read(REQUESTS).examples
    kinds = {kind: [e for e in examples if e.kind == kind] for kind in ("harmful", "plain")}
    n = max(sizes.texts // 2, sizes.fit + sizes.validation, sizes.prompts)
    spread = {kind: [some[i * len(some) // n] for i in range(n)] for kind, some in kinds.items()}
    return Bench(target, plan, spread["harmful"], spread["plain"], sizes, np.random.default_rng(SEED), trained)


def refuser(dtype: str) -> tuple[TargetModel, Plan]:
    """The demo model with the adapter that taught it to refuse."""
    return load_target(admit(DEMO, adapter=REFUSER), device="cpu", dtype=dtype)


def half_billion(dtype: str) -> tuple[TargetModel, Plan]:
    """A llama of half a billion random weights, always the same ones, with the demo model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO, local_files_only=True)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=1024,
        intermediate_size=5632,
        num_hidden_layers=24,
        num_attention_heads=16,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(config, dtype=NAMED[dtype], attn_implementation="eager")
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=generator)
    target, plan, _ = target_from(model.requires_grad_(False), tokenizer, name="half a billion random weights")
    return target, plan


MODELS = {"demo": refuser, "half-billion": half_billion}
