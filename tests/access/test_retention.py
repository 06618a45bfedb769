"""A dossier closed over HTTP carries the instant of its closing; ten years later it is destroyed, and reopened it is not."""

import asyncio
import json
import os
import time

from pymongo import MongoClient

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.dmp.lifecycle import destruction_ms
from fhir_dmp.interactions import retention
from fhir_dmp.store.resources import Store
from tests.access.world import World, refused
from tests.serving import serving

DATABASE = f"retention_{os.getpid()}"


def swept(mongod, server, now_ms: int) -> tuple[int, int]:
    """Sweep as the server would at that time: (dossiers destroyed, traces of destructions)."""

    async def work() -> tuple[int, int]:
        store = await Store.open(mongod.uri, DATABASE, data_dir=server.data, clock=lambda: now_ms)
        try:
            number = await retention.sweep(store, Recorder(store))
            events = [json.loads(row.body) async for row in store.scan(types=["AuditEvent"], dossiers=[0])]
            return number, len([one for one in events if one["subtype"][0]["code"] == "erasure"])
        finally:
            await store.close()

    return asyncio.run(work())


def test_ten_years_after_its_closing_a_dossier_is_gone(mongod, tmp_path):
    environment = {"FHIR_DMP_DATABASE": DATABASE}
    with serving(tmp_path, "--mongodb-uri", mongod.uri, "--workers", "1", environment=environment, sandbox=False) as server:
        world = World(server)
        anna = world.professional()
        closed, reopened, kept = (world.open(traitant=anna) for _ in range(3))
        document = world.deposit(closed, anna)
        for dossier in (closed, reopened):
            answer = world.holder(dossier).run(f"{dossier.path}/$close", reason="holder-request")
            assert answer.status_code == 200, answer.text
        answer = world.holder(reopened).run(f"{reopened.path}/$reactivate", reason="holder-request")
        assert answer.status_code == 200, answer.text
        later = time.time_ns() // 1_000_000

        early = destruction_ms(later - 600_000)
        assert swept(mongod, server, early) == (0, 0)
        assert swept(mongod, server, destruction_ms(later)) == (1, 1)
        assert swept(mongod, server, destruction_ms(later) + 3_600_000) == (0, 1)

        holder = world.holder(closed)
        gone, nowhere = holder.get(closed.path), world.holder(closed).get(f"Patient/{'b' * 26}")
        assert gone.status_code == nowhere.status_code and gone.content == nowhere.content
        assert refused(anna.get(f"DocumentReference?patient={closed.id}"))
        assert anna.get(f"DocumentReference/{document['id']}").status_code == 404
        for dossier in (reopened, kept):
            assert world.holder(dossier).get(dossier.path).status_code == 200
    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)
