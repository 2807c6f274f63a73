"""Tiny random models of many families with a tiny tokenizer, built in a moment and without a network.

For every test that needs a real model's structure and not its knowledge.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from auditor.model.load import target_from
from auditor.model.target import TargetModel

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "mistral", "phi3", "gpt2", "gpt_neox")
D_MODEL, LAYERS, VOCAB, MAX_TOKENS = 32, 3, 320, 96

SPECIAL = ("<pad>", "<bos>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>")
CORPUS = (
    "the city of Paris is in France . ",
    "why do birds sing in the morning ? ",
    "Question : Answer : yes no ",
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def tiny_tokenizer(
    *, chat: bool | str = True, pad: bool = True, bos: bool = True, eos_behind: bool = False
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with VOCAB entries.

    `chat` may be a template of its own; `bos` puts one before raw text; `eos_behind` puts an end behind it.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=list(SPECIAL), initial_alphabet=sorted(alphabet), show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    if bos or eos_behind:
        single = ("<bos> " if bos else "") + "$A" + (" <eos>" if eos_behind else "")
        bpe.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<bos>", 1), ("<eos>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>" if pad else None,
        additional_special_tokens=list(SPECIAL[3:]),
        clean_up_tokenization_spaces=False,
    )
    if chat:
        tokenizer.chat_template = TEMPLATE if chat is True else chat
    return tokenizer


def never(dtype: str) -> Any:
    """In place of loading the model again, where nothing asks for it."""
    raise AssertionError(f"the model was asked for in {dtype}")


def tiny_model(family: str = "llama", seed: int = 0, *, layers: int = LAYERS, **settings: Any) -> Any:
    """A model whose weights are random but large enough that every part of it matters."""
    config = AutoConfig.for_model(family, **(_settings(family, layers) | settings))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=generator)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False)


@cache
def tiny_target(family: str = "llama", **tokenizer: Any) -> TargetModel:
    """A checked target, loaded once for all tests: leave it as you found it."""
    return target_from(tiny_model(family), tiny_tokenizer(**tokenizer))[0]


def save_checkpoint(
    folder: Path,
    family: str = "llama",
    seed: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    **tokenizer: Any,
) -> Path:
    """Write a complete safetensors folder with config and tokenizer, and return it."""
    tiny_model(family, seed).to(dtype).save_pretrained(folder)
    tiny_tokenizer(**tokenizer).save_pretrained(folder)
    return folder


def _settings(family: str, layers: int) -> dict[str, Any]:
    tokens = {"vocab_size": VOCAB, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family == "gpt2":
        return tokens | {"n_embd": D_MODEL, "n_layer": layers, "n_head": 4, "n_positions": MAX_TOKENS}
    if family == "mamba":
        return tokens | {"hidden_size": D_MODEL, "num_hidden_layers": layers, "state_size": 4}
    shape = {
        "hidden_size": D_MODEL,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
    }
    if family != "gpt_neox":
        shape["num_key_value_heads"] = 2
    if family in ("gemma2", "gemma3_text", "qwen3"):
        shape["head_dim"] = 8
    if family in ("gemma2", "gemma3_text"):
        # shorter than the prompts of the tests, so that windows matter
        shape["sliding_window"] = 8
    return tokens | shape
