"""The one Merkle log in the database: chains merged in order, leaves, subtrees, signed heads.

https://www.rfc-editor.org/rfc/rfc6962#section-3

`journal.leaves` {_id: index, w, q, k: row key, m: commitment, h: leaf hash, t: {height: subtree hash}}; t: subtrees that this leaf
completes; with e instead of k and m it is a hole from q to e. `journal.heads` {_id: size, at, root, text}.
`journal.chains` {_id: chain, n: merged numbers, h: link up to there, open, ended: its writer said so}.
`meta` {_id: "journal", size, frontier, holder, until}: each merge is one transaction that finds `size` as it expects, so two who merge at
once, or one that is killed at any point, do no harm; the lease only keeps them from getting in each other's way.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bson.errors import BSONError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo import DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_dmp.audit.chain import Subtree, append, commitment, completed, cover, fold, hole_data, leaf_hash, root
from fhir_dmp.audit.checkpoint import Head
from fhir_dmp.store.connection import Connection, repeated
from fhir_dmp.store.failures import UNREADABLE, Broken, Gone
from fhir_dmp.store.lanes import CHAINS, Place, place_of, salt_of
from fhir_dmp.store.rows import PARTED, row_of
from fhir_dmp.store.vault import COMMON, Vault, dossier_in, dossier_row

LEAVES, HEADS, STATE = "journal.leaves", "journal.heads", {"_id": "journal"}
BATCH = 1000
# Chains that one command looks at.
LOOKED_AT = 200
# A gap is believed when it is still there after this: an index is not read at one single moment.
RELOOK_SECONDS = 0.2


class State(NamedTuple):
    """What the log has come to."""

    size: int
    frontier: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        return fold(self.frontier)


class Leaf(NamedTuple):
    """One entry of the log. place None: a hole, traces from number to `end` were gone before they were merged."""

    chain: bytes
    number: int
    end: int
    hash: bytes
    place: Place | None = None


class Piece(NamedTuple):
    """A piece of one chain. end: numbers merged afterwards. link: of the chain up to there."""

    leaves: tuple[Leaf, ...]
    end: int
    link: bytes


class Log:
    """The log of one store, for its merger, for proofs and for the verification."""

    def __init__(self, connection: Connection, vault: Vault, load: Callable) -> None:
        """load: dossier rows by key, batched."""
        self._connection, self._vault, self._load = connection, vault, load

    # State and heads

    async def state(self) -> State:
        found = await repeated(lambda: self._connection.database["meta"].find_one(STATE))
        return _state(found)

    async def heads(self, after: int = -1, limit: int = 1000) -> list[dict[str, Any]]:
        """Signed heads by size, larger than `after`."""
        command = {"find": HEADS, "filter": {"_id": {"$gt": after}}, "sort": {"_id": 1}, "limit": limit, "hint": "_id_"}
        return await self._connection.read(command)

    async def latest_head(self) -> dict[str, Any] | None:
        """The largest signed head."""
        command = {"find": HEADS, "filter": {}, "sort": {"_id": DESCENDING}, "limit": 1, "hint": "_id_"}
        found = await self._connection.read(command)
        return found[0] if found else None

    async def keep_head(self, head: Head, text: str) -> None:
        """Store a signed head; the first one of its size stays."""
        document = {"at": head.at_ms, "root": head.root, "text": text}
        heads = self._connection.database[HEADS]
        await repeated(lambda: heads.update_one({"_id": head.size}, {"$setOnInsert": document}, upsert=True))

    # The lease

    async def hold(self, holder: str, now_ms: int, lease_ms: int) -> bool:
        """Take or renew the lease; False when somebody else holds it."""
        meta = self._connection.database["meta"]
        await repeated(lambda: meta.update_one(STATE, {"$setOnInsert": {"size": 0, "frontier": []}}, upsert=True))
        free = {**STATE, "$or": [{"holder": holder}, {"until": {"$lt": now_ms}}, {"until": {"$exists": False}}]}
        taken = await repeated(lambda: meta.update_one(free, {"$set": {"holder": holder, "until": now_ms + lease_ms}}))
        return bool(taken.matched_count)

    async def give_back(self, holder: str) -> None:
        """Let somebody else go on at once."""
        await self._connection.database["meta"].update_one({**STATE, "holder": holder}, {"$unset": {"until": ""}})

    # Merging

    async def chains(self, *, only_open: bool = False) -> list[dict[str, Any]]:
        """Registered chains with how far each is merged."""
        filter = {"open": True} if only_open else {}
        return await self._connection.read({"find": CHAINS, "filter": filter, "hint": "open" if only_open else "_id_", "batchSize": 1000})

    async def growing(self, chains: Sequence[Mapping[str, Any]]) -> set[bytes]:
        """Names of those chains that have traces which the log has not. chains: as `chains` gives them."""
        found: set[bytes] = set()
        for start in range(0, len(chains), LOOKED_AT):
            # With this index named, each chain is one look into it, and no trace is read.
            next_ones = [{"j.w": chain["_id"], "j.q": {"$gte": chain["n"]}} for chain in chains[start : start + LOOKED_AT]]
            command = {"find": "resources", "filter": {"$or": next_ones}, "projection": {"_id": 0, "j.w": 1}, "hint": "journal"}
            rest = {bytes(chain["_id"]) for chain in chains[start : start + LOOKED_AT]}
            while rest:
                here = [one for one in next_ones if bytes(one["j.w"]) in rest]
                told = await self._connection.read({**command, "filter": {"$or": here}, "limit": BATCH, "batchSize": BATCH})
                named = {bytes(one["j"]["w"]) for one in told}
                found |= named
                # One chain may have so much that the others do not get a word in.
                rest = rest - named if len(told) == BATCH else set()
        return found

    async def merge_all(self) -> int:
        """Merge every open chain as far as it goes now; how many entries."""
        return sum([count async for count in self.merging()])

    async def merging(self) -> AsyncIterator[int]:
        """The same piece by piece, so that others may have their turn; the number of entries of each piece.

        Chains take turns, and what comes meanwhile waits for the next time: under load that does not end this ends all the same.
        """
        chains = await self.chains(only_open=True)
        growing = await self.growing(chains)
        for chain in chains:
            if chain.get("ended") and bytes(chain["_id"]) not in growing:
                await self._connection.database[CHAINS].update_one({"_id": chain["_id"], "n": chain["n"]}, {"$set": {"open": False}})
        waiting = [chain for chain in chains if bytes(chain["_id"]) in growing]
        while waiting:
            further = []
            for chain in waiting:
                moved = await self.merge(chain)
                if moved is not None:
                    yield moved["n"] - chain["n"]
                    if moved["n"] - chain["n"] >= BATCH:
                        further.append(moved)
            waiting = further

    async def release(self, dossier: int) -> None:
        """Remove the traces of an erased dossier that are in the log: it stays provable without them."""
        resources = self._connection.database["resources"]
        while True:
            await self.merge_all()
            merged = {bytes(chain["_id"]): chain["n"] for chain in await self.chains()}
            filter = {"d": dossier, "j": {"$exists": True}}
            found = await self._connection.read(
                {"find": "resources", "filter": filter, "projection": {"j": 1}, "limit": 1000, "hint": "dossier"}
            )
            places = [place.position for document in found if (place := place_of({"j": {}, **document}))]
            done = [place.key for place in places if place.number < merged.get(place.chain, 0)]
            if not done:
                return
            await repeated(lambda done=done: resources.delete_many({"_id": {"$in": done}}))

    async def merge(self, chain: dict[str, Any]) -> dict[str, Any] | None:
        """Merge a piece, at most BATCH, of what a chain has and the log has not; the chain as it is then, None when there was nothing.

        chain: as `chains` gives it.
        """
        documents = await self.placed(bytes(chain["_id"]), chain["n"], BATCH)
        if not documents:
            return None
        if _has_gap(documents, chain["n"]):
            await asyncio.sleep(RELOOK_SECONDS)
            documents = await self.placed(bytes(chain["_id"]), chain["n"], BATCH)
        piece = piece_of(bytes(chain["_id"]), chain["n"], bytes(chain["h"]), documents)
        if not piece.leaves:
            return None
        moved = await self._connection.transaction(lambda session: self._append(session, chain, piece))
        return {**chain, "n": piece.end, "h": piece.link} if moved else None

    async def placed(self, chain: bytes, start: int, limit: int) -> list[dict[str, Any]]:
        """Places of the stored traces of a chain from a number on."""
        command = {
            "find": "resources",
            "filter": {"j.w": chain, "j.q": {"$gte": start}},
            "sort": {"j.w": 1, "j.q": 1},
            # Rows as a whole would be thirty times as much, read on the loop that answers.
            "projection": {"j": 1},
            "limit": limit,
            "batchSize": limit,
            "hint": "journal",
        }
        return await self._connection.read(command)

    async def keys(self, dossiers: Iterable[int]) -> dict[int, AESGCM | None]:
        """Keys of dossiers; None for one that was erased or never was."""
        rows = {dossier_row(dossier): dossier for dossier in dossiers}
        found = await self._load(tuple(rows))
        keys: dict[int, AESGCM | None] = dict.fromkeys(rows.values())
        for row, document in found.items():
            try:
                keys[rows[row]] = self._vault.dossier_key(rows[row], document.get("k"))
            except (Gone, Broken):
                continue
        return keys

    async def without_key(self, dossiers: Iterable[int]) -> dict[int, str]:
        """Of dossiers, those whose key is not there or does not open although nobody erased them, and why, in words."""
        rows = {dossier_row(dossier): dossier for dossier in dossiers}
        found = await self._load(tuple(rows)) if rows else {}
        told: dict[int, str] = {}
        for row, dossier in rows.items():
            document = found.get(row, {})
            if "k" not in document:
                # What belongs to no patient is never erased, whatever its row says.
                if "e" not in document or dossier == COMMON:
                    told[dossier] = "it is gone although the dossier was not erased: nothing in it can be read"
                continue
            try:
                self._vault.dossier_key(dossier, document["k"])
            except Broken:
                told[dossier] = "it does not open under the key of this host: nothing in it can be read"
        return told

    async def given_back(self, key: bytes) -> bool:
        """Whether a row that is not there was a copy from a dossier that was joined to its own and parted from it since."""
        dossier = dossier_row(dossier_in(key))
        parted = (await self._load((dossier,))).get(dossier, {}).get(PARTED, ())
        own = tuple(dossier_row(source)[:8] + key[8:] for source in parted)
        return bool(own and await self._load(own))

    async def places_of(self, type: str, batch: int = BATCH) -> AsyncIterator[list[tuple[bytes, int]]]:
        """Key and version of all current rows of a type, newest first."""
        after: dict[str, Any] = {}
        while True:
            command = {
                "find": "resources",
                "filter": {"t": type, **after},
                "projection": {"v": 1, "l": 1},
                "sort": {"l": -1, "_id": -1},
                "limit": batch,
                "batchSize": batch,
                "hint": "type",
            }
            found = await self._connection.read(command)
            if found:
                yield [(bytes(one["_id"]), one["v"]) for one in found if isinstance(one["_id"], bytes) and isinstance(one.get("v"), int)]
            if len(found) < batch:
                return
            last = found[-1].get("l"), found[-1]["_id"]
            after = {"$or": [{"l": {"$lt": last[0]}}, {"l": last[0], "_id": {"$lt": last[1]}}]}

    async def _append(self, session: AsyncClientSession, chain: Mapping[str, Any], piece: Piece) -> bool:
        """One transaction: leaves, subtrees, chain, state; False when somebody else merged this piece meanwhile."""
        database = self._connection.database
        moved = await database[CHAINS].update_one(
            {"_id": chain["_id"], "n": chain["n"]}, {"$set": {"n": piece.end, "h": piece.link}}, session=session
        )
        if not moved.matched_count:
            return False
        state = _state(await database["meta"].find_one(STATE, session=session))
        hashes = [leaf.hash for leaf in piece.leaves]
        below = await self._below(state.size, state.size + len(hashes), session)
        done = completed(state.size, hashes, below.__getitem__)
        subtrees: dict[int, dict[str, bytes]] = {}
        for tree, value in done.items():
            subtrees.setdefault(((tree.index + 1) << tree.level) - 1, {})[str(tree.level)] = value
        documents = []
        for index, leaf in enumerate(piece.leaves, state.size):
            document = {"_id": index, "w": leaf.chain, "q": leaf.number, "h": leaf.hash}
            if leaf.place is None:
                document["e"] = leaf.end
            else:
                document |= {"k": leaf.place.position.key, "m": leaf.place.committed}
            if index in subtrees:
                document["t"] = subtrees[index]
            documents.append(document)
        await database[LEAVES].insert_many(documents, session=session)
        frontier = list(append(state.frontier, state.size, hashes))
        after = {"size": state.size + len(hashes), "frontier": frontier}
        stored = await database["meta"].update_one({**STATE, "size": state.size}, {"$set": after}, upsert=state.size == 0, session=session)
        if not stored.matched_count and stored.upserted_id is None:
            raise Broken("the journal grew while it was being merged")
        return True

    async def _below(self, size: int, end: int, session: AsyncClientSession | None) -> dict[Subtree, bytes]:
        """Stored subtrees of the old tree that newly completed ones will stand on."""
        wanted: set[Subtree] = set()
        level = 8
        while end >> level:
            if size >> level != end >> level:
                first = (size >> level) << 8
                wanted |= {Subtree(level - 8, index) for index in range(first, size >> (level - 8))}
            level += 8
        return await self._stored(wanted, session)

    async def _stored(self, trees: Iterable[Subtree], session: AsyncClientSession | None = None) -> dict[Subtree, bytes]:
        """Hashes of subtrees of the stored heights 0, 8, 16, ..."""
        places = {tree: ((tree.index + 1) << tree.level) - 1 for tree in trees}
        ids = sorted(set(places.values()))
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(ids), 5000):
            part = ids[start : start + 5000]
            command = {"find": LEAVES, "filter": {"_id": {"$in": part}}, "batchSize": len(part), "projection": {"h": 1, "t": 1}}
            found |= {document["_id"]: document for document in await self._connection.read(command, session)}
        hashes: dict[Subtree, bytes] = {}
        for tree, place in places.items():
            document = found.get(place, {})
            value = document.get("h") if tree.level == 0 else document.get("t", {}).get(str(tree.level))
            if value is None:
                raise Broken(f"the journal has lost entry {place}")
            hashes[tree] = bytes(value)
        return hashes

    # Proofs

    async def hashes(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Tree hashes of ranges of leaves, as proofs ask for them."""
        covers = [cover(start, end) for start, end in ranges]
        needed = {part for trees in covers for tree in trees for part in _parts(tree)}
        known = await self._stored(needed)
        return [fold([root([known[part] for part in _parts(tree)]) for tree in trees]) for trees in covers]

    async def find(self, chain: bytes, number: int) -> tuple[int, bytes] | None:
        """Index and hash of the leaf of a trace; None while it is not merged."""
        command = {"find": LEAVES, "filter": {"w": chain, "q": number}, "limit": 1, "hint": "place"}
        found = await self._connection.read(command)
        return (found[0]["_id"], bytes(found[0]["h"])) if found else None

    async def row(self, key: bytes) -> dict[str, Any] | None:
        """A row as stored."""
        found = await self._connection.read({"find": "resources", "filter": {"_id": key}, "limit": 1})
        return found[0] if found else None

    async def leaves(self, batch: int = BATCH) -> AsyncIterator[list[dict[str, Any]]]:
        """All leaves in order."""
        after = -1
        while True:
            command = {
                "find": LEAVES,
                "filter": {"_id": {"$gt": after}},
                "sort": {"_id": 1},
                "limit": batch,
                "batchSize": batch,
                "hint": "_id_",
            }
            found = await self._connection.read(command)
            if found:
                yield found
                after = found[-1]["_id"]
            if len(found) < batch:
                return

    async def leaves_by_place(self, batch: int = BATCH) -> AsyncIterator[list[dict[str, Any]]]:
        """All leaves by chain and number."""
        filter: dict[str, Any] = {}
        while True:
            order = {"sort": {"w": 1, "q": 1}, "limit": batch, "batchSize": batch, "hint": "place"}
            found = await self._connection.read({"find": LEAVES, "filter": filter, **order})
            if found:
                yield found
                last = found[-1]
                filter = {"$or": [{"w": last["w"], "q": {"$gt": last["q"]}}, {"w": {"$gt": last["w"]}}]}
            if len(found) < batch:
                return

    async def every_trace(self, batch: int = BATCH) -> AsyncIterator[list[dict[str, Any]]]:
        """All rows that claim a place in some chain, by chain and number."""
        filter: dict[str, Any] = {"j.w": {"$gte": b""}}
        seen: list[Any] = []
        while True:
            order = {"sort": {"j.w": 1, "j.q": 1}, "limit": batch, "batchSize": batch, "hint": "journal"}
            found = await self._connection.read({"find": "resources", "filter": filter, **order})
            if found:
                yield found
            if len(found) < batch:
                return
            last = found[-1]["j"]
            here = [document["_id"] for document in found if document["j"]["w"] == last["w"] and document["j"]["q"] == last["q"]]
            seen = [*seen, *here] if len(here) == len(found) else here
            filter = {"$or": [{"j.w": last["w"], "j.q": {"$gte": last["q"]}, "_id": {"$nin": seen}}, {"j.w": {"$gt": last["w"]}}]}

    async def every_row(self, collection: str, batch: int = 500) -> AsyncIterator[list[dict[str, Any]]]:
        """All documents of `resources` or `versions`, by key."""
        filter: dict[str, Any] = {}
        while True:
            order = {"sort": {"_id": 1}, "limit": batch, "batchSize": batch, "hint": "_id_"}
            found = await self._connection.read({"find": collection, "filter": filter, **order})
            if found:
                yield found
                filter = {"_id": {"$gt": found[-1]["_id"]}}
            if len(found) < batch:
                return


def piece_of(chain: bytes, start: int, linked: bytes, documents: Sequence[Mapping[str, Any]]) -> Piece:
    """What a chain adds to the log. linked: the chain up to `start`. documents: its traces from there on, by number."""
    leaves: list[Leaf] = []
    number = start
    for document in documents:
        place = place_of(document)
        if place is None or place.position.number < number:
            continue  # a second row that claims a number: the verification names it
        if number < place.position.number:
            leaves.append(Leaf(chain, number, place.position.number, leaf_hash(hole_data(chain, number, place.position.number))))
            number = place.position.number
        leaves.append(Leaf(chain, number, number + 1, place.leaf, place))
        # As the writer linked it: one row that was altered is one fault, not the end of the chain.
        linked, number = place.link, number + 1
    return Piece(tuple(leaves), number, linked)


def committed_in(document: Mapping[str, Any], key: AESGCM) -> bytes:
    """Commitment to what a stored trace says now. Broken when it does not open."""
    try:
        body = row_of(document, key).body
    except Broken:
        raise
    except (*UNREADABLE, BSONError) as error:
        raise Broken("a stored trace has lost parts of its row") from error
    if body is None:
        raise Broken("a stored trace has lost its body")
    return commitment(salt_of(document, key), body)


def _parts(tree: Subtree) -> list[Subtree]:
    """A subtree of any height in those of the next lower stored height."""
    level = tree.level - tree.level % 8
    count = 1 << (tree.level - level)
    return [Subtree(level, tree.index * count + place) for place in range(count)]


def _has_gap(documents: Sequence[Mapping[str, Any]], start: int) -> bool:
    numbers = [document["j"]["q"] for document in documents]
    return numbers != list(range(start, start + len(numbers)))


def _state(found: Mapping[str, Any] | None) -> State:
    return State(found["size"], tuple(map(bytes, found["frontier"]))) if found and "size" in found else State(0, ())
