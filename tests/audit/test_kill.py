"""A server killed with kill -9 while it traces and merges: what it acknowledged is there, no chain has a gap, the log goes on."""

import asyncio
import os
import random
import signal
import sys

import pytest
from pymongo import AsyncMongoClient

from fhir_dmp.audit.merger import Merger
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change
from tests.audit.making import new_patient, read_of
from tests.store.making import new_row


async def serve(uri: str, database: str, folder: str) -> None:
    """Trace and merge without end; print the request id of each trace once it is acknowledged."""
    from pathlib import Path

    store = await Store.open(uri, database, data_dir=folder)
    recorder, merger = Recorder(store), Merger(store, Path(folder) / database, seconds=0.002)
    patient = await new_patient(store)

    async def trace(worker: int) -> None:
        for number in range(1_000_000):
            name = f"r-{os.getpid()}-{worker}-{number}"
            trace = read_of(patient, request_id=name)
            if worker % 2:
                await store.commit([Change(new_row(store), None), *recorder.changes([trace])])
            else:
                await recorder.record([trace])
            os.write(1, f"{name}\n".encode())

    await asyncio.gather(merger.run(), *(trace(worker) for worker in range(6)))


@pytest.fixture
async def impatient(mongod):
    """A MongoDB that gives up the transactions of those who died after a second instead of a minute."""
    async with AsyncMongoClient(mongod.uri) as client:
        await client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 1})
        yield
        await client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 60})


async def test_killed_at_any_moment(mongod, data_dir, database, impatient):
    store = await Store.open(mongod.uri, database, data_dir=data_dir)
    acknowledged: set[bytes] = set()
    for _ in range(4):
        code = (
            f"import asyncio; from tests.audit.test_kill import serve; asyncio.run(serve({mongod.uri!r}, {database!r}, {str(data_dir)!r}))"
        )
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        acknowledged.add((await child.stdout.readline()).strip())
        await asyncio.sleep(random.uniform(0.05, 0.6))
        os.kill(child.pid, signal.SIGKILL)
        acknowledged |= set((await child.stdout.read()).split(b"\n")[:-1])
        await child.wait()
    stored = b"".join([row.body async for row in store.scan(types=["AuditEvent"])])
    assert len(acknowledged) > 20
    assert [name for name in acknowledged if b'"' + name + b'"' not in stored] == []
    report = await Verifier(store, data_dir / database).run()
    assert report.faults == []
    merger = Merger(store, data_dir / database, seconds=0.002)
    merger._holder = (await store.log._connection.database["meta"].find_one({"_id": "journal"}))["holder"]
    await merger.round()
    report = await Verifier(store, data_dir / database).run()
    assert (report.faults, report.unmerged) == ([], 0)
    await store.close()
