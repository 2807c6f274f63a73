"""What must hold before a number read from this model means anything; measured once, when it is loaded.

Blocks return what the library calls its hidden states, and padding and the key-value cache change nothing. A model that
fails is refused, with the error that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.config import Scalar
from auditor.errors import ProbeFailed, UnsupportedModel
from auditor.model.batches import inputs, left_padded
from auditor.model.chat_format import plain_ids
from auditor.model.generate import Decoder, next_logits
from auditor.model.hooks import library_hidden_states, recording, starting_at
from auditor.model.late import layer_inputs
from auditor.model.parts import with_parts
from auditor.model.prefix import nothing
from auditor.model.sites import Site
from auditor.model.target import TargetModel

TEXTS = (
    "Paris is a city in France.",
    "Why do birds sing in the morning, and what do they eat during the long winter?",
    "One two three",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
)
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest relative difference between two ways to the same vector, over layers and tokens. Sound models of 25
families showed at most 4e-6 in float32 and 2e-3 in float16; wrong positions show 0.1 and more. In bfloat16 the demo
model shows .015 to .03, by CPU."""

LIBRARY_FAILS = (ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError)
"""what a model's own code raises when it cannot be run on a padded batch or with a cache"""


def checked(target: TargetModel) -> tuple[TargetModel, dict[str, Scalar]]:
    """Run every check; the target with its points, and what was measured.

    Raises:
        UnsupportedModel: a check failed; the message names it, with the measured error.
    """
    ids = [target.chat.special_prefix + plain_ids(target.tokenizer, text) for text in TEXTS]
    try:
        with torch.inference_mode():
            _check_blocks(target, ids[1])
            found = with_parts(target, ids[1])
            prefix_error = _prefix(found, ids)
            late_error, found = _late(replace(found, shares_prefixes=prefix_error is not None), ids)
            return found, {
                "block_outputs_equal_hidden_states": True,
                "padding_error_activations": _padding_activations(found, ids),
                "padding_error_logits": _padding_logits(found, ids),
                "cache_error_logits": _cache(found, ids),
                "prefix_error_logits": prefix_error,
                "late_start_error_logits": late_error,
            }
    except LIBRARY_FAILS as error:
        told = f"{type(error).__name__}: {error}"
        raise UnsupportedModel(f"{type(target.model).__name__} cannot be run on short texts: {told}") from error


def _check_blocks(target: TargetModel, ids: tuple[int, ...]) -> None:
    """Input and output of every block are the library's hidden states, bit for bit.

    The last output is left out: the library lists it after the final norm.
    """
    layers = range(target.n_layers)
    before, after = [Site(i, "resid_pre") for i in layers], [Site(i, "resid_post") for i in layers]
    batch = left_padded(target, [ids])
    with recording(target, [*before, *after], [range(len(ids))]) as seen:
        states = library_hidden_states(target.backbone, inputs(target.backbone, batch.ids, batch.mask))
    name = type(target.model).__name__
    if states is None or len(states) != target.n_layers + 1:
        found = "none" if states is None else str(len(states))
        raise UnsupportedModel(f"{name} has {target.n_layers} blocks, and the library lists {found} hidden states")
    for site in [*before, *after[:-1]]:
        index = site.layer + (site.point == "resid_post")
        listed = states[index][0].float().cpu().numpy()
        if not np.array_equal(seen.at(site), listed):
            error = relative(seen.at(site), listed)
            raise UnsupportedModel(
                f"{name} is not built of transformer blocks as they are read here: {site.point} of layer "
                f"{site.layer} is not the library's hidden state {index} (relative error {error:.2g}, must be 0)"
            )


def _padding_activations(target: TargetModel, texts: Sequence[tuple[int, ...]]) -> float:
    """resid_post of every layer and token: alone against left-padded.

    The largest error in float32. In 16 bits single vectors in which large terms cancel are far off by rounding alone,
    while wrong positions move them all: the largest, over texts and layers, of the median over the tokens of a text.
    """
    sites = [Site(i, "resid_post") for i in range(target.n_layers)]

    def read(some: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        batch = left_padded(target, some)
        with recording(target, sites, [range(len(ids)) for ids in some]) as seen:
            target.backbone(**inputs(target.backbone, batch.ids, batch.mask), use_cache=False)
        return seen.values

    errors = _distances(read(texts), np.concatenate([read([ids]) for ids in texts]))
    by_text = np.split(errors, np.cumsum([len(ids) for ids in texts])[:-1])
    told = np.max if target.dtype == torch.float32 else np.median
    worst = max(float(told(some, axis=0).max()) for some in by_text)
    return _held(target, "left padding changes the residual stream", worst)


def _padding_logits(target: TargetModel, texts: Sequence[tuple[int, ...]]) -> float:
    """Logits of the next token: alone against left-padded."""
    alone = torch.cat([next_logits(target, left_padded(target, [ids])) for ids in texts])
    together = next_logits(target, left_padded(target, texts))
    return _held(target, "left padding changes the logits", _relative_logits(together, alone))


def _cache(target: TargetModel, texts: Sequence[tuple[int, ...]]) -> float:
    """Logits after two generated tokens: cached in a padded batch, against whole texts alone."""
    decoder = Decoder(target, left_padded(target, texts))
    longer = list(texts)
    for _ in range(2):
        tokens = decoder.logits.argmax(-1)
        decoder.feed(tokens)
        longer = [(*ids, int(token)) for ids, token in zip(longer, tokens, strict=True)]
    alone = torch.cat([next_logits(target, left_padded(target, [ids])) for ids in longer])
    return _held(target, "the key-value cache changes the logits", _relative_logits(decoder.logits, alone))


def _prefix(target: TargetModel, texts: Sequence[tuple[int, ...]]) -> float | None:
    """Logits after stems of several lengths behind one beginning, each read once, against whole texts alone.

    None where the model keeps no keys and values, or padding before or behind a stem changes the logits: its prompts
    are then read whole.
    """
    begin = texts[2]
    cuts = [len(begin) + max(1, len(ids) // 2) for ids in texts]
    whole = [(*begin, *ids) for ids in texts]
    stems = [ids[:cut] for ids, cut in zip(whole, cuts, strict=True)]
    none = [()] * len(texts)
    try:
        prefix = nothing(target).longer(target, [()], [begin]).longer(target, none, stems)
        past = prefix.past(target, none, stems)
        rest = [ids[cut:] for ids, cut in zip(whole, cuts, strict=True)]
        together = next_logits(target, left_padded(target, rest), past)
        alone = torch.cat([next_logits(target, left_padded(target, [ids])) for ids in whole])
    except (*LIBRARY_FAILS, ProbeFailed):
        return None
    error = _relative_logits(together, alone)
    return float(f"{error:.2g}") if error <= TOLERANCE.get(target.dtype, TOLERANCE[torch.float32]) else None


def _late(target: TargetModel, texts: Sequence[tuple[int, ...]]) -> tuple[float | None, TargetModel]:
    """Logits of a padded batch that starts at the middle layer, against the same batch from the first on.

    None where no way of passing over blocks gives the same: rows then start at the first.
    """
    batch, middle = left_padded(target, texts), max(1, target.n_layers // 2)
    whole = next_logits(target, batch)
    fed = layer_inputs(target, texts, [min(middle, target.n_layers - 1)], nothing(target), 1 << 20)
    for kind in ("tensor", "tuple"):
        found = replace(target, starts_late=kind)
        try:
            with starting_at(found, fed.layers[0], fed.padded(fed.layers[0], texts, [slice(None)] * len(texts))):
                error = _relative_logits(next_logits(found, batch), whole)
        except (*LIBRARY_FAILS, UnsupportedModel):
            continue
        if error <= TOLERANCE.get(target.dtype, TOLERANCE[torch.float32]):
            return float(f"{error:.2g}"), found
    return None, target


def _held(target: TargetModel, failure: str, error: float) -> float:
    """The error to two digits. Raises UnsupportedModel when it is above the tolerance or not a number."""
    bar = TOLERANCE.get(target.dtype, TOLERANCE[torch.float32])
    if not error <= bar:
        kind = str(target.dtype).removeprefix("torch.")
        raise UnsupportedModel(
            f"{type(target.model).__name__}: {failure} (relative error {error:.2g}, at most {bar:g} in {kind})"
        )
    return float(f"{error:.2g}")


def relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest ‖found − expected‖ / ‖expected‖ over vectors along the last axis."""
    return float(_distances(found, expected).max())


def _distances(found: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float64]:
    off = np.linalg.norm(found.astype(np.float64) - expected, axis=-1)
    told: NDArray[np.float64] = off / (np.linalg.norm(expected.astype(np.float64), axis=-1) + 1e-30)
    return told


def _relative_logits(found: Tensor, expected: Tensor) -> float:
    """The same for logits, without their mean, which no probability depends on."""
    centred = [(logits - logits.mean(-1, keepdim=True)).cpu().numpy() for logits in (found, expected)]
    return relative(centred[0], centred[1])
