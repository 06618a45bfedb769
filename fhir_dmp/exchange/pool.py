"""Who does the work of an import: worker processes, or this process when there is little to do.

https://docs.python.org/3/library/asyncio-subprocess.html
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.processes import Process
from fhir_dmp.exchange.results import Result
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.exchange.worker import AT_ONCE, Begin, Done, frame, frames, plain, results_of, run_of
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings


class Pool(Protocol):
    """Does runs of items. at_once: how many it can have under way."""

    at_once: int

    async def run(self, items: list[Item], *, last: bool = False) -> list[list[Result]]:
        """Results of each item. last: see Engine.run."""

    async def close(self) -> None:
        """Nothing more comes."""


class Here:
    """This process, on its own store."""

    at_once = 2

    def __init__(self, context: Context, rules: Rules, job: str) -> None:
        self._made = lambda: Engine(context, rules, job)

    async def run(self, items: list[Item], *, last: bool = False) -> list[list[Result]]:
        """As Pool.run."""
        return await self._made().run(items, last=last)

    async def close(self) -> None:
        """As Pool.close."""


class Workers:
    """Processes of their own, each with its connection to the store."""

    def __init__(self) -> None:
        self._processes: list[_Worker] = []
        self._number = 0

    @classmethod
    async def start(cls, processes: Sequence[Process], settings: Settings, base_url: str, rules: Rules, job: str) -> "Workers":
        """Tell these processes what it is about; they are ready when they answer."""
        pool = cls()
        begin = frame(Begin(settings=plain(settings), base_url=base_url, rules=rules, job=job))
        pool._processes = [await _Worker.start(process, begin) for process in processes]
        return pool

    @property
    def at_once(self) -> int:
        return len(self._processes) * (AT_ONCE + 1)

    async def run(self, items: list[Item], *, last: bool = False) -> list[list[Result]]:
        """As Pool.run; whoever has least to do takes it."""
        worker = min(self._processes, key=lambda one: len(one.waiting))
        self._number += 1
        done = await worker.ask(self._number, items, last)
        if done.failed:
            raise FhirError("exception", f"a worker of the import failed: {done.failed}")
        return results_of(done)

    async def close(self) -> None:
        """As Pool.close."""
        await asyncio.gather(*(one.close() for one in self._processes))


class _Worker:
    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.waiting: dict[int, asyncio.Future[Done]] = {}
        self._process, self._reader, self._writer = process, reader, writer
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, process: Process, begin: bytes) -> "_Worker":
        reader, writer = await asyncio.open_connection(sock=process.socket)
        writer.write(begin)
        return cls(process, reader, writer)

    async def ask(self, number: int, items: list[Item], last: bool) -> Done:
        future = asyncio.get_running_loop().create_future()
        self.waiting[number] = future
        if self._listening.done():
            return Done(number, failed="it has died")
        # Who has died is met where he is listened to.
        with contextlib.suppress(ConnectionError):
            self._writer.write(frame(run_of(number, items, last)))
            await self._writer.drain()
        return await future

    async def _listen(self) -> None:
        decoder = msgspec.msgpack.Decoder(Done)
        async for data in frames(self._reader):
            done = decoder.decode(data)
            self.waiting.pop(done.number).set_result(done)
        for future in self.waiting.values():
            if not future.done():
                future.set_result(Done(0, failed="it has died"))

    async def close(self) -> None:
        if not self._writer.is_closing():
            self._writer.write_eof()
        await self._process.ended(10)
        await self._listening
        self._writer.close()
