"""The jobs: extraction, direction selection, probe sweep, steering sweep. Each is done by us and by plain loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from auditor.measure.classifiers import C, refitted
from auditor.measure.directions import Labels, Rows, standardised
from auditor.model.batches import Batch, in_batches, inputs, left_padded
from auditor.model.edits import Edit
from auditor.model.extract import extract
from auditor.model.generate import forward
from auditor.model.prompts import Prompt
from auditor.model.sites import Point, Site
from auditor.model.sweep import Outcome, WorkItem, sweep
from auditor.model.target import TargetModel
from benchmarks.timing import Contest, Numbers

ABLATED: tuple[Point, ...] = ("resid_pre", "attn_out", "mlp_out")


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    texts: int = 128
    candidates: int = 24
    validation: int = 16
    rows: int = 430
    sites: int = 30
    folds: int = 5
    permutations: int = 20
    coefficients: int = 7
    directions: int = 21
    prompts: int = 32
    tokens: int = 24


SMOKE = Sizes(
    texts=6, candidates=3, validation=4, rows=60, sites=2, folds=2, permutations=3,
    coefficients=2, directions=2, prompts=3, tokens=3,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bench:
    """A model with prompts for it."""

    target: TargetModel
    prompts: Sequence[Prompt]
    sizes: Sizes
    batch_tokens: int
    rng: np.random.Generator

    def units(self, n: int) -> list[np.ndarray]:
        """Random unit vectors [d_model]."""
        drawn = self.rng.standard_normal((n, self.target.d_model))
        return list((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32))

    def batches(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], Batch]]:
        """Batches of whole prompts, the longest first, as any careful loop makes them."""
        for rows in in_batches([len(p.ids) for p in prompts], self.batch_tokens):
            yield rows, left_padded(self.target, [prompts[i].ids for i in rows])


def extraction(bench: Bench) -> Contest:
    """Residual stream after every block, last token."""
    target, prompts = bench.target, bench.prompts[: bench.sizes.texts]
    sites = [Site(layer, "resid_post") for layer in range(target.n_layers - 1)]

    def ours() -> Numbers:
        return extract(target, prompts, sites=sites, position="last_prompt", batch_tokens=bench.batch_tokens).values

    @torch.inference_mode()
    def hidden_states() -> Numbers:
        found = np.empty((len(prompts), len(sites), target.d_model), np.float32)
        for rows, batch in bench.batches(prompts):
            states = target.backbone(
                **inputs(target.backbone, batch.ids, batch.mask), use_cache=False, output_hidden_states=True
            ).hidden_states
            found[rows] = torch.stack([state[:, -1].float() for state in states[1:-1]], dim=1).numpy()
        return found

    @torch.inference_mode()
    def bare() -> Numbers:
        for _, batch in bench.batches(prompts):
            target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)
        return reference

    reference = ours()
    what = f"{len(prompts)} prompts, {len(sites)} layers, {sum(len(p.ids) for p in prompts)} tokens"
    return Contest(
        "extraction", what, "auditor",
        {"auditor": ours, "output_hidden_states": hidden_states, "bare forward pass, nothing kept": bare},
        tolerance=1e-3 if target.dtype == torch.float32 else 1.0,
    )  # fmt: skip


@contextmanager
def hooked(modules: Sequence[tuple[torch.nn.Module, bool]], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """One change at the input (True) or output of some modules, as published hook code does it."""

    def before(_module: Any, args: tuple[Any, ...]) -> Any:
        return (change(args[0]), *args[1:])

    def after(_module: Any, _args: Any, output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    with ExitStack() as stack:
        for module, at_input in modules:
            handle = module.register_forward_pre_hook(before) if at_input else module.register_forward_hook(after)
            stack.callback(handle.remove)
        yield


def removing(u: Tensor) -> Callable[[Tensor], Tensor]:
    """Take the component along u away."""
    return lambda x: x - (x @ u)[..., None] * u


def putting(vector: Tensor) -> Callable[[Tensor], Tensor]:
    """Add a vector at every token."""
    return lambda x: x + vector


def direction_selection(bench: Bench) -> Contest:
    """Every candidate ablated on two sets of prompts and added on one; logits of the next token."""
    target, sizes = bench.target, bench.sizes
    harmful, harmless = bench.prompts[: sizes.validation], bench.prompts[sizes.validation : 2 * sizes.validation]
    last = int(0.8 * target.n_layers)
    layers = [i * last // sizes.candidates for i in range(sizes.candidates)]
    everywhere = tuple(Site(layer, point) for layer in range(target.n_layers) for point in ABLATED)
    units = bench.units(sizes.candidates)
    some = np.arange(0, target.vocab_size, max(1, target.vocab_size // 64))

    def ours() -> Numbers:
        removed = [Edit("ablate", u, 1.0, 1.0, everywhere) for u in units]
        put = [Edit("add", u, 4.0, 1.0, (Site(layer, "resid_pre"),)) for u, layer in zip(units, layers, strict=True)]
        asked = [WorkItem(p, (e,)) for e in removed for p in (*harmful, *harmless)]
        asked += [WorkItem(p, (e,)) for e in put for p in harmless]
        found = outcomes(bench, asked)
        return np.stack([o.logits[some] for o in found if o.logits is not None])

    @torch.inference_mode()
    def logits(prompts: Sequence[Prompt], keep: int) -> Numbers:
        found = np.empty((len(prompts), len(some)), np.float32)
        for rows, batch in bench.batches(prompts):
            found[rows] = forward(target, batch.ids, batch.mask, keep=keep).logits[:, -1][:, some].float().numpy()
        return found

    def one_at_a_time(keep: int) -> Numbers:
        parts: dict[str, list[Numbers]] = {"removed": [], "put": []}
        reads = [(target.module(site), site.point == "resid_pre") for site in everywhere]
        for u, layer in zip(units, layers, strict=True):
            unit = torch.from_numpy(u).to(target.dtype)
            with hooked(reads, removing(unit)):
                parts["removed"] += [logits(harmful, keep), logits(harmless, keep)]
            with hooked([(target.blocks[layer], True)], putting(4.0 * unit)):
                parts["put"].append(logits(harmless, keep))
        return np.concatenate([*parts["removed"], *parts["put"]])

    what = f"{sizes.candidates} candidates × 3 × {sizes.validation} prompts"
    return Contest(
        "direction selection", what, "auditor",
        {
            "auditor": ours,
            "loop over candidates, last logits": lambda: one_at_a_time(1),
            "loop over candidates, all logits": lambda: one_at_a_time(0),
        },
        tolerance=1e-3 if target.dtype == torch.float32 else 4.0,
    )  # fmt: skip


def outcomes(bench: Bench, items: Sequence[WorkItem]) -> list[Outcome]:
    """What comes of each item, in their order."""
    found = dict(sweep(bench.target, items, batch_tokens=bench.batch_tokens))
    return [found[i] for i in range(len(items))]


def probe_sweep(bench: Bench) -> Contest:
    """Logistic probes at every site and fold, on permuted labels; their scores on the rows left out."""
    sizes = bench.sizes
    width = bench.target.d_model
    labels = bench.rng.permutation(np.arange(sizes.rows) % 2 == 0)
    mixing = [bench.rng.standard_normal((width, width)) / np.sqrt(width) for _ in range(sizes.sites)]
    spread = np.geomspace(1, 0.02, width)
    base = bench.rng.standard_normal((sizes.rows, width)) + 0.5 * labels[:, None]
    x = [(base * spread @ m).astype(np.float32) for m in mixing]
    fold = np.arange(sizes.rows) % sizes.folds
    shuffled = {
        k: np.stack([bench.rng.permutation(labels[fold != k]) for _ in range(sizes.permutations)])
        for k in range(sizes.folds)
    }

    def each(fit: Callable[[Rows, Labels], Numbers]) -> Numbers:
        return np.concatenate(
            [
                (fit(x[i][fold != k], shuffled[k]) @ x[i][fold == k].T).ravel()
                for i in range(sizes.sites)
                for k in range(sizes.folds)
            ]
        )

    def one_at_a_time(rows: Rows, table: Labels) -> Numbers:
        z, _, scale = standardised(rows)
        fits = [LogisticRegression(C=C, max_iter=1000).fit(z, one) for one in table]
        return np.stack([model.coef_[0] / scale for model in fits])

    what = f"{sizes.sites} sites × {sizes.folds} folds × {sizes.permutations} labellings, {sizes.rows} × {width}"
    return Contest(
        "probe sweep", what, "auditor",
        {
            "auditor": lambda: each(lambda rows, table: refitted("logistic", rows, table)),
            "scikit-learn": lambda: each(one_at_a_time),
        },
        tolerance=0.02,
    )  # fmt: skip


def steering_sweep(bench: Bench) -> Contest:
    """Texts under directions × coefficients."""
    target, sizes = bench.target, bench.sizes
    prompts = bench.prompts[: sizes.prompts]
    layer = target.n_layers // 2
    coefficients = np.linspace(-2, 2, sizes.coefficients)
    arms = [(u, float(c)) for u in bench.units(sizes.directions) for c in coefficients]

    def ours() -> Numbers:
        edits = [(Edit("add", u, 1.0, c, (Site(layer, "resid_post"),)),) for u, c in arms]
        items = [
            WorkItem(p, e, want=frozenset({"text", "logits"}), max_new_tokens=sizes.tokens)
            for e in edits
            for p in prompts
        ]
        return np.array([o.tokens[0] if o.tokens else -1 for o in outcomes(bench, items)], dtype=np.float64)

    @torch.inference_mode()
    def one_at_a_time() -> Numbers:
        found = []
        for u, c in arms:
            first = np.empty(len(prompts))
            put = c * torch.from_numpy(u).to(target.dtype)
            with hooked([(target.blocks[layer], False)], putting(put)):
                for rows, batch in bench.batches(prompts):
                    written = target.model.generate(
                        input_ids=batch.ids, attention_mask=batch.mask, max_new_tokens=sizes.tokens, do_sample=False,
                        eos_token_id=list(target.eos_ids), pad_token_id=target.pad_id,
                    )  # fmt: skip
                    first[rows] = written[:, batch.ids.shape[1]].numpy()
            found.append(first)
        return np.concatenate(found)

    what = f"{len(coefficients)} coefficients × {sizes.directions} directions × {len(prompts)} prompts × {sizes.tokens}"
    return Contest(
        "steering sweep", what, "auditor",
        {"auditor": ours, "hooks and generate, one condition at a time": one_at_a_time},
        tolerance=0.0 if target.dtype == torch.float32 else np.inf,
    )  # fmt: skip


JOBS: dict[str, Callable[[Bench], Contest]] = {
    "extraction": extraction,
    "direction_selection": direction_selection,
    "probe_sweep": probe_sweep,
    "steering_sweep": steering_sweep,
}
