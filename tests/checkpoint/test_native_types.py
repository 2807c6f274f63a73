"""What is read from the library's source is what the library itself says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.checkpoint import native
from auditor.checkpoint.native import causal_models, config_keys, is_native_tokenizer
from auditor.errors import ConfigError

FAMILIES = [
    "llama",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3_text",
    "mistral",
    "phi3",
    "gpt2",
    "gpt_neox",
    "mamba",
    "olmo2",
    "falcon",
    "opt",
    "bloom",
]

ASK_THE_LIBRARY = """
import dataclasses, json, sys
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
names = lambda kind: {field.name for field in dataclasses.fields(kind)}
declared = {t: sorted(names(CONFIG_MAPPING[t]) - names(PreTrainedConfig)) for t in sys.argv[1:]}
print(json.dumps([dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), declared]))
"""


def test_models_and_keys_are_those_of_the_library() -> None:
    command = [sys.executable, "-c", ASK_THE_LIBRARY, *FAMILIES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    models, declared = json.loads(done.stdout.splitlines()[-1])
    assert causal_models() == models
    for family in FAMILIES:
        assert set(declared[family]) <= (config_keys(family) or frozenset())


def test_older_spellings_and_aliases_are_known() -> None:
    assert "rope_local_base_freq" in (config_keys("gemma3_text") or ())
    assert {"n_embd", "hidden_size"} <= (config_keys("gpt2") or set())


def test_keys_that_only_the_model_reads_are_known() -> None:
    assert "head_dim" in (config_keys("qwen2") or ())
    assert "transformers_weights" not in (config_keys("qwen2") or ())


TOY = """
class Base(PreTrainedConfig):
    inherited: int = 1

class ToyConfig(Base):
    model_type = "toy"
    attribute_map = {"common_name": "own_name"}
    plan: ClassVar[dict] = {}
    declared: int = 1

    def __post_init__(self, **kwargs):
        self.derived = kwargs.pop("older_spelling", None)
        self._internal = kwargs["x"]
"""
MODEL = """
width = getattr(config, "read_with_default", 1) if hasattr(self.config, 'asked_for') else config.other
hidden = getattr(config, "_internal", None)
"""


def test_every_way_of_reading_a_key_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "configuration_toy.py").write_text(TOY)
    (tmp_path / "toys" / "modeling_toy.py").write_text(MODEL)
    monkeypatch.setattr(native, "_models", lambda: tmp_path)
    assert config_keys.__wrapped__("toy") == {
        "inherited",
        "common_name",
        "own_name",
        "declared",
        "derived",
        "older_spelling",
        "read_with_default",
        "asked_for",
    }


def test_keys_of_other_families_are_not_known() -> None:
    assert "n_embd" not in (config_keys("llama") or ())
    assert not {key for key in config_keys("llama") or () if key.startswith("_")}


@pytest.mark.parametrize("name", ["no_such_model", "", "../llama", "llama.*"])
def test_a_type_without_a_class_has_no_keys(name: str) -> None:
    assert config_keys(name) is None


def test_a_part_of_a_model_has_keys_but_is_no_causal_model() -> None:
    assert config_keys("siglip_vision_model") is not None
    assert "siglip_vision_model" not in causal_models()


def test_native_tokenizers_are_known_in_both_spellings() -> None:
    assert is_native_tokenizer("GPT2Tokenizer")
    assert is_native_tokenizer("GPT2TokenizerFast")
    assert not is_native_tokenizer("OwnTokenizer")


def test_an_unknown_layout_of_the_library_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto" / "modeling_auto.py").write_text("MODELS = load()")
    monkeypatch.setattr(native, "_models", lambda: tmp_path)
    with pytest.raises(ConfigError, match="version of transformers"):
        causal_models.__wrapped__()
