"""The connection to MongoDB: concerns, commands whose cursors are followed to the end, transactions that retry.

https://www.mongodb.com/docs/manual/core/transactions/
https://jepsen.io/analyses/mongodb-4.2.6
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from bson import ObjectId, Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.server_description import ServerDescription
from pymongo.write_concern import WriteConcern

from fhir_dmp.errors import FhirError
from fhir_dmp.store.failures import StoreError, is_sessionless, is_transient, unavailable
from fhir_dmp.store.rows import OPTIONS

T = TypeVar("T")

# Those of this process.
_OPEN: "WeakSet[Connection]" = WeakSet()
MAJORITY = WriteConcern(w="majority", j=True, wtimeout=20_000)
SNAPSHOT = ReadConcern("snapshot")
READ_MAJORITY = {"level": "majority"}
# Below this a transaction that lost against another one, or a database that is starting again, is waited for.
PATIENCE_SECONDS = 20.0
READ_PATIENCE_SECONDS = 3.0
# SnapshotTooOld, SnapshotUnavailable for a time before the database began
TOO_OLD = (239, 246)


@dataclass(slots=True)
class Moment:
    """A moment of the database at which several reads look. time: as the database counts it; None (or 0) until the first read sets it.

    https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/
    """

    time: int | None = None

    def concern(self) -> dict[str, Any]:
        if not self.time:
            return {"level": "snapshot"}
        return {"level": "snapshot", "atClusterTime": Timestamp(self.time >> 32, self.time & 0xFFFFFFFF)}

    def note(self, cursor: Mapping[str, Any]) -> None:
        if not self.time:
            at = cursor["atClusterTime"]
            self.time = at.time << 32 | at.inc


class Connection:
    """One client, one database. Everything is read by majority and written by majority and to the journal."""

    def __init__(self, uri: str, database: str) -> None:
        patience = {} if "serverselectiontimeoutms" in uri.lower() else {"serverSelectionTimeoutMS": 8_000}
        self.client: AsyncMongoClient = AsyncMongoClient(
            uri,
            **patience,
            w="majority",
            journal=True,
            wTimeoutMS=20_000,
            readConcernLevel="majority",
            readPreference="primary",
            compressors=[],
            appname="fhir-dmp",
            connectTimeoutMS=5_000,
            socketTimeoutMS=70_000,
            uuidRepresentation="standard",
        )
        self.database = self.client.get_database(database, codec_options=OPTIONS)
        _OPEN.add(self)
        # Behind a router nobody tells of elections.
        self.routed = False
        self._described: object = None
        self._primary: ServerDescription | None = None
        self._election: ObjectId | None = None

    async def check_server(self) -> None:
        """Refuse a server on which transactions do not work."""
        try:
            hello = await self.client.admin.command("hello")
        except PyMongoError as error:
            raise StoreError(f"MongoDB does not answer: {error}") from error
        if not hello.get("setName") and hello.get("msg") != "isdbgrid":
            raise StoreError("this MongoDB is a standalone server: transactions need a replica set or a sharded cluster")
        self.routed = hello.get("msg") == "isdbgrid"

    @property
    def primary(self) -> ServerDescription | None:
        """What the driver knows of the server that reads and writes go to; another object as soon as it hears anything of it."""
        if self.client.topology_description is not self._described:
            self._hear()
        return self._primary

    def _hear(self) -> None:
        self._described = self.client.topology_description
        primary = next((one for one in self._described.server_descriptions().values() if one.is_writable), None)
        if primary is not self._primary:
            self._primary, self._election = primary, primary.election_id if primary else None

    @property
    def election(self) -> ObjectId | None:
        """Which election made the primary that reads and writes go to now, as far as this process knows; None while it knows of none.

        https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/
        """
        if self.client.topology_description is not self._described:
            self._hear()
        return self._election

    def acknowledged(self, primary: ServerDescription | None, election: ObjectId | None) -> None:
        """A write was, under this election. primary: as it was known before the write.

        The same server may have been elected again, and say so here before the driver hears of it.
        """
        if election is not None and primary is self.primary:
            self._election = election

    async def elected(self) -> ObjectId | None:
        """The same, waited for; None behind a router."""
        if self.routed or (found := self.election):
            return None if self.routed else found
        hello = await repeated(lambda: self.client.admin.command("hello"), patience=READ_PATIENCE_SECONDS)
        return hello.get("electionId")

    def session(self) -> AsyncClientSession:
        return self.client.start_session(causal_consistency=False)

    async def read(self, command: Mapping[str, Any], session: AsyncClientSession | None = None, moment: Moment | None = None) -> list[dict]:
        """All documents that a find or aggregate command gives: the cursor is followed, whatever their number and size.

        moment: look at that moment; a transaction has its own. 410 when it is too far back: 15 minutes here, five
        where nobody set minSnapshotHistoryWindowInSeconds.
        """
        if session is not None:
            return await self._read(command, session)
        # The driver does not repeat commands by itself when a connection breaks.
        try:
            return await repeated(lambda: self._read_alone(command, moment), patience=READ_PATIENCE_SECONDS)
        except OperationFailure as error:
            if moment and error.code in TOO_OLD:
                raise FhirError("deleted", "this page is no longer kept, please begin the search again") from error
            raise

    async def read_once(self, command: Mapping[str, Any], moment: Moment) -> list[dict] | None:
        """The same of one answer; None when there is more than 16 MB, which is then not read."""

        async def read() -> list[dict] | None:
            async with self.session() as session:
                asked = {**command, "readConcern": moment.concern()}
                cursor = (await self.database.command(asked, session=session, codec_options=OPTIONS))["cursor"]
                if cursor["id"]:
                    await self.database.command({"killCursors": cursor["ns"].partition(".")[2], "cursors": [cursor["id"]]}, session=session)
                    return None
                moment.note(cursor)
                return cursor["firstBatch"]

        return await repeated(read, patience=READ_PATIENCE_SECONDS)

    async def explain(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """executionStats of a command. https://www.mongodb.com/docs/manual/reference/command/explain/"""
        answer = await repeated(
            lambda: self.database.command({"explain": command, "verbosity": "executionStats"}), patience=READ_PATIENCE_SECONDS
        )
        return answer["executionStats"]

    async def _read_alone(self, command: Mapping[str, Any], moment: Moment | None) -> list[dict]:
        async with self.session() as session:
            return await self._read({**command, "readConcern": moment.concern() if moment else READ_MAJORITY}, session, moment)

    async def _read(self, command: Mapping[str, Any], session: AsyncClientSession, moment: Moment | None = None) -> list[dict]:
        answer = await self.database.command(command, session=session, codec_options=OPTIONS)
        cursor = answer["cursor"]
        if moment:
            moment.note(cursor)
        documents = cursor["firstBatch"]
        collection = cursor["ns"].partition(".")[2]
        while cursor["id"]:
            more = {"getMore": cursor["id"], "collection": collection}
            cursor = (await self.database.command(more, session=session, codec_options=OPTIONS))["cursor"]
            documents.extend(cursor["nextBatch"])
        return documents

    async def transaction(self, work: Callable[[AsyncClientSession], Awaitable[T]], *, patience: float = PATIENCE_SECONDS) -> T:
        """Run `work` in a transaction (snapshot, majority, journal), again from the start when it lost against another one.

        work may run several times, so it has no effect outside of its session. The commit is repeated as long as its outcome is unknown:
        the server remembers it by the number of the transaction, also through a restart.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        attempt = 0
        while True:
            try:
                async with self.session() as session:
                    await session.start_transaction(SNAPSHOT, MAJORITY, ReadPreference.PRIMARY, 20_000)
                    try:
                        result = await work(session)
                    except BaseException:
                        await _abort(session)
                        raise
                    await self._commit(session, deadline)
                    return result
            except (PyMongoError, FhirError) as failure:
                # Methods that speak of FHIR have put it into their words already.
                error = failure if isinstance(failure, PyMongoError) else failure.__cause__
                if not isinstance(error, PyMongoError) or not is_transient(error):
                    raise
                await _renewed(error)
                attempt += 1
                pause = random.uniform(0.2, 1) * min(0.005 * 2**attempt, 0.5)
                if loop.time() + pause > deadline:
                    raise unavailable() from error
                await asyncio.sleep(pause)

    @staticmethod
    async def _commit(session: AsyncClientSession, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult") or loop.time() > deadline:
                    raise
                await asyncio.sleep(0.05)

    async def renew(self) -> None:
        """Drop the connections that wait for use; those in use are closed when they come back.

        The driver judges once, when a connection is made, whether it has sessions. One that was made to a member just losing its place has
        none, and is kept: when that member is primary again everything that meets this connection fails, until somebody drops it.
        """
        for server in list(self.client._topology._servers.values()):
            await server.pool.reset_without_pause()

    async def close(self) -> None:
        await self.client.close()


async def _abort(session: AsyncClientSession) -> None:
    """Abort; when even that does not get through, the server does it after its time limit."""
    if session.in_transaction:
        try:
            await session.abort_transaction()
        except PyMongoError:
            return


async def _renewed(error: PyMongoError) -> None:
    if is_sessionless(error):
        for connection in list(_OPEN):
            await connection.renew()


async def repeated(call: Callable[[], Awaitable[T]], *, patience: float = PATIENCE_SECONDS) -> T:
    """Repeat a call that may be repeated without harm, until the database is there again."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    pause = 0.02
    while True:
        try:
            return await call()
        except PyMongoError as error:
            if not is_transient(error) or loop.time() + pause > deadline:
                raise
            await _renewed(error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


def is_duplicate(error: BaseException) -> bool:
    """True for a duplicate key, alone or in a bulk write."""
    if not isinstance(error, OperationFailure):
        return False
    if error.code == 11000:
        return True
    listed = (error.details or {}).get("writeErrors") or ()
    return any(item.get("code") == 11000 for item in listed)
