"""Signed tree heads as checkpoints: a few lines of text that anybody can keep and compare.

https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md and signed-note.md ; ES256, FIPS 186-5

A head says: at this time the log had so many entries and this root. Who holds an older one can ask for a consistency proof; the host
cannot then show another past without being found out.
"""

import base64
import binascii
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fhir_dmp.fhir.instants import from_instant, to_instant

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_TIME = "time "


class Head(NamedTuple):
    """A tree head. size: entries. at_ms: UTC."""

    size: int
    root: bytes
    at_ms: int


class Signer:
    """The key of the log of one host, derived from its host key. origin: name of the log, one word."""

    def __init__(self, secret: bytes, origin: str) -> None:
        self.origin = origin
        self._key = ec.derive_private_key(int.from_bytes(sha256(secret).digest()) % (_ORDER - 1) + 1, ec.SECP256R1())
        self.public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def checkpoint(self, head: Head) -> str:
        """Text of a signed head."""
        note = body(self.origin, head)
        signature = key_hash(self.public) + self._key.sign(note.encode(), ec.ECDSA(SHA256()))
        return f"{note}\n\N{EM DASH} {self.origin} {base64.b64encode(signature).decode()}\n"


def body(origin: str, head: Head) -> str:
    """What is signed."""
    return f"{origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n{_TIME}{to_instant(head.at_ms)}\n"


def key_hash(public: bytes) -> bytes:
    """First four bytes of the hash of the public key (DER): which key signed."""
    return sha256(public).digest()[:4]


def opened(text: str, origin: str, public: bytes) -> Head | None:
    """The head of a checkpoint; None when this key did not sign it for this log. public: DER, SubjectPublicKeyInfo."""
    note, _, signatures = text.partition("\n\n")
    note += "\n"
    try:
        head = parsed(note, origin)
        key = load_der_public_key(public)
        for line in signatures.splitlines():
            mark, name, signature = line.split(" ")
            raw = base64.b64decode(signature, validate=True)
            if mark == "\N{EM DASH}" and name == origin and raw[:4] == key_hash(public):
                key.verify(raw[4:], note.encode(), ec.ECDSA(SHA256()))
                return head
    except (ValueError, binascii.Error, InvalidSignature):
        return None
    return None


def parsed(note: str, origin: str) -> Head:
    """The head a note tells; ValueError when it is none, or of another log."""
    name, size, root, *more = note.splitlines()
    raw = base64.b64decode(root, validate=True)
    times = [line.removeprefix(_TIME) for line in more if line.startswith(_TIME)]
    if name != origin or len(raw) != 32 or not size.isdecimal() or len(times) != 1:
        raise ValueError("not a checkpoint of this log")
    head = Head(int(size), raw, from_instant(times[0]))
    if body(origin, head) != note:
        raise ValueError("a checkpoint has one spelling")
    return head
