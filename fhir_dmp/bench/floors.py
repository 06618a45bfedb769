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

from fhir_dmp.store.bare import Bare


def create(uri: str, static: bytes):
    """The ASGI application of one worker."""
    rows: Bare | None = None

    async def app(scope, receive, send) -> None:
        nonlocal rows
        if scope["type"] == "lifespan":
            await receive()
            rows = Bare(uri)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await rows.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        path, status, body = scope["path"], 200, static
        if path.startswith("/find/"):
            body = await rows.find(int(path[6:]))
        elif path == "/insert":
            await rows.insert((await receive())["body"])
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
