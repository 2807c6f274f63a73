"""The measuring process: load the admitted checkpoint, fix the plan, run the battery, write finished units.

Started by `auditor run` with the run folder as its only argument. It prints nothing; what it has to say is in
the run folder.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
import traceback
from pathlib import Path

from auditor.bundle import RunFolder
from auditor.cli.child import ENDED, JOB, PLAN, SPEED, Job
from auditor.cli.discover import load_probes
from auditor.errors import AuditorError
from auditor.model.load import load_target
from auditor.model.plan import Plan
from auditor.model.speed import text_speed
from auditor.model.target import TargetModel
from auditor.pipeline import measure

PR_SET_PDEATHSIG = 1


def main(path: str) -> int:
    """Do the job in a run folder; how it ended is written there last."""
    folder = RunFolder(Path(path))
    end_with_parent()
    logging.disable(logging.WARNING)
    try:
        work(folder)
    except AuditorError as error:
        folder.write_json(ENDED, {"error": str(error), "kind": type(error).__name__})
        return error.exit_code
    except Exception as error:  # noqa: BLE001, reported to the parent, which must not see a bare exit code
        traceback.print_exc()
        said = f"internal error in the measuring process: {type(error).__name__}: {error}"
        folder.write_json(ENDED, {"error": said, "kind": "IncompleteRun"})
        return 3
    folder.write_json(ENDED, {"error": None, "kind": None})
    return 0


def end_with_parent() -> None:
    """Ask Linux to end this process when `auditor run` is killed, so that no second one measures in the folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def work(folder: RunFolder) -> None:
    """Load, fix the plan before the first unit (or replay the one that is there), measure; or only time the model."""
    job = Job.model_validate(folder.read_json(JOB))
    replayed = Plan.model_validate(folder.read_json(PLAN)) if (folder.path / PLAN).exists() else None
    target, plan = load_target(
        job.checkpoint, device=job.device, dtype=job.dtype, role=job.config.role, replay=replayed
    )
    folder.write_json(PLAN, plan.model_dump(mode="json"))
    if job.dry_run:
        fed, written = text_speed(target, plan.batch_tokens)
        folder.write_json(SPEED, {"fed": fed, "written": written})
        return

    def reload(dtype: str) -> tuple[TargetModel, Plan]:
        return load_target(job.checkpoint, device=plan.device, dtype=dtype, role=plan.role, threads=plan.threads)

    measure(job.config, target, plan, load_probes(list(job.config.probes)), folder, reload, job.data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
