"""A local folder wins; a Hub id is fetched whole, at one commit, once; everything else is said plainly."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from auditor.checkpoint.admit import admit
from auditor.checkpoint.resolve import WANTED, HuggingFace, default_cache, resolve
from auditor.errors import ConfigError, UnsafeCheckpoint
from tests.hostile import healthy

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """A Hub that knows one model."""

    names: tuple[str, ...] = ("config.json", "model.safetensors")
    breaks: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def describe(self, repo: str, revision: str | None) -> tuple[str, list[str]]:
        self.asked.append((repo, revision))
        return COMMIT, list(self.names)

    def fetch(self, repo: str, commit: str, into: Path) -> None:
        self.fetched.append(commit)
        healthy(into)
        (into / ".cache" / "huggingface").mkdir(parents=True)
        if self.breaks:
            raise ConfigError("the Hub could not be reached")


def test_a_local_folder_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    healthy(tmp_path / "org" / "name")
    hub = FakeHub()
    assert resolve("org/name", tmp_path / "cache", hub) == (Path("org/name"), None)
    assert hub.asked == []


@pytest.mark.parametrize(("model", "revision"), [("org/name", None), ("org/name@v1.0", "v1.0")])
def test_a_hub_id_is_fetched_once_at_its_commit(tmp_path: Path, model: str, revision: str | None) -> None:
    hub = FakeHub()
    folder, commit = resolve(model, tmp_path, hub)
    assert (folder, commit) == (tmp_path / "org--name" / COMMIT, COMMIT)
    assert hub.asked == [("org/name", revision)]
    assert admit(folder, name="org/name", revision=commit).identity.revision == COMMIT
    assert not (folder / ".cache").exists()
    assert resolve(model, tmp_path, hub) == (folder, commit)
    assert hub.fetched == [COMMIT]


def test_an_interrupted_fetch_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not be reached"):
        resolve("org/name", tmp_path, FakeHub(breaks=True))
    assert list((tmp_path / "org--name").iterdir()) == []


def test_a_hub_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    hub = FakeHub(names=("config.json", "pytorch_model.bin"))
    with pytest.raises(UnsafeCheckpoint, match="org/name: the Hub has no safetensors"):
        resolve("org/name", tmp_path, hub)
    assert hub.fetched == []


@pytest.mark.parametrize(
    "model", ["./model", "/no/such/model", "a/b/c", "model", "~/no-such-model", "../x/y", "org/na me"]
)
def test_what_looks_like_a_path_never_reaches_the_hub(tmp_path: Path, model: str) -> None:
    hub = FakeHub()
    with pytest.raises(ConfigError, match="no such folder"):
        resolve(model, tmp_path, hub)
    assert hub.asked == []


def test_a_hub_that_gives_no_commit_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeHub, "describe", lambda *_: ("../../evil", ["model.safetensors"]))
    with pytest.raises(ConfigError, match="no commit"):
        resolve("org/name", tmp_path, FakeHub())


def test_offline_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OfflineModeIsEnabled("offline mode is enabled")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", offline)
    with pytest.raises(ConfigError) as error:
        resolve("org/name", tmp_path)
    assert "org/name: no such folder" in str(error.value)
    assert "the Hub could not be reached (offline mode is enabled)" in str(error.value)
    assert "give its folder" in str(error.value)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("RepositoryNotFoundError", "does not have it"),
        ("GatedRepoError", "HF_TOKEN"),
        ("RevisionNotFoundError", "no revision v9"),
    ],
)
def test_what_the_hub_answers_is_said(monkeypatch: pytest.MonkeyPatch, raised: str, said: str) -> None:
    kind = getattr(huggingface_hub.errors, raised)

    def answer(*_: object, **__: object) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer)
    with pytest.raises(ConfigError, match=said):
        HuggingFace().describe("org/name", "v9")


def test_the_real_hub_is_asked_for_safetensors_and_data_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    info = SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename="model.safetensors")])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **given: asked.update(given, repo=repo))
    assert HuggingFace().describe("org/name", None) == (COMMIT, ["model.safetensors"])
    HuggingFace().fetch("org/name", COMMIT, tmp_path)
    assert (asked["repo"], asked["revision"], asked["local_dir"]) == ("org/name", COMMIT, tmp_path)
    assert asked["allow_patterns"] == list(WANTED)
    assert not any(pattern.endswith(("py", "bin", "pt")) for pattern in WANTED)


def test_the_cache_follows_the_platform_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "auditor" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache().is_relative_to(os.path.expanduser("~"))
