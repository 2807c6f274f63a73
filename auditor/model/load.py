"""From an admitted checkpoint, or a model in memory, to a TargetModel and the plan of a run.

The library sees only a staged folder of admitted files, and a model with a weight that the checkpoint does not hold is
never audited.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as library_logging

from auditor.bundle import canonical_json, sha256_hex
from auditor.checkpoint.admit import Admitted
from auditor.checkpoint.identity import CheckpointIdentity
from auditor.checkpoint.stage import stage
from auditor.config import ModelRole, Scalar
from auditor.errors import UnsupportedModel
from auditor.model.adapter import with_adapter
from auditor.model.batches import in_batches, left_padded
from auditor.model.chat_format import ChatFormat, detect_format, plain_ids
from auditor.model.checks import checked
from auditor.model.dtypes import (
    FIDELITY_TEXTS,
    NAMED,
    Fidelity,
    choose_device,
    choose_dtype,
    cpu_flags,
    fidelity,
)
from auditor.model.generate import next_logits
from auditor.model.plan import Plan
from auditor.model.target import TargetModel, find_blocks

BATCH_TOKENS = {"cpu": 4096, "cuda": 16384}
"""padded tokens a batch, by kind of device: enough to keep it busy, little enough for a small machine"""

ATTENTION = "eager"
"""The definition of attention that every family has: fused kernels lack the score cap of gemma2 and the sinks of
gpt-oss, and give rows of padding no weights to normalise. On short prompts it costs nothing measurable."""

_LOADING = (
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    OSError,
    AttributeError,
    ImportError,
    SafetensorError,
)
"""what the library raises for a folder that it cannot build a model from"""


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
    with tempfile.TemporaryDirectory(prefix="auditor-model-") as scratch, _quiet():
        source = _Source.open(admitted, Path(scratch), choose_device(device))
        if replay is not None:
            return checked(source.target(NAMED[dtype]))[0], replay
        target, said, facts = _in_best_dtype(source, dtype)
        target, measured = checked(target)
    return target, _plan(target, role, said, {**target.facts, **measured, **facts})


def target_from(
    model: Any, tokenizer: Any, *, name: str = "model in memory", role: ModelRole | None = None
) -> tuple[TargetModel, Plan, CheckpointIdentity]:
    """The same for a model that is already in memory: put into evaluation mode, not changed otherwise.

    Raises:
        UnsupportedModel: a load check fails.
    """
    model.eval()
    identity = _identity_in_memory(model, tokenizer, name)
    with _quiet():
        target, measured = checked(_target(model, tokenizer, detect_format(tokenizer), identity.digest))
    plan = _plan(target, role, "the dtype of the model in memory", {**target.facts, **measured})
    return target, plan, identity


def set_threads(threads: int | None) -> int:
    """Use this many CPU threads (None: as many as the library chose) and say how many there are."""
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return torch.get_num_threads()


@dataclass(frozen=True, eq=False)
class _Source:
    """A staged checkpoint, from which the model can be built in any dtype."""

    admitted: Admitted
    folder: Path
    config: Any
    tokenizer: Any
    chat: ChatFormat
    device: torch.device

    @classmethod
    def open(cls, admitted: Admitted, scratch: Path, device: torch.device) -> _Source:
        """Stage the admitted files; read config and tokenizer."""
        folder = stage(admitted, scratch / "model")
        if admitted.adapter is not None:
            stage(admitted.adapter, scratch / "adapter")
        name = admitted.identity.name
        try:
            config = AutoConfig.for_model(**admitted.config)
            tokenizer = AutoTokenizer.from_pretrained(
                folder, config=config, trust_remote_code=False, local_files_only=True
            )
        except _LOADING as error:
            raise UnsupportedModel(
                f"{name}: config or tokenizer cannot be read: {_first_line(error)}"
            ) from error
        return cls(admitted, folder, config, tokenizer, detect_format(tokenizer), device)

    def target(self, dtype: torch.dtype) -> TargetModel:
        """The model in one dtype, complete but unchecked."""
        name = self.admitted.identity.name
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=self.config,
                dtype=dtype,
                attn_implementation=ATTENTION,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except _LOADING as error:
            raise UnsupportedModel(
                f"{name}: the model cannot be built from its config and weights: {_first_line(error)}"
            ) from error
        _refuse_incomplete(name, found)
        if self.admitted.adapter is not None:
            model = with_adapter(model, self.admitted.adapter, self.folder.parent / "adapter")
        model = model.to(self.device).eval().requires_grad_(False)
        return _target(model, self.tokenizer, self.chat, self.admitted.identity.digest)


def _refuse_incomplete(name: str, found: dict[str, Any]) -> None:
    """A weight the file lacks would be random, one the model lacks would go unaudited."""
    for kind, told in (
        ("missing_keys", "lacks"),
        ("mismatched_keys", "has in another shape"),
        ("unexpected_keys", "holds, and the model has no place for,"),
    ):
        if keys := sorted(map(str, found.get(kind, ()))):
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UnsupportedModel(f"{name}: the checkpoint {told} {', '.join(keys[:3])}{more}")


def _in_best_dtype(source: _Source, wanted: str) -> tuple[TargetModel, str, dict[str, Scalar]]:
    """The target in the dtype of the rule if it is close enough to float32 (or was asked for), why, and what was seen."""
    dtype, reason = choose_dtype(wanted, source.device, source.admitted.identity.stored_dtypes, cpu_flags())
    if dtype == torch.float32:
        return source.target(dtype), reason, {}
    try:
        reference = _fidelity_logits(source.target(torch.float32))
    except torch.cuda.OutOfMemoryError:
        return source.target(dtype), f"{reason}; not compared, float32 does not fit into memory", {}
    target = source.target(dtype)
    seen = fidelity(reference, _fidelity_logits(target))
    kind = str(dtype).removeprefix("torch.")
    told = f"mean KL to float32 {seen.kl:.2g} nats, same likeliest token in {seen.top1:.0%} of {seen.n} texts"
    if seen.passed or wanted != "auto":
        return target, f"{reason}; {told}", seen.facts
    del target
    return source.target(torch.float32), f"{kind} is too far from float32: {told}", seen.facts


def _fidelity_logits(target: TargetModel) -> Tensor:
    """Logits [n_texts, vocab] after each of the fidelity texts, on the CPU."""
    texts = [target.chat.special_prefix + plain_ids(target.tokenizer, text) for text in FIDELITY_TEXTS]
    logits = torch.empty(len(texts), target.vocab_size)
    for batch in in_batches([len(ids) for ids in texts], BATCH_TOKENS["cpu"]):
        logits[batch] = next_logits(target, left_padded(target, [texts[i] for i in batch])).cpu()
    return logits


def _target(model: Any, tokenizer: Any, chat: ChatFormat, identity: str) -> TargetModel:
    """The target with its blocks, before any check."""
    embedding = model.get_input_embeddings()
    if model.get_output_embeddings() is None or model.base_model is model:
        raise UnsupportedModel(f"{type(model).__name__} has no head that gives next-token logits")
    config = model.config.get_text_config()
    vocabulary = int(embedding.weight.shape[0])
    ends = _ends(model, tokenizer, vocabulary)
    pad = tokenizer.pad_token_id
    return TargetModel(
        model=model,
        backbone=model.base_model,
        tokenizer=tokenizer,
        chat=chat,
        blocks=find_blocks(model),
        d_model=int(config.hidden_size),
        vocab_size=vocabulary,
        max_tokens=getattr(config, "max_position_embeddings", None),
        # any token does as padding: the mask hides it
        pad_id=pad if pad is not None and pad < vocabulary else (*ends, 0)[0],
        eos_ids=ends,
        identity=identity,
    )


def _ends(model: Any, tokenizer: Any, vocabulary: int) -> tuple[int, ...]:
    """Every token that config, generation config or tokenizer calls the end of an answer."""
    found: set[int] = set()
    generation = getattr(model, "generation_config", None)
    for said in (
        model.config.get_text_config().eos_token_id,
        getattr(generation, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found |= set(said) if isinstance(said, list | tuple) else {said}
    return tuple(sorted(token for token in found if isinstance(token, int) and 0 <= token < vocabulary))


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


def _identity_in_memory(model: Any, tokenizer: Any, name: str) -> CheckpointIdentity:
    """Identity of weights that lie in no file: sha256 over names, formats, shapes and bytes."""
    digest, counts = hashlib.sha256(), dict[str, int]()
    for key, tensor in sorted(model.state_dict().items()):
        kind = str(tensor.dtype).removeprefix("torch.")
        counts[kind] = counts.get(kind, 0) + tensor.numel()
        digest.update(canonical_json([key, kind, list(tensor.shape)]))
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    template = getattr(tokenizer, "chat_template", None)
    return CheckpointIdentity(
        name=name,
        model_type=model.config.model_type,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        stored_dtypes=counts,
        files=(),
        digest=digest.hexdigest(),
        config_digest=sha256_hex(model.config.to_json_string(use_diff=False).encode()),
        template_digest=sha256_hex(str(template).encode()) if template else None,
        notes=("audited from memory: no file was hashed, the digest is of the weights",),
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and load reports of the library: what matters of them is raised or on record."""
    level, bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(level)
        if bars:
            library_logging.enable_progress_bar()
