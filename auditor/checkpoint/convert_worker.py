"""The process that converts one GGUF file: `python -m auditor.checkpoint.convert_worker FILE OUT BYTES`.

The one module outside model/ that uses torch, because it runs alone, without network, secrets or a long life.
It ends with one line of JSON on stdout: what it did, or which error to raise.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from auditor.checkpoint.gguf_check import check_gguf
from auditor.checkpoint.model_config import COMMON_KEYS
from auditor.checkpoint.native import config_keys
from auditor.errors import AuditorError, UnsupportedModel


def main(file: Path, out: Path, memory: int) -> int:
    """Limit this process, check the file, convert it into the new folder `out`."""
    _limit_memory(memory)
    try:
        stored = check_gguf(file)
        dtype = saved_dtype(stored)
        _convert(file, out, dtype)
    except AuditorError as error:
        sys.stdout.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
        return error.exit_code
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in stored.most_common())
    sys.stdout.write(json.dumps({"source_storage": kinds, "saved_dtype": dtype}) + "\n")
    return 0


def saved_dtype(stored: Counter[str]) -> str:
    """Name of the torch dtype to save in: no coarser than what most weights are stored in.

    bfloat16 rounds a weight by at most 2**-9 of its size. That is half of what 8-bit blocks have already lost
    at the largest weight of a block, a sixteenth of what 4-bit blocks have, and half the size on disk of
    float32.
    """
    most = stored.most_common(1)[0][0] if stored else ""
    return {"F32": "float32", "F64": "float32", "F16": "float16"}.get(most, "bfloat16")


def _limit_memory(size: int) -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _convert(file: Path, out: Path, dtype: str) -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as alone:
        # the library looks around in the folder of the file; here it is alone
        (Path(alone) / "model.gguf").symlink_to(file)
        source: dict[str, Any] = {
            "gguf_file": "model.gguf",
            "local_files_only": True,
            "trust_remote_code": False,
        }
        tokenizer = transformers.AutoTokenizer.from_pretrained(alone, **source)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(alone, dtype=torch.float32, **source)
    known = config_keys(loaded.config.model_type)
    if known is None:
        raise UnsupportedModel(f"{file.name}: the model type {loaded.config.model_type} is not supported")
    values = {key: value for key, value in loaded.config.to_dict().items() if key in known | COMMON_KEYS}
    config = type(loaded.config)(**{**values, "dtype": dtype})
    # save_pretrained refuses a model that was loaded quantised, so its weights move into a fresh one
    with torch.device("meta"):
        fresh = type(loaded)(config)
    weights = {name: value.to(getattr(torch, dtype)) for name, value in loaded.state_dict().items()}
    fresh.load_state_dict(weights, assign=True)
    fresh.tie_weights()
    fresh.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
