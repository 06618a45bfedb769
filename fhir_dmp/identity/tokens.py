"""Access tokens: issued by this host, verified from every trusted issuer into an Actor.

JWT profile for access tokens https://www.rfc-editor.org/rfc/rfc9068 ; best practice https://www.rfc-editor.org/rfc/rfc8725
"""

import base64
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping

import jiter
from joserfc import jws
from joserfc.errors import JoseError

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import actor as actors
from fhir_dmp.identity.actor import KINDS, Actor
from fhir_dmp.identity.issuers import HostIssuer, Issuer, trusted
from fhir_dmp.settings import SettingError, Settings

LONGEST_TOKEN = 16_384
LONGEST_KID = 256
KEPT = 4096
LAST_SECOND = 2**48
ACCESS_TYPES = frozenset({"at+jwt", "application/at+jwt"})
FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
# A key, an address of a key, a compression or an extension named by the token itself is never looked at.
REFUSED_HEADERS = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "zip", "b64", "enc"})


class Tokens:
    """Issues and verifies access tokens. A verified one is kept by its digest until keys change; dates are checked at each use."""

    def __init__(self, host: HostIssuer, others: tuple[Issuer, ...] = (), *, seconds: int = 3600, skew_seconds: int = 60) -> None:
        self.host, self.seconds, self.skew_seconds = host, seconds, skew_seconds
        self.issuers: dict[str, Issuer] = {}
        for issuer in (host, *others):
            if issuer.issuer in self.issuers:
                raise SettingError(f"two trusted issuers are named `{issuer.issuer}`")
            self.issuers[issuer.issuer] = issuer
        self.kept: OrderedDict[bytes, tuple[Actor, float, Issuer, int]] = OrderedDict()

    @classmethod
    def open(cls, settings: Settings) -> "Tokens":
        """With the host's issuer of the data folder (created when absent) and the trusted issuers of the settings."""
        kinds = frozenset(KINDS) - (frozenset() if settings.sandbox else {"system"})
        others = trusted(settings.issuers, settings.sandbox, settings.jwks_seconds) if settings.issuers else ()
        host = HostIssuer(settings.data, kinds)
        return cls(host, others, seconds=settings.token_seconds, skew_seconds=settings.token_skew_seconds)

    def issue(
        self, kind: str, claims: Mapping[str, object], *, now_ms: int, random: Callable[[int], bytes], seconds: int | None = None
    ) -> str:
        """A token of the host's own issuer. claims: beside those every token has; `sub` and `client_id` may be among them."""
        now = now_ms // 1000
        payload = {
            "iss": self.host.issuer,
            "aud": self.host.audience,
            "sub": kind,
            "client_id": "fhir-dmp",
            "jti": random(16).hex(),
            **claims,
            "iat": now,
            "exp": now + (self.seconds if seconds is None else seconds),
            "dmp_kind": kind,
        }
        actors.parse(payload)
        if self.host.signing is None:
            raise SettingError(f"{self.host.path} holds no private key to sign with")
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self.host.signing.kid}
        return jws.serialize_compact(header, json.dumps(payload, separators=(",", ":")).encode(), self.host.signing, ["ES256"])

    async def verify(self, token: str, now_ms: int) -> Actor:
        """The Actor of a token; FhirError "login" when it is not usable, for whatever reason."""
        if len(token) > LONGEST_TOKEN:
            raise refusal("too long")
        # The digest of the whole text: two spellings of one token are two entries, none speaks for the other.
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if (kept := self.kept.get(digest)) is not None:
            actor, begins, issuer, generation = kept
            await issuer.refresh(now_ms)
            if issuer.generation == generation:
                self.check_dates(issuer, begins, actor.expires, now_ms)
                self.kept.move_to_end(digest)
                return actor
            del self.kept[digest]
        issuer, claims, generation = await self.verify_signature(token, now_ms, ACCESS_TYPES)
        begins = max(moment(claims, "nbf", 0), moment(claims, "iat", 0))
        self.check_dates(issuer, begins, moment(claims, "exp"), now_ms)
        actor = actors.parse(claims)
        check_voice(issuer, actor)
        self.kept[digest] = (actor, begins, issuer, generation)
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return actor

    async def verify_signature(
        self, token: str, now_ms: int, types: frozenset[str], audiences: frozenset[str] = frozenset()
    ) -> tuple[Issuer, dict[str, object], int]:
        """The issuer and the claims of a token whose signature, header, issuer and audience are right, and the generation of the keys.

        types: values of `typ`, lower case. audiences: names of this server beside the one its issuer knows it by.
        """
        parts = FORM.fullmatch(token)
        if parts is None:
            raise refusal("not a signed JWT")
        header, claims = object_of(parts[1]), object_of(parts[2])
        if REFUSED_HEADERS & header.keys():
            raise refusal("its header names something that is never followed")
        if str(header.get("typ", "")).lower() not in types:
            raise refusal("its `typ` is not the one of such a token")
        name, algorithm, kid = claims.get("iss"), header.get("alg"), header.get("kid")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise refusal("its issuer is not trusted here")
        if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
            raise refusal("its algorithm is not the one of its issuer")
        if not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_KID:
            raise refusal("`kid` is absent")
        await issuer.refresh(now_ms)
        if kid not in issuer.keys:
            await issuer.refresh(now_ms, kid)
        generation, key = issuer.generation, issuer.key(kid, algorithm)
        if key is None:
            raise refusal("signed by a key its issuer does not have")
        try:
            jws.deserialize_compact(token, key, [algorithm])
        except (JoseError, ValueError, TypeError):
            raise refusal("its signature is wrong") from None
        audience = claims.get("aud")
        meant = [one for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)]
        if not (audiences | {issuer.audience}) & set(meant):
            raise refusal("it is meant for another server")
        return issuer, claims, generation

    def check_dates(self, issuer: Issuer, begins: float, expires: float, now_ms: int) -> None:
        """Refuse a token before its time and after it. Only the clock of another issuer may differ from ours."""
        now = now_ms / 1000
        if now >= expires + (0 if issuer is self.host else self.skew_seconds):
            raise refusal("expired")
        if now < begins - self.skew_seconds:
            raise refusal("not valid yet")


def check_voice(issuer: Issuer, actor: Actor) -> None:
    """Refuse what an issuer says of somebody it may not speak for: another kind, or a user of another structure."""
    if actor.kind not in issuer.kinds:
        raise refusal("its issuer may not speak for this kind")
    if not issuer.organizations:
        return
    if actor.organization not in issuer.organizations:
        raise refusal("its issuer may not speak for this organisation")
    # Who is known by the number that a structure gave him is its own to speak for: 3 and its FINESS, 4 and its SIREN, 5 and its SIRET.
    number, internal, _ = actor.subject_name_id.partition("/")
    if internal and not any(number[1:] in (one, one[1:]) for one in issuer.organizations):
        raise refusal("its issuer may not speak for the users of this structure")


def object_of(part: str) -> dict[str, object]:
    """The JSON object of one base64url part; names twice are refused."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        value = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        raise refusal("not a signed JWT") from None
    if not isinstance(value, dict):
        raise refusal("not a signed JWT")
    return value


def moment(claims: Mapping[str, object], name: str, absent: float | None = None) -> float:
    """A NumericDate claim, in seconds since the epoch."""
    value = claims.get(name, absent)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LAST_SECOND:
        raise refusal(f"`{name}` is absent or not a date")
    return value


def refusal(reason: str) -> FhirError:
    """The token cannot be used."""
    return FhirError("login", f"access token: {reason}", headers=actors.CHALLENGE)


def missing() -> FhirError:
    """No token came with the request. https://www.rfc-editor.org/rfc/rfc6750#section-3"""
    return FhirError("login", "this request needs an access token: `Authorization: Bearer ...`", headers={"WWW-Authenticate": "Bearer"})
