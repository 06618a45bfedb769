"""Writing rows: what one group transaction does, member by member.

https://www.mongodb.com/docs/manual/core/transactions-in-applications/
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from bson import Binary
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_dmp.store.batching import Failed
from fhir_dmp.store.connection import Connection
from fhir_dmp.store.doors import SHUT
from fhir_dmp.store.failures import AlreadyExists, Conflict
from fhir_dmp.store.lanes import Entry, Turn
from fhir_dmp.store.reading import INDEX_FIELDS
from fhir_dmp.store.rows import Change, encode, superseded_document
from fhir_dmp.store.vault import dossier_in, dossier_row

NOTHING: Mapping[bytes, int] = MappingProxyType({})
COMMAND_BYTES = 8 * 1024 * 1024
LOOKED_AT = {**INDEX_FIELDS, "p": 0}
CLOSED = "the dossier was closed meanwhile"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change, sealed and encoded. deletion: the document in `versions` when it is one. entry: of a trace, instead of its document."""

    change: Change
    document: RawBSONDocument | None
    deletion: RawBSONDocument | None
    entry: Entry | None = None

    @property
    def size(self) -> int:
        if self.entry is not None:
            return len(self.entry.data)
        return len(self.document.raw) * (2 if self.deletion else 1)


Member = Sequence[Prepared]


async def claim(connection: Connection, session: AsyncClientSession, claims: Iterable[bytes], now_ms: int) -> None:
    """Write the claims: of two transactions with a claim in common one waits for the other and sees what it did."""
    # Counted too: an update that changes nothing, as of the same millisecond, would hinder nobody.
    change = {"$set": {"at": datetime.fromtimestamp(now_ms / 1000, UTC)}, "$inc": {"n": 1}}
    updates = [{"q": {"_id": Binary(key)}, "u": change, "upsert": True} for key in sorted(set(claims))]
    if updates:
        await connection.database.command({"update": "claims", "updates": updates, "ordered": True}, session=session)


async def changed(connection: Connection, session: AsyncClientSession, acted: Mapping[bytes, int]) -> set[bytes]:
    """Rows that an act without a version touched since they were read. acted: when one did so last, by key; no row, no act."""
    if not acted:
        return set()
    command = {"find": "resources", "filter": {"_id": {"$in": [Binary(key) for key in acted]}}, "projection": {"a": 1}}
    found = await connection.read({**command, "batchSize": len(acted) + 1}, session)
    return {bytes(one["_id"]) for one in found if one.get("a", 0) != acted[bytes(one["_id"])]}


async def apply(
    connection: Connection,
    session: AsyncClientSession,
    members: Sequence[Member],
    turn: Turn,
    *,
    look: bool = True,
    adding: Sequence[Collection[int]] = (),
) -> list[Failed | None]:
    """Do the writes of all members in the session's transaction, except those members whose expectations do not hold.

    turn: numbers the traces among them. A conflict of one member leaves the others alone; anything else raises, and nothing of the
    transaction may then be kept. look: False takes every row for new; when one is not, a duplicate key ends the transaction. adding:
    of each member the dossiers that it adds to, by doors that the transaction claims; those that are closed take nothing.
    """
    keys = list(dict.fromkeys(prepared.change.row.key for member in members for prepared in member))
    rooms = [dossier_row(dossier) for those in adding for dossier in those]
    wanted = [*(keys if look else ()), *rooms]
    find = {"find": "resources", "filter": {"_id": {"$in": wanted}}, "projection": LOOKED_AT, "batchSize": len(wanted) + 1}
    current = {document["_id"]: document for document in await connection.read(find, session)} if wanted else {}
    closed = {dossier_in(row) for row in rooms if SHUT in current.get(row, ())}
    versions: dict[bytes, int | None] = {key: current[key]["v"] if key in current else None for key in keys}
    acted: dict[bytes, int] = {key: document.get("a", 0) for key, document in current.items()}
    outcomes: list[Failed | None] = []
    creates: list[Prepared] = []
    traced = stored_before = False
    superseded: list[RawBSONDocument] = []
    replacements: list[Prepared] = []
    for place, member in enumerate(members):
        if all(versions[prepared.change.row.key] == prepared.change.row.version for prepared in member):
            outcomes.append(None)  # an earlier attempt, whose answer was lost, did it
            stored_before = True
            continue
        barred = bool(closed) and not closed.isdisjoint(adding[place])
        conflict = Conflict(0, None, CLOSED) if barred else judge(member, versions, acted)
        outcomes.append(Failed(conflict) if conflict else None)
        if conflict:
            continue
        for prepared in member:
            key = prepared.change.row.key
            versions[key] = prepared.change.row.version
            if prepared.change.expected is None:
                creates.append(prepared)
                traced = traced or prepared.entry is not None
                continue
            if key not in current or current[key]["v"] != prepared.change.expected:
                raise RuntimeError("a write follows one of the same group")  # its members are then tried one by one
            replacements.append(prepared)
            if old := superseded_document(current[key]):
                superseded.append(encode(old))
            if prepared.deletion is not None:
                superseded.append(prepared.deletion)
    database = connection.database
    if superseded:
        await database["versions"].insert_many(superseded, session=session)
    if traced or stored_before:
        await turn.ready(anew=stored_before)
    if creates:
        documents = [turn.place(p.entry) if p.entry is not None else p.document for p in creates]
        await database["resources"].insert_many(documents, session=session)
    for part in _parts(replacements):
        updates = [
            {"q": {"_id": Binary(p.change.row.key), "v": p.change.expected}, "u": p.document, "multi": False, "upsert": False} for p in part
        ]
        answer = await database.command({"update": "resources", "updates": updates, "ordered": True}, session=session)
        if answer["n"] != len(part):
            raise RuntimeError(f"{len(part)} replacements met {answer['n']} rows of their own snapshot")
    return outcomes


def judge(member: Member, versions: dict[bytes, int | None], acted: Mapping[bytes, int]) -> Conflict | None:
    """The first conflict of a member with the versions that its group has come to, or with an act that made none."""
    seen: set[bytes] = set()
    for index, prepared in enumerate(member):
        row, expected, acted_ms, _ = prepared.change
        found = versions[row.key]
        if row.key in seen:
            return Conflict(index, row.version, "one commit writes the same resource twice")
        seen.add(row.key)
        if expected is None and found is not None:
            return AlreadyExists(index, found)
        if expected is not None and (found != expected or (acted_ms is not None and acted.get(row.key, 0) != acted_ms)):
            return Conflict(index, found)
    return None


def _parts(replacements: Sequence[Prepared]) -> Iterable[list[Prepared]]:
    """In commands that stay well below the 16 MB a command may have."""
    part: list[Prepared] = []
    size = 0
    for prepared in replacements:
        if part and (size + prepared.size > COMMAND_BYTES or len(part) >= 1000):
            yield part
            part, size = [], 0
        part.append(prepared)
        size += prepared.size
    if part:
        yield part
