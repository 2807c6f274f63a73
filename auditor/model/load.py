"""From an admitted checkpoint, or a model in memory, to a TargetModel and the plan of a run.

The library sees only a staged folder of admitted files, and a model with a weight that the checkpoint does not hold is
never audited.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.checkpoint.admit import Admitted
from auditor.checkpoint.identity import CheckpointIdentity
from auditor.config import ModelRole, Scalar
from auditor.errors import UnsupportedModel
from auditor.model.batches import in_batches, left_padded
from auditor.model.chat_format import detect_format, plain_ids
from auditor.model.checks import checked
from auditor.model.dtypes import FIDELITY_TEXTS, NAMED, choose_device, choose_dtype, cpu_flags, fidelity
from auditor.model.generate import next_logits
from auditor.model.plan import Machine, Plan
from auditor.model.source import Source, identity_in_memory, quiet, unchecked
from auditor.model.target import TargetModel

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}
"""Padded tokens a batch, by kind of device: enough to keep it busy, little enough for a small machine. On two cores a
sweep under ablation took 9.7 s at 2,048 and 15.6 s at 8,192: larger temporaries cost more to allocate than
they save."""


def load_target(
    admitted: Admitted,
    *,
    device: str = "auto",
    dtype: str = "auto",
    role: ModelRole | None = None,
    replay: Plan | None = None,
    threads: int | None = None,
) -> tuple[TargetModel, Plan]:
    """Load, check and describe the model under audit.

    Args:
        admitted: what the checkpoint stage let through, with the adapter to merge if there is one.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `auto`, or a name that is used whatever the comparison with float32 says.
        role: as declared; None decides by the chat template.
        replay: the plan of the run that is resumed, which is then followed and returned.
        threads: of the CPU; None leaves the library's choice.

    Raises:
        UnsupportedModel: the checkpoint is incomplete or does not fit its config, or a load check fails.
        UnsafeCheckpoint: a file changed since it was admitted.
        ConfigError: a device or dtype that is not there.
    """
    if replay is not None:
        device, dtype, threads = replay.device, replay.dtype, replay.threads
    set_threads(threads)
    with tempfile.TemporaryDirectory(prefix="auditor-model-") as scratch, quiet():
        source = Source.open(admitted, Path(scratch), choose_device(device))
        if replay is not None:
            return checked(source.target(NAMED[dtype]))[0], replay
        target, said, facts = _in_best_dtype(source, dtype)
        target, measured, said = _checked_or_float32(source, target, dtype, said)
    return target, _plan(target, role, said, {**target.facts, **measured, **facts})


def target_from(
    model: Any, tokenizer: Any, *, name: str = "model in memory", role: ModelRole | None = None
) -> tuple[TargetModel, Plan, CheckpointIdentity]:
    """The same for a model that is already in memory: put into evaluation mode, not changed otherwise.

    Raises:
        UnsupportedModel: a load check fails.
    """
    model.eval()
    identity = identity_in_memory(model, tokenizer, name)
    with quiet():
        target, measured = checked(unchecked(model, tokenizer, detect_format(tokenizer), identity.digest))
    plan = _plan(target, role, "the dtype of the model in memory", {**target.facts, **measured})
    return target, plan, identity


def expected_machine(admitted: Admitted) -> Machine:
    """How a checkpoint would be run, told without loading it: the dtype of the rule, before it is compared."""
    device = choose_device("auto")
    dtype, _ = choose_dtype("auto", device, admitted.identity.stored_dtypes, cpu_flags())
    return Machine(
        device=device.type,
        dtype=str(dtype).removeprefix("torch."),
        batch_tokens=BATCH_TOKENS.get(device.type, BATCH_TOKENS["cpu"]),
        compared=dtype != torch.float32 and _room_to_compare(admitted, device),
    )


FLOAT32_SHARE = 0.5
"""of the machine's memory that a float32 copy may take, for the comparison only"""


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    # Windows does not say; the comparison then goes ahead
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 62


def _room_to_compare(admitted: Admitted, device: torch.device) -> bool:
    """Whether a float32 copy may be loaded; a GPU is tried."""
    return device.type != "cpu" or 4 * admitted.identity.parameters <= FLOAT32_SHARE * machine_memory()


def set_threads(threads: int | None) -> int:
    """Use this many CPU threads (None: as many as the library chose) and say how many there are."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def _in_best_dtype(source: Source, wanted: str) -> tuple[TargetModel, str, dict[str, Scalar]]:
    """The target in the dtype of the rule, or float32 if that is too far off; why; and what was measured."""
    dtype, reason = choose_dtype(wanted, source.device, source.admitted.identity.stored_dtypes, cpu_flags())
    if dtype == torch.float32:
        return source.target(dtype), reason, {}
    if not _room_to_compare(source.admitted, source.device):
        return source.target(dtype), f"{reason}; not compared, float32 would need too much of the memory", {}
    try:
        reference = _fidelity_logits(source.target(torch.float32))
    except torch.cuda.OutOfMemoryError:
        return source.target(dtype), f"{reason}; not compared, float32 does not fit into memory", {}
    target = source.target(dtype)
    seen = fidelity(reference, _fidelity_logits(target))
    kind = str(dtype).removeprefix("torch.")
    same = f"same likeliest token, near ties apart, in {seen.top1:.0%} of {seen.n} texts"
    told = f"mean KL to float32 {seen.kl:.2g} nats, {same}"
    if seen.passed or wanted != "auto":
        return target, f"{reason}; {told}", seen.facts
    del target
    return source.target(torch.float32), f"{kind} is too far from float32: {told}", seen.facts


def _checked_or_float32(
    source: Source, target: TargetModel, wanted: str, said: str
) -> tuple[TargetModel, dict[str, Scalar], str]:
    """The load checks; where a dtype that nobody named fails them, those of float32 decide."""
    try:
        return *checked(target), said
    except UnsupportedModel as error:
        if wanted != "auto" or target.dtype == torch.float32:
            raise
        said = f"{str(target.dtype).removeprefix('torch.')} fails a load check: {error}"
    del target
    return *checked(source.target(torch.float32)), said


def _fidelity_logits(target: TargetModel) -> Tensor:
    """Logits [n_texts, vocab] after each of the fidelity texts, on the CPU."""
    texts = [target.chat.special_prefix + plain_ids(target.tokenizer, text) for text in FIDELITY_TEXTS]
    logits = torch.empty(len(texts), target.vocab_size)
    for batch in in_batches([len(ids) for ids in texts], BATCH_TOKENS["cpu"]):
        logits[batch] = next_logits(target, left_padded(target, [texts[i] for i in batch])).cpu()
    return logits


def _plan(target: TargetModel, role: ModelRole | None, dtype_reason: str, facts: dict[str, Scalar]) -> Plan:
    by_template = "chat" if target.has_chat_template else "base"
    how = "chat template" if target.has_chat_template else "no chat template"
    return Plan.model_validate(
        {
            "role": role or by_template,
            "role_from": "config" if role else how,
            "device": str(target.device),
            "dtype": str(target.dtype).removeprefix("torch."),
            "dtype_reason": dtype_reason,
            "threads": torch.get_num_threads(),
            "batch_tokens": BATCH_TOKENS.get(target.device.type, BATCH_TOKENS["cpu"]),
            "facts": facts,
        }
    )
