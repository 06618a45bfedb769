"""Processes of an import: forked where nothing else runs, started anew elsewhere; they end with who made them."""

import asyncio
import os
import signal
import threading

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.pool import Workers
from fhir_dmp.exchange.processes import forked, started
from fhir_dmp.exchange.rules import SANDBOX, Rules
from fhir_dmp.settings import Settings
from fhir_dmp.store.ledger import Ledger
from tests.interactions.making import dumped

ITEMS = [Item(f"a.ndjson:{number}", dumped({"resourceType": "Basic", "id": f"p{number}", "code": {"text": "x"}}), 0) for number in range(2)]


async def test_a_process_beside_a_server_imports_and_ends_and_one_that_dies_says_so(sandbox_store, mongod, data_dir, database):
    await Ledger(sandbox_store).ready()
    settings = Settings(data=data_dir, mongodb_uri=mongod.uri, database=database, sandbox=True)
    processes = [started(), started()]
    pool = await Workers.start(processes, settings, "http://localhost/fhir", Rules(source=SANDBOX, kind=SANDBOX), "job")
    told = await pool.run(ITEMS)
    assert [[one.status for one in results] for results in told] == [[201], [201]]
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(FhirError, match="a worker of the import failed: it has died"):
        await pool.run(ITEMS)
    await asyncio.wait_for(pool.close(), 30)
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


def test_a_process_with_threads_is_not_forked():
    over = threading.Event()
    beside = threading.Thread(target=over.wait)
    beside.start()
    try:
        with forked(2) as made:
            assert made == []
    finally:
        over.set()
        beside.join()
