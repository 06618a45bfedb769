"""FHIR Bulk Data export: the work itself, in the background of the server that took the request.

https://hl7.org/fhir/uv/bulkdata/export.html
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions import export, octets
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.prepare import patients_named
from fhir_dmp.interactions.search_plan import Alternatives, plan
from fhir_dmp.interactions.search_rows import BATCH, opened
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.search.predicate import matches
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.records import Job
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON

log = logging.getLogger("fhir_dmp.export")

# Exports that one server process runs at a time.
AT_ONCE = 4
BEAT_SECONDS = 2
TOO_LONG = "the export takes longer than the database keeps one moment: ask for less at a time, by `_type`, `_since` or `_typeFilter`"
STOPPED = "the server was stopped while this export ran: delete it and ask again"

_running: dict[asyncio.Task, "_Export"] = {}


async def start(context: Context, asked: export.Plan) -> str:
    """Begin an export; the id of its job."""
    if len(_running) >= AT_ONCE:
        raise FhirError("throttled", f"{AT_ONCE} exports are running, try again later", headers={"Retry-After": "30"})
    await _forget_old(context)
    moment = Moment()
    await context.reads.count(types=("Patient",), limit=1, moment=moment)
    now = context.now_ms()
    token = base64.b32encode(context.random(16)).decode().rstrip("=").lower()
    job = Job(
        id=f"{export.KIND}-{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d%H%M%S}-{token}",
        kind=export.KIND,
        state="running",
        total=len(asked.parts),
        created=datetime.fromtimestamp(now / 1000, UTC),
        detail={
            "asker": reader_digest(context).hex(),
            "request": context.store.vault.seal_token(asked.request.encode(), export.PURPOSE),
            "dossier": str(context.store.new_dossier()),
            "moment": now,
            "beat": now,
            "types": 0,
            "outputs": [],
        },
    )
    await job.insert()
    work = _Export(context, job, asked, moment)
    task = asyncio.create_task(work.run())
    _running[task] = work
    task.add_done_callback(lambda done: _running.pop(done, None))
    await asyncio.sleep(0)  # a task that is stopped before its first step could not say so
    return job.id


async def stop() -> None:
    """End what still runs, before the store closes."""
    tasks = list(_running)
    for task in tasks:
        _running[task].stopped = True
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _forget_old(context: Context) -> None:
    """Remove exports whose life is over; their ids tell when they began."""
    before = datetime.fromtimestamp((context.now_ms() - export.LIFE_MS) / 1000, UTC)
    for job in await Job.objects(pk__gte=f"{export.KIND}-", pk__lt=f"{export.KIND}-{before:%Y%m%d%H%M%S}").to_list():
        await export.remove(context, job.id)


class _Export:
    """One running export. done: resources so far. types: types that are finished.

    stopped: told to end; a cancellation alone may get lost in the driver, which takes it for a broken connection.
    """

    def __init__(self, context: Context, job: Job, asked: export.Plan, moment: Moment) -> None:
        self.context, self.id, self.asked, self.moment = context, job.id, asked, moment
        self.dossier = int(job.detail["dossier"])
        self.done = self.types = 0
        self.stopped = False
        self.outputs: list[dict] = []

    async def run(self) -> None:
        """Write every file, then say so; whatever happens, the job ends with a word."""
        beating = asyncio.create_task(self._beat(asyncio.current_task()))
        try:
            for type_name, alternatives in self.asked.parts:
                await self._file(type_name, alternatives)
                self.types += 1
            finished = await export.close(self.id, "done", {"outputs": self.outputs, "types": self.types}, set__done=self.done)
            if not finished:
                await self._destroy()
        except asyncio.CancelledError:
            await self._failed("exception", STOPPED)
        except FhirError as error:
            if error.kind == "deleted":
                await self._failed("too-costly", TOO_LONG)
            else:
                await self._failed(error.kind, error.message)
        except Exception as error:
            log.error("an export failed", exc_info=error)
            await self._failed("exception", "the export failed: delete it and ask again")
        finally:
            beating.cancel()

    async def _failed(self, problem: str, words: str) -> None:
        with contextlib.suppress(FhirError):
            await export.close(self.id, "failed", {"problem": problem, "words": words})
            await self._destroy()

    async def _destroy(self) -> None:
        await self.context.store.destroy_dossier(self.dossier)

    async def _beat(self, work: asyncio.Task) -> None:
        """Say that it lives, and how far it is; stop when the job is no longer there."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            said = {"set__done": self.done, "set__detail__types": self.types, "set__detail__beat": self.context.now_ms()}
            try:
                alive = await Job.objects(pk=self.id, state="running").update(**said)
            except Exception as error:
                log.warning("an export could not tell its progress", exc_info=error)
                continue
            if not alive:
                self.stopped = True
                work.cancel()
                return

    async def _file(self, type_name: str, alternatives: Alternatives) -> None:
        """One file of one type; none where there is nothing of it."""
        before = self.done
        lines = self._lines(alternatives)
        first = await anext(lines, None)
        if first is None:
            return

        async def stream() -> AsyncIterator[bytes]:
            yield first
            async for piece in lines:
                yield piece

        content = await self.context.store.contents.write(stream(), self.dossier)
        self.outputs.append({"type": type_name, "content": content.id.hex(), "size": content.size, "count": self.done - before})

    async def _lines(self, alternatives: Alternatives) -> AsyncIterator[bytes]:
        """NDJSON piece by piece; a large content is never held whole."""
        context, found = self.context, plan(self.context, alternatives, self.asked.sight)
        for segment in found.segments:
            async for row in context.reads.scan(**segment.asked(), batch=BATCH, moment=self.moment):
                if self.stopped:
                    raise FhirError("exception", STOPPED)
                if row.body is None or not self._wanted(row, found.exact, found.judge(row.type)):
                    continue
                self.done += 1
                if row.content is None:
                    yield _line(row.body)
                else:
                    async for piece in octets.json_stream(context, _line(row.body)[:-1], row.content):
                        yield piece
                    yield b"\n"
                if self.done % 50 == 0:
                    await asyncio.sleep(0)

    def _wanted(self, row: Row, exact: bool, predicate: object) -> bool:
        if exact and not (self.asked.patients and row.dossier == COMMON):
            return True
        index = opened(self.context, row).index
        if self.asked.patients and row.dossier == COMMON and row.type != "Patient" and not patients_named(row.type, index):
            return False
        return exact or matches(predicate, index, self.context.store.vault.hash64)


def _line(body: bytes) -> bytes:
    """A resource on one line, its values as they are."""
    if b"\n" in body or b"\r" in body:
        body = json.dump(json.parse_exact(body))
    return body + b"\n"
