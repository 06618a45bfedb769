"""The seal of a transmission message: a detached JWS over its octets, verified before anything of it is parsed.

Level 2 of proof, "cachet du message de transmission"; https://www.rfc-editor.org/rfc/rfc7515#appendix-F ;
https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.signature

It stands in the header X-JWS-Signature, over the octets of the body; or in Bundle.signature, which then is the last member of the Bundle:
what stands before it, closed by `}`, is what it signs. Octets are signed and never JSON written anew: decimals would not survive that.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import jiter
import msgspec
from joserfc import jwk

from fhir_dmp.errors import FhirError
from fhir_dmp.identity.issuers import ALGORITHMS, RETRY_SECONDS, FileIssuer, Issuer, RemoteIssuer
from fhir_dmp.settings import SettingError
from fhir_dmp.signing import jws
from fhir_dmp.signing.seal import Message, digest

HEADER = "x-jws-signature"
_SPACE = b" \t\r\n"
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Signers:
    """Those whose seals on messages are trusted: the file that setting `message_signers` names. Empty: no seal can be judged here.

    required: kinds of askers of whom a message without seal is refused, e.g. ("host",).
    """

    def __init__(self, path: Path | None, required: tuple[str, ...] = (), jwks_seconds: int = 600) -> None:
        self.trusted = _read(path, jwks_seconds) if path is not None else ()
        self.required = frozenset(required)
        if self.required and not self.trusted:
            raise SettingError("setting `message_seal_required` needs `message_signers`: nobody could seal a message")

    async def check(self, header: str, body: bytes, is_bundle: bool, *, kind: str, speaks_for: tuple[str, ...], now_ms: int) -> Message:
        """What is known of a message that was received. header: X-JWS-Signature, "" for none. kind, speaks_for: of who sends it.

        speaks_for: identifiers of his structure or host. 422 when a seal is there and wrong, or absent and required.
        """
        if not self.trusted:
            return Message(digest(body))
        # Its name may be written with escapes.
        within = is_bundle and (b'"signature"' in body or b"\\u" in body)
        text, octets = (header, body) if header else bundle_seal(body) if within else ("", body)
        if not text:
            if kind in self.required:
                raise wrong("this sender seals his messages, and this one has no seal")
            return Message(digest(body))
        try:
            said = jws.header_of(text)
        except jws.Refused as error:
            raise wrong(str(error)) from None
        signer, key = await self._signer(said, now_ms)
        if signer.organizations and not set(signer.organizations) & set(speaks_for):
            raise wrong("its signer does not speak for who sends it")
        try:
            jws.opened(text, key, said.alg, octets)
        except jws.Refused as error:
            raise wrong(str(error)) from None
        first, _, last = text.split(".")
        return Message(digest(octets), signer.issuer, said.kid, f"{first}..{last}")

    async def _signer(self, said: jws.Header, now_ms: int) -> tuple[Issuer, jwk.Key]:
        """Who has the key that a seal names, as his keys are now. 422 when nobody has, 503 when keys cannot be fetched."""
        silent = False
        able = [one for one in self.trusted if said.alg in one.algorithms]
        for signer in sorted(able, key=lambda one: one.key(said.kid, said.alg) is None):
            try:
                await signer.refresh(now_ms, "" if signer.key(said.kid, said.alg) is not None else said.kid)
            except FhirError:
                silent = True
            if (key := signer.key(said.kid, said.alg)) is not None:
                return signer, key
        if silent:
            raise FhirError("transient", "the keys of a signer of messages cannot be fetched", headers={"Retry-After": str(RETRY_SECONDS)})
        raise wrong(f"nobody who is trusted here has the key `{said.kid[:80]}`")


def bundle_seal(body: bytes) -> tuple[str, bytes]:
    """The JWS in Bundle.signature and the octets that it signs; ("", body) when there is none in that form."""
    try:
        members = _MEMBERS.decode(body)
        signature = members.get("signature")
        value = json.loads(bytes(signature)) if signature is not None else None
    except (msgspec.DecodeError, ValueError):
        return "", body  # the parser will say what is wrong
    if not isinstance(value, dict) or value.get("sigFormat") != jws.FORM or not isinstance(value.get("data"), str):
        return "", body
    before = body.rstrip(_SPACE).removesuffix(b"}").rstrip(_SPACE)
    raw = bytes(signature)
    if next(reversed(members)) != "signature" or not before.endswith(raw):
        raise wrong("the signature of a Bundle is its last member")
    before = before[: -len(raw)].rstrip(_SPACE).removesuffix(b":").rstrip(_SPACE).removesuffix(b'"signature"').rstrip(_SPACE)
    try:
        text = base64.b64decode("".join(value["data"].split()), validate=True).decode("ascii")
    except ValueError:
        raise wrong("its octets cannot be read") from None
    return text, before.removesuffix(b",").rstrip(_SPACE) + b"}"


def wrong(reason: str) -> FhirError:
    """The refusal of a message, before anything of it is looked at."""
    return FhirError("business-rule", f"the seal of the message does not hold: {reason}")


def _read(path: Path, jwks_seconds: int) -> tuple[Issuer, ...]:
    try:
        listed = jiter.from_json(path.read_bytes(), catch_duplicate_keys=True, allow_inf_nan=False)
    except (OSError, ValueError) as error:
        raise SettingError(f"message signers {path}: {error}") from None
    if not isinstance(listed, list):
        raise SettingError(f"message signers {path}: must be a list")
    return tuple(_one(f"message signers {path}, entry {n}", row, path.parent, jwks_seconds) for n, row in enumerate(listed))


def _one(place: str, row: object, base: Path, jwks_seconds: int) -> Issuer:
    if not isinstance(row, Mapping) or set(row) - {"organizations"} != {"signer", "jwks", "algorithms"}:
        raise SettingError(f"{place}: needs signer, jwks, algorithms, may have organizations, and nothing else")
    if not all(isinstance(row[name], str) and row[name] for name in ("signer", "jwks")):
        raise SettingError(f"{place}: `signer` and `jwks` must be texts")
    if not isinstance(row["algorithms"], list) or not row["algorithms"] or not all(one in ALGORITHMS for one in row["algorithms"]):
        raise SettingError(f"{place}: `algorithms` must be a list of some of {', '.join(ALGORITHMS)}")
    common = (row["signer"], "", frozenset(row["algorithms"]), frozenset())
    if row["jwks"].startswith("https://"):
        made: Issuer = RemoteIssuer(row["jwks"], jwks_seconds, *common)
    else:
        try:
            made = FileIssuer(base / row["jwks"], *common)
        except (OSError, ValueError) as error:
            raise SettingError(f"{place}: `jwks` {row['jwks']}: {error}") from None
    made.organizations = tuple(row.get("organizations", ()))
    return made
