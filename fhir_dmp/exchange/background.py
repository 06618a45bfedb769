"""Jobs behind the requests whose result is kept for a day for whoever asked, sealed under a key of its own.

https://hl7.org/fhir/R4/async.html
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.store.records import Job
from fhir_dmp.store.resources import Store

log = logging.getLogger("fhir_dmp.exchange")

LIFE_MS = 24 * 3600 * 1000
# A job whose server died is told as failed.
LONGEST_MS = 3600 * 1000
# What a job gives when it is done, beside its state: names and values of `detail`.
Work = Callable[[Job], Awaitable[dict[str, object]]]


class Background:
    """Jobs of one kind. what: in words. at_once: that one server process runs at a time."""

    def __init__(self, kind: str, what: str, at_once: int = 2) -> None:
        self.kind, self.what, self.at_once = kind, what, at_once
        self._running: set[asyncio.Task] = set()

    def admit(self) -> None:
        """429 when enough are running."""
        if len(self._running) >= self.at_once:
            raise FhirError("throttled", f"{self.at_once} {self.what}s are being made, try again later", headers={"Retry-After": "10"})

    async def begin(self, context: Context, work: Work, *, source: str = "", dossier: int | None = None, **detail: object) -> Job:
        """Begin; the job. dossier: number of the key under which its result is kept, None for a new one."""
        await self.forget_old(context.store)
        now = context.now_ms()
        made = datetime.fromtimestamp(now / 1000, UTC)
        token = base64.b32encode(context.random(16)).decode().rstrip("=").lower()
        number = context.store.new_dossier() if dossier is None else dossier
        told = {"asker": reader_digest(context).hex(), "dossier": str(number), "began": now, **detail}
        job = Job(id=f"{self.kind}-{made:%Y%m%d%H%M%S}-{token}", kind=self.kind, state="running", source=source, created=made, detail=told)
        await job.insert()
        task = asyncio.create_task(self._run(job, work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return job

    async def stop(self) -> None:
        """End what still runs, before the store closes."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, job: Job, work: Work) -> None:
        """Whatever happens, the job ends with a word."""
        try:
            await _close(job.id, "done", **await work(job))
        except asyncio.CancelledError:
            with contextlib.suppress(FhirError):
                await _close(job.id, "failed", problem="exception", words="the server was stopped: ask again")
        except FhirError as error:
            await _close(job.id, "failed", problem=error.kind, words=error.message)
        except Exception as error:
            log.error("a %s failed", self.what, exc_info=error)
            await _close(job.id, "failed", problem="exception", words=f"the {self.what} failed: ask again")

    async def found(self, context: Context, id: str) -> Job:
        """The job, for whoever asked for it; for anybody else there is none."""
        job = await Job.get(id) if id.startswith(f"{self.kind}-") and len(id) <= 64 else None
        if job is None or job.detail.get("asker") != reader_digest(context).hex() or job.detail["began"] + LIFE_MS < context.now_ms():
            raise FhirError("not-found", f"there is no such {self.what}")
        return job

    async def done(self, context: Context, id: str) -> Job | None:
        """The job once it is done; None while it runs. One that failed is refused with the reason."""
        job = await self.found(context, id)
        if job.state == "running" and job.detail["began"] + LONGEST_MS < context.now_ms():
            await _close(id, "failed", problem="exception", words=f"the server of this {self.what} has stopped: ask again")
            job = await self.found(context, id)
        if job.state == "failed":
            raise FhirError(job.detail.get("problem", "exception"), job.detail.get("words", f"the {self.what} failed"))
        return job if job.state == "done" else None

    async def remove(self, context: Context, id: str) -> None:
        """Forget a job; its result can then not be read any more."""
        job = await self.found(context, id)
        await Job.objects(pk=id).delete()
        await context.store.destroy_dossier(int(job.detail["dossier"]))

    async def forget_old(self, store: Store) -> None:
        """Remove jobs whose life is over; their ids tell when they were asked for."""
        before = datetime.fromtimestamp((store.clock() - LIFE_MS) / 1000, UTC)
        for job in await Job.objects(pk__gte=f"{self.kind}-", pk__lt=f"{self.kind}-{before:%Y%m%d%H%M%S}").to_list():
            await store.destroy_dossier(int(job.detail["dossier"]))
            await Job.objects(pk=job.id).delete()


async def _close(id: str, state: str, **detail: object) -> None:
    said = {f"set__detail__{name}": value for name, value in detail.items()}
    await Job.objects(pk=id, state="running").update(set__state=state, set__finished=datetime.now(UTC), **said)
