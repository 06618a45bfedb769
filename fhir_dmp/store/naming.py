"""By what an import knows again what it has seen: unique id and version of a thing in its source, as keyed hashes.

https://hl7.org/fhir/R4/resource.html#identification ; IHE XDS uniqueId https://profiles.ihe.net/ITI/TF/Volume3/ch-4.2.html

A resource with an id is known by it; a document also by its masterIdentifier; a resource without either by its content and its place in
its file, so that two equal lines of one file are two resources, and the same file sent again brings nothing new.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from fhir_dmp.dmp.documents import master_identifier
from fhir_dmp.fhir import json
from fhir_dmp.store.vault import Vault

# Names up to this length are remembered with their key.
LONGEST_KEPT = 256
_UNDER = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Named(NamedTuple):
    """names: what a thing is called in its source, most telling first, e.g. "Patient/12". version: text of the version, "" for none.

    digest: 8 bytes over the content, without id, versionId and lastUpdated.
    """

    names: tuple[str, ...]
    version: str
    digest: bytes


def named(tree: Mapping[str, Any], body: bytes, place: str) -> Named:
    """How a resource is called. body: its JSON. place: in its file, e.g. "Patient.ndjson:3"."""
    type_name, id = tree.get("resourceType", ""), tree.get("id")
    found = [f"{type_name}/{id}"] if isinstance(id, str) and id else []
    if type_name == "DocumentReference" and (master := master_identifier(tree)):
        found.append(master_name(*master))
    content = digest(body)
    meta = tree.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return Named(tuple(found) or (f"{place}#{content.hex()}",), version if isinstance(version, str) else "", content)


def master_name(system: str, value: str) -> str:
    """Name of a document by its masterIdentifier.

    >>> master_name("urn:ietf:rfc:3986", "urn:oid:1.2.3")
    'DocumentReference?masterIdentifier=urn:ietf:rfc:3986|urn:oid:1.2.3'
    """
    return f"DocumentReference?masterIdentifier={system}|{value}"


def digest(body: bytes) -> bytes:
    """Of the content of a resource: its members in the order received, without what a server gives.

    >>> digest(b'{"resourceType":"Basic","id":"1","meta":{"versionId":"2"}}') == digest(b'{"resourceType":"Basic","id":"9"}')
    True
    """
    parts = []
    for name, value in json.members(body).items():
        if name == "id":
            continue
        raw = bytes(value)
        if name == "meta" and not (raw := _without_stamp(raw)):
            continue
        parts += (b"%d %b %d " % (len(name), name.encode(), len(raw)), raw)
    return blake2b(b"".join(parts), digest_size=8).digest()


def _without_stamp(meta: bytes) -> bytes:
    """meta without versionId and lastUpdated; b"" when nothing is left."""
    try:
        kept = {name: bytes(value) for name, value in _UNDER.decode(meta).items() if name not in ("versionId", "lastUpdated")}
    except msgspec.DecodeError:
        return meta
    return b",".join(name.encode() + b":" + value for name, value in kept.items())


@dataclass(frozen=True, slots=True)
class Hashing:
    """Keyed hashes of one source. key: 64 bytes of the vault."""

    key: bytes
    source: str

    @classmethod
    def of(cls, vault: Vault, source: str) -> "Hashing":
        """The hashes of a source in one store."""
        return cls(vault.subkey("import ledger", 64), source)

    def name(self, name: str) -> bytes:
        """Key of the line of a name."""
        return (_key if len(name) <= LONGEST_KEPT else _key.__wrapped__)(self.key, self.source, name)

    def number(self, kind: str, text: str) -> int:
        """An int64, for versions and jobs."""
        return int.from_bytes(self._hashed(kind, text, size=8), "big", signed=True)

    def _hashed(self, *parts: str, size: int) -> bytes:
        said = "\0".join((self.source, *parts)).encode("utf-8", "surrogatepass")
        return blake2b(said, key=self.key, digest_size=size).digest()

    def random(self, *parts: str) -> Callable[[int], bytes]:
        """Bytes that are the same whenever the same thing is imported, and tell nobody else anything: for ids and versions."""
        count = 0

        def drawn(size: int) -> bytes:
            nonlocal count
            count += 1
            return self._hashed("random", *parts, str(count), size=size)

        return drawn


@lru_cache(maxsize=4096)
def _key(key: bytes, source: str, name: str) -> bytes:
    """Hashing.name: what a dossier consists of names the same few things, and each is asked for several times."""
    return Hashing(key, source)._hashed("name", name, size=16)
