"""Checkpoint folders, healthy and hostile, built on the spot: a few hundred bytes each, no torch.

`healthy` writes a folder that is admitted. Each entry of REFUSED spoils such a folder in one way and says
which error must name which file; each entry of ACCEPTED changes it in a way that real releases do, and says
what must be noted.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from auditor.errors import AuditorError, ConfigError, UnsafeCheckpoint, UnsupportedModel

CANARY = "canary"
"""name of the file that a payload leaves beside the checkpoint folder when it runs"""
VOCABULARY, WIDTH, INNER, LAYERS = 16, 8, 12, 2
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message.content }}\n{% endfor %}"
DUNDER_TEMPLATE = "{{ messages.__class__.__mro__[1].__subclasses__() }}"


@dataclass(frozen=True)
class Refused:
    """One way to spoil a healthy folder."""

    name: str
    spoil: Callable[[Path], None]
    names: str
    """what the message must name: the file, the key"""
    error: type[AuditorError] = UnsafeCheckpoint


@dataclass(frozen=True)
class Accepted:
    """One change that ordinary releases have."""

    name: str
    change: Callable[[Path], None]
    note: str
    """what the notes must mention; empty: nothing to mention"""


def config(**changes: Any) -> dict[str, Any]:
    """Decoded config.json of the healthy folder."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "torch_dtype": "float32",
        **changes,
    }


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    """Weights of a llama model of two layers."""
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qo"}
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (WIDTH // 2, WIDTH) for name in "kv"}
        shapes |= {f"{block}.mlp.{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")}
        shapes |= {f"{block}.mlp.down_proj.weight": (WIDTH, INNER)}
        shapes |= {f"{block}.{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    shapes["lm_head.weight"] = (VOCABULARY, WIDTH)
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def healthy(folder: Path, **changes: Any) -> Path:
    """Write a folder that is admitted; `changes` go into its config."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config(**changes))
    write_json(folder / "tokenizer.json", {"version": "1.0", "added_tokens": [], "model": {"type": "BPE"}})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "chat_template": TEMPLATE})
    (folder / "model.safetensors").write_bytes(save(tensors()))
    (folder / "README.md").write_text("a model\n")
    return folder


def sharded(folder: Path) -> None:
    """Split the weights over two files with an index."""
    (folder / "model.safetensors").unlink()
    everything = tensors()
    names = sorted(everything)
    shards = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for shard, part in shards.items():
        (folder / shard).write_bytes(save({name: everything[name] for name in part}))
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": weight_map})


def adapter(folder: Path, **changes: Any) -> Path:
    """Write a LoRA adapter folder that is admitted with the healthy one; a change to None removes a key."""
    folder.mkdir(parents=True)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
    }
    write_json(folder / "adapter_config.json", {**settings, **changes})
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    low_rank = {"lora_A": np.zeros((2, WIDTH), np.float32), "lora_B": np.zeros((WIDTH, 2), np.float32)}
    weights = {f"{place}.{name}.weight": value for name, value in low_rank.items()}
    (folder / "adapter_model.safetensors").write_bytes(save(weights))
    return folder


def pickle_payload(canary: Path) -> bytes:
    """Bytes that create the canary when they are unpickled, written by hand in protocol 0."""
    return f"cos\nmkdir\n(V{canary}\ntR.".encode()


def code_payload(canary: Path) -> str:
    """Source that creates the canary when it is imported."""
    return f"open({str(canary)!r}, 'w').close()\n"


def write_json(path: Path, value: object) -> None:
    """Write JSON as any tool would."""
    path.write_text(json.dumps(value))


def edit_json(name: str, **changes: Any) -> Callable[[Path], None]:
    """A spoiler that changes keys of one JSON file."""

    def edit(folder: Path) -> None:
        path = folder / name
        write_json(path, {**(json.loads(path.read_text()) if path.exists() else {}), **changes})

    return edit


def write(name: str, content: bytes) -> Callable[[Path], None]:
    """A spoiler that writes one file."""

    def put(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return put


def header(entries: dict[str, Any], data: int = 0) -> bytes:
    """A safetensors file with a header of one's own and that many bytes of data."""
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def entry(begin: int, end: int, *, shape: tuple[int, ...] = (4,), dtype: str = "U8") -> dict[str, Any]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def only_pickle(folder: Path) -> None:
    """Replace the weights by a pickle with a payload."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle_payload(folder.parent / CANARY))


def pickle_beside_a_stray(folder: Path) -> None:
    """Weights as pickle, beside a safetensors file that no loader would take."""
    (folder / "model.safetensors").rename(folder / "stray.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle_payload(folder.parent / CANARY))


def pickle_and_code_beside(folder: Path) -> None:
    """Add a pickle and a code file, each with a payload."""
    (folder / "pytorch_model.bin").write_bytes(pickle_payload(folder.parent / CANARY))
    (folder / "modeling_custom.py").write_text(code_payload(folder.parent / CANARY))


def cut_short(folder: Path) -> None:
    """Lose the last bytes of the weights."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def link_out(folder: Path) -> None:
    """Link to a file outside the folder."""
    secret = folder.parent / "secret.txt"
    secret.write_text("secret")
    (folder / "notes.txt").symlink_to(secret)


def link_inside(folder: Path) -> None:
    """Link to a file of the folder, as a Hub cache does."""
    (folder / "model.safetensors").rename(folder / "blob")
    (folder / "model.safetensors").symlink_to("blob")


def linked_folder(folder: Path) -> None:
    """Link to a folder outside."""
    (folder / "more").symlink_to(folder.parent)


def pipe(folder: Path) -> None:
    """A named pipe, on which a reader would wait for ever."""
    os.mkfifo(folder / "tokenizer.model")


def duplicate_key(folder: Path) -> None:
    """Say the model type twice."""
    text = json.dumps(config())
    (folder / "config.json").write_text(text[:-1] + ', "model_type": "gpt2"}')


def index(change: Callable[[dict[str, str]], None]) -> Callable[[Path], None]:
    """A spoiler that shards the folder and then lets the index lie."""

    def lie(folder: Path) -> None:
        sharded(folder)
        path = folder / "model.safetensors.index.json"
        found = json.loads(path.read_text())
        change(found["weight_map"])
        write_json(path, found)

    return lie


def shard_below(folder: Path) -> None:
    """Move a shard into a folder of the checkpoint, and let the index follow."""
    shard = "model-00001-of-00002.safetensors"
    index(lambda weights: weights.update({k: f"below/{shard}" for k, v in weights.items() if v == shard}))(folder)
    (folder / "below").mkdir()
    (folder / shard).rename(folder / "below" / shard)


def lost_shard(folder: Path) -> None:
    """Lose the second shard."""
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def zip_at_the_end(folder: Path) -> None:
    """Weights whose last tensor ends as a zip archive does."""
    end = b"PK\x05\x06" + bytes(18)
    everything = tensors()
    name = max(everything)
    raw = everything[name].tobytes()[: -len(end)] + end
    everything[name] = np.frombuffer(raw, np.float32).reshape(everything[name].shape)
    # one dtype: tensors lie in the order of their names
    (folder / "model.safetensors").write_bytes(save(everything))


def template(text: str) -> Callable[[Path], None]:
    """A spoiler that ships another chat template as a file of its own."""
    return write("chat_template.jinja", text.encode())


CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

REFUSED = (
    Refused("weights only as pickle", only_pickle, "pytorch_model.bin"),
    Refused("pickle beside other safetensors", pickle_beside_a_stray, "pytorch_model.bin"),
    Refused("symbolic link out", link_out, "notes.txt"),
    Refused("symbolic link inside", link_inside, WEIGHTS),
    Refused("linked folder", linked_folder, "more"),
    Refused("named pipe", pipe, "tokenizer.model"),
    Refused("control characters in a name", write("a\x1b[31m.txt", b""), "a\\x1b[31m.txt"),
    Refused("own generation code", write("custom_generate/generate.py", b"pass\n"), "custom_generate/generate.py"),
    Refused("truncated weights", cut_short, WEIGHTS),
    Refused("weights with a tail", lambda f: write(WEIGHTS, save(tensors()) + b"more")(f), WEIGHTS),
    Refused("header bomb", write(WEIGHTS, struct.pack("<Q", 2**40) + b"{" + bytes(64)), "its header claims"),
    Refused("header behind the end", write(WEIGHTS, struct.pack("<Q", 5000) + b"{}"), "is truncated"),
    Refused("empty weights", write(WEIGHTS, b""), WEIGHTS),
    Refused("overlapping tensors", write(WEIGHTS, header({"a": entry(0, 4), "b": entry(2, 6)}, 6)), WEIGHTS),
    Refused("gap between tensors", write(WEIGHTS, header({"a": entry(0, 4), "b": entry(8, 12)}, 12)), WEIGHTS),
    Refused("tensor behind the end", write(WEIGHTS, header({"a": entry(0, 4), "b": entry(4, 8)}, 4)), WEIGHTS),
    Refused("shape that does not fit", write(WEIGHTS, header({"a": entry(0, 4, shape=(2**62, 4))}, 4)), WEIGHTS),
    Refused("negative shape", write(WEIGHTS, header({"a": entry(0, 4, shape=(-4, -1))}, 4)), WEIGHTS),
    Refused("unknown dtype", write(WEIGHTS, header({"a": entry(0, 4, dtype="object")}, 4)), WEIGHTS),
    Refused("zip named safetensors", write(WEIGHTS, b"PK\x03\x04" + bytes(400)), WEIGHTS),
    Refused("pickle named safetensors", write(WEIGHTS, b"\x80\x04\x95" + bytes(400)), WEIGHTS),
    Refused("safetensors that ends as a zip", zip_at_the_end, WEIGHTS),
    Refused("Git LFS pointer", write(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\n"), WEIGHTS),
    Refused("zip named json", write("tokenizer_config.json", b"PK\x03\x04" + bytes(40)), "tokenizer_config.json"),
    Refused("pickle named txt", write("merges.txt", b"\x80\x04\x95" + bytes(40)), "merges.txt"),
    Refused("shard in another folder", index(lambda m: m.update(evil="../x.safetensors")), "../x.safetensors"),
    Refused("shard below", shard_below, "not a safetensors file of this folder"),
    Refused("shard with an absolute path", index(lambda m: m.update(evil="/etc/x.safetensors")), INDEX),
    Refused("shard that is a pickle", index(lambda m: m.update(evil="model.bin")), "model.bin"),
    Refused("index of what is not there", index(lambda m: m.update(evil=min(m.values()))), "evil"),
    Refused("index that hides a tensor", index(lambda m: m.pop("lm_head.weight")), "lm_head.weight"),
    Refused("lost shard", lost_shard, "model-00002-of-00002.safetensors"),
    Refused("model type only as code", edit_json(CONFIG, model_type="evil", auto_map={"AutoModel": "a.B"}), "evil"),
    Refused("unknown model type", edit_json(CONFIG, model_type="no_such_model"), "no_such_model"),
    Refused("no model type", edit_json(CONFIG, model_type=None), CONFIG),
    Refused("kernels by an internal key", edit_json(CONFIG, _attn_implementation_internal="evil/kernels"), CONFIG),
    Refused("internal attention key", edit_json(CONFIG, _attn_implementation="sdpa"), "_attn_implementation"),
    Refused("attention from a repository", edit_json(CONFIG, attn_implementation="evil/kernels"), "evil/kernels"),
    Refused(
        "attention of one part",
        edit_json(CONFIG, attn_implementation={"text": "evil/kernels"}),
        "evil/kernels",
    ),
    Refused("internal key of a part", edit_json(CONFIG, text_config={"_attn_x": "a/b"}), "_attn_x"),
    Refused("internal key in a list", edit_json(CONFIG, parts=[{"_x": "a/b"}]), "_x"),
    Refused(
        "nested trust",
        edit_json(CONFIG, rope_scaling={"a": {"trust_remote_code": True}}),
        "trust_remote_code",
    ),
    Refused("kernel config", edit_json(CONFIG, kernel_config={"Norm": "evil/kernels"}), "kernel_config"),
    Refused(
        "trust in the tokenizer",
        edit_json("tokenizer_config.json", trust_remote_code=True),
        "trust_remote_code",
    ),
    Refused("generation code", edit_json("generation_config.json", custom_generate="evil/x"), "custom_generate"),
    Refused("token id as text", edit_json("generation_config.json", eos_token_id="../x"), "eos_token_id"),
    Refused("tokenizer class as code", edit_json("tokenizer_config.json", tokenizer_class="a.b"), "tokenizer_class"),
    Refused("huge template inside", edit_json("tokenizer_config.json", chat_template="x" * 300_000), "longer than"),
    Refused("duplicate key", duplicate_key, CONFIG),
    Refused("config cut short", write(CONFIG, b'{"model_type": "lla'), CONFIG),
    Refused("config that is a list", write(CONFIG, b"[]"), CONFIG),
    Refused("config with NaN", edit_json(CONFIG, rope_theta=float("nan")), CONFIG),
    Refused(
        "config with an overflow",
        write(CONFIG, json.dumps(config()).encode()[:-1] + b', "rope_theta": 1e999}'),
        CONFIG,
    ),
    Refused("config with a huge integer", edit_json(CONFIG, rope_theta=10**50), CONFIG),
    Refused("deep config", write(CONFIG, b'{"a":' * 3000 + b"1" + b"}" * 3000), CONFIG),
    Refused("huge config", edit_json(CONFIG, id2label={"0": "x" * (5 * 2**20)}), CONFIG),
    Refused("lone surrogate", edit_json(CONFIG, architectures=["\ud800"]), CONFIG),
    Refused("dtype that is a function", edit_json(CONFIG, dtype="load"), "dtype"),
    Refused("huge width", edit_json(CONFIG, hidden_size=10**9), "hidden_size"),
    Refused("huge inner width", edit_json(CONFIG, intermediate_size=10**9), "intermediate_size"),
    Refused("sizes as true", edit_json(CONFIG, num_attention_heads=True), "num_attention_heads"),
    Refused("width of no tensor", edit_json(CONFIG, hidden_size=4096), "hidden_size"),
    Refused("vocabulary of no tensor", edit_json(CONFIG, vocab_size=10**6), "vocab_size"),
    Refused("layers without weights", edit_json(CONFIG, num_hidden_layers=4000), "layers"),
    Refused("heads as text", edit_json(CONFIG, num_attention_heads="2"), "num_attention_heads"),
    Refused("tokenizer class as a path", edit_json(CONFIG, tokenizer_class="../x"), "tokenizer_class"),
    Refused(
        "template with internals",
        edit_json("tokenizer_config.json", chat_template=DUNDER_TEMPLATE),
        "__subclasses__",
    ),
    Refused(
        "template with computed name",
        template("{{ messages|attr('__cl' ~ 'ass__') }}"),
        "chat_template.jinja",
    ),
    Refused("template by subscript", template("{{ messages['__class__'] }}"), "chat_template.jinja"),
    Refused("template by map", template("{{ messages|map(attribute='_x')|list }}"), "chat_template.jinja"),
    Refused("template by mapped attr", template("{{ messages|map('attr', '_x')|list }}"), "chat_template.jinja"),
    Refused("template by format", template("{{ '{0.__class__}'.format(messages) }}"), "__class__"),
    Refused("template that includes", template("{% include '/etc/passwd' %}"), "chat_template.jinja"),
    Refused("broken template", template("{% for %}"), "chat_template.jinja"),
    Refused("huge template", template("x" * 300_000), "chat_template.jinja"),
    Refused("adapter beside a model", edit_json("adapter_config.json", peft_type="LORA"), "adapter_config.json"),
    Refused("provenance with a tree", edit_json("auditor_provenance.json", a={"b": 1}), "auditor_provenance.json"),
    Refused("quantised", edit_json(CONFIG, quantization_config={"bits": 4}), CONFIG, UnsupportedModel),
    Refused("not causal", edit_json(CONFIG, model_type="t5"), "t5", UnsupportedModel),
    Refused("internal key of a layer", edit_json(CONFIG, per_layer_config={"0": {"_x": 1}}), "_x"),
    Refused("layer that is no object", edit_json(CONFIG, per_layer_config={"0": 1}), "per_layer_config"),
    Refused("infinite width", edit_json(CONFIG, hidden_size=float("inf")), "hidden_size"),
    Refused("only GGUF", lambda f: (f / WEIGHTS).rename(f / "m.gguf") and None, "auditor convert", ConfigError),
    Refused("oddly named", lambda f: (f / WEIGHTS).rename(f / "w.safetensors") and None, WEIGHTS, ConfigError),
    Refused("no weights", lambda f: (f / WEIGHTS).unlink(), "model.safetensors", ConfigError),
    Refused("no config", lambda f: (f / CONFIG).unlink(), CONFIG, ConfigError),
    Refused("no tokenizer", lambda f: (f / "tokenizer.json").unlink(), "tokenizer", ConfigError),
)


def own_tokenizer(folder: Path) -> None:
    """A tokenizer that exists only as code."""
    (folder / "tokenizer.json").rename(folder / "own.tiktoken")
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": "a"}},
    )


REFUSED += (Refused("tokenizer only as code", own_tokenizer, "tokenizer_config.json"),)

ACCEPTED = (
    Accepted("nothing changed", lambda _: None, ""),
    Accepted("pickle and code beside", pickle_and_code_beside, "modeling_custom.py, pytorch_model.bin"),
    Accepted("auto_map of a native type", edit_json(CONFIG, auto_map={"AutoModelForCausalLM": "m.C"}), "auto_map"),
    Accepted(
        "tokenizer code beside data",
        edit_json("tokenizer_config.json", auto_map={"AutoTokenizer": ["a", None]}),
        "auto_map",
    ),
    Accepted("vendor key", edit_json(CONFIG, vendor_setting=3), "vendor_setting"),
    Accepted(
        "bookkeeping",
        edit_json(CONFIG, _name_or_path="/home/x", _attn_implementation_autoset=True),
        "_name_or_path",
    ),
    Accepted("other weights", edit_json(CONFIG, transformers_weights="../x.safetensors"), "transformers_weights"),
    Accepted("undeclared key that the model reads", edit_json(CONFIG, model_type="qwen2", head_dim=4), "LlamaFor"),
    Accepted("native attention", edit_json(CONFIG, attn_implementation="sdpa"), "attn_implementation"),
    Accepted("trust declined", edit_json(CONFIG, trust_remote_code=False), "trust_remote_code"),
    Accepted("labels", edit_json(CONFIG, label2id={"_private": 0}), "label2id"),
    Accepted("no quantisation", edit_json(CONFIG, quantization_config=None), ""),
    Accepted("path in the tokenizer", edit_json("tokenizer_config.json", vocab_file="/etc/passwd"), "vocab_file"),
    Accepted("unlimited length", edit_json("tokenizer_config.json", model_max_length=10**30), ""),
    Accepted("sharded", sharded, ""),
    Accepted(
        "further weights",
        write("consolidated.safetensors", header({"a": entry(0, 4)}, 4)),
        "consolidated.safetensors",
    ),
    Accepted("another architecture", edit_json(CONFIG, architectures=["LlamaModel"]), "LlamaModel"),
    Accepted("template file", template(TEMPLATE), ""),
    Accepted("token in underscores", edit_json("tokenizer_config.json", chat_template="{{ '__en__' }}"), ""),
    Accepted("another template file", template("{{ messages[0].content }}"), "different chat templates"),
    Accepted(
        "template that marks",
        template("{% for m in messages %}{% generation %}{{ m }}{% endgeneration %}{% break %}{% endfor %}"),
        "different",
    ),
    Accepted(
        "named templates",
        edit_json(
            "tokenizer_config.json",
            chat_template=[{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}],
        ),
        "tool_use",
    ),
    Accepted("version control beside", write(".git/HEAD", b"ref: refs/heads/main\n"), ""),
)
