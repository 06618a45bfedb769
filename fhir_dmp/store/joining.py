"""Rows of one dossier staged in another until one act shows them all, and taken out of it again.

https://www.mongodb.com/docs/manual/core/transactions/

INVARIANT: a staged row has its facts under `z` and none under `y`, so that nobody who obeys the rules meets it.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bson import Binary

from fhir_dmp.store.failures import translated
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import JOINED, PARTED
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import Vault, dossier_in, dossier_row

STAGED = "z"
# On a staged row: number of the dossier that it is of. One that is joined, or parted, shows nothing of another one.
SOURCE = "zs"
AT_ONCE = 1_000
# A trace that was given back is in both: here it has its place in the journal, there it is a copy.
COPIED = {"j": {"$exists": False}}
# What is not copied as it is, or comes all the time.
RIGHTS = ["Consent", "CareTeam", "RelatedPerson"]
UNLIKE = ["Patient", "AuditEvent", *RIGHTS]


def rights_of(vault: Vault, dossier: int) -> bytes:
    """What two acts on the rights of one dossier claim, so that one is decided after the other."""
    return vault.hash64(b"rights\0" + dossier.to_bytes(8, "big", signed=True)).to_bytes(8, "big", signed=True)


@translated
async def reveal(transaction: Transaction, dossier: int, source: int) -> list[bytes]:
    """Show everything of one dossier that is staged in another; keys of the rights among it."""
    rows = transaction._store.connection.database["resources"]
    waiting = {"d": dossier, STAGED: {"$exists": True}, SOURCE: {"$in": [source, None]}}
    command = {"find": "resources", "filter": {**waiting, "t": {"$in": RIGHTS}}, "projection": {"_id": 1}, "hint": "dossier"}
    found = await transaction._store.connection.read(command, transaction._session)
    steps = [{"$set": {"y": f"${STAGED}"}}, {"$unset": [STAGED, SOURCE]}]
    await rows.update_many(waiting, steps, hint="dossier", session=transaction._session)
    return [bytes(one["_id"]) for one in found]


@translated
async def again(transaction: Transaction, dossier: int, source: int) -> list[bytes]:
    """Keys of what is staged of a dossier that was joined to this one before, and parted: of its copies the journal of acts tells what
    became of them then. [] for any other.
    """
    read, session = transaction._store.connection.read, transaction._session
    if source not in await parted_from(transaction, dossier):
        return []
    waiting = {"d": dossier, STAGED: {"$exists": True}, SOURCE: {"$in": [source, None]}}
    command = {"find": "resources", "filter": waiting, "projection": {"_id": 1}, "hint": "dossier"}
    return [bytes(one["_id"]) for one in await read(command, session)]


@translated
async def hide(transaction: Transaction, keys: Iterable[bytes], source: int) -> None:
    """Stage current rows again, but for what stands in the journal. source: the dossier that they are of."""
    rows = transaction._store.connection.database["resources"]
    steps = [{"$set": {STAGED: "$y", SOURCE: source}}, {"$unset": "y"}]
    for part in _parts(keys):
        where = {"_id": {"$in": part}, "y": {"$exists": True}, **COPIED}
        await rows.update_many(where, steps, hint="_id_", session=transaction._session)


@translated
async def staged(store: Store, dossier: int) -> dict[bytes, Any]:
    """Facts of what is staged in a dossier, by key."""
    command = {"find": "resources", "filter": {"d": dossier, STAGED: {"$exists": True}}, "projection": {STAGED: 1}, "hint": "dossier"}
    return {bytes(one["_id"]): one[STAGED] for one in await store.connection.read(command)}


@translated
async def between(reads: Reader, dossier: int) -> bool:
    """Whether anything of another dossier is staged in it: the two are being joined, or parted, or somebody was cut off doing it."""
    where = {"d": dossier, STAGED: {"$exists": True}, SOURCE: {"$exists": True}}
    command = {"find": "resources", "filter": where, "projection": {"_id": 1}, "limit": 1, "hint": "dossier"}
    return bool(await reads._connection.read(command, reads._session))


@translated
async def of_lineages(transaction: Transaction, dossier: int, roots: Sequence[int]) -> list[bytes]:
    """Keys of the current rows of a dossier, staged or not, that belong to these lineages alone, traces left out. roots: y.rt."""
    wanted, found = set(roots), []
    for part in range(0, len(roots), AT_ONCE):
        some = {"$in": list(roots[part : part + AT_ONCE])}
        where = {"d": dossier, "$or": [{"y.rt": some}, {f"{STAGED}.rt": some}], "t": {"$ne": "AuditEvent"}}
        command = {"find": "resources", "filter": where, "projection": {"y.rt": 1, f"{STAGED}.rt": 1}, "hint": "dossier"}
        for document in await transaction._store.connection.read(command, transaction._session):
            facts = document.get("y") or document[STAGED]
            if {one["rt"] for one in (facts if isinstance(facts, list) else [facts])} <= wanted:
                found.append(bytes(document["_id"]))
    return list(dict.fromkeys(found))


@translated
async def forget(transaction: Transaction, dossier: int, lineages: Collection[int], *, at_ms: int) -> list[bytes]:
    """Judge what belongs to several lineages, a List or a trace, by those that stay; keys of those rows. lineages: that left.

    What has nothing but these keeps them: they say who may read what was done.
    """
    rows, read = transaction._store.connection.database["resources"], transaction._store.connection.read
    command = {"find": "resources", "filter": {"d": dossier, "y": {"$type": "array"}}, "projection": {"y": 1}, "hint": "dossier"}
    changed = []
    for document in await read(command, transaction._session):
        left = [one for one in document["y"] if one.get("rt") not in lineages]
        if left and len(left) < len(document["y"]):
            changes = {"$set": {"y": left}, "$max": {"a": at_ms}}
            await rows.update_one({"_id": document["_id"]}, changes, hint="_id_", session=transaction._session)
            changed.append(bytes(document["_id"]))
    return changed


@translated
async def state(transaction: Transaction, keys: Iterable[bytes]) -> dict[bytes, str]:
    """What is current of rows, by key: equal as long as neither a version nor an act came."""
    fields = {"v": 1, "a": 1, "y": 1, STAGED: 1}
    found = {}
    for part in _parts(keys):
        command = {"find": "resources", "filter": {"_id": {"$in": part}}, "projection": fields, "hint": "_id_"}
        for document in await transaction._store.connection.read(command, transaction._session):
            found[bytes(document["_id"])] = repr([document.get(name) for name in fields])
    return found


@translated
async def note_begun(transaction: Transaction, source: int, target: int) -> None:
    """Note in the row of a dossier which one is joined to it, by an act of this host: no Patient that another host sends says that."""
    rows = transaction._store.connection.database["resources"]
    await rows.update_one({"_id": Binary(dossier_row(target))}, {"$addToSet": {JOINED: source}}, session=transaction._session)


@translated
async def begun(reads: Reader, source: int, target: int) -> bool:
    """Whether that was noted, even where they were parted since."""
    where = {"_id": Binary(dossier_row(target)), JOINED: source}
    command = {"find": "resources", "filter": where, "projection": {"_id": 1}, "limit": 1, "hint": "_id_"}
    return bool(await reads._connection.read(command, reads._session))


@translated
async def note_parted(transaction: Transaction, source: int, target: int) -> None:
    """Note in the row of a dossier which one was taken out of it: a restore may bring back copies of that one."""
    rows = transaction._store.connection.database["resources"]
    await rows.update_one({"_id": Binary(dossier_row(target))}, {"$addToSet": {PARTED: source}}, session=transaction._session)


@translated
async def parted_from(reads: Reader, dossier: int) -> list[int]:
    """What was noted so of one dossier: numbers of those that were taken out of it."""
    command = {"find": "resources", "filter": {"_id": Binary(dossier_row(dossier))}, "projection": {PARTED: 1}, "hint": "_id_"}
    return [source for one in await reads._connection.read(command, reads._session) for source in one.get(PARTED, ())]


@translated
async def every_parted(store: Store) -> list[tuple[int, int]]:
    """What was noted so: number of the one that was taken out, and of the other."""
    command = {"find": "resources", "filter": {PARTED: {"$exists": True}}, "projection": {PARTED: 1}, "hint": "parted"}
    found = await store.connection.read(command)
    return [(source, dossier_in(bytes(one["_id"]))) for one in found for source in one[PARTED]]


@translated
async def copies(store: Store, keys: Sequence[bytes]) -> list[bytes]:
    """Those of these rows that do not stand in the journal themselves."""
    found = []
    for part in _parts(keys):
        command = {"find": "resources", "filter": {"_id": {"$in": part}, **COPIED}, "projection": {"_id": 1}, "hint": "_id_"}
        found += [bytes(one["_id"]) for one in await store.connection.read(command)]
    return found


@translated
async def behind(transaction: Transaction, source: int, target: int, *, shown: bool, traces: bool = False) -> tuple[bool, list[bytes]]:
    """Whether a row of one dossier has no copy in another, under the same random bytes; and keys of staged copies of a former version.

    Its Patient, its rights and what has no facts are left out, and its traces unless they are asked for: what is read while it ends is told
    late, and whoever is refused there is told for ever. shown: the copies have versions of their own by now.
    """
    read, session = transaction._store.connection.read, transaction._session
    there = {"find": "resources", "filter": {"d": target}, "projection": {"v": 1, STAGED: 1}, "hint": "dossier"}
    copies = {bytes(one["_id"])[8:]: one for one in await read(there, session)}
    own = {
        "find": "resources",
        "filter": {"d": source, "y": {"$exists": True}, "t": {"$nin": ["Patient", *RIGHTS] if traces else UNLIKE}},
        "projection": {"v": 1},
        "hint": "dossier",
    }
    missing, stale = False, []
    for one in await read(own, session):
        copy = copies.get(bytes(one["_id"])[8:])
        if copy is None:
            missing = True
        elif not shown and copy["v"] != one["v"] and STAGED in copy:
            stale.append(bytes(copy["_id"]))
    return missing, stale


@translated
async def has_copies(reads: Reader, source: int, target: int) -> bool:
    """Whether anything that is shown in one dossier is a copy of what another one has. Traces are left out: some are in both for good."""
    tails: list[set[bytes]] = []
    for dossier in (source, target):
        where = {"d": dossier, "y": {"$exists": True}, "t": {"$nin": UNLIKE}}
        command = {"find": "resources", "filter": where, "projection": {"_id": 1}, "hint": "dossier"}
        tails.append({bytes(one["_id"])[8:] for one in await reads._connection.read(command, reads._session)})
    return not tails[0].isdisjoint(tails[1])


@translated
async def drop(transaction: Transaction, keys: Iterable[bytes]) -> None:
    """Remove rows with all their versions, but for what stands in the journal. Contents that nothing names any more are swept later."""
    database = transaction._store.connection.database
    for part in _parts(keys):
        await database["resources"].delete_many({"_id": {"$in": part}, **COPIED}, hint="_id_", session=transaction._session)
        await database["versions"].delete_many({"k": {"$in": part}}, hint="instance", session=transaction._session)


def _parts(keys: Iterable[bytes]) -> Iterable[list[Any]]:
    listed = [Binary(key) for key in keys]
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]
