"""Other hosts: the card by which one host knows another, and the keys that come with it.

JSON Web Keys https://www.rfc-editor.org/rfc/rfc7517

A card holds public keys alone: those that the host seals with, that of its journal, and the one that packages for it are encrypted to. It
is handed over between people who know each other, as a host agrees to take dossiers from another.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fhir_dmp.audit.merger import signer
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.rules import HOST
from fhir_dmp.signing import box, jws
from fhir_dmp.signing.keys import OF_HOSTS, PublicKeys, SealKeys
from fhir_dmp.store.records import Key, Source
from fhir_dmp.store.resources import Store

# The source under which a host takes back what it kept itself.
ITSELF = "this-host"


class Card(msgspec.Struct, frozen=True):
    """host: identity of its store. seals: public JWKs. packages: the JWK to encrypt to. journal: name and key (DER, base64) of its log."""

    host: str
    name: str
    seals: tuple[dict[str, str], ...]
    packages: dict[str, str]
    journal: dict[str, str]

    @property
    def keys(self) -> PublicKeys:
        """Where the keys of its seals and manifests are found."""
        return PublicKeys(self.seals)


def own(store: Store, data: Path, name: str = "") -> Card:
    """The card of this host."""
    head = signer(store)
    journal = {"origin": head.origin, "key": base64.b64encode(head.public).decode()}
    return Card(store.record.identity, name, tuple(SealKeys(data).public.values()), box.own_public(data), journal)


async def register(store: Store, id: str, card: Mapping[str, Any] | Card) -> Source:
    """Know another host under this id, as a source that dossiers may come from and go to. Again takes its new keys."""
    try:
        card = card if isinstance(card, Card) else msgspec.convert(card, Card)
        for one in card.seals:
            if card.keys.find(one["kid"], one["alg"]) is None:
                raise ValueError("a key of its seals cannot be used")
        if not card.seals or card.packages.get("crv") != "P-256" or not card.host:
            raise ValueError("it lacks keys")
    except (msgspec.ValidationError, KeyError, ValueError) as error:
        raise FhirError("invalid", f"this is no card of a host: {error}") from None
    source = await Source.get(id)
    if source is None:
        source = await sources.register(store, id, name=card.name or id, kind=HOST, host=card.host)
    if source.kind != HOST:
        raise FhirError("conflict", f"source `{id}` is no host")
    await source.change({"$set": {"rules.card": msgspec.to_builtins(card)}})
    for one in card.seals:
        id_ = f"{OF_HOSTS}{one['kid']}"
        if await Key.get(id_) is None:
            await Key(id=id_, purpose="seals of another host", public=json.dumps(one)).insert()
    return source


async def itself(store: Store, data: Path) -> str:
    """This host as one that dossiers go to and come from, for copies that it keeps; known by its card of now. The id of its source.

    Its keys are found with its own, so none is noted as that of another host.
    """
    card = own(store, data, "this host")
    known = [one for one in await Source.objects.order_by("pk").to_list() if (one.rules.get("card") or {}).get("host") == card.host]
    source = known[0] if known else await sources.register(store, ITSELF, name=card.name, kind=HOST, host=card.host)
    await source.change({"$set": {"rules.card": msgspec.to_builtins(card)}})
    return source.id


async def card_of(id: str) -> Card:
    """The card of a registered host; 422 without one."""
    source = await Source.get(id)
    if source is None:
        for one in await Source.objects.order_by("pk").to_list():
            if (one.rules.get("card") or {}).get("host") == id:
                source = one
    if source is None or "card" not in source.rules:
        raise FhirError("business-rule", f"`{id[:80]}` is not a host that is known here: register its card first")
    return msgspec.convert(source.rules["card"], Card)


async def signer_of(text: str) -> Source:
    """The registered host whose key a JWS names; 422 when there is none. That it holds is for whoever opens it."""
    try:
        header = jws.header_of(text.strip())
    except jws.Refused as error:
        raise FhirError("business-rule", f"this is no receipt: {error}") from None
    for one in await Source.objects.order_by("pk").to_list():
        card = one.rules.get("card")
        if card and msgspec.convert(card, Card).keys.find(header.kid, header.alg) is not None:
            return one
    raise FhirError("business-rule", f"no host that is known here has the key `{header.kid[:80]}`")


def signed_by(card: Card, text: str, typ: str, payload: bytes | None = None) -> bytes:
    """The payload of a JWS of this host. jws.Refused when it is not one. payload: of a detached one."""
    header = jws.header_of(text)
    if header.typ != typ:
        raise jws.Refused(f"it is no {typ}")
    key = card.keys.find(header.kid, header.alg)
    if key is None:
        raise jws.Refused(f"the key `{header.kid}` is not on the card of {card.name or card.host}")
    return jws.opened(text, key, header.alg, payload)
