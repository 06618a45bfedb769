"""The keys a host seals with: the first of `keys/seals.json` signs, all of them verify, so that old seals stay good after a rotation.

https://www.rfc-editor.org/rfc/rfc7517 ; kid: https://www.rfc-editor.org/rfc/rfc7638
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from joserfc import jwk

from fhir_dmp.identity.issuers import folder, locked, stamp, write
from fhir_dmp.settings import SettingError
from fhir_dmp.signing.jws import SIGNS, Signer

FILE = "seals.json"
TYP = "dmp-seal+jws"
LOOK_MS = 1000
# Kept public keys of other hosts: what their ids begin with.
OF_HOSTS = "seal:"


class Keys(Protocol):
    """Where the key of a seal is found."""

    def find(self, kid: str, algorithm: str) -> jwk.Key | None:
        """The key of exactly this kid, when it may be used with this algorithm."""


class PublicKeys:
    """Keys of another host, whose seals are kept with the dossiers that came from it. listed: public JWKs with `kid` and `alg`."""

    def __init__(self, listed: Iterable[Mapping[str, str]]) -> None:
        self.listed = {one["kid"]: public(one) for one in listed}

    def find(self, kid: str, algorithm: str) -> jwk.Key | None:
        """See Keys."""
        found = self.listed.get(kid)
        return jwk.import_key(dict(found), found["kty"]) if found is not None and found.get("alg") == algorithm else None


class SealKeys:
    """Keys of the data folder, followed when somebody rotates them. signer: the one that seals now."""

    def __init__(self, data: Path) -> None:
        self.path = folder(data) / FILE
        with locked(self.path.parent):
            if not self.path.exists():
                write(self.path, {"keys": [new_key("ES256")]})
        if self.path.stat().st_mode & 0o077:
            raise SettingError(
                f"{self.path} can be read by others than its owner; `chmod 600` it, or rotate the key if others could read it"
            )
        self._looked_ms = 0
        self._load()

    def _load(self) -> None:
        self._stamp = stamp(self.path)
        listed = json.loads(self.path.read_bytes())["keys"]
        self.signer = Signer(listed[0], TYP)
        self._signing = listed[0]
        self.public: dict[str, dict[str, str]] = {one["kid"]: public(one) for one in listed}
        self._imported = {kid: jwk.import_key(dict(one), one["kty"]) for kid, one in self.public.items()}

    def refresh(self, now_ms: int, kid: str = "") -> None:
        """Take a key that was rotated meanwhile; looked for once a second, and at once for a key that is not known."""
        if abs(now_ms - self._looked_ms) >= LOOK_MS or (kid and kid not in self.public):
            self._looked_ms = now_ms
            if stamp(self.path) != self._stamp:
                self._load()

    def find(self, kid: str, algorithm: str) -> jwk.Key | None:
        """The key of a seal of this host, when it may be used with this algorithm."""
        return self._imported[kid] if kid in self._imported and self.public[kid]["alg"] == algorithm else None

    def sign_as(self, typ: str, payload: bytes) -> str:
        """A compact JWS of another kind than a seal, e.g. over the manifest of a package."""
        return Signer(self._signing, typ).sign(payload)

    def jwks(self) -> dict:
        """The public keys, former ones too, for whoever verifies seals elsewhere."""
        return {"keys": [{**one, "use": "sig"} for one in self.public.values()]}

    def rotate(self, algorithm: str = "ES256") -> str:
        """Seal with a new key from now on; its kid. The private half of the former ones is destroyed, the public one stays."""
        with locked(self.path.parent):
            former = json.loads(self.path.read_bytes())["keys"]
            key = new_key(algorithm)
            write(self.path, {"keys": [key, *(public(one) for one in former)]})
        self._load()
        return key["kid"]


def new_key(algorithm: str) -> dict[str, str]:
    """A private key as JWK with `kid` and `alg`."""
    kind, curve, *_ = SIGNS[algorithm]
    made = jwk.ECKey.generate_key(curve, auto_kid=True) if kind == "EC" else jwk.OKPKey.generate_key(curve, auto_kid=True)
    value = made.as_dict(private=True)
    return {**value, "kid": made.thumbprint(), "alg": algorithm}


def public(key: Mapping[str, str]) -> dict[str, str]:
    """The same without its private half."""
    return {name: text for name, text in key.items() if name != "d"}
