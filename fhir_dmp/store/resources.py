"""The store: versions of resources as sealed rows in MongoDB. Bytes in, bytes out; no FHIR logic.

https://hl7.org/fhir/R4/http.html#versions
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bson import Binary, ObjectId
from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, PyMongoError, WriteConcernError

from fhir_dmp.errors import FhirError
from fhir_dmp.store import doors, records
from fhir_dmp.store.acts import Acts
from fhir_dmp.store.batching import Batcher, Failed
from fhir_dmp.store.connection import Connection, Moment, repeated
from fhir_dmp.store.contents import Contents
from fhir_dmp.store.failures import AlreadyExists, Broken, Conflict, is_transient, translated, unavailable
from fhir_dmp.store.format import FORMAT as CURRENT_FORMAT
from fhir_dmp.store.format import MIGRATIONS, Migration, Progress, Record, open_record
from fhir_dmp.store.journal import Journal
from fhir_dmp.store.lanes import Lanes, entries
from fhir_dmp.store.merging import Log
from fhir_dmp.store.reading import InDossier, Opener, Reader, filter_of
from fhir_dmp.store.rows import INLINE_BODY_BYTES, Change, Content, NewRow, Unopened, current_document, deletion_document, encode
from fhir_dmp.store.together import Large, Wanted, probe_together, read_together
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import COMMON, Vault, dossier_row
from fhir_dmp.store.writing import NOTHING, Member, Prepared, apply, changed, claim

T = TypeVar("T")

# A commit above this goes in a transaction of its own: it would only delay others.
GROUP_WRITES = 100
GROUP_BYTES = 2 * 1024 * 1024


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Store(Reader):
    """One open store; one per process and event loop.

    journal: traces that stand alone. log: the Merkle log of all traces. acts: protective acts, kept outside of the database.
    """

    acts: Acts

    def __init__(
        self,
        connection: Connection,
        vault: Vault,
        record: Record,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        observe: Callable[[str, int], None],
    ) -> None:
        super().__init__(connection, vault, Contents(connection, self.dossier_key, clock))
        self.record, self.sandbox, self.clock, self.random = record, record.sandbox, clock, random

        def batcher(kind: str, run: Callable, in_flight: int, max_items: int, max_bytes: int = 16 * 1024 * 1024) -> Batcher:
            return Batcher(run, in_flight=in_flight, max_items=max_items, max_bytes=max_bytes, observe=partial(observe, kind))

        self._loads = batcher("read", partial(self._load_batch, "resources"), 1, 400)
        self._old_loads = batcher("vread", partial(self._load_batch, "versions"), 1, 400)
        self._large = large = Large()
        self._searches = batcher("search", partial(read_together, connection, large), 2, 32)
        self._probes = batcher("probe", partial(probe_together, connection), 2, 100)
        self._creates = batcher("create", self._insert_batch, 2, 1000, 32 * 1024 * 1024)
        self._commits = batcher("commit", self._commit_batch, 2, 200)
        self._batcher, self._others = batcher, dict[str, Batcher]()
        self._lanes = Lanes(connection, os.urandom, clock)
        self.journal = Journal(connection, vault, self._lanes, self._documents, os.urandom, partial(observe, "trace"))
        self.log = Log(connection, vault, self._documents)
        self._locks = Locks()

    @classmethod
    async def open(
        cls,
        uri: str,
        database: str = "fhir_dmp",
        *,
        data_dir: Path | str,
        sandbox: bool | None = False,
        clock: Callable[[], int] = wall_clock_ms,
        random: Callable[[int], bytes] = os.urandom,
        progress: Progress | None = None,
        observe: Callable[[str, int], None] = lambda kind, size: None,
        migrations: Mapping[int, Migration] = MIGRATIONS,
        current_format: int = CURRENT_FORMAT,
    ) -> "Store":
        """Open the store in `database`, creating it when there is none; its keys are in `data_dir`/keys.

        sandbox: None takes an existing store as it is. clock: UTC milliseconds. random: bytes for ids and versions.
        progress: called with (what, done, total) while an older format is migrated.
        observe: told the kind (read, vread, create, commit, deposit, ...) and the number of calls of each batch.
        StoreError tells the operator why it cannot be opened.
        """
        connection = Connection(uri, database)
        try:
            await connection.check_server()
            vault, record = await open_record(
                connection,
                Path(data_dir),
                sandbox=sandbox,
                now_ms=clock,
                progress=progress,
                migrations=migrations,
                current=current_format,
            )
        except BaseException:
            await connection.close()
            raise
        records.bind(connection)
        store = cls(connection, vault, record, clock, random, observe)
        store.acts = Acts(connection, vault, Path(data_dir))
        return store

    async def close(self) -> None:
        """Finish what waits, then disconnect."""
        own = (self._loads, self._old_loads, self._searches, self._probes, self._creates, self._commits)
        for batcher in (*own, *self._others.values()):
            await batcher.close()
        await self.journal.close()
        await self._connection.close()

    async def ping(self) -> bool:
        """True when the database answers and accepts writes."""
        try:
            async with asyncio.timeout(3):
                hello = await self._connection.client.admin.command("hello")
        except (PyMongoError, TimeoutError):
            return False
        return bool(hello.get("isWritablePrimary"))

    def batched(self, kind: str, run: Callable) -> Batcher:
        """Where calls of a kind that another file of this room carries out wait together. run: as in Batcher."""
        if kind not in self._others:
            self._others[kind] = self._batcher(kind, run, 2, 200)
        return self._others[kind]

    @property
    def connection(self) -> Connection:
        """The database, for the other files of this room."""
        return self._connection

    @property
    def election(self) -> ObjectId | None:
        """The same as `elected`, where it is known already; else None."""
        return None if self._connection.routed else self._connection.election

    @translated
    async def elected(self) -> ObjectId | None:
        """Which election made the primary that is read from now on; None where elections are not told of.

        Whoever decides by what he reads says afterwards which election he knew before: when the majority acknowledges a write under the
        same one, no newer primary had acknowledged anything that he did not see.
        """
        return await self._connection.elected()

    def still(self, election: ObjectId | None) -> None:
        """503 when another primary was elected since. election: from `elected`; None: not asked."""
        if election is not None and self._connection.election != election:
            raise unavailable()

    # Writing

    @translated
    async def create(self, row: NewRow) -> None:
        """Store the first version of a resource, together with others that are created at the same time. Durable when it returns.

        AlreadyExists when there is a row with this key.
        """
        if row.deleted:
            raise ValueError("a deletion replaces a version")
        (prepared,) = await self._prepare((Change(row, None),))
        await self._creates.submit(prepared.document, prepared.size)

    @translated
    async def commit(
        self,
        changes: Sequence[Change],
        *,
        claims: Iterable[bytes] = (),
        acted: Mapping[bytes, int] = NOTHING,
        election: ObjectId | None = None,
        adding: Collection[int] = (),
    ) -> None:
        """Store versions all or none, in one transaction, majority and journaled. Durable when it returns.

        claims: names of what was decided on (e.g. of a conditional create); commits with a claim in common go one after the other.
        acted: see Transaction.unchanged; with a claim that those share who act on such rows.
        election: known before it was decided to write (see `elected`); 503 when another primary was elected since.
        adding: dossiers that it was decided to add to; Conflict when one was closed since, see doors.py.
        Conflict (or AlreadyExists) names the first change whose expectation does not hold; nothing is then stored.
        """
        if not changes:
            return
        claims = sorted(set(claims))
        member = await self._prepare(changes)
        size = sum(prepared.size for prepared in member)
        if not claims and len(member) <= GROUP_WRITES and size <= GROUP_BYTES:
            await self._commits.submit((election, member, adding), size)
            return

        async def attempt(session: AsyncClientSession) -> Failed | None:
            turn.begin()
            await claim(self._connection, session, [*claims, *doors.some(self.vault, adding)], self.clock())
            if await changed(self._connection, session, acted):
                return Failed(Conflict(0, None))
            (outcome,) = await apply(self._connection, session, [member], turn, adding=[adding])
            self.still(election)
            return outcome

        async with self._locks.hold(claims), self._lanes.turn(nothing_stored) as turn:
            outcome = await self._connection.transaction(attempt)
        if outcome is not None:
            raise outcome.error

    @translated
    async def transact(self, work: Callable[["Transaction"], Awaitable[T]], *, claims: Iterable[bytes] = ()) -> T:
        """Run `work` on a snapshot and store what it writes, all or none; again from its start when it lost against another one.

        work reads with the methods of Reader, which see what it wrote before. An error it raises ends the transaction and reaches the
        caller, nothing being stored. claims: as in commit.
        """
        claims = sorted(set(claims))

        async def attempt(session: AsyncClientSession) -> T:
            turn.begin()
            await claim(self._connection, session, claims, self.clock())
            return await work(Transaction(self, session, turn))

        async with self._locks.hold(claims), self._lanes.turn(nothing_stored) as turn:
            return await self._connection.transaction(attempt)

    async def _prepare(self, changes: Sequence[Change]) -> list[Prepared]:
        """Seal and encode, before anything joins a batch: what cannot be stored fails here, alone."""
        keys = await self._writing_keys({change.row.dossier for change in changes})
        prepared = []
        for change in changes:
            row, key = change.row, keys[change.row.dossier]
            large = await self._large_body(row) if row.body is not None and not row.journal and len(row.body) > INLINE_BODY_BYTES else None
            if row.journal:
                (joining,) = entries((row,), keys, os.urandom)
                prepared.append(Prepared(change, None, None, joining))
                continue
            deletion = encode(deletion_document(row, key)) if row.deleted else None
            prepared.append(Prepared(change, encode(current_document(row, key, large)), deletion))
        return prepared

    async def _large_body(self, row: NewRow) -> Content:
        async def body() -> AsyncIterator[bytes]:
            yield row.body

        return await self.contents.write(body(), row.dossier)

    # Dossiers

    def new_dossier(self) -> int:
        """Number of a new dossier; its key is made by the first write into it."""
        return self.vault.new_dossier(self.random)

    async def dossier_key(self, dossier: int) -> AESGCM:
        """The key of a dossier, read now and made when there is none yet. Gone (410) when it was."""
        return (await self._writing_keys({dossier}))[dossier]

    @translated
    async def destroy_dossier(self, dossier: int) -> None:
        """Destroy the key of a dossier: from now on nothing in it can be read, in whatever copy. Then remove its rows and contents."""
        if dossier == COMMON:
            raise ValueError("the common key is not destroyed")
        await self.destroy_key(dossier)
        await self.remove_dossier(dossier)

    @translated
    async def remove_dossier(self, dossier: int) -> None:
        """The second half of destroy_dossier: rows, versions, contents and credentials of an erased dossier, and what waits for it. Again
        does no harm.
        """
        # Traces only once the log has them, else it would show a hole.
        others = {"d": dossier, "j": {"$exists": False}}
        for collection in ("resources", "versions"):
            await repeated(lambda name=collection: self._connection.database[name].delete_many(others, hint="dossier"))
        await self.log.release(dossier)
        await self.contents.remove_dossier(dossier)
        credentials = self._connection.database["host.credentials"]
        await repeated(lambda: credentials.delete_many({"dossier": dossier}, hint="dossier"))
        for collection in ("host.outbox", "host.reviews", "quarantine"):
            await repeated(lambda name=collection: self._connection.database[name].delete_many({"d": dossier}, hint="dossier"))

    @translated
    async def destroy_key(self, dossier: int) -> None:
        """The first half of destroy_dossier: the row of the dossier stays, without its key, so that none is made again."""
        rows = self._connection.database["resources"]
        where = {"_id": Binary(dossier_row(dossier))}
        before = await repeated(lambda: rows.find_one_and_update(where, {"$unset": {"k": ""}, "$set": {"e": self.clock()}}, upsert=True))
        if before and "k" in before:
            self.vault.forget(before["k"])

    @translated
    async def sweep_contents(self, age_ms: int = 24 * 3600 * 1000) -> int:
        """Remove sealed contents older than `age_ms` to which no version refers; how many."""
        return await self.contents.sweep(age_ms, self._referred)

    async def _referred(self, contents: list[bytes]) -> set[bytes]:
        """Which of these contents some version, current or superseded, refers to."""
        found: set[bytes] = set()
        # Superseded ones last: a version that is replaced in between is met twice, not never.
        for collection in ("resources", "versions"):
            command = {"find": collection, "filter": {"f.i": {"$in": contents}}, "projection": {"f": 1}, "hint": "contents"}
            documents = await self._connection.read(command)
            found |= {item["i"] for document in documents for item in document["f"]}
        return found

    async def _writing_keys(self, dossiers: set[int]) -> dict[int, AESGCM]:
        rows = {dossier_row(dossier): dossier for dossier in dossiers}
        keys: dict[int, AESGCM] = {}
        for _ in range(20):
            found = await self._documents(tuple(rows))
            for row, document in found.items():
                dossier = rows.pop(row)
                keys[dossier] = self.vault.dossier_key(dossier, document.get("k"))
            if not rows:
                return keys
            await asyncio.gather(*(self._make_dossier_row(row, dossier) for row, dossier in rows.items()))
        raise Broken("the key of a dossier cannot be made")

    async def _make_dossier_row(self, row: bytes, dossier: int) -> None:
        """Make a key; when somebody else did at the same moment, theirs is the one that is read afterwards."""
        document = encode({"_id": Binary(row), "k": Binary(self.vault.new_dossier_key(dossier))})
        try:
            await self._creates.submit(document, len(document.raw))
        except AlreadyExists:
            return

    # Batches

    @translated
    async def of_dossier(
        self,
        where: Mapping[str, Any] | None,
        *,
        types: Sequence[str] | None,
        dossier: int,
        outside: tuple[int, ...],
        limit: int,
        moment: Moment | None = None,
        opener: Opener | None = None,
    ) -> InDossier:
        """As in Reader; searches that wait at the same time are read together, except at a moment that has been."""
        if moment is not None and not moment.time:
            whole = dossier not in self._large
            key = self._loads.put((dossier_row(dossier),)) if whole and opener is None else None
            try:
                found = await self._searches.submit(Wanted(dossier, filter_of(where, types, (dossier,)), outside, whole))
                if key is not None and found.whole and found.documents:
                    opener = self._opener(dossier, (await key).get(dossier_row(dossier)))
            finally:
                if key is not None:
                    key.cancel()
            if found.documents is not None and len(found.documents) <= limit:
                moment.time = found.time
                return InDossier([Unopened(document) for document in found.documents], found.outside, opener if found.whole else None)
        return await super().of_dossier(where, types=types, dossier=dossier, outside=outside, limit=limit, moment=moment)

    @translated
    async def outside(self, tokens: tuple[int, ...], moment: Moment) -> bool:
        """As in Reader; looked up, except at a moment that has been."""
        if not tokens or moment.time:
            return bool(tokens)
        found, moment.time = await self._probes.submit(tokens)
        return found

    async def _documents(self, keys: tuple[bytes, ...]) -> dict[bytes, dict]:
        return await self._loads.submit(keys) if keys else {}

    async def _old_documents(self, keys: tuple[bytes, ...]) -> dict[bytes, dict]:
        return await self._old_loads.submit(keys) if keys else {}

    def _learned(self, dossier: int, key: AESGCM) -> None:
        self.journal.learned(dossier, key)

    async def _load_batch(self, collection: str, items: list[tuple[bytes, ...]]) -> list[dict[bytes, dict]]:
        found = await self._by_id(collection, (key for item in items for key in item))
        return [{key: found[key] for key in item if key in found} for item in items]

    async def _insert_batch(self, documents: list[RawBSONDocument]) -> list[Failed | None]:
        """Unordered insert; a duplicate fails alone. What was already stored by an attempt whose answer was lost counts as done."""
        try:
            duplicates = await repeated(lambda: self._insert(documents))
        except PyMongoError as error:
            if is_transient(error):
                raise unavailable() from error
            raise
        outcomes: list[Failed | None] = [None] * len(documents)
        if duplicates:
            keys = [bytes(documents[index]["_id"]) for index in duplicates]
            found = await self._by_id("resources", keys)
            for index, key in zip(duplicates, keys, strict=True):
                stored = found.get(key, {})
                if stored.get("v") is None or stored["v"] != documents[index]["v"]:
                    outcomes[index] = Failed(AlreadyExists(0, stored.get("v")))
        return outcomes

    async def _insert(self, documents: list[RawBSONDocument]) -> list[int]:
        """Places of the duplicates; everything else is stored."""
        try:
            await self._connection.database["resources"].insert_many(documents, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            if details.get("writeConcernErrors"):
                # It concerns all of them, and their fate is open: the same keys are sent again.
                raise WriteConcernError("not yet durable", 64, {"errorLabels": ["RetryableWriteError"]}) from error
            others = [item for item in details["writeErrors"] if item["code"] != 11000]
            if others:
                raise FhirError("exception", "the database refused a row") from error
            return [item["index"] for item in details["writeErrors"]]
        return []

    async def _commit_batch(self, items: list[tuple[ObjectId | None, Member, Collection[int]]]) -> list[Failed | None]:
        """Of each member whether it was stored. items: with the election that each knew before it was decided on, and what it adds to."""
        if all(election is None for election, _, _ in items):
            return await self._commit_members([(member, adding) for _, member, adding in items], None)
        now = await self._connection.elected()
        fresh = [(member, adding) for election, member, adding in items if election in (None, now)]
        done = iter(await self._commit_members(fresh, now) if fresh else ())
        return [next(done) if election in (None, now) else Failed(unavailable()) for election, _, _ in items]

    async def _commit_members(self, items: list[tuple[Member, Collection[int]]], election: ObjectId | None) -> list[Failed | None]:
        """A group transaction. When it fails as a whole, its halves are tried, down to the member that is to blame."""
        members, adding = [member for member, _ in items], [those for _, those in items]
        rooms = {dossier for those in adding for dossier in those}

        async def attempt(session: AsyncClientSession) -> list[Failed | None]:
            turn.begin()
            await claim(self._connection, session, doors.some(self.vault, rooms), self.clock())
            outcomes = await apply(self._connection, session, members, turn, adding=adding)
            # What the primary of this election commits was decided under it; another one cannot commit it.
            self.still(election)
            return outcomes

        try:
            async with self._lanes.turn(nothing_stored) as turn:
                return await self._connection.transaction(attempt)
        except (PyMongoError, RuntimeError) as error:
            if len(items) > 1:
                middle = len(items) // 2
                return [*await self._commit_members(items[:middle], election), *await self._commit_members(items[middle:], election)]
            return [Failed(error)]


def nothing_stored(error: BaseException) -> bool:
    """Whether an error that left a transaction tells that it was aborted, and not that its fate is unknown."""
    return isinstance(error, Exception) and not isinstance(error, PyMongoError) and getattr(error, "kind", "") != "transient"


class Locks:
    """One lock per name for as long as somebody wants it: rivals within a process queue here instead of failing in the database."""

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, names: Sequence[bytes]) -> AsyncIterator[None]:
        """names: sorted, so that no two holders wait for each other."""
        taken: list[asyncio.Lock] = []
        for name in names:
            self._held.setdefault(name, (asyncio.Lock(), []))[1].append(None)
        try:
            for name in names:
                lock = self._held[name][0]
                await lock.acquire()
                taken.append(lock)
            yield
        finally:
            for lock in taken:
                lock.release()
            for name in names:
                wanting = self._held[name][1]
                wanting.pop()
                if not wanting:
                    del self._held[name]
