"""What stays with a dossier that came from another host: how its logical ids were there, and where its traces stand in that host's journal.

ig/decisions: host to host

A public id is the key of the row sealed by the host, 26 characters wherever it was made. The key goes with the dossier, so each host has
its own id for the same row, none learns how the other makes its ids, and to change one for the other changes no length and nothing else.
What a host sealed is therefore compared with the octets as they were there.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from fhir_dmp.signing.seal import Version
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.records import Source
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Content
from fhir_dmp.store.vault import dossier_row

MOST = 1024 * 1024 * 1024
_ID = re.compile(rb"(?<![A-Za-z0-9+_-])[a-z2-7]{26}(?![A-Za-z0-9+_=-])")


class Origins(msgspec.Struct, frozen=True):
    """ids: there -> here. proofs: "AuditEvent/id" here -> proof of its place in the journal of that host, or of the one that it names as
    its `host`. former: hosts that left the same with that host.
    """

    host: str
    ids: dict[str, str]
    proofs: dict[str, dict[str, Any]]
    former: tuple[str, ...] = ()

    @property
    def back(self) -> dict[str, str]:
        """ids: here -> there."""
        return {here: there for there, here in self.ids.items()}


def key_of(dossier: int, host: str) -> bytes:
    """Key of the row that holds the Origins of one host."""
    return dossier_row(dossier)[:8] + blake2b(b"origins of " + host.encode(), digest_size=8).digest()


async def load(reads: Reader, dossier: int, host: str) -> Origins | None:
    """What a host that gave this dossier left with it; None for a host that did not."""
    row = await reads.load(key_of(dossier, host))
    if row is None or row.content is None or row.erased:
        return None
    return msgspec.json.decode(await reads.contents.read_all(row.content.id, MOST), type=Origins)


async def every(reads: Reader, dossier: int) -> list[Origins]:
    """What all former hosts of a dossier left with it: those whose cards are known here, and those that they had it from."""
    waiting = [(one.rules.get("card") or {}).get("host") for one in await Source.objects.order_by("pk").to_list()]
    asked: set[str | None] = {None}
    found = []
    while waiting:
        host = waiting.pop(0)
        if host not in asked and (left := await load(reads, dossier, host)) is not None:
            found.append(left)
            waiting += left.former
        asked.add(host)
    return found


async def write(store: Store, dossier: int, origins: Origins) -> Content:
    """Its octets, sealed under the key of the dossier; a row must name them."""

    async def stream() -> AsyncIterator[bytes]:
        yield msgspec.json.encode(origins)

    return await store.contents.write(stream(), dossier)


def translated(body: bytes, ids: Mapping[str, str]) -> bytes:
    """A body with the ids of another host.

    >>> translated(b'{"reference":"Patient/' + b"a" * 26 + b'"}', {"a" * 26: "b" * 26})[22:30]
    b'bbbbbbbb'
    """

    def other(found: re.Match[bytes]) -> bytes:
        new = ids.get(found[0].decode())
        return found[0] if new is None else new.encode()

    return _ID.sub(other, body)


def nameless(body: bytes) -> bytes:
    """A body without the ids that hosts make: equal for one resource wherever it is.

    >>> nameless(b'{"reference":"Patient/' + b"a" * 26 + b'"}')
    b'{"reference":"Patient/"}'
    """
    return _ID.sub(b"", body)


@dataclass(slots=True)
class Homes:
    """Versions as the hosts that sealed them had them. own: identities of this host."""

    reads: Reader
    own: frozenset[str]
    _kept: dict[tuple[int, str], Origins | None] = field(default_factory=dict)

    async def at(self, host: str, dossier: int) -> Origins | None:
        """Origins of a host, None for this one and for one that never had the dossier."""
        if host in self.own:
            return None
        if (dossier, host) not in self._kept:
            self._kept = {(dossier, host): await load(self.reads, dossier, host)}
        return self._kept[dossier, host]

    async def version(self, host: str, dossier: int, version: Version) -> Version:
        """A version as it was at the host that sealed it."""
        origins = await self.at(host, dossier)
        if origins is None:
            return version
        back = origins.back
        return Version(translated(version.reference.encode(), back).decode(), translated(version.body, back), version.octets)
