"""$export-dossier: the package of a dossier made in the background, kept for a day for whoever asked for it, opened by its receiver alone.

https://hl7.org/fhir/R4/async.html
"""

import asyncio
import base64
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import BinaryIO

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, package_export, transfer
from fhir_dmp.interactions import export_dossier
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.store.records import Job

log = logging.getLogger("fhir_dmp.exchange")

KIND = "package"
LIFE_MS = 24 * 3600 * 1000
# A job whose server died is told as failed.
LONGEST_MS = 3600 * 1000
AT_ONCE = 2
PIECE = 256 * 1024
_running: set[asyncio.Task] = set()


async def start(context: Context, patient: str, recipient: str, reason: str) -> str:
    """Begin; the id of the job. 403 for who may not, 422 for a receiver that is not known."""
    number = await export_dossier.permitted(context, patient)
    await hosts.card_of(recipient)
    if len(_running) >= AT_ONCE:
        raise FhirError("throttled", f"{AT_ONCE} packages are being made, try again later", headers={"Retry-After": "10"})
    await _forget_old(context)
    await transfer.trace(context, patient, recipient)
    now = context.now_ms()
    made = datetime.fromtimestamp(now / 1000, UTC)
    token = base64.b32encode(context.random(16)).decode().rstrip("=").lower()
    detail = {"asker": reader_digest(context).hex(), "dossier": str(context.store.new_dossier()), "began": now}
    job = Job(id=f"{KIND}-{made:%Y%m%d%H%M%S}-{token}", kind=KIND, state="running", created=made, detail=detail)
    await job.insert()
    task = asyncio.create_task(_work(context, job, number, recipient, reason))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return job.id


async def stop() -> None:
    """End what still runs, before the store closes."""
    for task in list(_running):
        task.cancel()
    await asyncio.gather(*_running, return_exceptions=True)


async def _work(context: Context, job: Job, number: int, recipient: str, reason: str) -> None:
    """Make the package in a file, which is encrypted already, and keep it; whatever happens, the job ends with a word."""
    try:
        with tempfile.TemporaryFile() as file:
            await package_export.write(context, number, recipient, file, reason)
            file.seek(0)
            content = await context.store.contents.write(_pieces(file), int(job.detail["dossier"]))
        await _close(job.id, "done", content=content.id.hex(), octets=content.size)
    except asyncio.CancelledError:
        with contextlib.suppress(FhirError):
            await _close(job.id, "failed", problem="exception", words="the server was stopped: ask again")
    except FhirError as error:
        await _close(job.id, "failed", problem=error.kind, words=error.message)
    except Exception as error:
        log.error("a package was not made", exc_info=error)
        await _close(job.id, "failed", problem="exception", words="the package was not made: ask again")


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


async def _close(id: str, state: str, **detail: object) -> None:
    said = {f"set__detail__{name}": value for name, value in detail.items()}
    await Job.objects(pk=id, state="running").update(set__state=state, set__finished=datetime.now(UTC), **said)


async def _found(context: Context, id: str) -> Job:
    """The job, for whoever asked for it; for anybody else there is none."""
    job = await Job.get(id) if id.startswith(f"{KIND}-") and len(id) <= 64 else None
    if job is None or job.detail.get("asker") != reader_digest(context).hex() or job.detail["began"] + LIFE_MS < context.now_ms():
        raise FhirError("not-found", "there is no such package")
    return job


async def package_of(context: Context, id: str) -> tuple[bytes, int] | None:
    """(content, octets) of a finished package; None while it is being made. One that failed is refused with the reason."""
    job = await _found(context, id)
    if job.state == "running" and job.detail["began"] + LONGEST_MS < context.now_ms():
        await _close(id, "failed", problem="exception", words="the server that made this package has stopped: ask again")
        job = await _found(context, id)
    if job.state == "failed":
        raise FhirError(job.detail.get("problem", "exception"), job.detail.get("words", "the package was not made"))
    return (bytes.fromhex(job.detail["content"]), job.detail["octets"]) if job.state == "done" else None


async def remove(context: Context, id: str) -> None:
    """Forget a package; it can then not be read any more."""
    job = await _found(context, id)
    await Job.objects(pk=id).delete()
    await context.store.destroy_dossier(int(job.detail["dossier"]))


async def _forget_old(context: Context) -> None:
    """Remove packages whose life is over; their ids tell when they were asked for."""
    before = datetime.fromtimestamp((context.now_ms() - LIFE_MS) / 1000, UTC)
    for job in await Job.objects(pk__gte=f"{KIND}-", pk__lt=f"{KIND}-{before:%Y%m%d%H%M%S}").to_list():
        await Job.objects(pk=job.id).delete()
        await context.store.destroy_dossier(int(job.detail["dossier"]))
