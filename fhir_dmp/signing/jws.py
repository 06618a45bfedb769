"""JSON Web Signatures: made the same every time for the same octets, read strictly; the algorithm is that of the key.

https://www.rfc-editor.org/rfc/rfc7515 ; deterministic ECDSA https://www.rfc-editor.org/rfc/rfc6979

Signing is done here because the library draws a new nonce for each signature, and two hosts could then not be compared. Verification is
the library's.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import jiter
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from joserfc import jwk, jws
from joserfc.errors import JoseError

# What a key of a host may sign with: algorithm -> (key type, curve, hash, octets of r and of s).
SIGNS = {"ES256": ("EC", "P-256", SHA256, 32), "ES384": ("EC", "P-384", SHA384, 48), "Ed25519": ("OKP", "Ed25519", None, 0)}
# What others may sign with: nothing symmetric, and never `none`.
VERIFIES = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519")
MOST = 64 * 1024
# How FHIR calls it: Signature.sigFormat.
FORM = "application/jose"


class Refused(ValueError):
    """A signature that does not hold; the message says why."""


class Header(NamedTuple):
    """What a signature says about itself. certificates: x5c, DER, that of the signer first."""

    alg: str
    kid: str
    typ: str
    certificates: tuple[bytes, ...]


class Signer:
    """One private key of a host. kid: by which it is found again. algorithm: one of SIGNS."""

    def __init__(self, key: Mapping[str, str], typ: str = "") -> None:
        self.kid, self.algorithm = key["kid"], key.get("alg", "ES256")
        kind, _, hashing, self._octets = SIGNS[self.algorithm]
        self._key = jwk.import_key(dict(key), kind).private_key
        # The library looks its hash function up anew for each signature, which takes as long as the rest of it.
        self._how = ec.ECDSA(Prehashed(hashing()), deterministic_signing=True) if hashing else None
        self._digest = getattr(hashlib, hashing.name) if hashing else None
        header = {"alg": self.algorithm, "kid": self.kid, **({"typ": typ} if typ else {})}
        self._header = encoded(json.dumps(header, separators=(",", ":")).encode())

    def sign(self, payload: bytes) -> str:
        """Compact JWS."""
        middle = encoded(payload)
        return f"{self._header}.{middle}.{encoded(self._raw(f'{self._header}.{middle}'.encode()))}"

    def detached(self, payload: bytes) -> str:
        """The same without its payload: `header..signature`."""
        header, _, signature = self.sign(payload).split(".")
        return f"{header}..{signature}"

    def _raw(self, message: bytes) -> bytes:
        if self._how is None:
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(self._digest(message).digest(), self._how))
        return r.to_bytes(self._octets) + s.to_bytes(self._octets)


def header_of(text: str) -> Header:
    """The protected header; Refused when there is none that can be trusted to say what it says."""
    if len(text) > MOST or text.count(".") != 2:
        raise Refused("not a compact JWS")
    try:
        said = jiter.from_json(decoded(text.partition(".")[0]), catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        raise Refused("its header is not JSON") from None
    if not isinstance(said, dict) or not all(isinstance(said.get(name, ""), str) for name in ("alg", "kid", "typ")):
        raise Refused("its header is not that of a JWS")
    if "crit" in said or "b64" in said:
        raise Refused("its header asks for extensions that are not known here")
    if said.get("alg") not in VERIFIES:
        raise Refused(f"its algorithm `{str(said.get('alg'))[:20]}` is not accepted")
    chain = said.get("x5c", [])
    if not isinstance(chain, list) or len(chain) > 10:
        raise Refused("its certificates cannot be read")
    try:
        certificates = tuple(base64.b64decode(one, validate=True) for one in chain)
    except (TypeError, ValueError):
        raise Refused("its certificates cannot be read") from None
    return Header(said["alg"], said.get("kid", ""), said.get("typ", ""), certificates)


def opened(text: str, key: jwk.Key, algorithm: str, payload: bytes | None = None) -> bytes:
    """The payload of a JWS that this key signed with this algorithm. payload: of a detached one. Refused when it does not hold."""
    header, middle, signature = text.split(".")
    if payload is not None:
        if middle and middle != encoded(payload):
            raise Refused("it signs other octets than these")
        text = f"{header}.{encoded(payload)}.{signature}"
    try:
        return jws.deserialize_compact(text, key, algorithms=[algorithm], registry=_Registry).payload
    except (JoseError, ValueError, TypeError):
        raise Refused("the signature does not fit the octets") from None


# The library refuses payloads above 8,000 octets unless told otherwise.
_Registry = jws.JWSRegistry(algorithms=list(VERIFIES), strict_check_header=False)
_Registry.max_payload_length = 1 << 40
_Registry.max_header_length = MOST


def encoded(value: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The octets of base64url without padding; ValueError for anything else."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64url") from error
