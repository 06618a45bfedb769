"""The driver with nothing around it: what the floors of the benchmark measure (bench/floors.py, bulk.py, ready.py). Nothing else uses it.

https://www.mongodb.com/docs/manual/reference/write-concern/ ; writes are majority and journaled
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bson import Binary
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient
from pymongo.write_concern import WriteConcern

from fhir_dmp.store.vault import COMMON

DATABASE, READY = "bench_floors", "bench_ready"
ROWS = 20_000
MAJORITY = WriteConcern(w="majority", j=True)
CONNECTIONS = 64
BATCH, THREADS = 1000, 4


class Bare:
    """One client, and single rows by it."""

    def __init__(self, uri: str) -> None:
        self._client = AsyncMongoClient(uri, maxPoolSize=CONNECTIONS)
        database = self._client[DATABASE]
        self._found, self._inserted = database["found"], database.get_collection("inserted", write_concern=MAJORITY)

    async def find(self, number: int) -> bytes:
        """The body of a row. number: below ROWS."""
        return (await self._found.find_one({"_id": Binary(key(number))}))["b"]

    async def insert(self, body: bytes) -> None:
        """One more row."""
        await self._inserted.insert_one({"_id": Binary(os.urandom(16)), "b": Binary(body)})

    async def close(self) -> None:
        await self._client.close()


def key(number: int) -> bytes:
    """16 bytes, scattered."""
    return (number * 0x9E3779B97F4A7C15 % (1 << 128)).to_bytes(16)


def seed(uri: str, body: bytes) -> None:
    """Rows to be found: an id and a body, nothing else. body: as large as that of a stored resource."""
    with MongoClient(uri) as client:
        client.drop_database(DATABASE)
        rows = client[DATABASE]["found"]
        for first in range(0, ROWS, BATCH):
            rows.insert_many([{"_id": Binary(key(number)), "b": Binary(body)} for number in range(first, first + BATCH)], ordered=False)


def row_bytes(uri: str, database: str) -> int:
    """Mean size of the rows of a store, the keys of dossiers left out."""
    with MongoClient(uri) as client:
        (found,) = client[database]["resources"].aggregate(
            [
                {"$match": {"t": {"$gt": ""}}},
                {"$limit": 2000},
                {"$group": {"_id": None, "mean": {"$avg": {"$bsonSize": "$$ROOT"}}}},
            ]
        )
        return round(found["mean"])


def insert_many(uri: str, size: int, seconds: float) -> float:
    """Rows per second that four threads insert in batches of 1,000. size: of a row, bytes."""
    body = Binary(os.urandom(max(1, size - 34)))  # an id and the frame of a document take the rest
    done = [0] * THREADS
    with MongoClient(uri, maxPoolSize=THREADS) as client:
        client[DATABASE].drop_collection("bulk")
        rows = client[DATABASE].get_collection("bulk", write_concern=MAJORITY)
        begun = time.perf_counter()

        def work(number: int) -> None:
            while time.perf_counter() - begun < seconds:
                rows.insert_many([{"_id": Binary(os.urandom(16)), "b": body} for _ in range(BATCH)], ordered=False)
                done[number] += BATCH

        took = _threads(work)
        client[DATABASE].drop_collection("bulk")
    return sum(done) / took


class Ready(NamedTuple):
    """What an import wrote for some of what it was given. entries: how many. rows: collection -> its rows, as they are stored.

    indexes: collection -> its indexes, as createIndexes takes them.
    """

    entries: int
    rows: dict[str, list[RawBSONDocument]]
    indexes: dict[str, list[dict]]

    @property
    def number(self) -> int:
        """Rows in all."""
        return sum(map(len, self.rows.values()))

    @property
    def octets(self) -> int:
        """Of all rows, BSON."""
        return sum(len(row.raw) for rows in self.rows.values() for row in rows)


def ready(uri: str, database: str, since_ms: int, wanted: int) -> Ready:
    """Everything that was written since an instant for the newest dossiers that have so many entries together, no dossier by halves.

    Rows of resources with their Provenances, seals and traces, contents, and lines of the ledger, each entry being a thing with a line. The
    keys of dossiers are left out, one row of some forty.
    """
    with MongoClient(uri, document_class=dict) as client:
        kept = client.get_database(database, CodecOptions(document_class=RawBSONDocument))
        dossiers: dict[int, int] = {}
        newest = (
            client[database]["resources"].find({"l": {"$gte": since_ms}, "t": {"$gt": ""}}, {"d": 1, "t": 1}).sort([("l", -1), ("_id", -1)])
        )
        for one in newest:
            if one["d"] != COMMON and one["t"] not in ("Provenance", "AuditEvent"):
                if one["d"] not in dossiers and sum(dossiers.values()) >= wanted:
                    break
                dossiers[one["d"]] = dossiers.get(one["d"], 0) + 1
        every = list(kept["resources"].find({"d": {"$in": list(dossiers)}, "t": {"$gt": ""}}))
        contents = [row["f"]["i"] for row in every if "f" in row]
        rows = {
            "resources": [row for row in every if row["l"] >= since_ms],
            "imports": list(kept["imports"].find({"k": {"$in": [Binary(row["_id"]) for row in every]}})),
            "contents.files": list(kept["contents.files"].find({"_id": {"$in": contents}})),
            "contents.chunks": list(kept["contents.chunks"].find({"files_id": {"$in": contents}})),
        }
        told = {name: [dict(one) for one in client[database][name].list_indexes() if one["name"] != "_id_"] for name in rows}
    return Ready(len({bytes(line["k"]) for line in rows["imports"]}), rows, told)


def insert_ready(uri: str, found: Ready) -> float:
    """Seconds in which four threads insert these rows in batches of 1,000 into new collections with the same indexes."""
    batches = [(name, rows[at : at + BATCH]) for name, rows in found.rows.items() for at in range(0, len(rows), BATCH)]
    with MongoClient(uri, maxPoolSize=THREADS) as client:
        client.drop_database(READY)
        target = client.get_database(READY, write_concern=MAJORITY)
        for name in found.rows:
            target.create_collection(name)
            if found.indexes[name]:
                target.command({"createIndexes": name, "indexes": found.indexes[name]})

        def work(number: int) -> None:
            for name, rows in batches[number::THREADS]:
                target[name].insert_many(rows, ordered=False)

        try:
            return _threads(work)
        finally:
            client.drop_database(READY)


def _threads(work: Callable[[int], None]) -> float:
    """Seconds that THREADS threads take for their work together."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, number) for number in range(THREADS)]:
            done.result()
    return time.perf_counter() - begun
