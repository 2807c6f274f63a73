"""Builds the model: from a staged folder of admitted files, in any dtype, or around one that is in memory already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as library_logging

from auditor.bundle import canonical_json, sha256_hex
from auditor.checkpoint.admit import Admitted
from auditor.checkpoint.identity import CheckpointIdentity
from auditor.checkpoint.stage import stage
from auditor.errors import UnsupportedModel
from auditor.model.adapter import with_adapter
from auditor.model.attention import EAGER, attend_in_groups
from auditor.model.chat_format import ChatFormat, detect_format
from auditor.model.target import TargetModel, find_blocks

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


@dataclass(frozen=True, eq=False)
class Source:
    """A staged checkpoint, from which the model can be built in any dtype."""

    admitted: Admitted
    folder: Path
    config: Any
    tokenizer: Any
    chat: ChatFormat
    device: torch.device

    @classmethod
    def open(cls, admitted: Admitted, scratch: Path, device: torch.device) -> Source:
        """Stage the admitted files; read config and tokenizer."""
        folder = stage(admitted, scratch / "model")
        if admitted.adapter is not None:
            stage(admitted.adapter, scratch / "adapter")
        name = admitted.identity.name
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(
                folder, config=config, trust_remote_code=False, local_files_only=True
            )
        except _LOADING as error:
            raise UnsupportedModel(f"{name}: config or tokenizer cannot be read: {_first_line(error)}") from error
        return cls(admitted, folder, config, tokenizer, detect_format(tokenizer), device)

    def target(self, dtype: torch.dtype) -> TargetModel:
        """The model in one dtype, complete but unchecked."""
        name = self.admitted.identity.name
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=self.config,
                dtype=dtype,
                attn_implementation=EAGER,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are listed, and refused below by name
            )
        except _LOADING as error:
            raise UnsupportedModel(
                f"{name}: the model cannot be built from its config and weights: {_first_line(error)}"
            ) from error
        model, found = loaded
        _refuse_incomplete(name, found)
        if self.admitted.adapter is not None:
            model = with_adapter(model, self.admitted.adapter, self.folder.parent / "adapter")
        model = model.to(self.device).eval().requires_grad_(False)
        target = unchecked(model, self.tokenizer, self.chat, self.admitted.identity.digest)
        attend_in_groups(target)
        return target


def _refuse_incomplete(name: str, found: dict[str, Any]) -> None:
    """A weight the file lacks would be random, one the model lacks would go unaudited."""
    for kind, told in (
        ("missing_keys", "lacks"),
        ("mismatched_keys", "has in another shape"),
        ("unexpected_keys", "holds, and the model has no place for,"),
    ):
        # a key in another shape comes with both shapes
        if keys := sorted(key if isinstance(key, str) else str(key[0]) for key in found.get(kind, ())):
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise UnsupportedModel(f"{name}: the checkpoint {told} {', '.join(keys[:3])}{more}")


def unchecked(model: Any, tokenizer: Any, chat: ChatFormat, identity: str) -> TargetModel:
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
    found: set[Any] = set()
    generation = getattr(model, "generation_config", None)
    for said in (
        model.config.get_text_config().eos_token_id,
        getattr(generation, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found |= set(said) if isinstance(said, list | tuple) else {said}
    return tuple(sorted(token for token in found if isinstance(token, int) and 0 <= token < vocabulary))


def identity_in_memory(model: Any, tokenizer: Any, name: str) -> CheckpointIdentity:
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
def quiet() -> Iterator[None]:
    """No progress bars and load reports of the library: what matters of them is raised or on record."""
    log: Any = library_logging  # untyped
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
