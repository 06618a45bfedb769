"""The seal of the host: a signed statement that these octets were here, unchanged, at this instant.

Level 1 of proof, "cachet par l'hébergeur à l'arrivée d'un document"; https://hl7.org/fhir/R4/provenance.html (signature)

The statement names each version by its digest: of the resource as it is stored, and of the octets of a Binary, which are those that were
received. The resource as received lacked only what the server gives: id, versionId, lastUpdated, and what is kept beside the body.
"""

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from fhir_dmp.signing import jws
from fhir_dmp.signing.keys import TYP, Keys, SealKeys
from fhir_dmp.signing.verdict import Verdict, failed, indeterminate, passed


class Sealed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version. reference: "Type/id/_history/version". sha256: of its body as stored. octets: of the content of a Binary, "" for others.

    identifier: "system|value" of the document. Digests in base64url.
    """

    reference: str
    sha256: str
    octets: str = ""
    identifier: tuple[str, ...] = ()


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message a version came in. sha256: of its octets. signer, kid: who sealed it, verified on arrival. jws: that seal, detached.

    Digest and seal are told of one resource that was sent by itself. They stay out of every statement about what came in a Bundle: they
    would let a reader of one document try guesses about the others, and where they were left out he would know that there are others.
    """

    sha256: str = ""
    signer: str = ""
    kid: str = ""
    jws: str = ""

    @property
    def sender(self) -> "Message | None":
        """What every statement may tell of it: who sealed it. None for nobody."""
        return Message(signer=self.signer, kid=self.kid) if self.signer else None


class Statement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host signs. at: instant. patient: "Patient/id", "" for none."""

    host: str
    at: str
    what: tuple[Sealed, ...]
    patient: str = ""
    message: Message | None = None


class Version(NamedTuple):
    """What is compared with a statement. body: as stored, the octets of a large Binary apart. octets: digest of the content of a Binary."""

    reference: str
    body: bytes
    octets: str = ""


_DECODER = msgspec.json.Decoder(Statement)


class _Identified(msgspec.Struct):
    system: str = ""
    value: str = ""


class _Document(msgspec.Struct):
    masterIdentifier: _Identified | None = None
    identifier: msgspec.Raw = msgspec.Raw(b"[]")


class _Binary(msgspec.Struct):
    data: str = ""


_DOCUMENT, _BINARY = msgspec.json.Decoder(_Document), msgspec.json.Decoder(_Binary)


def sealed(reference: str, body: bytes, octets_sha256: bytes | None = None) -> Sealed:
    """The digests of one version. octets_sha256: of content that is kept apart."""
    identifier: tuple[str, ...] = ()
    if reference.startswith("DocumentReference/"):
        found = _DOCUMENT.decode(body).masterIdentifier
        identifier = (f"{found.system}|{found.value}",) if found is not None and found.value else ()
    octets = jws.encoded(octets_sha256) if octets_sha256 else ""
    if not octets and reference.startswith("Binary/"):
        data = octets_of(body)
        octets = digest(data) if data is not None else ""
    return Sealed(reference, digest(body), octets, identifier)


def octets_of(body: bytes) -> bytes | None:
    """Content of a Binary that holds it itself; None when it holds none."""
    data = _BINARY.decode(body).data
    try:
        return base64.b64decode("".join(data.split()), validate=True) if data else None
    except (binascii.Error, ValueError):
        return None


def digest(value: bytes) -> str:
    """SHA-256, base64url."""
    return jws.encoded(sha256(value).digest())


def sign(keys: SealKeys, host: str, at: str, patient: str, what: Sequence[Sealed], message: Message | None = None) -> str:
    """The seal: a compact JWS over the statement."""
    return keys.signer.sign(msgspec.json.encode(Statement(host, at, tuple(what), patient, message)))


class _Made(msgspec.Struct):
    host: str = ""


_MADE = msgspec.json.Decoder(_Made)


def maker(text: str) -> tuple[str, str]:
    """(kid, host) as a seal says them, which nobody has verified; nothing of both for what says neither."""
    try:
        return jws.header_of(text).kid, _MADE.decode(jws.decoded(text.split(".")[1])).host
    except (jws.Refused, ValueError):
        return "", ""


class Opened(NamedTuple):
    """A seal whose signature was looked at. statement: None when the signature does not hold."""

    statement: Statement | None
    verdict: Verdict
    kid: str = ""


def opened(text: str, finds: Sequence[Keys]) -> Opened:
    """The statement of a seal. finds: where keys are looked for, those of this host first, then those of hosts it takes dossiers from."""
    try:
        header = jws.header_of(text)
        if header.typ != TYP:
            raise jws.Refused("it is no seal of a host")
        key = next((found for one in finds if (found := one.find(header.kid, header.alg)) is not None), None)
        if key is None:
            return Opened(None, indeterminate(f"the key `{header.kid}` of this seal is not known here"), header.kid)
        statement = _DECODER.decode(jws.opened(text, key, header.alg))
    except jws.Refused as error:
        return Opened(None, failed(f"the seal was changed: {error}"))
    except msgspec.DecodeError:
        return Opened(None, failed("the seal says nothing that can be read"))
    return Opened(statement, passed(words(statement.at, header.kid, header.alg)), header.kid)


def words(at: str, kid: str, algorithm: str) -> str:
    """What is said of a seal that holds."""
    return f"sealed by the host on {at} with key {kid} ({algorithm})"


def compared(found: Opened, version: Version) -> Verdict:
    """Whether a version is the one that was sealed."""
    if found.statement is None:
        return found.verdict
    own = next((one for one in found.statement.what if one.reference == version.reference), None)
    if own is None:
        return failed("the seal is one of another version")
    if own.sha256 != digest(version.body):
        return failed("the resource is not the one that was sealed: it was changed since")
    if own.octets and not version.octets:
        return failed("the content that was sealed is gone")
    if own.octets and own.octets != version.octets:
        return failed("the content is not the one that was sealed: it was changed since")
    return found.verdict
