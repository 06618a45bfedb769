"""Tokens of every sort, good and bad, made outside of the code under test."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from joserfc import jwk, jws

NOW = 1_795_000_000
NOW_MS = NOW * 1000
AGENT = "https://idp.example.org/realms/care"
AUDIENCE = "https://dmp.example.org/fhir"


def key(kid: str = "k1", curve: str = "P-256") -> jwk.ECKey:
    """A private key with this kid."""
    return jwk.import_key({**jwk.ECKey.generate_key(curve).as_dict(private=True), "kid": kid}, "EC")


def jwks(*keys: jwk.Key) -> str:
    """A JWKS of public keys."""
    return json.dumps({"keys": [one.as_dict(private=False) for one in keys]})


def issuers_file(folder: Path, **changes: object) -> Path:
    """A file of one trusted issuer whose JWKS is `jwks.json` beside it."""
    row = {"issuer": AGENT, "jwks": "jwks.json", "audience": AUDIENCE, "algorithms": ["ES256"], "kinds": ["professional", "patient"]}
    path = folder / "issuers.json"
    path.write_text(json.dumps([{**row, **changes}]))
    return path


def professional(**changes: object) -> dict[str, object]:
    """Claims of a professional from AGENT; None takes a claim away."""
    claims = {
        "iss": AGENT,
        "aud": AUDIENCE,
        "exp": NOW + 600,
        "iat": NOW,
        "sub": "810001234567",
        "dmp_kind": "professional",
        "SubjectNameID": "810001234567",
        "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
        "auth_mode": "CPS",
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def signed(claims: Mapping[str, object] | bytes, private: jwk.Key, algorithm: str = "ES256", **header: object) -> str:
    """A JWS of these claims; header members that are None are taken away."""
    full = {"alg": algorithm, "typ": "at+jwt", "kid": private.kid, **header}
    full = {name: value for name, value in full.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    try:
        return jws.serialize_compact(full, payload, private, registry=registry)
    except Exception:
        # joserfc refuses to make some of the headers that are tried here: sign the octets with the key itself.
        first = f"{part(json.dumps(full).encode())}.{part(payload)}"
        return f"{first}.{part(es256(private, first.encode()))}"


def es256(private: jwk.ECKey, octets: bytes) -> bytes:
    """A signature with SHA-256, r || s, each as long as the curve."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(private.raw_value.sign(octets, ECDSA(hashes.SHA256())))
    size = (private.raw_value.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def part(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: Mapping[str, object], claims: Mapping[str, object], signature: bytes = b"") -> str:
    """A token with any header and any signature."""
    return f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}.{part(signature)}"
