"""What was sent to be imported, and packages, are kept for a day, whoever asks for something afterwards or not."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fhir_dmp.app import ended, tidy
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import import_job, package_job
from fhir_dmp.exchange.import_job import LIFE_MS
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.settings import Settings
from fhir_dmp.store.records import Job

DAY = timedelta(milliseconds=LIFE_MS)
KINDS = {"import": import_job.job_of, "package": package_job.making.found, "takeover": package_job.taking.found}


async def octets():
    yield b"what was sent"


async def begun(context, kind: str, state: str, ago: timedelta) -> tuple[Job, bytes]:
    """A job that began so long ago, and the content it keeps."""
    store, at = context.store, datetime.now(UTC) - ago
    dossier = store.new_dossier()
    content = await store.contents.write(octets(), dossier)
    detail = {"asker": reader_digest(context).hex(), "dossier": str(dossier), "content": content.id.hex()}
    detail["beat"] = context.now_ms()
    detail["began"] = int(at.timestamp() * 1000)
    job = Job(id=f"{kind}-{at:%Y%m%d%H%M%S}-{state}", kind=kind, state=state, source="sandbox", total=13, created=at, detail=detail)
    await job.insert()
    return job, content.id


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_older_than_a_day_is_told_to_nobody_and_removed_with_its_content(store, data_dir, kind):
    context = context_of(store, Settings(data=data_dir), Rules(source="sandbox"), "http://localhost/fhir")
    late = timedelta(minutes=1)
    old, sent = await begun(context, kind, "done", DAY + late)
    young, kept = await begun(context, kind, "done", DAY - late)
    assert await store.contents.read_all(sent, 13) == b"what was sent"
    with pytest.raises(FhirError, match="there is no such"):
        await KINDS[kind](context, old.id)
    assert (await KINDS[kind](context, young.id)).id == young.id
    tidying = asyncio.create_task(tidy(store, "localhost"))
    for _ in range(1000):
        if not await Job.get(old.id):
            break
        await asyncio.sleep(0.02)
    await ended([tidying])
    with pytest.raises(FhirError):
        await store.contents.read_all(sent, 13)
    assert await store.contents.read_all(kept, 13) == b"what was sent"
    assert (await KINDS[kind](context, young.id)).id == young.id


async def test_an_import_that_runs_is_left_to_run(store, data_dir):
    context = context_of(store, Settings(data=data_dir), Rules(source="sandbox"), "http://localhost/fhir")
    long, sent = await begun(context, "import", "running", DAY + timedelta(hours=1))
    await import_job.forget_old(store)
    assert (await import_job.job_of(context, long.id)).id == long.id
    assert await store.contents.read_all(sent, 13) == b"what was sent"
