"""Protective acts: masks, blocks, oppositions, revocations, erasures, kept outside of the database and applied again after a restore.

https://www.mongodb.com/docs/manual/core/backups/ ; a backup is older than the acts that came after it, and would undo them.

An act is told by the rows it left: rights, people and documents as they are stored, with the contents that hold their bodies; of whatever
else belongs to a lineage (contents, results, traces) the facts alone, which are then given to the row that is there. Each row is applied by
itself, so that an act of many rows goes in several frames. Order: the database first, then this journal, then the acknowledgement; so what
is replayed was acknowledged or was about to be. Acts that lift a protection are kept too: the latest one counts.

A row is newer by (l, a): `l` its instant, `a` the instant of the last act that made no new version (labels, policy of a dossier).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bson
from bson import Binary
from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from fhir_dmp.store import contents, restored
from fhir_dmp.store.acts_file import ActsFile, End
from fhir_dmp.store.connection import Connection, repeated
from fhir_dmp.store.failures import NotKept, StoreError, is_transient, translated
from fhir_dmp.store.rows import OPTIONS, RAW, large_body, superseded_document
from fhir_dmp.store.vault import Vault, dossier_in, dossier_row, is_dossier_row, seal, unseal

log = logging.getLogger("fhir_dmp.store")

FILE = Path("journal") / "acts.log"
COLLECTION = "acts"
# In place of the instant of closing: the dossier was erased, its rows are to be removed (erasing.finish).
LEFT = 0
# Never carried over: keys come from the database alone, else an erased dossier would come back.
KEPT_OUT = ("k", "e")
# Kept as they are stored: what they say is the act, a withdrawal or a revocation.
WHOLE = ("Patient", "Consent", "CareTeam", "RelatedPerson", "DocumentReference")
# Of everything else. `z` in place of `y` while it is staged, see joining.
FACTS = ("_id", "v", "l", "a", "y", "z")
# In place of the journal of this host: what a trace says stays where it stands, and no trace comes back with its place in a chain.
TRACE = "AuditEvent"
# Of the rows of one frame. The copy of a frame is one document, of 16 MB at most, and one row has 12 MiB at most.
FRAME_BYTES = 8 * 1024 * 1024
AT_ONCE = 1_000
TURNS = 5
WHOLE_AT_ONCE = 16


class Replayed(NamedTuple):
    """acts: looked at. rows: written. lost: rows of dossiers that the restored database does not know."""

    acts: int
    rows: int
    lost: int


class Acts:
    """The journal of one store. folder: the data folder."""

    def __init__(self, connection: Connection, vault: Vault, folder: Path) -> None:
        self._connection = connection
        self._key = key_of(vault)
        self._file = ActsFile(folder / FILE, self._key)
        self._lock = asyncio.Lock()
        # The database was seen to know all acts of the file: only then may the mark go on with what is kept next.
        self._known: bool | None = None
        # The file was seen to have the place up to which the database knows it.
        self._held = False
        self._era: str | None = None

    @translated
    async def keep(self, kind: str, keys: Iterable[bytes], at_ms: int) -> None:
        """Keep an act that is committed; on the disk when it returns, and only then may it be acknowledged.

        kind: in a word, e.g. mask, block, emergency, revocation, erasure. keys: of the rows it wrote, the row of its dossier too when it
        changed that.
        """
        # A caller who goes away does not take the act with him.
        await asyncio.shield(asyncio.ensure_future(self._keep(kind, sorted(set(keys)), at_ms)))

    async def _keep(self, kind: str, keys: list[bytes], at_ms: int) -> None:
        async for value in self._values(kind, keys, at_ms):
            try:
                async with self._lock:
                    if self._known is None:  # asked once: a database that does not answer must not keep acts from the file
                        self._known = await self._is_known()
                    end = await asyncio.to_thread(self._file.append, value)
            except StoreError as error:
                log.warning("an act waits to be kept: %s", error)
                raise NotKept(str(error)) from error
            await self._copy(value, end, at_ms)

    async def _values(self, kind: str, keys: list[bytes], at_ms: int) -> AsyncIterator[bytes]:
        """The act in as many parts as it takes, at least one."""
        part: dict[str, Any] = {"k": kind, "at": at_ms, "rows": []}
        size = 0
        async for name, document in self._documents(keys):
            one = RawBSONDocument(bson.encode(document, codec_options=OPTIONS), RAW)
            if size and size + len(one.raw) > FRAME_BYTES:
                yield bson.encode(part, codec_options=OPTIONS)
                part, size = {"k": kind, "at": at_ms, "rows": []}, 0
            part.setdefault(name, []).append(one)
            size += len(one.raw)
        yield bson.encode(part, codec_options=OPTIONS)

    async def _documents(self, keys: list[bytes]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What is kept, with the member that tells it; few bodies at once, and before a row the content that holds its body."""
        for part in _parts(keys, AT_ONCE):
            found = await self._find(part, {name: 1 for name in (*FACTS, "t", "tz")})
            whole = []
            for row in found:
                if is_dossier_row(row["_id"]) or row.get("t", row.get("tz")) in WHOLE:
                    whole.append(row["_id"])
                else:
                    yield "rows", _facts_of(row)
            for few in _parts(whole, WHOLE_AT_ONCE):
                for row in await self._find(few):
                    if body := large_body(row):
                        async for told in contents.as_stored(self._connection, body.id):
                            yield told
                    yield "rows", _without_key(row)

    async def _find(self, keys: Sequence[bytes], fields: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        command = {"find": "resources", "filter": {"_id": {"$in": [Binary(key) for key in keys]}}, "batchSize": len(keys) + 1}
        return await self._connection.read({**command, "projection": fields} if fields else command)

    async def _copy(self, value: bytes, end: End, at_ms: int) -> None:
        """The copy in the database serves other machines, the mark saves work; their fate is not that of the act."""
        name = Binary(end.hashed[:16])
        document = {"at": at_ms, "b": Binary(seal(self._key, value, name))}
        copies = self._connection.database[COLLECTION]
        try:
            await repeated(lambda: copies.update_one({"_id": name}, {"$setOnInsert": document}, upsert=True), patience=2.0)
            if self._known:
                await self._mark(end)
        except PyMongoError as error:
            if not is_transient(error):
                raise

    async def _is_known(self) -> bool:
        """False in a database that was put back and not yet served: a command that keeps an act there does not hide those before it.

        StoreError for a file that lacks what the database knows: longer, it would pass for one that does not.
        """
        mark = None
        for _ in range(TURNS):
            before, mark = mark, await self._marked()
            met, last = await asyncio.to_thread(self._file.meets, mark.end)
            if last:
                return True
            self._held |= met
            if mark == before:  # nobody was between his act and its mark
                break
        if not self._held and mark.now:
            raise incomplete()
        return False

    async def seems_known(self) -> bool:
        """Whether the database knows the file to its end, told by its length alone: a command need not read all of it.

        False too where the end was cut short by a crash, until the next act takes its place: what is asked then applies nothing.
        """
        known = (await self._marked()).end
        return known is not None and known.offset == await asyncio.to_thread(self._file.size)

    async def replay(self) -> Replayed:
        """Apply what the database does not know; before the port opens. Doing it again changes nothing.

        StoreError when the file was altered: a store whose protections are not known to hold does not serve.
        """
        known, now = await self._marked()
        found, end, met = await asyncio.to_thread(self._file.read, known)
        if known is not None and not met and (now or end.offset < known.offset):
            raise incomplete()
        if met and not found:
            if not now:
                await self._mark(end, anew=True)
            return Replayed(0, 0, 0)
        acts = [bson.decode(frame.value, codec_options=OPTIONS) for frame in found]
        if known is None:
            own = {frame.end.hashed[:16] for frame in found}
            acts = sorted([*await self._copies(own), *acts], key=lambda act: act["at"])
        written = lost = 0
        for act in acts:
            for name in (contents.CHUNKS, contents.FILES):
                await contents.put_back(self._connection, name, act.get(name, ()))
            told = [row for row in act["rows"] if _is_facts(row)]
            outcomes = [await self._relabel(told)] if told else []
            outcomes += [await self._apply(row, act) for row in act["rows"] if not _is_facts(row)]
            written, lost = written + sum(one.written for one in outcomes), lost + sum(one.lost for one in outcomes)
            if any(one.lost for one in outcomes):
                await self._note_lost({dossier_in(row["_id"]) for row in act["rows"]})
        if written:  # before the mark: whoever comes next finds nothing more to apply
            await restored.undone(self._connection)
        await self._mark(end, anew=not met)
        self._known = True
        return Replayed(len(acts), written, lost)

    async def _note_lost(self, dossiers: set[int]) -> None:
        """Note dossiers that acts tell of and that are not here: whoever brings one again asks what was done in it."""
        found = await self._find([dossier_row(one) for one in dossiers], {"_id": 1})
        meta = self._connection.database["meta"]
        for one in dossiers - {dossier_in(row["_id"]) for row in found}:
            await repeated(lambda one=one: meta.update_one({"_id": f"lost {one}"}, {"$set": {"d": one}}, upsert=True))

    @translated
    async def of_lost(self, dossier: int) -> dict[bytes, dict[str, Any]]:
        """What the journal tells last of each row of a dossier that a restore lost, `erased` where the act was that; nothing of any other.

        The bodies are sealed under a key that is lost too. What the rules judge by is not.
        """
        if not await self._connection.read({"find": "meta", "filter": {"_id": f"lost {dossier}"}, "limit": 1}):
            return {}
        frames, _, _ = await asyncio.to_thread(self._file.read, None)
        own = {frame.end.hashed[:16] for frame in frames}
        acts = [*await self._copies(own), *(bson.decode(frame.value, codec_options=OPTIONS) for frame in frames)]
        last: dict[bytes, dict[str, Any]] = {}
        for act in acts:
            for row in act["rows"]:
                key = bytes(row["_id"])
                if dossier_in(key) == dossier and (key not in last or stamp(last[key]) <= stamp(row)):
                    last[key] = {**row, "erased": act["k"] == "erasure" or (key in last and last[key]["erased"])}
        return last

    async def _copies(self, own: set[bytes]) -> list[dict[str, Any]]:
        """Acts of other machines, from the database: this one's file is new."""
        command = {"find": COLLECTION, "sort": {"_id": 1}, "hint": "_id_", "batchSize": 1000}
        documents = await self._connection.read(command)
        others = [document for document in documents if document["_id"] not in own]
        return [bson.decode(unseal(self._key, other["b"], other["_id"]), codec_options=OPTIONS) for other in others]

    async def _marked(self) -> "Mark":
        """Up to where the database knows this file, as it says."""
        return await marked(self._connection, await asyncio.to_thread(self._file.identity))

    async def _mark_id(self) -> str:
        return f"acts {await asyncio.to_thread(self._file.identity)}"

    async def _mark(self, end: End, *, anew: bool = False) -> None:
        """The database knows all acts up to here: each was committed before it was kept. anew: the former mark is no place of this file.

        By its hash it is a place in one file alone: of two that went on apart after a restore, neither passes for the other one.
        """
        if self._era is None:
            self._era = (await restored.last(self._connection)).era
        meta, here = self._connection.database["meta"], {"offset": end.offset, "hash": Binary(end.hashed), "era": self._era}
        further = {"$or": [anew, {"$gt": [end.offset, {"$ifNull": ["$offset", 0]}]}]}
        change = {name: {"$cond": [further, value, f"${name}"]} for name, value in here.items()}
        await meta.update_one({"_id": await self._mark_id()}, [{"$set": change}], upsert=True)

    async def _relabel(self, rows: Sequence[Mapping[str, Any]]) -> "_Outcome":
        """Give facts to the rows that are there, again where others change these meanwhile. What is not there is not made of them."""
        resources, told = self._connection.database["resources"], {bytes(row["_id"]): row for row in rows}
        dossiers = await self._find([dossier_row(one) for one in {dossier_in(key) for key in told}], {"_id": 1})
        there = {dossier_in(one["_id"]) for one in dossiers}
        written: set[bytes] = set()
        for part in _parts(list(told), AT_ONCE):
            while True:
                found = await self._find(part, {"v": 1, "l": 1, "a": 1, "z": {"$type": "$z"}})
                changes = [_given(row, one) for row in found if is_later(one := told[bytes(row["_id"])], row)]
                if not changes:
                    break
                await repeated(lambda changes=changes: resources.bulk_write(changes, ordered=False))
                written |= {bytes(row["_id"]) for row in found if is_later(told[bytes(row["_id"])], row)}
        return _Outcome(len(written), sum(dossier_in(key) not in there for key in told))

    async def _apply(self, row: dict[str, Any], act: Mapping[str, Any]) -> "_Outcome":
        """A row as it was stored, unless the database has this or a later one."""

        async def attempt(session: AsyncClientSession) -> _Outcome:
            return await self._apply_in(session, row, act)

        return await self._connection.transaction(attempt)

    async def _apply_in(self, session: AsyncClientSession, row: dict[str, Any], act: Mapping[str, Any]) -> "_Outcome":
        resources = self._connection.database["resources"]
        key = row["_id"]
        current = await resources.find_one({"_id": key}, session=session)
        if is_dossier_row(key):
            if current is None:
                return LOST
            if act["k"] == "erasure":
                if "k" not in current:
                    return KNOWN
                await resources.update_one(
                    {"_id": key}, {"$unset": {"k": "", "p": ""}, "$set": {"e": act["at"], "q": LEFT}}, session=session
                )
                return WRITTEN
            if stamp(current) >= stamp(row):
                return KNOWN
            kept = {name: current[name] for name in KEPT_OUT if name in current}
            await resources.replace_one({"_id": key}, {**row, **kept}, session=session)
            return WRITTEN
        if current is not None and stamp(current) >= stamp(row):
            return KNOWN
        if await resources.find_one({"_id": Binary(dossier_row(dossier_in(key)))}, {"_id": 1}, session=session) is None:
            return LOST
        if current is not None and current["v"] != row["v"] and (old := superseded_document(current)):
            versions = self._connection.database["versions"]
            await versions.replace_one({"_id": old["_id"]}, old, upsert=True, session=session)
        await resources.replace_one({"_id": key}, row, upsert=True, session=session)
        return WRITTEN


def key_of(vault: Vault) -> AESGCM:
    """The key of the journal."""
    return AESGCM(vault.subkey("protective acts"))


class Mark(NamedTuple):
    """end: None where a database does not know the file. now: it was said since the last restore, so that the file must have that place."""

    end: End | None
    now: bool = False


async def marked(connection: Connection, identity: str) -> Mark:
    """The mark of the file with this name. One that a backup brought tells of a file that may have gone on apart."""
    found = await connection.read({"find": "meta", "filter": {"_id": f"acts {identity}"}, "limit": 1})
    if not found:
        return Mark(None)
    now = found[0].get("era", "") == (await restored.last(connection)).era
    return Mark(End(found[0]["offset"], bytes(found[0].get("hash", b""))), now)


def incomplete() -> StoreError:
    """What the database knows is not in the file: an older copy, or one that went on without it."""
    return StoreError(
        f"the journal of protective acts, {FILE} in the data folder, lacks acts that the database knows: put its newest copy back, "
        "or, where this one goes with a backup, restore that backup"
    )


class _Outcome(NamedTuple):
    """Of rows that were looked at: how many were written, how many are of dossiers that are not there."""

    written: int
    lost: int


WRITTEN, KNOWN, LOST = _Outcome(1, 0), _Outcome(0, 0), _Outcome(0, 1)


def stamp(document: Mapping[str, Any]) -> tuple[int, int]:
    """How new a row is: its instant, and that of the last act that made no new version."""
    return document.get("l", 0), document.get("a", 0)


def _facts_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in FACTS if name in row}


def _is_facts(row: Mapping[str, Any]) -> bool:
    """Whether facts alone are told. Acts that were kept as whole rows hold traces too."""
    return not is_dossier_row(row["_id"]) and row.get("t", row.get("tz", TRACE)) == TRACE


def is_later(told: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether facts are newer than a row, which may be of an earlier version, or of a later one that had them."""
    if not ("y" in told or "z" in told) or "v" not in there:
        return False
    if told["v"] == there["v"]:
        return told.get("a", 0) > there.get("a", 0)
    return max(stamp(told)) > max(stamp(there))


def _given(there: Mapping[str, Any], told: Mapping[str, Any]) -> UpdateOne:
    """A row as it was read gets the facts; one that was changed since does not."""
    field = "y" if there["z"] == "missing" else "z"
    as_read = {"_id": there["_id"], "v": there["v"], "a": there.get("a")}
    return UpdateOne(as_read, {"$set": {field: told["y"] if "y" in told else told["z"], "a": max(stamp(told))}})


def _parts(keys: Sequence[bytes], size: int) -> Iterable[Sequence[bytes]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _without_key(document: dict[str, Any]) -> dict[str, Any]:
    if not is_dossier_row(document["_id"]):
        return document
    return {name: value for name, value in document.items() if name not in KEPT_OUT}
