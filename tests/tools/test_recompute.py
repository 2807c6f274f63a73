"""tools/recompute.py agrees with an audit of a tiny model, and says so where something does not."""

from __future__ import annotations

import json
import math
import random
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli import cli
from tests.tiny import save_checkpoint

TOOL = Path(__file__).parents[2] / "tools/recompute.py"
STONES = {
    "language": "en",
    "class_names": ["untrue", "true one"],
    "files": [
        {
            "path": "stones.csv",
            "licence": "CC0-1.0",
            "columns": {"completion": "said", "label": "right", "group": "stone"},
            "positive": [1],
            "negative": [0],
        }
    ],
}
CONFIG = {
    "battery": "quick",
    "datasets": {"stones": STONES, "again": STONES},
    "probes": {
        "truth_probe": {"params": {"fit_on": "stones", "transfer_to": ["again"], "recipes": ["mass_mean", "logistic"]}},
        **dict.fromkeys(("refusal_behaviour", "refusal_direction", "steering_response"), False),
    },
    "report": {"formats": ["html"]},
}


def csv_of(n: int = 140) -> str:
    """Two statements about each stone, one true; the words that go with truth are only more frequent in it."""
    rng, rows = random.Random(0), []
    for i in range(n):
        for right in (0, 1):
            colour = rng.choice(["red", "blue", "grey"] if right else ["blue", "grey", "black"])
            rows.append(f"Stone {i} {rng.choice(['is', 'was', 'looks'])} {colour}.,{right},s{i}")
    return "\n".join(["said,right,stone", *rows]) + "\n"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recompute")
    (folder / "stones.csv").write_text(csv_of())
    (folder / "audit.yaml").write_text(json.dumps(CONFIG))
    arguments = ["run", str(folder / "audit.yaml"), "--model", str(save_checkpoint(folder / "model"))]
    done = CliRunner().invoke(
        cli, [*arguments, "--dtype", "float32", "--out", str(folder / "run")], standalone_mode=False
    )
    assert done.exception is None, done.output
    return folder


@pytest.fixture
def recompute() -> Callable[..., int]:
    main: Callable[..., int] = runpy.run_path(str(TOOL))["main"]
    return main


def test_every_figure_is_found_again(
    audited: Path, recompute: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert recompute(audited / "run", audited, audited / "model") == 0
    told = capsys.readouterr().out
    for part in ("validation", "held out", "words alone", "labels shuffled", "tried on again"):
        assert part in told


def test_a_figure_that_is_off_is_told(audited: Path, recompute: Callable[..., int], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("items", "draws.safetensors"):
        (other / name).symlink_to(audited / "run" / name)
    audit = json.loads((audited / "run/audit.json").read_text())
    (truth,) = audit["results"]
    first = next(check for check in truth["qualifications"][0]["checks"] if check["name"] == "held-out AUROC")
    first["estimate"]["value"] -= 0.03
    (other / "audit.json").write_text(json.dumps(audit))
    assert recompute(other, audited, audited / "model") == 1


def test_a_figure_that_is_not_a_number_is_off(
    audited: Path, recompute: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recompute.__globals__, "recomputed", lambda *_: [("same", 0.5, 0.5), ("none", 0.5, math.nan)])
    assert recompute(audited / "run", audited, audited / "model") == 1


def test_another_file_than_the_audited_one_is_refused(
    audited: Path, recompute: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "stones.csv").write_text(csv_of().replace("Stone 7 ", "Stone seven "))
    with pytest.raises(ValueError, match="another text, label or split"):
        recompute(audited / "run", tmp_path, audited / "model")
