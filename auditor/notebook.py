"""`auditor.audit`: the same audit on a model that is already in memory, in this process."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle import RunFolder
from auditor.cli.discover import battery_paths, load_probes
from auditor.config import load_config, validate_against
from auditor.data.declared import read_declared
from auditor.findings.record import AuditRecord
from auditor.pipeline import conclude, measure

if TYPE_CHECKING:
    from auditor.model.plan import Plan
    from auditor.model.target import TargetModel


def audit(
    model: Any,
    tokenizer: Any,
    *,
    battery: str = "quick",
    config: str | Path | None = None,
    out: str | Path | None = None,
    name: str = "model in memory",
    seed: int = 0,
) -> AuditRecord:
    """Audit a transformers causal language model with its tokenizer.

    Args:
        model: as `AutoModelForCausalLM.from_pretrained` returns it; put into evaluation mode, not changed.
        tokenizer: its tokenizer.
        battery: which declared battery.
        config: a YAML file that extends the battery.
        out: run folder to write; without one the evidence is thrown away and only the record returned.
        name: what the report calls the model.
        seed: of splits, samples and nulls.

    Raises:
        AuditorError: with what to do about it.
    """
    from auditor.model.dtypes import NAMED  # torch, which `import auditor` does without
    from auditor.model.load import target_from

    overrides = {"model": name, "seed": seed}
    declared = load_config(
        Path(config) if config else None, battery=battery, overrides=overrides, batteries=battery_paths()
    )
    probes = load_probes(list(declared.probes))
    declared = validate_against(declared, probes)
    root = Path(config).parent if config else Path()
    declared, data = read_declared(declared, probes, root=root, source=str(config or "config"))
    target, plan, checkpoint = target_from(model, tokenizer, name=name, role=declared.role)

    def reload(dtype: str) -> tuple[TargetModel, Plan]:
        copy = deepcopy(model).to(NAMED[dtype])
        return target_from(copy, tokenizer, name=name, role=declared.role)[:2]

    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(Path(out) if out else Path(scratch) / "run", resume=False)
        measure(declared, target, plan, probes, folder, reload, data)
        return conclude(declared, checkpoint, plan, probes, folder)
