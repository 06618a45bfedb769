"""The rows of a dossier as another one of this host has them once the two are joined: ids, facts, seals and rights in its terms.

https://hl7.org/fhir/R5/patient-operation-merge.html ; consent.joining says what becomes of rights

Bodies change in nothing but ids, which all have one length. What the host sealed is looked at as it stands, and sealed again under its new
name with the instant and the message of the former seal; what does not hold is left as it is, and does not hold there either.
"""

import base64
from collections.abc import AsyncIterator, Collection, Container, Iterable, Mapping, Sequence
from typing import Any

from fhir_dmp.consent import joining
from fhir_dmp.consent.predicate import LET_IN, hashed
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import origins, seal_reading
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import CARRIERS, TRACE
from fhir_dmp.interactions.facts import listed
from fhir_dmp.interactions.merged import Renaming
from fhir_dmp.interactions.origins import Homes, translated
from fhir_dmp.interactions.reindex import indexed
from fhir_dmp.signing import seal
from fhir_dmp.signing.keys import Keys
from fhir_dmp.signing.seal import Opened, Sealed
from fhir_dmp.signing.seal import Version as SealedVersion
from fhir_dmp.signing.verdict import PASSED
from fhir_dmp.store import joining as joined_rows
from fhir_dmp.store import takeover
from fhir_dmp.store.naming import Hashing
from fhir_dmp.store.rows import Content, NewRow, Row
from fhir_dmp.store.takeover import Taken, Version
from fhir_dmp.store.vault import version_id

PATIENT, PROVENANCE = "Patient", "Provenance"
RIGHTS = frozenset({"Consent", "CareTeam", "RelatedPerson"})
AT_ONCE = 200


class Copying:
    """Makes the rows of one dossier into rows of another. ids: from the one to the other. addresses: see `roots`."""

    def __init__(self, context: Context, ids: Renaming, addresses: Mapping[int, int]) -> None:
        self.context, self.ids, self.addresses = context, ids, addresses
        self._bodies: dict[str, tuple[str, bytes]] = {}

    async def copies(
        self, chosen: Sequence[Version], known: Collection[tuple[bytes, int]], facts: Mapping[bytes, Any] | None = None
    ) -> AsyncIterator[tuple[Version, NewRow]]:
        """Each of these versions with what it becomes, contents under the key of the other dossier; what vouches for others comes last.

        known: (key, version) there that need not be made. facts: of current rows by key, in place of those that they were read with.
        """
        keys: list[Keys] = [self.context.seals, *await seal_reading.foreign()]
        for provenances in (False, True):
            for one in chosen:
                if (one.row.type == PROVENANCE) is not provenances:
                    continue
                body = translated(one.row.body, self.ids) if one.row.body is not None else None
                if provenances and body is not None and not one.row.deleted:
                    body = await self._resealed(one.row, body, keys)
                    if body is None:
                        continue
                elif body is not None:
                    self._bodies[self._reference(one.row)] = self._there(one.row), body
                if (self.ids.key(one.row.key), one.row.version) not in known:
                    visible = (facts or {}).get(one.row.key, one.row.visible)
                    yield one, await self._row(one, body, renamed(visible, self.addresses))

    def _reference(self, row: Row) -> str:
        return f"{row.type}/{self.context.store.vault.seal_id(row.key)}/_history/{version_id(row.version)}"

    def _there(self, row: Row) -> str:
        return f"{row.type}/{self.context.store.vault.seal_id(self.ids.key(row.key))}/_history/{version_id(row.version)}"

    async def _row(self, one: Version, body: bytes | None, visible: Any) -> NewRow:
        row = one.row
        content = await _copied(self.context, row.content, self.ids.target)
        place = self.ids.key(row.key), self.ids.target, row.type, row.version, row.updated_ms
        made = NewRow(*place, 0, (), (), (), (), body, row.method, row.deleted, content, visible=visible)
        return indexed(self.context.store, made, (self.context.base_url,), current=one.current)

    # Seals

    async def _resealed(self, row: Row, body: bytes, keys: Sequence[Keys]) -> bytes | None:
        """A Provenance with the host's own seals made anew; None for one about nothing that comes along."""
        value = json.parse_exact(body)
        listed = value.get("signature") or []
        found = [(one, seal_reading.seal_in(one)) for one in listed]
        if not any(text for _, text in found):
            return body
        signatures = []
        for one, text in found:
            new = await self._sealed_again(row, text, keys) if text else ""
            if new is None:
                return None
            signatures.append({**one, "data": base64.b64encode(new.encode()).decode()} if new else one)
        return json.dump({**value, "signature": signatures})

    async def _sealed_again(self, row: Row, text: str, keys: Sequence[Keys]) -> str | None:
        """The same statement under the new names; "" when the former does not hold, None when nothing of it is here."""
        store = self.context.store
        opened: Opened = seal.opened(text, keys)
        if opened.statement is None:
            return ""
        homes = Homes(store, seal_reading.own_names(self.context))
        home = await homes.at(opened.statement.host, self.ids.source)
        what = []
        for one in opened.statement.what:
            here = translated(one.reference.encode(), home.ids).decode() if home is not None else one.reference
            if here not in self._bodies:
                if here.startswith(f"{PATIENT}/"):
                    return None
                return ""
            there, body = self._bodies[here]
            mine = SealedVersion(here, translated(body, self.ids.back), one.octets)
            if seal.compared(opened, await homes.version(opened.statement.host, self.ids.source, mine)).status != PASSED:
                return ""
            what.append(Sealed(there, seal.digest(body), one.octets, one.identifier))
        said, host = opened.statement, self.context.recorder.indexer.server.identity
        return seal.sign(self.context.seals, host, said.at, f"{PATIENT}/{self.ids.patients[1]}", what, said.message)


async def stage(context: Context, ids: Renaming, at_ms: int) -> None:
    """Stage copies of everything in a dossier but its Patient in another one; what is there already, and of this join, is left as it is.

    ids: from it to that. at_ms: of the merge, UTC: asked again with it, nothing becomes different.
    """
    store = context.store
    chosen = await versions_of(context, ids.source)
    if former := await outdated(context, ids, at_ms, chosen):
        await store.transact(lambda transaction: joined_rows.drop(transaction, former))
    addresses = roots(store.vault, [(one.row.type, one.row.key) for one in chosen], ids)
    wanted = [(ids.key(one.row.key), one.row.version) for one in chosen]
    known = {(row.key, row.version) for row in await store.load_versions(wanted)}
    said = sorted((one.row for one in chosen if one.current and one.row.type == "Consent" and one.row.body), key=lambda row: row.place)
    refused = frozenset(ids.get(id) for id in joining.taken_back(json.parse(row.body) for row in said))
    current: list[Taken] = []
    old: list[NewRow] = []
    # A later version may be there alone, back from the journal of acts.
    there = await store.load_many([ids.key(one.row.key) for one in chosen if one.current])

    def taken(one: Taken) -> None:
        found = there.get(one.row.key)
        if found is None or found.version == one.row.version:
            current.append(one)
        else:
            old.append(one.row)

    async for one, row in Copying(context, ids, addresses).copies(chosen, known, let_in_by_own(chosen)):
        renewed = _renewed(context, ids, at_ms, one, row, refused)
        if renewed is not None:
            old.append(row)
            taken(Taken(renewed))
        elif one.current:
            taken(Taken(row, one.row.acted_ms))
        else:
            old.append(row)
        if len(current) + len(old) >= AT_ONCE:
            await takeover.put(store, current, old, staged=True, source=ids.source)
            current, old = [], []
    await takeover.put(store, current, old, staged=True, source=ids.source)


async def outdated(context: Context, ids: Renaming, at_ms: int, chosen: Sequence[Version] | None = None) -> list[bytes]:
    """Keys of copies that a former join of the two left, which a backup or the journal of acts brought: they know nothing of what was
    hidden or withdrawn while the two were parted. at_ms: of the merge, UTC: what was done here since it stays. chosen: the rows of the
    dossier that ends, where they were read.
    """
    store, found = context.store, list[bytes]()
    if ids.source not in await joined_rows.parted_from(store, ids.target):
        return found
    chosen = await versions_of(context, ids.source) if chosen is None else chosen
    addresses, facts = roots(store.vault, [(one.row.type, one.row.key) for one in chosen], ids), let_in_by_own(chosen)
    there = await store.load_many([ids.key(one.row.key) for one in chosen if one.current], bodies=False)
    for one in chosen if there else ():
        copy = there.get(ids.key(one.row.key)) if one.current else None
        if copy is None or max(copy.updated_ms, copy.acted_ms) >= at_ms or not (copy.visible or one.row.type in RIGHTS):
            continue
        told = one.row.type in RIGHTS or copy.visible == renamed(facts.get(one.row.key, one.row.visible), addresses)
        if copy.version != one.row.version or not told:
            found.append(copy.key)
    return await joined_rows.copies(store, found)


def let_in_by_own(chosen: Sequence[Version]) -> dict[bytes, Any]:
    """Facts of traces of whom nothing but several documents of his own let in, by key: told as soon as one of these is seen.

    Where they go there may be others of his, which had not let him in here.
    """
    current = [one.row for one in chosen if one.current and not one.row.deleted]
    documents = [row for row in current if row.type in CARRIERS]
    found = {}
    for row in current:
        told = row.visible
        if row.type != TRACE or not isinstance(told, Mapping) or told.get("rt") or LET_IN not in told:
            continue
        own = {one["rt"]: one for each in documents for one in listed(each) if told[LET_IN] in one["au"] and one["fd"] <= row.updated_ms}
        if own:
            plain = {name: value for name, value in told.items() if name != LET_IN}
            found[row.key] = [
                {**plain, "lb": plain["lb"] | one["lb"], **{name: one[name] for name in ("fd", "rl", "rt")}} for one in own.values()
            ]
    return found


async def versions_of(context: Context, dossier: int) -> list[Version]:
    """Everything that goes along with a dossier: not its Patient, nor the tables that former hosts left with it."""
    left = [one.host for one in await origins.every(context.store, dossier)]
    tables = {origins.key_of(dossier, host) for host in (*left, context.store.record.identity)}
    read = [one async for one in takeover.versions(context.store, dossier)]
    return [one for one in read if one.row.type != PATIENT and one.row.key not in tables]


def _renewed(context: Context, ids: Renaming, at_ms: int, one: Version, row: NewRow, refused: Container[str | None] = ()) -> NewRow | None:
    """Another version of a right, where it does not go along as it is."""
    if row.type not in RIGHTS or not one.current or row.deleted or row.body is None:
        return None
    carried = joining.carried(json.parse_exact(row.body), at_ms, refused)
    if not carried.renewed:
        return None
    vault = context.store.vault
    version = vault.new_version(Hashing.of(vault, "merge").random(ids.patients[0], str(at_ms), row.key.hex()))
    meta = {**carried.value["meta"], "versionId": version_id(version), "lastUpdated": to_instant(at_ms)}
    new = row._replace(version=version, updated_ms=at_ms, body=json.dump({**carried.value, "meta": meta}), method="PUT")
    return indexed(context.store, new, (context.base_url,))


async def _copied(context: Context, content: Content | None, dossier: int) -> Content | None:
    """A content under the key of another dossier."""
    if content is None:
        return None

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in context.store.contents.read(content.id):
            yield piece

    return await context.store.contents.write(pieces(), dossier)


def roots(vault: Any, rows: Iterable[tuple[str, bytes]], ids: Renaming) -> dict[int, int]:
    """Hash of the address of each row -> hash of its address in the other dossier: what lineages are known by. rows: type and key."""
    found = {}
    for type_name, key in rows:
        here = vault.seal_id(key)
        there = ids.get(here) or here
        found[hashed("root", f"{type_name}/{here}", vault.hash64)] = hashed("root", f"{type_name}/{there}", vault.hash64)
    return found


def renamed(visible: Any, addresses: Mapping[int, int]) -> Any:
    """Facts of a row with its lineage in the terms of the other dossier."""
    if isinstance(visible, Mapping):
        return {**visible, "rt": addresses.get(visible["rt"], visible["rt"])} if "rt" in visible else dict(visible)
    return [renamed(one, addresses) for one in visible] if visible else None
