"""Floors: what the same ASGI server and driver do when nothing else is done. `python -m fhir_dmp.bench.floors URI WORKERS`.

S, /static: a small body. F, /find/N: one find by id. I, POST /insert: one insert, majority and journaled.
https://www.mongodb.com/docs/manual/reference/write-concern/
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from functools import partial

from bson import Binary
from pymongo import AsyncMongoClient, MongoClient
from pymongo.write_concern import WriteConcern

DATABASE = "bench_floors"
ROWS = 20_000
MAJORITY = WriteConcern(w="majority", j=True)
CONNECTIONS = 64


def seed(uri: str, body: bytes) -> None:
    """Rows for F: an id and a body, nothing else. body: as large as that of a stored resource."""
    with MongoClient(uri) as client:
        client.drop_database(DATABASE)
        rows = client[DATABASE]["found"]
        for first in range(0, ROWS, 1000):
            rows.insert_many([{"_id": Binary(key(number)), "b": Binary(body)} for number in range(first, first + 1000)], ordered=False)


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


def key(number: int) -> bytes:
    return (number * 0x9E3779B97F4A7C15 % (1 << 128)).to_bytes(16)


def create(uri: str, static: bytes):
    """The ASGI application of one worker."""
    database = None

    async def app(scope, receive, send) -> None:
        nonlocal database
        if scope["type"] == "lifespan":
            await receive()
            database = AsyncMongoClient(uri, maxPoolSize=CONNECTIONS)[DATABASE]
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await database.client.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        path, status, body = scope["path"], 200, static
        if path.startswith("/find/"):
            row = await database["found"].find_one({"_id": Binary(key(int(path[6:])))})
            body = row["b"]
        elif path == "/insert":
            received = await receive()
            rows = database.get_collection("inserted", write_concern=MAJORITY)
            await rows.insert_one({"_id": Binary(os.urandom(16)), "b": Binary(received["body"])})
            status, body = 201, b""
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def target(uri: str, static: bytes, parent: int):
    """What granian calls in the process of a worker."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    return create(uri, static)


def main() -> None:
    """Serve until told to stop; the address is printed first. The static body comes by standard input."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
    from granian.log import LogLevels

    uri, workers = sys.argv[1:]
    static = sys.stdin.buffer.read()
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Granian(
        target="fhir_dmp.bench.floors:create",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        workers=int(workers),
        loop=Loops.uvloop,
        runtime_mode=RuntimeModes.st,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
    )
    print(f"127.0.0.1:{port}", flush=True)
    server.serve(target_loader=partial(target, uri, static, os.getpid()), wrap_loader=False)


if __name__ == "__main__":
    main()
