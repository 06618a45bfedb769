"""Token issuers: the host's own, whose key lies in the data folder, and the trusted ones named by `FHIR_DMP_ISSUERS`.

JSON Web Keys: https://www.rfc-editor.org/rfc/rfc7517 ; algorithm fixed per issuer: https://www.rfc-editor.org/rfc/rfc8725
"""

import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import secrets
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jiter
from joserfc import jwk
from joserfc.errors import JoseError

from fhir_dmp.errors import FhirError
from fhir_dmp.identity.actor import KINDS
from fhir_dmp.settings import SettingError

# algorithm -> (key type, curve); symmetric algorithms and `none` have no place here.
ALGORITHMS: dict[str, tuple[str, str]] = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
LARGEST_JWKS = 256 * 1024
FETCH_SECONDS = 5
RETRY_SECONDS = 30
STALE_SECONDS = 86_400
LOOK_SECONDS = 1
HOST_FILE = "tokens.json"
FORGOTTEN_FILE = "forgotten.json"


class Issuer:
    """One issuer and the keys it signs with.

    issuer, audience: exact texts of `iss` and of one `aud`. algorithms, kinds: what it may use and whom it may speak for.
    organizations: identifiers of the structures whose users it may speak for, () for all.
    generation: grows whenever its keys change, so that what was verified under former keys can be dropped.
    """

    def __init__(self, issuer: str, audience: str, algorithms: frozenset[str], kinds: frozenset[str]) -> None:
        self.issuer, self.audience, self.algorithms, self.kinds = issuer, audience, algorithms, kinds
        self.organizations: tuple[str, ...] = ()
        self.generation = 0
        self.keys: dict[str, jwk.Key] = {}

    async def refresh(self, now_ms: int, wanted: str = "") -> None:
        """Read the keys again when they may have changed; these never do. wanted: a kid that is not among them."""

    def key(self, kid: str, algorithm: str) -> jwk.Key | None:
        """The one key of exactly this kid that fits the algorithm."""
        key = self.keys.get(kid)
        return key if key is not None and fits(key, algorithm) else None

    def replace_keys(self, keys: dict[str, jwk.Key]) -> None:
        """Take these keys from now on."""
        if {k: v.as_dict(private=False) for k, v in keys.items()} != {k: v.as_dict(private=False) for k, v in self.keys.items()}:
            self.generation += 1
        self.keys = keys


class FileIssuer(Issuer):
    """An issuer whose JWKS is a local file, read again when the file changes."""

    def __init__(self, path: Path, issuer: str, audience: str, algorithms: frozenset[str], kinds: frozenset[str]) -> None:
        super().__init__(issuer, audience, algorithms, kinds)
        self.path, self.stamp, self.looked_ms = path, stamp(path), 0
        self.load()

    def load(self) -> None:
        """Keys of the file as it is now."""
        self.replace_keys(public_keys(self.path.read_bytes()))

    async def refresh(self, now_ms: int, wanted: str = "") -> None:
        """See Issuer. A file that is absent or damaged leaves no key: its tokens stop working rather than outlive it."""
        if abs(now_ms - self.looked_ms) < LOOK_SECONDS * 1000 and not wanted:
            return
        self.looked_ms = now_ms
        if (found := stamp(self.path)) != self.stamp:
            self.stamp = found
            try:
                self.load()
            except (OSError, ValueError):
                self.replace_keys({})


class RemoteIssuer(Issuer):
    """An issuer whose JWKS is fetched over https: at first use, every `jwks_seconds`, and (not often) for a kid it does not know.

    The address comes from the settings alone, never from a token. Redirects are not followed.
    """

    def __init__(self, url: str, seconds: int, issuer: str, audience: str, algorithms: frozenset[str], kinds: frozenset[str]) -> None:
        super().__init__(issuer, audience, algorithms, kinds)
        self.url, self.seconds = url, seconds
        self.read_ms = self.tried_ms = -(10**15)
        self.lock = asyncio.Lock()

    def due(self, now_ms: int, wanted: str) -> bool:
        """Whether to fetch now: keys old or a kid unknown, and the last attempt is not recent."""
        old = now_ms - self.read_ms >= self.seconds * 1000
        return (old or bool(wanted)) and now_ms - self.tried_ms >= RETRY_SECONDS * 1000

    async def refresh(self, now_ms: int, wanted: str = "") -> None:
        """See Issuer. Keys that cannot be fetched again stay for a day at most; who comes while they are fetched waits for them."""
        if self.due(now_ms, wanted) or (self.lock.locked() and (not self.keys or wanted)):
            async with self.lock:
                if self.due(now_ms, wanted):
                    self.tried_ms = now_ms
                    try:
                        self.replace_keys(public_keys(await asyncio.to_thread(fetch, self.url)))
                        self.read_ms = now_ms
                    except (OSError, ValueError, http.client.HTTPException):
                        if now_ms - self.read_ms >= STALE_SECONDS * 1000:
                            self.replace_keys({})
        if not self.keys:
            raise FhirError("transient", "the keys of the token's issuer cannot be fetched", headers={"Retry-After": str(RETRY_SECONDS)})


class HostIssuer(FileIssuer):
    """The host's own issuer. `keys/tokens.json` in the data folder holds its name, its audience and its private key, first in the list.

    Name and audience are drawn once for the life of the store, whatever host and port it is reached by.
    `keys/forgotten.json` names the keys that never serve again, wherever a copy of them comes from: it only grows.
    """

    def __init__(self, data: Path, kinds: frozenset[str] = frozenset(KINDS)) -> None:
        path = folder(data) / HOST_FILE
        with locked(path.parent):
            if not path.exists():
                name = f"urn:fhir-dmp:{secrets.token_hex(16)}"
                write(path, {"issuer": name, "audience": f"{name}:fhir", "keys": [new_key().as_dict(private=True)]})
        if path.stat().st_mode & 0o077:
            raise SettingError(f"{path} can be read by others than its owner; `chmod 600` it, or rotate the key if others could read it")
        value = json.loads(path.read_bytes())
        self.signing: jwk.ECKey | None = None
        super().__init__(path, value["issuer"], value["audience"], frozenset({"ES256"}), kinds)

    def load(self) -> None:
        """Keys of the file as it is now; the first signs, all verify."""
        with locked(self.path.parent):
            value = _without(self.path, forgotten(self.path.parent))
        self.replace_keys(public_keys(json.dumps(value).encode()))
        first = value["keys"][0]
        self.signing = jwk.import_key(first, "EC") if "d" in first else None

    def jwks(self) -> dict:
        """The public keys, for whoever verifies this host's tokens."""
        return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": "ES256"} for key in self.keys.values()]}

    def rotate(self, forget: bool) -> str:
        """Sign with a new key from now on; its kid. forget: also stop accepting tokens signed by the former ones."""
        with locked(self.path.parent):
            value = json.loads(self.path.read_bytes())
            former = [{k: v for k, v in key.items() if k != "d"} for key in value["keys"]]
            key = new_key()
            if forget:
                forgotten(self.path.parent, [one["kid"] for one in former if "kid" in one])
            write(self.path, {**value, "keys": [key.as_dict(private=True), *([] if forget else former)]})
        self.load()
        return key.kid

    def forgotten(self) -> frozenset[str]:
        """kids of the keys that never serve again."""
        return forgotten(self.path.parent)

    def forget(self, kids: Iterable[str]) -> None:
        """Serve with these keys never again; with a new one where the one that signs is among them."""
        with locked(self.path.parent):
            forgotten(self.path.parent, kids)
        self.load()


def forgotten(keys: Path, more: Iterable[str] = ()) -> frozenset[str]:
    """kids of the keys of a folder that never serve again, with some more; durable when it returns. The caller holds the folder."""
    path = keys / FORGOTTEN_FILE
    before = frozenset(json.loads(path.read_bytes())["kids"]) if path.exists() else frozenset()
    if after := frozenset(more) - before:
        write(path, {"kids": sorted(before | after)})
    return before | after


def _without(path: Path, kids: frozenset[str]) -> dict:
    """What the file of the host's own keys says, once these kids were taken out of it."""
    value = json.loads(path.read_bytes())
    left = [key for key in value["keys"] if key.get("kid") not in kids]
    if left != value["keys"]:
        # The first one signs; of former ones the file has the public half alone.
        own = left if left and "d" in left[0] else [new_key().as_dict(private=True), *left]
        write(path, value := {**value, "keys": own})
    return value


def trusted(path: Path, sandbox: bool, jwks_seconds: int) -> tuple[Issuer, ...]:
    """The issuers of the file that `FHIR_DMP_ISSUERS` names; a SettingError says what is wrong with it."""
    try:
        listed = jiter.from_json(path.read_bytes(), catch_duplicate_keys=True, allow_inf_nan=False)
    except (OSError, ValueError) as error:
        raise SettingError(f"trusted issuers {path}: {error}") from None
    if not isinstance(listed, list):
        raise SettingError(f"trusted issuers {path}: must be a list")
    return tuple(one_trusted(f"trusted issuers {path}, entry {n}", row, path.parent, sandbox, jwks_seconds) for n, row in enumerate(listed))


def one_trusted(place: str, row: object, base: Path, sandbox: bool, jwks_seconds: int) -> Issuer:
    """One row of the file as an issuer."""
    if not isinstance(row, Mapping) or set(row) - {"organizations"} != {"issuer", "jwks", "audience", "algorithms", "kinds"}:
        raise SettingError(f"{place}: needs issuer, jwks, audience, algorithms, kinds, may have organizations, and nothing else")
    for name in ("issuer", "jwks", "audience"):
        if not isinstance(row[name], str) or not row[name]:
            raise SettingError(f"{place}: `{name}` must be a text")
    for name, known in (("algorithms", tuple(ALGORITHMS)), ("kinds", KINDS)):
        if not isinstance(row[name], list) or not row[name] or not all(one in known for one in row[name]):
            raise SettingError(f"{place}: `{name}` must be a list of some of {', '.join(known)}")
    organizations = row.get("organizations", [])
    if not isinstance(organizations, list) or not all(isinstance(one, str) and one for one in organizations):
        raise SettingError(f"{place}: `organizations` must be a list of identifiers")
    kinds = frozenset(row["kinds"]) - (frozenset() if sandbox else {"system"})
    common = (row["issuer"], row["audience"], frozenset(row["algorithms"]), kinds)
    if row["jwks"].startswith("https://"):
        made: Issuer = RemoteIssuer(row["jwks"], jwks_seconds, *common)
    elif "://" in row["jwks"]:
        raise SettingError(f"{place}: `jwks` must be a path or an https address")
    else:
        try:
            made = FileIssuer(base / row["jwks"], *common)
        except (OSError, ValueError) as error:
            raise SettingError(f"{place}: `jwks` {row['jwks']}: {error}") from None
        if not made.keys:
            raise SettingError(f"{place}: `jwks` {row['jwks']}: none of its keys can verify a signature here")
    made.organizations = tuple(organizations)
    return made


def public_keys(raw: bytes) -> dict[str, jwk.Key]:
    """kid -> public key of a JWKS; a kid twice is refused.

    Symmetric keys, encryption keys, keys without kid and those that are not understood are left out (RFC 7517 section 5): one of a curve
    of tomorrow must not keep in force what its issuer took out of the same file.
    """
    value = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no `keys` list")
    keys: dict[str, jwk.Key] = {}
    for one in listed:
        if not isinstance(one, dict) or one.get("kty") not in ("EC", "RSA", "OKP") or one.get("use", "sig") != "sig":
            continue
        kid = one.get("kid")
        if not isinstance(kid, str) or not kid:
            continue
        if kid in keys:
            raise ValueError(f"kid `{kid}` twice")
        shown = {k: v for k, v in one.items() if k in ("kty", "kid", "crv", "x", "y", "n", "e")}
        with contextlib.suppress(JoseError, LookupError, ValueError, TypeError):
            keys[kid] = jwk.import_key(shown, one["kty"])
    return keys


def fits(key: jwk.Key, algorithm: str) -> bool:
    """Whether the key is of the type and curve the algorithm needs; RSA from 2,048 bits."""
    kind, curve = ALGORITHMS[algorithm]
    if key.key_type != kind:
        return False
    return key.raw_value.key_size >= 2048 if kind == "RSA" else key.as_dict(private=False).get("crv") == curve


def fetch(url: str) -> bytes:
    """The bytes at an https address of the settings, bounded in size and time, without redirects."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(NoRedirect)
    with opener.open(urllib.request.Request(url, headers={"Accept": "application/json"}), timeout=FETCH_SECONDS) as answer:
        raw = answer.read(LARGEST_JWKS + 1)
    if len(raw) > LARGEST_JWKS:
        raise ValueError("key set too large")
    return raw


def new_key() -> jwk.ECKey:
    """A fresh P-256 key, its kid the RFC 7638 thumbprint."""
    key = jwk.ECKey.generate_key("P-256", auto_kid=True)
    return jwk.import_key(key.as_dict(private=True), "EC")


def folder(data: Path) -> Path:
    """The folder of keys in the data folder, made for its owner alone."""
    for one in (data, data / "keys"):
        one.mkdir(mode=0o700, parents=one is data, exist_ok=True)
    return data / "keys"


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written; None when it is absent."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def write(path: Path, value: dict) -> None:
    """Replace a private file in one step, durable before it counts."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tokens")
    with os.fdopen(handle, "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone in this folder, among all processes of the machine."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
