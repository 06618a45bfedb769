"""`$import`: what was sent is kept sealed, imported in the background, and reported; another server goes on when this one stops.

https://hl7.org/fhir/uv/bulkdata/export.html (the pattern of the answers) ; exactly once: see exchange/engine.py
"""

import asyncio
import base64
import contextlib
import io
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from fhir_dmp.consent.access import REFUSED
from fhir_dmp.errors import FhirError, Issue, outcome_value
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.importer import Importer
from fhir_dmp.exchange.inputs import Item, lines, whole
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.pool import Here, Workers
from fhir_dmp.exchange.processes import started
from fhir_dmp.exchange.results import Counts, Result
from fhir_dmp.exchange.rules import FEED, SANDBOX, Rules
from fhir_dmp.fhir import json
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.settings import Settings
from fhir_dmp.store.ledger import Ledger
from fhir_dmp.store.records import Job
from fhir_dmp.store.resources import Store

log = logging.getLogger("fhir_dmp.import")

KIND = "import"
PREFIX = "import-"
# Imports that one server process runs at a time.
AT_ONCE = 4
BEAT_SECONDS = 2
# A running job says that it lives; one that is silent for so long has lost its server, and whoever looks goes on with it.
SILENCE_MS = 20_000
ATTEND_SECONDS = 15
LIFE_MS = 24 * 3600 * 1000
# More than this is work for a process of its own, beside the one that serves.
LITTLE = 2 * 1024 * 1024
NAME = "input"

_running: dict[asyncio.Task, str] = {}


def may_send(context: Context, rules: Rules) -> None:
    """A host sends as itself, the feed as the feed; 403 in one wording otherwise."""
    actor = context.actor
    own = {"host": actor.host in (rules.source, rules.host), "feed": rules.kind == FEED}
    if actor.kind != "system" and not own.get(actor.kind, False):
        raise FhirError("forbidden", REFUSED)


async def sender(context: Context, source: str) -> Rules:
    """The rules of a source, for who may send as it; that it was disabled is told to nobody else."""
    one = await sources.registered(context.store, source)
    rules = sources.rules(one)
    may_send(context, rules)
    sources.admit(one)
    return rules


async def start(context: Context, source: str, body: bytes, *, ndjson: bool, sealed: tuple[str, ...] = ()) -> str:
    """Keep what was sent and begin to import it; the id of the job. sealed: (signer, kid) of its seal, where that is beside it."""
    rules = await sender(context, source)
    sources.by_itself(rules)
    if len(_running) >= AT_ONCE:
        raise FhirError("throttled", f"{AT_ONCE} imports are running, try again later", headers={"Retry-After": "30"})
    await forget_old(context.store)
    dossier = context.store.new_dossier()
    content = await context.store.contents.write(_pieces(body), dossier)
    now = context.now_ms()
    token = base64.b32encode(context.random(16)).decode().rstrip("=").lower()
    job = Job(
        id=f"{PREFIX}{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d%H%M%S}-{token}",
        kind=KIND,
        state="running",
        source=source,
        total=len(body),
        created=datetime.fromtimestamp(now / 1000, UTC),
        detail={
            "asker": reader_digest(context).hex(),
            "dossier": str(dossier),
            "content": content.id.hex(),
            "ndjson": ndjson,
            "sealed": list(sealed),
            "base": context.base_url,
            "beat": now,
        },
    )
    await job.insert()
    _begin(context, job, rules)
    await asyncio.sleep(0)  # a task that is stopped before its first step could not say so
    return job.id


def _begin(context: Context, job: Job, rules: Rules) -> None:
    acting = context_of(context.store, context.settings, rules, job.detail["base"])
    task = asyncio.create_task(_Work(acting, job, rules).run())
    _running[task] = job.id
    task.add_done_callback(lambda done: _running.pop(done, None))


async def stop() -> None:
    """End what still runs, before the store closes; it is gone on with by whoever looks for it."""
    tasks = list(_running)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def forget_old(store: Store) -> None:
    """Remove jobs whose life is over, with what was sent; their ids tell when they began."""
    before = datetime.fromtimestamp((store.clock() - LIFE_MS) / 1000, UTC)
    for job in await Job.objects(pk__gte=PREFIX, pk__lt=f"{PREFIX}{before:%Y%m%d%H%M%S}").to_list():
        if job.state != "running":
            await remove(store, job)


class _Work:
    """One running import."""

    def __init__(self, context: Context, job: Job, rules: Rules) -> None:
        self.context, self.job, self.rules = context, job, rules
        self.told: list[Result] = []
        self.done = 0

    async def run(self) -> None:
        """Import, then say so; whatever happens but an end of the server, the job ends with a word."""
        beating = asyncio.create_task(self._beat())
        try:
            await Ledger(self.context.store).ready()
            counts = await self._import()
            await self._close(counts)
        except asyncio.CancelledError:
            return  # the job stays as it is, running and silent
        except FhirError as error:
            await self._failed(error.kind, error.message)
        except Exception as error:
            log.error("an import failed", exc_info=error)
            await self._failed("exception", "the import failed: send it again")
        finally:
            beating.cancel()

    async def _import(self) -> Counts:
        store, detail = self.context.store, self.job.detail
        body = await store.contents.read_all(bytes.fromhex(detail["content"]), self.job.total)
        self.told, self.done = [], 0

        def items() -> Iterator[Item]:
            found = lines(NAME, io.BytesIO(body)) if detail["ndjson"] else whole(NAME, io.BytesIO(body))
            sealed = tuple(detail.get("sealed", ()))
            return (item._replace(sealed=sealed) for item in found)

        def consumed(size: int) -> None:
            self.done += size

        pool = Here(self.context, self.rules, self.job.id)
        if len(body) > LITTLE:
            pool = await Workers.start([started()], self.context.settings, self.context.base_url, self.rules, self.job.id)
        try:
            return await Importer(pool, self.told.append, consumed, people_first=not self.rules.plain).run(items)
        finally:
            await pool.close()

    async def _close(self, counts: Counts) -> None:
        dossier = int(self.job.detail["dossier"])
        report = await self.context.store.contents.write(_report(self.told), dossier)
        detail = {
            "report": report.id.hex(),
            "accepted": counts.accepted,
            "known": counts.known,
            "quarantined": counts.quarantined,
            "entries": counts.total,
        }
        await _say(self.job, "done", detail, set__done=self.job.total, set__refused=counts.refused)

    async def _failed(self, problem: str, words: str) -> None:
        with contextlib.suppress(FhirError):
            await _say(self.job, "failed", {"problem": problem, "words": words})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await Job.objects(pk=self.job.id, state="running").update(
                    set__done=min(self.done, self.job.total), set__detail__beat=self.context.now_ms(), set__detail__seen=len(self.told)
                )
            except Exception as error:
                log.warning("an import could not tell its progress", exc_info=error)


async def _say(job: Job, state: str, detail: dict, **fields: object) -> None:
    """The end of a running job."""
    said = {f"set__detail__{name}": value for name, value in detail.items()}
    await Job.objects(pk=job.id, state="running").update(set__state=state, set__finished=datetime.now(UTC), **said, **fields)


# What is asked about a job


@dataclass(frozen=True, slots=True)
class State:
    """head: the answer as a Parameters value, without the report. report: its content, None while it runs."""

    head: dict
    report: bytes | None = None


async def job_of(context: Context, id: str) -> Job:
    """The job, for whoever asked for it; for anybody else there is none."""
    job = await Job.get(id) if id.startswith(PREFIX) and len(id) <= 64 else None
    if job is None or job.kind != KIND or job.detail.get("asker") != reader_digest(context).hex() or _is_over(context, job):
        raise FhirError("not-found", "there is no such import")
    return job


def _is_over(context: Context, job: Job) -> bool:
    """Whether the life of a job that has ended is over."""
    return job.state != "running" and job.created.replace(tzinfo=UTC).timestamp() * 1000 + LIFE_MS < context.now_ms()


async def state_of(context: Context, id: str) -> State:
    """How far it is. One that failed is refused with the reason; one whose server is gone goes on here."""
    job = await job_of(context, id)
    if job.state == "running" and context.now_ms() - job.detail["beat"] > SILENCE_MS:
        await go_on(context, job)
        job = await job_of(context, id)
    if job.state == "failed":
        raise FhirError(job.detail.get("problem", "exception"), job.detail.get("words", "the import failed: send it again"))
    told = [("state", "valueCode", "completed" if job.state == "done" else "in-progress"), ("source", "valueString", job.source)]
    told += [("bytes", "valueDecimal", job.total), ("bytesDone", "valueDecimal", job.done)]
    if job.state == "done":
        told += [(name, "valueInteger", job.detail[name]) for name in ("entries", "accepted", "known", "quarantined")]
        told.append(("refused", "valueInteger", job.refused))
    else:
        told.append(("entries", "valueInteger", job.detail.get("seen", 0)))
    head = {"resourceType": "Parameters", "parameter": [{"name": name, kind: value} for name, kind, value in told]}
    return State(head, bytes.fromhex(job.detail["report"]) if job.state == "done" else None)


async def go_on(context: Context, job: Job) -> None:
    """Take over an import whose server is gone; of several who try, one does."""
    silent = job.detail["beat"]
    taken = await Job.objects(pk=job.id, state="running", detail__beat=silent).update(set__detail__beat=context.now_ms())
    if taken:
        await Ledger(context.store).end_abandoned()
        try:
            rules = await sources.rules_of(context.store, job.source)
        except FhirError as error:  # the source was disabled meanwhile
            await _say(job, "failed", {"problem": error.kind, "words": error.message})
            return
        _begin(context, job, rules)


async def attend(store: Store, settings: Settings) -> None:
    """Look now and then for imports whose server is gone, and go on with them."""
    context = context_of(store, settings, Rules(source=SANDBOX))
    while True:
        try:
            for job in await Job.objects(pk__gte=PREFIX, pk__lt=f"{PREFIX}~", state="running").to_list():
                if context.now_ms() - job.detail["beat"] > SILENCE_MS:
                    await go_on(context, job)
        except Exception as error:
            log.warning("imports without a server were not looked for", exc_info=error)
        await asyncio.sleep(ATTEND_SECONDS)


async def cancel(context: Context, id: str) -> None:
    """Forget a job that has ended. What it imported stays."""
    job = await job_of(context, id)
    if job.state == "running":
        raise FhirError("conflict", "this import is running: wait for its end")
    await remove(context.store, job)


async def remove(store: Store, job: Job) -> None:
    """Remove a job; what was sent and what was reported can no longer be read."""
    await store.destroy_dossier(int(job.detail["dossier"]))
    await Job.objects(pk=job.id).delete()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 256 * 1024):
        yield body[start : start + 256 * 1024]


async def _report(told: list[Result]) -> AsyncIterator[bytes]:
    """The results as a Bundle of answers, each with its place, in pieces."""
    yield b'{"resourceType":"Bundle","type":"batch-response"'
    for number, result in enumerate(told):
        yield b',"entry":[' if number == 0 else b","
        yield json.dump(_entry(result))
    yield b"]}" if told else b"}"


def _entry(result: Result) -> dict:
    issues = result.issues or (Issue("information", "informational", "imported"),)
    outcome = outcome_value(issues)
    for issue in outcome["issue"]:
        issue["details"] = {"text": result.place}
    status = f"{result.status} {HTTPStatus(result.status).phrase}"
    return {"response": {"status": status, **({"location": result.location} if result.location else {}), "outcome": outcome}}
