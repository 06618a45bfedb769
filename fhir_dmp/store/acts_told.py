"""Protective acts as their file tells them, compared with what the database holds: its copies of them, and the rows they were about.

See acts.py. Compared are the acts that the database is known to have: those that came after a backup which was just put back are applied,
and copied, by the next start.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import bson
from bson import Binary
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.dmp.visibility import VISIBILITY
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.store.acts import COLLECTION, FILE, TRACE, Mark, key_of, marked, stamp
from fhir_dmp.store.acts_file import HEADER, NAME, End, Frame, begin, walked
from fhir_dmp.store.connection import repeated
from fhir_dmp.store.failures import UNREADABLE, StoreError, translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import OPTIONS
from fhir_dmp.store.vault import dossier_in, is_dossier_row, seal, unseal

AT_ONCE, OCTETS = 500, 8 * 1024 * 1024
# An act that others do meanwhile is in the database before it is in the file.
RELOOK_SECONDS = 1.0
LABELS = sum(LABEL_BITS[label] for label in VISIBILITY)
FIELDS = {name: 1 for name in ("t", "tz", "v", "l", "a", "y", "z", "p", "e", "k")}


class Difference(NamedTuple):
    """kind, what, why: as of a fault of the verification."""

    kind: str
    what: str
    why: str


def told(key: AESGCM, path: Path) -> Iterator[Frame]:
    """The acts of a file in order, one in memory at a time. StoreError where it was altered. Blocks."""
    with path.open("rb") as file:
        yield from walked(key, file.fileno(), begin(file.read(HEADER)))


@translated
async def differences(store: Store, folder: Path) -> list[Difference]:
    """What does not agree; nothing where this machine has no such file. folder: the data folder."""
    path = folder / FILE
    if not path.exists():
        return []
    first = await _Comparing(store, path).run()
    if not first:
        return []
    await asyncio.sleep(RELOOK_SECONDS)
    again = await _Comparing(store, path).run()
    return [one for name, one in again.items() if name in first]


@translated
async def copy(store: Store, folder: Path) -> int:
    """Write the copies that the database lacks of the acts in the file; how many."""
    path, key, written = folder / FILE, key_of(store.vault), 0
    if not path.exists():
        return 0
    copies, found = store.connection.database[COLLECTION], told(key, path)
    while (frame := await asyncio.to_thread(next, found, None)) is not None:
        name = Binary(frame.end.hashed[:16])
        document = {"at": bson.decode(frame.value, codec_options=OPTIONS)["at"], "b": Binary(seal(key, frame.value, name))}
        there = await store.connection.read({"find": COLLECTION, "filter": {"_id": name}})
        if not there or not _opens(key, there[0], document["at"]):
            await repeated(lambda name=name, document=document: copies.replace_one({"_id": name}, document, upsert=True))
            written += 1
    return written


class _Comparing:
    """One walk through the file. What differs is kept by a name of it: a later act about the same row may make it good."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store, self._path, self._key = store, path, key_of(store.vault)
        self._found: dict[bytes, Difference] = {}
        # Copies to be looked for: name -> (act, its instant).
        self._copies: dict[bytes, tuple[str, int]] = {}

    async def run(self) -> dict[bytes, Difference]:
        try:
            return await self._walk()
        except StoreError as error:
            return {b"file": Difference("altered", "the journal of protective acts", str(error))}

    async def _walk(self) -> dict[bytes, Difference]:
        mark, now = await self._mark()
        if mark is None:
            return {}
        acts, number, end, size = told(self._key, self._path), 0, End(HEADER, b""), 0
        while end.offset < mark.offset and (frame := await asyncio.to_thread(next, acts, None)) is not None:
            number, end, size = number + 1, frame.end, size + len(frame.value)
            act = bson.decode(frame.value, codec_options=OPTIONS)
            self._copies[end.hashed[:16]] = f"act {number} ({act['k']}, {to_instant(act['at'])})", act["at"]
            if len(self._copies) >= AT_ONCE or size > OCTETS:
                await self._look()
                size = 0
            for start in range(0, len(act["rows"]), AT_ONCE):
                await self._rows(act["k"], act["rows"][start : start + AT_ONCE])
        if end.offset < mark.offset:
            why = f"it ends at octet {end.offset}, the database knows {mark.offset}: acts are gone from it"
            return {b"file": Difference("truncated", "the journal of protective acts", why)}
        if end.offset > HEADER and end != mark:
            if not now:
                return {}  # a file that went on apart, beside a database that was restored: the next start applies all of it
            why = f"octet {mark.offset}, up to which the database knows it, is no end of an act: acts are gone from it"
            return {b"file": Difference("truncated", "the journal of protective acts", why)}
        await self._look()
        return self._found

    async def _mark(self) -> Mark:
        with self._path.open("rb") as file:
            return await marked(self._store.connection, file.read(HEADER)[len(NAME) :].hex())

    async def _look(self) -> None:
        """Whether the copies are there and open."""
        names = [Binary(name) for name in self._copies]
        command = {"find": COLLECTION, "filter": {"_id": {"$in": names}}, "batchSize": len(names) + 1}
        there = {bytes(one["_id"]): one for one in await self._store.connection.read(command)}
        for name, (act, at_ms) in self._copies.items():
            if name not in there:
                self._found[name] = Difference("deleted", f"{act} in the database", "its copy is gone; `fhir-dmp reindex` writes it again")
            elif not _opens(self._key, there[name], at_ms):
                self._found[name] = Difference(
                    "altered", f"{act} in the database", "its copy is another one; `fhir-dmp reindex` mends that"
                )
        self._copies = {}

    async def _rows(self, kind: str, rows: list[dict[str, Any]]) -> None:
        command = {
            "find": "resources",
            "filter": {"_id": {"$in": [row["_id"] for row in rows]}},
            "projection": FIELDS,
            "batchSize": len(rows) + 1,
        }
        there = {bytes(one["_id"]): one for one in await self._store.connection.read(command)}
        for row in rows:
            key = bytes(row["_id"])
            self._found.pop(key, None)
            # A row that is not there was erased, or parted with its dossier; its seal tells of one that is missing.
            if key in there and (why := differs(kind, row, there[key])):
                self._found[key] = Difference("acts", self._name(key, there[key]), why)

    def _name(self, key: bytes, there: Mapping[str, Any]) -> str:
        if is_dossier_row(key):
            return f"dossier {dossier_in(key)}"
        return f"{there.get('t') or there.get('tz') or 'row'}/{self._store.vault.seal_id(key)}"


def _opens(key: AESGCM, document: Mapping[str, Any], at_ms: int) -> bool:
    """By its name a copy is that of one act, and of no other."""
    try:
        unseal(key, document["b"], document["_id"])
        return document["at"] == at_ms
    except UNREADABLE:
        return False


def differs(kind: str, row: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """What a row shows that the act, the last one of this row, does not allow; "" for nothing."""
    try:
        if is_dossier_row(row["_id"]):
            if kind == "erasure":
                return "it was erased, and has a key again" if "k" in there else ""
            if "e" in there:
                return ""
            if stamp(there) < stamp(row):
                return "its rights are older than the last act about them"
            return (
                "its rights are not those that the last act left" if stamp(there) == stamp(row) and there.get("p") != row.get("p") else ""
            )
        same = there["v"] == row["v"]
        # Of what is kept as facts alone a restore may have lost the version: its facts are given to the one that is there.
        facts = row.get("t", row.get("tz", TRACE)) == TRACE and not same
        if max(stamp(there)) < max(stamp(row)) if facts else stamp(there) < stamp(row):
            return "it is older than the last act about it"
        before, now = (one.get("y", one.get("z")) for one in (row, there))
        if before is None:
            return ""
        if same and stamp(there) == stamp(row) and before != now:
            return "the rules judge it by other facts than the last act left"
        return "it carries other visibility labels than the last act left" if _labels(before) != _labels(now) else ""
    except UNREADABLE:
        return "its row does not read"


def _labels(facts: Any) -> dict[int, int]:
    return {one["rt"]: one.get("lb", 0) & LABELS for one in (facts if isinstance(facts, list) else [facts] if facts else [])}
