"""The ledger of imports: what came from which source, written in the transaction that stores it, so that nothing is stored twice.

https://www.mongodb.com/docs/manual/core/transactions/

A line is known by a keyed hash of (source, unique id); it tells nothing readable. It lists the versions of that thing that were stored;
of a thing of several names the first has the rows that it became, and the others name that one.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from bson import ObjectId
from pymongo import DeleteOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, CollectionInvalid, OperationFailure
from pymongo.read_concern import ReadConcern

from fhir_dmp.errors import FhirError
from fhir_dmp.store import acts_waiting, doors, reviews, revising, withdrawing
from fhir_dmp.store.batching import Failed
from fhir_dmp.store.connection import repeated
from fhir_dmp.store.failures import Conflict, translated, unavailable
from fhir_dmp.store.joining import rights_of
from fhir_dmp.store.resources import GROUP_WRITES, Store, nothing_stored
from fhir_dmp.store.reviews import Review
from fhir_dmp.store.rows import OPTIONS, Change
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import COMMON, Vault, dossier_in, dossier_row
from fhir_dmp.store.writing import NOTHING, Prepared, apply, changed, claim

T = TypeVar("T")

LINES = "imports"
NAMESPACE_EXISTS, DUPLICATE_KEY = 48, 11000
APP_NAME = "fhir-dmp"
# Longer than MongoDB keeps the transaction of a process that died: whoever does its work again waits for that.
PATIENCE_SECONDS = 75.0


class Part(NamedTuple):
    """One of the rows that a Bundle became. method: POST, PUT, PATCH or DELETE. key, row: its key and version. status: as then answered."""

    method: str
    type: str
    key: bytes
    row: int
    status: int


class Stored(NamedTuple):
    """One version of a thing of a source, as it was stored.

    version, digest: hashes of the version the source told and of its content. row: version of our row. job: hash of the import that
    brought it. status: 201 or 200, as then answered. parts: of what stays whole and became several rows.
    """

    version: int
    digest: int
    row: int
    job: int
    status: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A thing of a source. key: of the row it became, or will become when no version came yet. type: its resource type.

    stand_in: what references to it become where it is no resource of ours, sealed; b"" for none.
    """

    key: bytes
    type: str
    versions: tuple[Stored, ...] = ()
    stand_in: bytes = b""

    def version(self, version: int) -> Stored | None:
        """What is known of a version; None when it never came."""
        return next((one for one in self.versions if one.version == version), None)


class Promise(NamedTuple):
    """The row that a thing will become of which another one spoke. name: its keyed hash."""

    name: bytes
    key: bytes
    type: str


class Receipt(NamedTuple):
    """What is to be written beside the rows. names: keyed hashes, 16 bytes each, of the thing itself and of its other names.

    joined: where the dossier of `key` was joined to another one, which has the row under the same eight random bytes: that dossier and all
    between the two, with the epoch of the policy of each; they are still joined when it is stored.
    """

    names: tuple[bytes, ...]
    key: bytes
    type: str
    stored: Stored
    promises: tuple[Promise, ...] = ()
    stand_in: bytes = b""
    joined: tuple[tuple[int, int], ...] = ()

    @property
    def every_name(self) -> tuple[bytes, ...]:
        """With those of the promises."""
        return (*self.names, *(promise.name for promise in self.promises))


class Entry(NamedTuple):
    """Changes that are stored together, with their receipt. others: of the things in it. only: no other version of it may have come.

    covered: (dossier, root, bits, instant) of labels that lineages get with it, see Transaction.relabel.
    acted: rows whose lineages it joins, see Transaction.unchanged. awaited: it has a line already, as something else spoke of it.
    reviews: what it leaves for the host's physician. rights: dossier -> epoch of the policy that it was decided by.
    """

    changes: Sequence[Change]
    receipt: Receipt
    others: tuple[Receipt, ...] = ()
    only: bool = False
    covered: tuple[tuple[int, int, int, int], ...] = ()
    acted: Mapping[bytes, int] = NOTHING
    awaited: bool = False
    reviews: tuple[Review, ...] = ()
    rights: Mapping[int, int] = NOTHING

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipt of the whole, then those of its parts."""
        return (self.receipt, *self.others)


class Repeated(Exception):
    """The version was stored before, or meanwhile. line: what is known of it."""

    def __init__(self, line: Line) -> None:
        super().__init__("this version was imported before")
        self.line = line


Outcome = Failed | Repeated | None
# Given the places of the entries that are being stored, the traces to be stored with them.
Traces = Callable[[Sequence[int]], Sequence[Change]]


class Ledger:
    """The ledger of one store."""

    def __init__(self, store: Store) -> None:
        self.store, self._connection = store, store.connection
        self._lines = store.connection.database[LINES]

    async def ready(self) -> None:
        """Make the collection: a transaction should not have to."""
        try:
            await repeated(lambda: self._connection.database.create_collection(LINES, check_exists=False))
        except (CollectionInvalid, OperationFailure) as error:
            if getattr(error, "code", NAMESPACE_EXISTS) != NAMESPACE_EXISTS:
                raise

    async def end_abandoned(self) -> int:
        """End transactions of processes that have died, which would stand in the way until their time is over; how many.

        Their mark: nothing runs in them, and the connection that used them last is gone. Where this may not be asked, they are waited for.
        """
        admin = self._connection.client.get_database("admin", codec_options=OPTIONS, read_concern=ReadConcern("local"))
        try:
            cursor = await admin.aggregate([{"$currentOp": {"allUsers": True, "idleSessions": True, "idleConnections": True}}])
            running = await cursor.to_list()
            alive = {one["connectionId"] for one in running if one.get("connectionId") and one.get("type") != "idleSession"}
            left = [
                one["lsid"]
                for one in running
                if one.get("type") == "idleSession" and one.get("connectionId") not in alive and one.get("appName") == APP_NAME
            ]
            if left:
                await admin.command({"killAllSessionsByPattern": [{"lsid": one} for one in left]})
        except OperationFailure:
            return 0
        return len(left)

    async def known(self, names: Iterable[bytes]) -> dict[bytes, Line]:
        """Lines by name; what never came is left out. Who waits at the same time is answered together."""
        asked = tuple(names)
        found = await self.store.batched("ledger", self._known_together).submit(asked)
        return {name: found[name] for name in asked if name in found}

    @translated
    async def _known_together(self, asked: Sequence[Sequence[bytes]]) -> list[dict[bytes, Line]]:
        lines = await self._known([name for names in asked for name in names], None)
        return [await self._left(lines) if lines else lines] * len(asked)

    async def _left(self, lines: dict[bytes, Line]) -> dict[bytes, Line]:
        """Lines without those of dossiers that were destroyed, which are removed: what comes again is new."""
        rows = {dossier_row(dossier) for line in lines.values() if line.key and (dossier := dossier_in(line.key)) != COMMON}
        if not rows:
            return lines
        command = {"find": "resources", "filter": {"_id": {"$in": sorted(rows)}, "e": {"$exists": True}}, "projection": {"_id": 1}}
        erased = {dossier_in(found["_id"]) for found in await self._connection.read({**command, "batchSize": len(rows) + 1})}
        gone = {name: line.key for name, line in lines.items() if line.key and dossier_in(line.key) in erased}
        if not gone:
            return lines
        # By its row too: another import may have brought it anew meanwhile.
        removed = [DeleteOne({"_id": name, "k": key}) for name, key in gone.items()]
        await repeated(lambda: self._lines.bulk_write(removed, ordered=False))
        return {name: line for name, line in lines.items() if name not in gone}

    @translated
    async def joined(self, dossiers: Iterable[int]) -> list[tuple[str, bytes]]:
        """Type and key of what came for these dossiers while they were joined to another one, in their own terms."""
        command = {"find": LINES, "filter": {"m": {"$in": sorted(dossiers)}}, "projection": {"t": 1, "k": 1}, "hint": "joined"}
        return [(one["t"], bytes(one["k"])) for one in await self._connection.read(command)]

    async def _known(self, names: Iterable[bytes], session: AsyncClientSession | None) -> dict[bytes, Line]:
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        found = await self._found(wanted, session)
        # Asked for by another name than the first, which alone has the parts: a deposit sent again names all of them.
        firsts = {one["n"] for document in found.values() for one in document["e"] if "n" in one and one["n"] not in found}
        every = found | await self._found(sorted(firsts), session) if firsts else found
        return {name: _line(document, every) for name, document in found.items()}

    async def _found(self, names: Sequence[bytes], session: AsyncClientSession | None) -> dict[bytes, dict[str, Any]]:
        command = {"find": LINES, "filter": {"_id": {"$in": names}}, "batchSize": len(names) + 1}
        return {document["_id"]: document for document in await self._connection.read(command, session)}

    @translated
    async def commit(
        self, entries: Sequence[Entry], traces: Traces = lambda places: (), *, election: ObjectId | None = None
    ) -> list[Outcome]:
        """Store entries in one transaction, majority and journaled; each is stored or not, for its own reasons.

        election: as in Store.commit, of all of them. What they hide is in the journal of acts when it returns.
        No two of them share a name or a row. Failed: a Conflict, as in Store.commit, of what was added to a dossier that was closed, or
        whose rights were changed, since it was decided on too. Repeated: somebody else brought it meanwhile.
        """
        prepared = await self.store._prepare([change for entry in entries for change in entry.changes])
        members: list[list[Prepared]] = []
        at = 0
        for entry in entries:
            members.append(prepared[at : at + len(entry.changes)])
            at += len(entry.changes)

        attempts = 0
        ended = {dossier: epoch for entry in entries for one in entry.receipts for dossier, epoch in one.joined}
        # In a sandbox the policy is compiled at each use: none is stored that could be compared.
        rights = {dossier for entry in entries for dossier in (() if self.store.sandbox else entry.rights)}
        acted = {key: at_ms for entry in entries for key, at_ms in entry.acted.items()}
        labelled = {dossier_in(key) for key in acted} | {one[0] for entry in entries for one in entry.covered}
        claims = sorted(rights_of(self.store.vault, dossier) for dossier in {*ended, *labelled})
        # In a sandbox none is closed for good.
        adding = [() if self.store.sandbox else {change.row.dossier for change in entry.changes} - {COMMON} for entry in entries]
        rooms = {dossier for those in adding for dossier in those}

        async def attempt(session: AsyncClientSession, look: bool) -> list[Outcome]:
            nonlocal attempts
            attempts += 1
            turn.begin()
            names = (name for entry in entries for one in entry.receipts for name in one.every_name)
            lines = await self._known(names, session) if look else {}
            outcomes: list[Outcome] = [_repeated(entry.receipt, lines, only=entry.only) for entry in entries]
            await claim(self._connection, session, [*claims, *doors.some(self.store.vault, rooms)], self.store.clock())
            if touched := await changed(self._connection, session, acted):
                for place, entry in enumerate(entries):
                    if outcomes[place] is None and not touched.isdisjoint(entry.acted):
                        outcomes[place] = Failed(Conflict(0, None))
            if asked := {*ended, *rights}:
                now = {number: one and one.epoch for number, one in (await Transaction(self.store, session, turn).policies(asked)).items()}
                for place, entry in enumerate(entries):
                    if outcomes[place] is None and any(now.get(one) != epoch for each in entry.receipts for one, epoch in each.joined):
                        outcomes[place] = Failed(Conflict(0, None, "the dossier it is for was parted from another one meanwhile"))
                    # Nor where it was written in another format: it was compiled, and is stored as rights change.
                    judged = [(epoch, now[one]) for one, epoch in entry.rights.items() if one in rights and now.get(one) is not None]
                    if outcomes[place] is None and any(epoch != stored for epoch, stored in judged):
                        outcomes[place] = Failed(Conflict(0, None, "rights in its dossier were changed meanwhile"))
            fresh = [place for place, outcome in enumerate(outcomes) if outcome is None]
            if attempts > 1 and len(fresh) < len(outcomes):
                turn.forget()  # it may be our own, of an attempt that seemed to fail
            if fresh:
                some = [members[place] for place in fresh]
                done = await apply(self._connection, session, some, turn, look=look, adding=[adding[place] for place in fresh])
                for place, outcome in zip(fresh, done, strict=True):
                    outcomes[place] = outcome
                stored = [place for place in fresh if outcomes[place] is None]
                await self._write([one for place in stored for one in entries[place].receipts], lines, session)
                for dossier, root, add, at_ms in [one for place in stored for one in entries[place].covered]:
                    transaction = Transaction(self.store, session, turn)
                    hidden = await transaction.relabel(dossier, root, add=add, remove=0, at_ms=at_ms)
                    await acts_waiting.add(transaction, "mask", hidden, at_ms)
                for row in [change.row for place in stored for change in entries[place].changes if self._turns(change)]:
                    transaction = Transaction(self.store, session, turn)
                    keys = await withdrawing.follow(transaction, row)
                    await acts_waiting.add(transaction, withdrawing.WITHDRAW, keys, self.store.clock())
                for row in [change.row for place in stored for change in entries[place].changes if revising.revises(change)]:
                    await revising.follow(Transaction(self.store, session, turn), row)
                for review in [one for place in stored for one in entries[place].reviews]:
                    await reviews.add(Transaction(self.store, session, turn), review)
                if stored and (changes := traces(stored)):
                    await apply(self._connection, session, [await self.store._prepare(changes)], turn, look=look)
            self.store.still(election)
            return outcomes

        outcomes: list[Outcome] | None = None
        async with self.store._locks.hold(claims), self.store._lanes.turn(nothing_stored) as turn:
            if not any(entry.awaited or any(change.expected is not None for change in entry.changes) for entry in entries):
                # Most of what comes is new: it is stored without looking first, and looked at only when something was there.
                with contextlib.suppress(_Known):
                    outcomes = await self._connection.transaction(partial(_hopeful, attempt), patience=PATIENCE_SECONDS)
            if outcomes is None:
                outcomes = await self._connection.transaction(partial(attempt, look=True), patience=PATIENCE_SECONDS)
        hiding = {one[0] for entry in entries for one in entry.covered}
        hiding |= {change.row.dossier for entry in entries for change in entry.changes if self._turns(change)}
        if hiding:
            await acts_waiting.keep(self.store, hiding)
        return outcomes

    def _turns(self, change: Change) -> bool:
        """Whether a withdrawal, or its end, is an act to be kept: in a sandbox who meets no rule withdraws nothing from anybody."""
        return not self.store.sandbox and withdrawing.turns(change)

    @translated
    async def link(self, *receipts: Receipt, transaction: Transaction | None = None, decided: bool = False) -> None:
        """Write receipts of what made no row, by themselves or in a transaction; nothing when they were written before.

        INVARIANT: what a source calls somebody leads to nobody else from then on, unless a person decided so.
        """

        async def attempt(session: AsyncClientSession) -> None:
            lines = await self._known((name for receipt in receipts for name in receipt.every_name), session)
            # One person may come under several names with one content: each is a name of his from now on.
            left = []
            for receipt in receipts:
                version = receipt.stored.version
                others = {name for name in receipt.names if name in lines and receipt.key and lines[name].key != receipt.key}
                if others and not decided:
                    if receipt.names[0] in others:
                        raise FhirError("conflict", "another import found at the same moment that somebody else is meant")
                    receipt = receipt._replace(names=tuple(name for name in receipt.names if name not in others))
                new = tuple(name for name in receipt.names if decided or name not in lines or lines[name].version(version) is None)
                if decided:  # anew, it may be: no version that was found, or decided on, before is known any more
                    where = {"_id": {"$in": list(receipt.names)}}
                    await self._lines.update_many(where, {"$set": {"e": []}}, session=session)
                if new:
                    left.append(receipt._replace(names=new))
            if left:
                await self._write(left, lines, session)

        if transaction is not None:
            await attempt(transaction._session)
        else:
            await self._connection.transaction(attempt, patience=PATIENCE_SECONDS)

    @translated
    async def forget(self, names: Collection[bytes], key: bytes) -> None:
        """These names lead to that row no more."""
        if names:
            await repeated(lambda: self._lines.delete_many({"_id": {"$in": list(names)}, "k": key}))

    async def write(self, receipt: Receipt, session: AsyncClientSession, *, only: bool = False) -> None:
        """Write a receipt in a transaction that is under way; Repeated ends it. only: no other version may have come, Repeated too."""
        lines = await self._known(receipt.every_name, session)
        if repetition := _repeated(receipt, lines, only=only):
            raise repetition
        await self._write([receipt], lines, session)

    async def _write(self, receipts: Sequence[Receipt], lines: dict[bytes, Line], session: AsyncClientSession) -> None:
        new: dict[bytes, dict[str, Any]] = {}
        updates = []
        for receipt in receipts:
            first = receipt.names[0] if receipt.names else b""
            kept = {"k": receipt.key, "t": receipt.type, **({"x": receipt.stand_in} if receipt.stand_in else {})}
            kept |= {"m": dossier_in(receipt.key)} if receipt.joined else {}
            for name in receipt.names:
                said = _told(receipt.stored, b"" if name == first else first)
                if name in lines:
                    updates.append({"q": {"_id": name}, "u": {"$push": {"e": said}, "$set": kept}})
                elif name in new:
                    new[name] |= {**kept, "e": [*new[name]["e"], said]}
                else:
                    new[name] = {"_id": name, **kept, "e": [said]}
        for promise in (promise for receipt in receipts for promise in receipt.promises):
            if promise.name not in lines and promise.name not in new:
                new[promise.name] = {"_id": promise.name, "k": promise.key, "t": promise.type, "e": []}
        if new:
            await self._lines.insert_many(list(new.values()), session=session)
        if updates:
            await self._connection.database.command({"update": LINES, "updates": updates, "ordered": True}, session=session)


class _Known(Exception):
    """Something of it is stored already; the transaction was ended, and nothing of it is kept."""


async def _hopeful(attempt: Callable[..., Awaitable[T]], session: AsyncClientSession) -> T:
    try:
        return await attempt(session, look=False)
    except BulkWriteError as error:
        if any(one["code"] == DUPLICATE_KEY for one in error.details["writeErrors"]):
            raise _Known from error
        raise


def _told(stored: Stored, first: bytes) -> dict[str, Any]:
    """A version in a line. first: the name whose line has the parts, b"" for this one: n names of n parts each would be n² of them."""
    said: dict[str, Any] = {"w": stored.version, "h": stored.digest, "v": stored.row, "j": stored.job, "s": stored.status}
    if stored.parts and first:
        said["n"] = first
    elif stored.parts:
        said["c"] = [[part.method, part.type, part.key, part.row, part.status] for part in stored.parts]
    return said


def _line(document: dict[str, Any], every: Mapping[bytes, dict[str, Any]]) -> Line:
    """every: documents by name, those of first names with them."""
    versions = (Stored(one["w"], one["h"], one["v"], one["j"], one["s"], _parts(one, every)) for one in document["e"])
    return Line(bytes(document["k"]), document["t"], tuple(versions), bytes(document.get("x", b"")))


def _parts(one: dict[str, Any], every: Mapping[bytes, dict[str, Any]]) -> tuple[Part, ...]:
    if "n" in one:  # the first name is not there any more when its dossier was destroyed
        one = next((each for each in every.get(one["n"], {}).get("e", ()) if each["w"] == one["w"]), {})
    return tuple(Part(*part) for part in one.get("c", ()))


def _repeated(receipt: Receipt, lines: dict[bytes, Line], *, only: bool = False) -> Repeated | None:
    known = [lines[name] for name in receipt.names if name in lines]
    found = next((line for line in known if line.version(receipt.stored.version)), None)
    if found is None and only:
        found = next(iter(known), None)
    return None if found is None else Repeated(found)


async def _deposited(store: Store, items: Sequence[tuple[ObjectId | None, Entry]]) -> list[Failed | None]:
    """Entries of several requests that wait together, stored together; of what shares a name or a row one after the other.

    items: with the election that each knew before it was decided on.
    """
    now = await store.elected()
    done: list[Failed | None] = [None if election in (None, now) else Failed(unavailable()) for election, _ in items]
    left = [place for place, outcome in enumerate(done) if outcome is None]
    while left:
        taken: set[bytes] = set()
        together, later = [], []
        for place in left:
            entry = items[place][1]
            names = {*entry.receipt.names, *[change.row.key for change in entry.changes]}
            (later if names & taken else together).append(place)
            taken |= names
        for place, outcome in zip(together, await _stored(store, [items[place][1] for place in together], now), strict=True):
            done[place] = outcome
        left = later
    return done


async def _stored(store: Store, entries: Sequence[Entry], election: ObjectId | None) -> list[Failed | None]:
    """One transaction. When it fails as a whole, its halves are tried, down to the entry that is to blame."""
    try:
        outcomes = await Ledger(store).commit(entries, election=election)
    except Exception as error:
        middle = len(entries) // 2
        if not middle or getattr(error, "kind", "") == "transient":
            return [Failed(error)] * len(entries)
        return [*await _stored(store, entries[:middle], election), *await _stored(store, entries[middle:], election)]
    return [Failed(outcome) if isinstance(outcome, Repeated) else outcome for outcome in outcomes]


@dataclass(slots=True)
class Recording:
    """A store that writes a receipt in each transaction of the one request it is lent to, and traces with it.

    Everything else is that of the store. Repeated: what was asked had been done. only: as in Ledger.write. traces: None where the changes
    hold them.
    """

    store: Store
    ledger: Ledger
    receipt: Receipt
    only: bool = False
    traces: Callable[[Sequence[Change]], Sequence[Change]] | None = None
    # Asked for at every step.
    vault: Vault = field(init=False)

    def __post_init__(self) -> None:
        self.vault = self.store.vault

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def create(self, row) -> None:
        """As Store.create."""
        await self.commit([Change(row, None)])

    async def commit(
        self,
        changes: Sequence[Change],
        *,
        claims: Iterable[bytes] = (),
        acted: Mapping[bytes, int] = NOTHING,
        election: ObjectId | None = None,
        adding: Collection[int] = (),
    ) -> None:
        """As Store.commit."""
        if not claims and self.traces is None and len(changes) <= GROUP_WRITES:
            entry = Entry(changes, self._receipt(changes), only=self.only)
            size = sum(2 * len(change.row.body or b"") for change in changes)
            await self.store.batched("deposit", partial(_deposited, self.store)).submit((election, entry), size)
            return

        async def work(transaction: Transaction) -> None:
            await transaction.enter(adding)
            await transaction.unchanged(acted)
            await transaction.write(changes)
            self.store.still(election)

        await self.transact(work, claims=claims)

    @translated
    async def transact(self, work: Callable[[Transaction], Awaitable[T]], *, claims: Iterable[bytes] = ()) -> T:
        """As Store.transact."""
        claims = sorted(set(claims))

        attempts = 0

        async def attempt(session: AsyncClientSession) -> T:
            nonlocal attempts
            attempts += 1
            turn.begin()
            await claim(self.store.connection, session, claims, self.store.clock())
            transaction = _Watched(self.store, session, turn)
            result = await work(transaction)
            if transaction.written:
                try:
                    await self.ledger.write(self._receipt(transaction.written), session, only=self.only)
                except Repeated:
                    if attempts > 1:
                        turn.forget()  # it may be our own, of an attempt that seemed to fail
                    raise
                if self.traces is not None and (changes := self.traces(transaction.written)):
                    await Transaction.write(transaction, changes)
            return result

        async with self._turn(claims) as turn:
            return await self.store.connection.transaction(attempt, patience=PATIENCE_SECONDS)

    def _receipt(self, changes: Sequence[Change]) -> Receipt:
        parts = tuple(_part(change) for change in changes if not change.row.journal)
        return self.receipt._replace(key=parts[0].key, stored=self.receipt.stored._replace(row=parts[0].row, parts=parts))

    @asynccontextmanager
    async def _turn(self, claims: Sequence[bytes]) -> AsyncIterator[Any]:
        async with self.store._locks.hold(claims), self.store._lanes.turn(nothing_stored) as turn:
            yield turn


class _Watched(Transaction):
    """Remembers what is written through it."""

    def __init__(self, store: Store, session: AsyncClientSession, turn: Any) -> None:
        super().__init__(store, session, turn)
        self.written: list[Change] = []

    async def write(self, changes: Sequence[Change]) -> None:
        """As Transaction.write."""
        await super().write(changes)
        self.written += changes


def _part(change: Change) -> Part:
    row = change.row
    return Part(row.method, row.type, row.key, row.version, 204 if row.deleted else 201 if change.expected is None else 200)
