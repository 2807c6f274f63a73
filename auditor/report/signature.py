"""Signed in-toto statements in the run folder, as DSSE envelopes, and whether a key signed this folder as it is.

The statements vouch for the checkpoint's files and for the two lists of hashes of the run folder, hence for every
file in it. securesystemslib signs and checks, with the extra `sign`; a key is a PEM file that the user has made.
Format: https://github.com/secure-systems-lab/dsse, one envelope a line as in an in-toto bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle import MANIFEST, RENDERED, RunFolder
from auditor.canonical import canonical_json, parse_json
from auditor.errors import ConfigError
from auditor.findings.files import differences
from auditor.findings.record import AuditRecord
from auditor.report.intoto import SEALED, STATEMENT, TEST_RESULT, VERIFICATION, statements

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

ATTESTATION = "attestation.intoto.jsonl"
PAYLOAD = "application/vnd.in-toto+json"
NEEDED = "signatures need securesystemslib: pip install 'checkpoint-auditor[sign]'"
_BROKEN = (AttributeError, KeyError, TypeError, ValueError)


def sign(record: AuditRecord, folder: RunFolder, key: Path) -> Path:
    """Sign both statements with a private key and write them into the run folder; returns the file.

    Raises ConfigError when the extra is missing, the key cannot be used, or the model has no files.
    """
    _require_extra()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    pem = _pem(key)
    try:
        signer = CryptoSigner(load_pem_private_key(pem, None))
    except (*_BROKEN, UnsupportedAlgorithm) as error:
        why = "it is encrypted" if b"ENCRYPTED" in pem else f"{error}"
        raise ConfigError(f"{key}: not a private key that can sign ({why}); give an open PKCS #8 PEM file") from error
    lines = []
    for statement in statements(record, _sealed(folder)):
        envelope = Envelope(canonical_json(statement), PAYLOAD, {})
        envelope.sign(signer)
        lines.append(_line(envelope))
    folder.write_bytes(ATTESTATION, b"".join(lines))
    return folder.file(ATTESTATION)


def problems(folder: RunFolder, key: Path) -> list[str]:
    """What keeps the folder from being one that `key` has signed as it is; empty when nothing does.

    Raises ConfigError when the extra is missing or the file is no public key.
    """
    _require_extra()
    public = _public(key)
    if not folder.file(ATTESTATION).is_file():
        return [f"{ATTESTATION}: missing, so the folder is not signed"]
    try:
        envelopes = list(_envelopes(folder.file(ATTESTATION).read_bytes()))
        if not all(_signed_by(public, envelope) for envelope in envelopes):
            return [f"{ATTESTATION}: not signed with the private key of {key}"]
        bound = [_bound(envelope) for envelope in envelopes]
    except _BROKEN as error:
        return [f"{ATTESTATION}: cannot be read ({error})"]
    if [kind for kind, _ in bound] != [TEST_RESULT, VERIFICATION]:
        return [f"{ATTESTATION}: does not hold one test result and one verification result"]
    sealed = _sealed(folder)
    return list(dict.fromkeys(line for _, hashes in bound for line in differences(hashes, sealed, ATTESTATION)))


def _sealed(folder: RunFolder) -> dict[str, str]:
    return folder.hashes((MANIFEST, RENDERED))


def _envelopes(data: bytes) -> Iterator[Envelope]:
    """The envelopes of a file that holds nothing else. Raises ValueError for one written otherwise."""
    from securesystemslib.dsse import Envelope

    for line in data.splitlines(keepends=True):
        envelope = Envelope.from_dict(parse_json(line))
        if _line(envelope) != line:
            raise ValueError("an envelope is not as it was written")
        yield envelope


def _bound(envelope: Envelope) -> tuple[str, dict[str, str]]:
    """Kind of the statement in an envelope, and the files of the run folder that it vouches for."""
    statement: dict[str, Any] = parse_json(envelope.payload)
    if envelope.payload_type != PAYLOAD or statement["_type"] != STATEMENT:
        raise ValueError("an envelope does not hold a statement")
    vouched = {file["name"]: file["digest"]["sha256"] for file in statement["predicate"][SEALED]}
    return statement["predicateType"], vouched


def _line(envelope: Envelope) -> bytes:
    return canonical_json(envelope.to_dict()) + b"\n"


def _signed_by(key: SSlibKey, envelope: Envelope) -> bool:
    from securesystemslib.exceptions import VerificationError

    try:
        envelope.verify([key], 1)
    except VerificationError:
        return False
    return True


def _public(key: Path) -> SSlibKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        return SSlibKey.from_crypto(load_pem_public_key(_pem(key)))
    except (*_BROKEN, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{key}: not a public key in PEM form ({error})") from error


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read ({error.strerror})") from error


def _require_extra() -> None:
    if find_spec("securesystemslib") is None or find_spec("cryptography") is None:
        raise ConfigError(NEEDED)
