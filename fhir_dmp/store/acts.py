"""Protective acts: masks, blocks, oppositions, revocations, erasures, kept outside of the database and applied again after a restore.

https://www.mongodb.com/docs/manual/core/backups/ ; a backup is older than the acts that came after it, and would undo them.

An act is told by the rows it left, as they are stored. Order: the database first, then this journal, then the acknowledgement; so what is
replayed was acknowledged or was about to be. Acts that lift a protection are kept too: the latest one counts.

A row is newer by (l, a): `l` its instant, `a` the instant of the last act that made no new version (labels, policy of a dossier).
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import bson
from bson import Binary
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from fhir_dmp.store.acts_file import ActsFile, End
from fhir_dmp.store.connection import Connection, repeated
from fhir_dmp.store.failures import StoreError, is_transient, translated, unavailable
from fhir_dmp.store.rows import OPTIONS, superseded_document
from fhir_dmp.store.vault import Vault, dossier_in, dossier_row, is_dossier_row, seal, unseal

FILE = Path("journal") / "acts.log"
COLLECTION = "acts"
# In place of the instant of closing: the dossier was erased, its rows are to be removed (erasing.finish).
LEFT = 0
# Never carried over: keys come from the database alone, else an erased dossier would come back.
KEPT_OUT = ("k", "e")


class Replayed(NamedTuple):
    """acts: looked at. rows: written. lost: rows of dossiers that the restored database does not know."""

    acts: int
    rows: int
    lost: int


class Acts:
    """The journal of one store. folder: the data folder."""

    def __init__(self, connection: Connection, vault: Vault, folder: Path) -> None:
        self._connection = connection
        self._key = AESGCM(vault.subkey("protective acts"))
        self._file = ActsFile(folder / FILE, self._key)
        self._lock = asyncio.Lock()

    @translated
    async def keep(self, kind: str, keys: Iterable[bytes], at_ms: int) -> None:
        """Keep an act that is committed; on the disk when it returns, and only then may it be acknowledged.

        kind: in a word, e.g. mask, block, emergency, revocation, erasure. keys: of the rows it wrote, the row of its dossier too when it
        changed that.
        """
        # A caller who goes away does not take the act with him.
        await asyncio.shield(asyncio.ensure_future(self._keep(kind, sorted(set(keys)), at_ms)))

    async def _keep(self, kind: str, keys: list[bytes], at_ms: int) -> None:
        command = {"find": "resources", "filter": {"_id": {"$in": [Binary(key) for key in keys]}}, "batchSize": len(keys) + 1}
        rows = [_without_key(document) for document in await self._connection.read(command)]
        value = bson.encode({"k": kind, "at": at_ms, "rows": rows}, codec_options=OPTIONS)
        try:
            async with self._lock:
                end = await asyncio.to_thread(self._file.append, value)
        except (OSError, StoreError) as error:
            raise unavailable() from error
        # The copy in the database serves other machines, the mark saves work; their fate is not that of the act.
        name = Binary(end.hashed[:16])
        document = {"at": at_ms, "b": Binary(seal(self._key, value, name))}
        copies = self._connection.database[COLLECTION]
        try:
            await repeated(lambda: copies.update_one({"_id": name}, {"$setOnInsert": document}, upsert=True), patience=2.0)
            await self._mark(end)
        except PyMongoError as error:
            if not is_transient(error):
                raise

    async def replay(self) -> Replayed:
        """Apply what the database does not know; before the port opens. Doing it again changes nothing.

        StoreError when the file was altered: a store whose protections are not known to hold does not serve.
        """
        mark = await self._connection.database["meta"].find_one({"_id": await self._mark_id()})
        position = mark["offset"] if mark else 0
        found, end = await asyncio.to_thread(self._file.read, position)
        if end.offset < position:
            raise StoreError("the journal of protective acts is shorter than the database knows it: restore this file from a copy")
        if mark and end.offset == position:
            return Replayed(0, 0, 0)
        acts = [bson.decode(frame.value, codec_options=OPTIONS) for frame in found]
        if mark is None:
            own = {frame.end.hashed[:16] for frame in found}
            acts = sorted([*await self._copies(own), *acts], key=lambda act: act["at"])
        written = lost = 0
        for act in acts:
            for row in act["rows"]:
                outcome = await self._apply(row, act)
                written, lost = written + (outcome == "written"), lost + (outcome == "lost")
        await self._mark(end)
        return Replayed(len(acts), written, lost)

    async def _copies(self, own: set[bytes]) -> list[dict[str, Any]]:
        """Acts of other machines, from the database: this one's file is new."""
        command = {"find": COLLECTION, "sort": {"_id": 1}, "hint": "_id_", "batchSize": 1000}
        documents = await self._connection.read(command)
        others = [document for document in documents if document["_id"] not in own]
        return [bson.decode(unseal(self._key, other["b"], other["_id"]), codec_options=OPTIONS) for other in others]

    async def _mark_id(self) -> str:
        return f"acts {await asyncio.to_thread(self._file.identity)}"

    async def _mark(self, end: End) -> None:
        """The database knows all acts up to here: each was committed before it was kept."""
        meta = self._connection.database["meta"]
        await meta.update_one({"_id": await self._mark_id()}, {"$max": {"offset": end.offset}}, upsert=True)

    async def _apply(self, row: dict[str, Any], act: Mapping[str, Any]) -> str:
        """written, known (the database has this or a later one) or lost (its dossier is not there)."""

        async def attempt(session: AsyncClientSession) -> str:
            return await self._apply_in(session, row, act)

        return await self._connection.transaction(attempt)

    async def _apply_in(self, session: AsyncClientSession, row: dict[str, Any], act: Mapping[str, Any]) -> str:
        resources = self._connection.database["resources"]
        key = row["_id"]
        current = await resources.find_one({"_id": key}, session=session)
        if is_dossier_row(key):
            if current is None:
                return "lost"
            if act["k"] == "erasure":
                if "k" not in current:
                    return "known"
                await resources.update_one(
                    {"_id": key}, {"$unset": {"k": "", "p": ""}, "$set": {"e": act["at"], "q": LEFT}}, session=session
                )
                return "written"
            if stamp(current) >= stamp(row):
                return "known"
            kept = {name: current[name] for name in KEPT_OUT if name in current}
            await resources.replace_one({"_id": key}, {**row, **kept}, session=session)
            return "written"
        if current is not None and stamp(current) >= stamp(row):
            return "known"
        if await resources.find_one({"_id": Binary(dossier_row(dossier_in(key)))}, {"_id": 1}, session=session) is None:
            return "lost"
        if current is not None and current["v"] != row["v"] and (old := superseded_document(current)):
            versions = self._connection.database["versions"]
            await versions.replace_one({"_id": old["_id"]}, old, upsert=True, session=session)
        await resources.replace_one({"_id": key}, row, upsert=True, session=session)
        return "written"


def stamp(document: Mapping[str, Any]) -> tuple[int, int]:
    """How new a row is: its instant, and that of the last act that made no new version."""
    return document.get("l", 0), document.get("a", 0)


def _without_key(document: dict[str, Any]) -> dict[str, Any]:
    if not is_dossier_row(document["_id"]):
        return document
    return {name: value for name, value in document.items() if name not in KEPT_OUT}
