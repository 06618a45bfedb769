"""Chains of traces: whoever writes traces numbers them in a chain that nobody else holds meanwhile.

RFC 6962 in fhir_dmp/audit/chain.py ; https://www.mongodb.com/docs/manual/core/write-operations-atomicity/

A chain is held by one batch or one transaction at a time, and rows go in the order of their numbers, so what is stored of a chain is
always a beginning of it: no crash leaves a gap, and a gap means that somebody took a trace away. When the fate of a write is not known its
chain is given up, at whatever number it ended, and a new one begun.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import NamedTuple

from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo.errors import PyMongoError

from fhir_dmp.audit.chain import START, Position, commitment, leaf_data, leaf_hash, link
from fhir_dmp.store.compressed import SALT_BYTES, compress, salt_in
from fhir_dmp.store.connection import Connection, repeated
from fhir_dmp.store.rows import RAW, NewRow, current_document, encode
from fhir_dmp.store.vault import unseal, version_row

CHAINS = "journal.chains"
_SALT = b" salt"
_LENGTH = Struct("<i")
# {j: {w: chain, q: number, m: commitment, h: link}}: one more element at the end of an encoded row.
_PLACE = Struct("<c2si c2sic16s c2sq c2sic32s c2sic32s c")


class Entry(NamedTuple):
    """A trace that is sealed and encoded and only lacks its place. data: BSON of its row."""

    data: bytes
    key: bytes
    committed: bytes


class Place(NamedTuple):
    """Where a stored trace stands, as its row tells. committed: to its body. link: of the chain up to it."""

    position: Position
    committed: bytes
    link: bytes

    @property
    def leaf(self) -> bytes:
        return leaf_hash(leaf_data(self.position, self.committed))


def entries(rows: Sequence[NewRow], keys: Mapping[int, AESGCM], random: Callable[[int], bytes]) -> list[Entry]:
    """Traces ready to join a batch. keys: of their dossiers.

    Step by step for all of them: what one step needs stays in the caches of the processor, which takes a third of the time.
    """
    salts = [random(SALT_BYTES) for _ in rows]
    bodies = [compress(row.body, salt) for row, salt in zip(rows, salts, strict=True)]
    documents = [current_document(row, keys[row.dossier], body=body) for row, body in zip(rows, bodies, strict=True)]
    encoded = [encode(document).raw for document in documents]
    committed = [commitment(salt, row.body) for row, salt in zip(rows, salts, strict=True)]
    return [Entry(data, row.key, digest) for data, row, digest in zip(encoded, rows, committed, strict=True)]


def salt_of(document: dict, key) -> bytes:
    """The salt of a stored trace. key: of its dossier."""
    place = version_row(document["_id"], document["v"])
    salt = salt_in(unseal(key, document["b"], place))
    return unseal(key, document.get("salt", b""), place + _SALT) if salt is None else salt


def place_of(document: dict) -> Place | None:
    """Where a stored trace stands; None for what is none, or has lost its place."""
    found, key = document.get("j"), document["_id"]
    if not isinstance(found, dict):
        return None
    chain, number, committed, linked = (found.get(name) for name in ("w", "q", "m", "h"))
    sizes = ((chain, 16), (key, 16), (committed, 32), (linked, 32))
    if not all(isinstance(value, bytes) and len(value) == size for value, size in sizes) or not isinstance(number, int) or number < 0:
        return None
    return Place(Position(bytes(chain), int(number), key), bytes(committed), bytes(linked))


class Lane:
    """One chain and how far it has come."""

    __slots__ = ("_draft", "chain", "link", "number")

    def __init__(self, chain: bytes) -> None:
        self.chain, self.number, self.link = chain, 0, START
        self._draft = (0, START)

    def begin(self) -> None:
        """Forget what was numbered and not stored."""
        self._draft = (self.number, self.link)

    def keep(self) -> None:
        """What was numbered is stored."""
        self.number, self.link = self._draft

    @property
    def drafted(self) -> bool:
        return self._draft[0] != self.number

    def place(self, one: Entry) -> RawBSONDocument:
        """The row of a trace with its place in the chain."""
        number, previous = self._draft
        linked = link(previous, leaf_hash(leaf_data(Position(self.chain, number, one.key), one.committed)))
        self._draft = (number + 1, linked)
        place = _PLACE.pack(
            b"\3", b"j\0", _PLACE.size - 3, b"\5", b"w\0", 16, b"\0", self.chain,
            b"\x12", b"q\0", number, b"\5", b"m\0", 32, b"\0", one.committed, b"\5", b"h\0", 32, b"\0", linked, b"\0",
        )  # fmt: skip
        data = one.data
        return RawBSONDocument(b"".join((_LENGTH.pack(len(data) + len(place)), data[4:-1], place, b"\0")), RAW)


class Lanes:
    """The chains of one process."""

    def __init__(self, connection: Connection, random: Callable[[int], bytes], clock: Callable[[], int]) -> None:
        self._connection, self._random, self._clock = connection, random, clock
        self._idle: list[Lane] = []

    def turn(self, settled: Callable[[BaseException], bool] = lambda error: False) -> "Turn":
        """A turn at writing. settled: whether an error that ends it tells that nothing was stored."""
        return Turn(self, settled)

    async def take(self) -> Lane:
        """An idle chain, else a new one, registered so that the log will look for it."""
        if self._idle:
            return self._idle.pop()
        lane = Lane(self._random(16))
        document = {"_id": lane.chain, "at": self._clock(), "n": 0, "h": START, "open": True}
        chains = self._connection.database[CHAINS]
        await repeated(lambda: chains.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True))
        return lane

    def give_back(self, lane: Lane) -> None:
        """It may be written on."""
        self._idle.append(lane)

    async def close(self) -> None:
        """Say that nothing more comes in these chains. A process that dies says nothing, and is looked after all the same."""
        idle, self._idle = self._idle, []
        if idle:
            chains = self._connection.database[CHAINS]
            try:
                await chains.update_many({"_id": {"$in": [lane.chain for lane in idle]}}, {"$set": {"ended": True}})
            except PyMongoError:
                return


class Turn:
    """The right to number traces, for one batch or one transaction with all its attempts; takes a chain when the first trace comes."""

    __slots__ = ("_lane", "_lanes", "_settled")

    def __init__(self, lanes: Lanes, settled: Callable[[BaseException], bool]) -> None:
        self._lanes, self._settled = lanes, settled
        self._lane: Lane | None = None

    async def __aenter__(self) -> "Turn":
        return self

    async def __aexit__(self, kind, error: BaseException | None, trace) -> None:
        lane = self._lane
        if lane is None:
            return
        if error is None:
            lane.keep()
            self._lanes.give_back(lane)
        elif not lane.drafted or self._settled(error):
            lane.begin()
            self._lanes.give_back(lane)

    def begin(self) -> None:
        """An attempt begins: the one before stored nothing."""
        if self._lane:
            self._lane.begin()

    async def ready(self, *, anew: bool = False) -> None:
        """Have a chain; a new one when an attempt turned out to have been stored although it seemed to fail."""
        if self._lane is None or anew:
            self._lane = None
            self._lane = await self._lanes.take()
            self._lane.begin()

    def forget(self) -> None:
        """Give the chain up: what an attempt before this one numbered may be stored."""
        self._lane = None

    def place(self, one: Entry) -> RawBSONDocument:
        return self._lane.place(one)
