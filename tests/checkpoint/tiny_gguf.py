"""A llama GGUF file of a few kilobytes, with everything that a conversion needs."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import gguf
import numpy as np

WIDTH, INNER, HEADS = 32, 64, 2
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@cache
def gguf_bytes(architecture: str = "llama", *, quantised: bool = True) -> bytes:
    """Contents of the file; matrices in Q4_0, or in F32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        _settings(writer)
        for name, shape in _shapes().items():
            values = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
            if quantised and len(shape) == 2:
                kind = gguf.GGMLQuantizationType.Q4_0
                writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _settings(writer: gguf.GGUFWriter) -> None:
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    tokens = vocabulary()
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 2 + [1] * (len(tokens) - 2))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)


def vocabulary() -> list[str]:
    """Two special tokens, letters, one merge; a multiple of 32 in all."""
    return ["<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "ab", "Ġ", ".", ","]


def _shapes() -> dict[str, tuple[int, ...]]:
    return {
        "token_embd.weight": (len(vocabulary()), WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (len(vocabulary()), WIDTH),
        **{f"blk.0.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        "blk.0.ffn_gate.weight": (INNER, WIDTH),
        "blk.0.ffn_up.weight": (INNER, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, INNER),
    }
