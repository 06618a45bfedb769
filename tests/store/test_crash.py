"""mongod killed with 9 in the middle of writing: what was acknowledged is there, what was written together is there together.

https://www.mongodb.com/docs/manual/core/journaling/
"""

import asyncio
import os
import random
import signal
import time

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change

from .making import changed, new_row


@pytest.fixture
async def own(tmp_path):
    """An embedded mongod of this test's own, and a store in it."""
    embedded = Embedded.start(tmp_path, cache_gb=0.25, extra_parameters=("notablescan=true",))
    store = await Store.open(embedded.uri, data_dir=tmp_path)
    yield embedded, store
    await store.close()
    embedded.stop()


async def killing(embedded, times: int, chance: random.Random) -> None:
    for _ in range(times):
        await asyncio.sleep(chance.uniform(0.1, 0.5))
        before = embedded.process
        os.kill(before.pid, signal.SIGKILL)
        await asyncio.to_thread(wait_for_another, embedded, before)


def wait_for_another(embedded, before) -> None:
    while embedded.process is before or not embedded.owned or not embedded._accepts_writes():
        time.sleep(0.05)


async def test_commits_are_all_or_nothing_and_acknowledged_ones_stay(own):
    embedded, store = own
    shared = new_row(store, body=b"0")
    await store.create(shared)
    groups, acknowledged, refused, single = [], set(), [], []
    stop = asyncio.Event()

    async def writer():
        while not stop.is_set():
            rows = [new_row(store, "Observation", dossier=0) for _ in range(20)]
            groups.append(rows)
            try:
                await store.commit([Change(row, None) for row in rows])
                acknowledged.add(rows[0].key)
            except FhirError as error:
                refused.append(error.status)

    async def creator():
        while not stop.is_set():
            row = new_row(store)
            try:
                await store.create(row)
                single.append(row)
            except FhirError as error:
                refused.append(error.status)

    updates = []

    async def updater():
        while not stop.is_set():
            try:
                row = await store.load(shared.key)
                following = changed(shared, body=b"%d" % (int(row.body) + 1), updated_ms=row.updated_ms + 1)
                await store.commit([Change(following, row.version)])
                updates.append(following.version)
            except FhirError as error:
                refused.append(error.status)

    tasks = [asyncio.create_task(work()) for work in (writer, writer, writer, creator, creator, updater)]
    await killing(embedded, 3, random.Random(1))
    # However slow the machine is: it shows something once each of them was acknowledged some times.
    for _ in range(600):
        await asyncio.sleep(0.1)
        if min(len(acknowledged), len(single), len(updates)) > 5:
            break
    stop.set()
    await asyncio.gather(*tasks)
    assert min(len(acknowledged), len(single), len(updates)) > 5
    assert set(refused) <= {503}
    for rows in groups:
        present = len(await store.load_many([row.key for row in rows]))
        assert present in (0, 20)
        assert present == 20 or rows[0].key not in acknowledged
    assert len(await store.load_many([row.key for row in single])) == len(single)
    # One writer: each acknowledged update counts once, none was done twice; one refused as unknown may have been done.
    count = int((await store.load(shared.key)).body)
    assert len(updates) <= count <= len(updates) + len(refused)
    assert await store.history_count(key=shared.key) == count + 1


async def test_a_store_whose_mongodb_is_away_says_so_and_recovers(tmp_path):
    embedded = Embedded.start(tmp_path, cache_gb=0.25, keep=False)
    store = await Store.open(embedded.uri + "&serverSelectionTimeoutMS=300", data_dir=tmp_path)
    row = new_row(store)
    await store.create(row)
    os.kill(embedded.process.pid, signal.SIGKILL)
    embedded.process.wait()
    assert await store.ping() is False
    with pytest.raises(FhirError) as raised:
        await store.load(row.key)
    assert (raised.value.status, raised.value.headers) == (503, {"Retry-After": "2"})
    again = Embedded.start(tmp_path, cache_gb=0.25, keep=False)
    assert (await store.load(row.key)).body == row.body
    assert await store.ping() is True
    await store.close()
    again.stop()
    embedded.stop()
