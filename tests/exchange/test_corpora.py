"""The count of what real sources bring: nothing is lost, and what is lost would be told."""

import os
import shutil
from collections import Counter

from pymongo import MongoClient

from fhir_dmp.bench import mixed
from fhir_dmp.exchange.inputs import inputs, items
from fhir_dmp.exchange.results import Result
from scripts import corpora
from tests.exchange.loading import FIXTURES
from tests.interactions.making import dumped


async def test_every_entry_is_told_of(mongod, data_dir, tmp_path):
    folder = tmp_path / f"own-{os.getpid()}"
    shutil.copytree(FIXTURES, folder)
    (folder / "dossier.ndjson").write_bytes(b"".join(dumped(one) + b"\n" for one in mixed.dossier(5)))
    try:
        found = await corpora.sent(mongod.uri, data_dir, folder, "cabinet", "care-record")
    finally:
        with MongoClient(mongod.uri) as client:
            client.drop_database(f"{folder.name}-cabinet")
    assert found.lost == 0 and found.entries > 35 and found.states["accepted"] == 20
    assert found.reasons.total() == found.states["refused"] + found.states["quarantined"] == found.entries - 20
    assert "| cabinet | care-record |" in corpora.written([found])


def test_what_nobody_speaks_of_is_lost():
    listed = [item for one in inputs([str(FIXTURES)]) for item in items(one)]
    told = [Result(listed[0].place, 201, "Patient/a/_history/b")]
    found = corpora.counted("own", "cabinet", listed, told)
    assert found.states == Counter(accepted=corpora.entries_of(listed[0])) and found.lost == found.entries - found.states.total() > 0
