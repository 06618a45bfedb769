"""The driver with nothing around it: what the floors of the benchmark measure, see bench/floors.py and bench/bulk.py. Nothing else uses it.

https://www.mongodb.com/docs/manual/reference/write-concern/ ; writes are majority and journaled
"""

import os
import threading
import time

from bson import Binary
from pymongo import AsyncMongoClient, MongoClient
from pymongo.write_concern import WriteConcern

DATABASE = "bench_floors"
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

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = sum(done) / (time.perf_counter() - begun)
        client[DATABASE].drop_collection("bulk")
    return rate
