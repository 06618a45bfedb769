"""What the Provenances of a dossier hold: the JWS in them, which of these are seals of a host, and whose keys judge them.

https://hl7.org/fhir/R4/provenance.html ; ig/decisions: proofs
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.vouching import LEVEL
from fhir_dmp.signing import jws
from fhir_dmp.signing.keys import OF_HOSTS, TYP, Keys, PublicKeys
from fhir_dmp.store.records import Key


def own_names(context: Context) -> frozenset[str]:
    """How this host names itself in seals."""
    named = {context.recorder.indexer.server.identity} if context.recorder is not None else set()
    return frozenset({"", context.store.record.identity, *named})


async def foreign() -> list[Keys]:
    """Keys of the hosts that dossiers are taken from: what they sealed stays provable here."""
    found = [msgspec.json.decode(one.public) async for one in Key.objects(pk__gte=OF_HOSTS, pk__lt=f"{OF_HOSTS}~")]
    return [PublicKeys(found)] if found else []


def is_seal(text: bytes) -> bool:
    """Whether a JWS says that it is the seal of a host."""
    try:
        return jws.header_of(text.decode("ascii")).typ == TYP
    except (jws.Refused, UnicodeDecodeError):
        return False


def signatures(provenance: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """(sigFormat, octets) of each signature of a Provenance; what is not base64 is left out."""
    return [(one.get("sigFormat", ""), octets) for one in provenance.get("signature") or () if (octets := octets_of(one)) is not None]


def sealed_by_host(provenance: Mapping[str, Any]) -> bool:
    """Whether a Provenance is the seal of a host, or tells of the message that one received."""
    codings = (provenance.get("activity") or {}).get("coding") or ()
    return any(one.get("system") == LEVEL for one in codings) or any(map(seal_in, provenance.get("signature") or ()))


def octets_of(signature: Mapping[str, Any]) -> bytes | None:
    """What a FHIR Signature holds, None when that is not base64."""
    try:
        return base64.b64decode("".join((signature.get("data") or "").split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def seal_in(signature: Mapping[str, Any]) -> str:
    """The JWS of a signature that is the seal of a host, "" for any other."""
    octets = octets_of(signature)
    return octets.decode("ascii") if octets is not None and signature.get("sigFormat") == jws.FORM and is_seal(octets) else ""
