"""Signed statements in the run folder: who signed what, and that nothing of it can be changed unseen."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from auditor.bundle import RunFolder, sha256_file
from auditor.cli import cli
from auditor.errors import ConfigError, VerifyMismatch
from auditor.report import signature
from auditor.report.signature import ATTESTATION
from tests.runfolder import build_run


def write_key(place: Path, name: str, private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    """Write `name`.pem and `name`.pub as openssl does; returns the path without a suffix."""
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (place / f"{name}.pem").write_bytes(pem)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (place / f"{name}.pub").write_bytes(public)
    return place / name


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with two keys and a signed run folder."""
    place = tmp_path_factory.mktemp("signed")
    ours = write_key(place, "ours", ed25519.Ed25519PrivateKey.generate())
    write_key(place, "theirs", ed25519.Ed25519PrivateKey.generate())
    folder = build_run(place / "run", per_class=4, domains=("cities",))
    folder.write_bytes("report.html", b"<p>report</p>")
    folder.write_rendered([folder.path / "report.html"])
    assert call("report", folder.path, "--format", "intoto", "--sign", f"{ours}.pem").exception is None
    return place


@pytest.fixture
def place(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], standalone_mode=False)


def problems(place: Path, key: str = "ours.pub") -> list[str]:
    return signature.problems(RunFolder(place / "run"), place / key)


def test_a_signed_folder_verifies_with_its_key(place: Path) -> None:
    told = call("verify", place / "run", "--key", place / "ours.pub")
    assert told.exception is None
    assert "samples, the signature\neverything agrees\n" in told.output


def test_another_key_fails_and_says_so(place: Path) -> None:
    told = call("verify", place / "run", "--key", place / "theirs.pub")
    assert isinstance(told.exception, VerifyMismatch)
    assert told.exception.exit_code == 1
    assert f"{ATTESTATION}: not signed with the private key of {place / 'theirs.pub'}\n" in told.output
    assert "everything agrees" not in told.output


def test_a_folder_that_is_not_signed_fails_with_a_key_and_only_then(place: Path) -> None:
    (place / "run" / ATTESTATION).unlink()
    assert call("verify", place / "run").exception is None
    assert problems(place) == [f"{ATTESTATION}: missing, so the folder is not signed"]


def test_without_a_key_it_says_that_the_signature_was_not_checked(place: Path) -> None:
    told = call("verify", place / "run").output
    assert f"{ATTESTATION}: the signature is checked with --key PUBLIC.pem\n" in told
    assert "not checked, because" not in told


@pytest.mark.parametrize("name", ["manifest.json", "rendered.json"])
def test_a_list_that_was_written_anew_is_named(place: Path, name: str) -> None:
    folder = RunFolder(place / "run")
    folder.write_json(name, {**folder.read_json(name), "files": {}})
    assert problems(place) == [f"{name}: changed since {ATTESTATION} was written"]


def test_rewriting_every_hash_of_a_changed_folder_does_not_help(place: Path) -> None:
    folder = RunFolder(place / "run")
    folder.write_bytes("report.html", b"<p>all is well</p>")
    folder.write_rendered([folder.path / "report.html"])
    assert call("verify", place / "run").exception is None
    assert isinstance(call("verify", place / "run", "--key", place / "ours.pub").exception, VerifyMismatch)


def test_a_report_that_was_added_or_removed_is_named(place: Path) -> None:
    (place / "run/rendered.json").unlink()
    assert problems(place) == [f"rendered.json: listed in {ATTESTATION} but missing"]


def test_no_byte_of_the_attestation_can_be_changed_unseen(place: Path) -> None:
    path = place / "run" / ATTESTATION
    data = path.read_bytes()
    payload = range(data.index(b'"payload":"') + 11, data.index(b'","payloadType"'))
    inside = set(payload[1:-8])  # of the long first payload every 16th byte stands for its neighbours
    unseen = []
    for position in (p for p in range(data.index(b"\n") + 200) if p not in inside or p % 16 == 0):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        if not any(ATTESTATION in problem for problem in problems(place)):
            unseen.append(position)
    assert unseen == []


def test_the_same_envelope_written_in_another_way_is_named(place: Path) -> None:
    path = place / "run" / ATTESTATION
    first, second = path.read_text().splitlines()
    envelope = json.loads(first)
    signed = envelope["signatures"][0]["sig"]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    unused_bit = signed[:-3] + digits[digits.index(signed[-3]) + 1] + "=="
    assert base64.b64decode(unused_bit) == base64.b64decode(signed)
    for other in (first.replace(":", ": ", 1), json.dumps({**envelope, "more": 1}), first.replace(signed, unused_bit)):
        path.write_text(f"{other}\n{second}\n")
        assert problems(place) == [f"{ATTESTATION}: cannot be read (an envelope is not as it was written)"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[:1],
        lambda lines: lines[1:],
        lambda lines: [*lines, lines[0]],
        lambda lines: lines[::-1],
        lambda lines: [],
        lambda lines: [b"{}\n"],
        lambda lines: [b"\xff\n"],
    ],
)
def test_an_attestation_of_another_form_is_no_crash(place: Path, spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    path = place / "run" / ATTESTATION
    path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
    assert [problem.split(":")[0] for problem in problems(place)] == [ATTESTATION]


def test_each_envelope_holds_a_statement_that_binds_the_lists(place: Path) -> None:
    for line in (place / "run" / ATTESTATION).read_text().splitlines():
        envelope = json.loads(line)
        assert envelope["payloadType"] == "application/vnd.in-toto+json"
        predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
        bound = {file["name"]: file["digest"]["sha256"] for file in predicate["runFolder"]}
        assert bound == {name: sha256_file(place / "run" / name) for name in ("manifest.json", "rendered.json")}


def test_a_folder_that_does_not_agree_is_not_signed(place: Path) -> None:
    (place / "run" / ATTESTATION).unlink()
    (place / "run/items/refusal_behaviour.jsonl").write_bytes(b"")
    told = call("report", place / "run", "--format", "intoto", "--sign", place / "ours.pem")
    assert isinstance(told.exception, VerifyMismatch)
    assert not (place / "run" / ATTESTATION).exists()


def test_ecdsa_and_rsa_keys_sign_too(place: Path) -> None:
    for name, private in (
        ("p256", ec.generate_private_key(ec.SECP256R1())),
        ("rsa", rsa.generate_private_key(65537, 2048)),
    ):
        key = write_key(place, name, private)  # type: ignore[arg-type]
        assert call("report", place / "run", "--format", "intoto", "--sign", f"{key}.pem").exception is None
        assert problems(place, f"{name}.pub") == []
        assert problems(place) != []


def test_a_key_that_cannot_be_used_is_named(place: Path) -> None:
    secret = ed25519.Ed25519PrivateKey.generate()
    locked = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    (place / "locked.pem").write_bytes(locked)
    (place / "noise.pem").write_bytes(b"\x00\xff")
    for key, says in (
        ("locked.pem", "it is encrypted"),
        ("noise.pem", "not a private key"),
        ("ours.pub", "not a private key"),
        ("absent.pem", "cannot be read"),
    ):
        told = call("report", place / "run", "--format", "intoto", "--sign", place / key).exception
        assert isinstance(told, ConfigError)
        assert says in str(told)
        assert key in str(told)
    for key in ("ours.pem", "noise.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=key):
            problems(place, key)


def test_without_the_extra_the_command_names_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "securesystemslib", None)
    for arguments in (
        ("report", place / "run", "--format", "intoto", "--sign", place / "ours.pem"),
        ("verify", place / "run", "--key", place / "ours.pub"),
    ):
        told = call(*arguments).exception
        assert isinstance(told, ConfigError)
        assert "pip install 'checkpoint-auditor[sign]'" in str(told)
    assert call("report", place / "run", "--format", "intoto").exception is None
