"""A worker process of an import: takes runs of items, stores them, tells their results, over the socket that is its standard input.

https://msgpack.org/ ; a frame is its length in four bytes, then MessagePack. Where there is no more to read the import is over.
"""

import asyncio
import gc
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.results import Result
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.settings import SETTINGS, Settings

LENGTH = struct.Struct(">I")
# Runs that one worker has under way: while one waits for the database, the other is prepared.
AT_ONCE = 2
# Runs after which what is new in a worker is looked through for garbage, and after which the whole of what it holds.
NEW_EVERY, WHOLE_EVERY = 4, 16


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told first. settings: name -> value."""

    settings: dict[str, Any]
    base_url: str
    rules: Rules
    job: str


class Run(msgspec.Struct, frozen=True):
    """items: (place, body, kind, message, signer, kid) each; kind and message of a fault where there is nothing to read, else empty;
    signer and kid of the message it came in. last: see Engine.run.
    """

    number: int
    items: list[tuple[str, bytes, str, str, str, str]]
    last: bool = False


class Done(msgspec.Struct, frozen=True):
    """results: of each item of a run, as tuples of Result. failed: why the run could not be done at all."""

    number: int
    results: list[list[tuple[str, int, str, list[tuple[str, str, str, str]], bool]]] = []
    failed: str = ""


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as values that travel."""
    found = {setting.name: getattr(settings, setting.name) for setting in SETTINGS}
    return {name: str(value) if isinstance(value, Path) else value for name, value in found.items() if value is not None}


def restored(values: dict[str, Any]) -> Settings:
    """The settings again."""
    kinds = {setting.name: setting.type for setting in SETTINGS}
    return Settings(**{name: kinds[name](value) for name, value in values.items()})


def run_of(number: int, items: list[Item], last: bool = False) -> Run:
    """Items as they travel."""
    faults = ((one, ("", "") if one.fault is None else (one.fault.kind, one.fault.message)) for one in items)
    return Run(number, [(one.place, one.body, *fault, *(one.sealed or ("", ""))) for one, fault in faults], last)


def items_of(run: Run) -> list[Item]:
    """The items again."""
    return [
        Item(place, body, 0, FhirError(kind, message) if kind else None, (signer, kid) if signer else ())
        for place, body, kind, message, signer, kid in run.items
    ]


def done_of(number: int, results: list[list[Result]]) -> Done:
    """Results as they travel."""
    return Done(number, [[(r.place, r.status, r.location, [tuple(i) for i in r.issues], r.known) for r in listed] for listed in results])


def results_of(done: Done) -> list[list[Result]]:
    """The results again."""
    return [
        [Result(place, status, location, tuple(Issue(*i) for i in issues), known) for place, status, location, issues, known in listed]
        for listed in done.results
    ]


def frame(value: object) -> bytes:
    """A value as it is sent."""
    data = msgspec.msgpack.encode(value)
    return LENGTH.pack(len(data)) + data


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What is sent, frame by frame, until the other side closes."""
    while True:
        try:
            (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            yield await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return


class Garbage:
    """Looks for garbage between some runs and not within them: what a run holds is let go of when it ends, and nothing of it in circles
    but where something went wrong.

    Within runs the collector took up to a third of a worker's time, to find nothing.
    """

    def __init__(self) -> None:
        self._runs = 0
        gc.disable()

    def ended(self) -> None:
        """A run has ended."""
        self._runs += 1
        if self._runs == 1:
            # With the first run came the tables of the standard, which stay.
            gc.collect()
            gc.freeze()
        elif self._runs % NEW_EVERY == 0:
            gc.collect(2 if self._runs % WHOLE_EVERY == 0 else 0)


async def serve(reader: asyncio.StreamReader, write) -> None:
    """Do what is asked until there is no more."""
    from fhir_dmp.exchange.engine import Engine
    from fhir_dmp.exchange.opening import opened

    received = frames(reader)
    first = await anext(received, None)
    if first is None:
        return
    begin = msgspec.msgpack.decode(first, type=Begin)
    decoder = msgspec.msgpack.Decoder(Run)
    async with opened(restored(begin.settings), begin.rules, begin.base_url) as context:
        gate, garbage = asyncio.Semaphore(AT_ONCE), Garbage()
        tasks: set[asyncio.Task] = set()

        async def one(run: Run) -> None:
            try:
                done = done_of(run.number, await Engine(context, begin.rules, begin.job).run(items_of(run), last=run.last))
            except Exception as error:
                done = Done(run.number, failed=f"{type(error).__name__}: {error}")
            finally:
                gate.release()
            write(frame(done))
            garbage.ended()

        async for data in received:
            await gate.acquire()
            task = asyncio.create_task(one(decoder.decode(data)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        # Whoever asked is gone: what is half done is not stored, or is found in the ledger by whoever goes on.
        for task in list(tasks):
            task.cancel()


async def main() -> None:
    """Standard input as both streams."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(0)), limit=2**20)
    # What anybody prints is not for who reads this process's output.
    os.dup2(2, 1)
    try:
        await serve(reader, writer.write)
        await writer.drain()
    except ConnectionError:
        return


def run() -> None:
    """Work until there is no more."""
    import uvloop

    uvloop.run(main())


if __name__ == "__main__":
    run()
