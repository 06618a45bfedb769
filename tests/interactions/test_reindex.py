"""A store whose index was computed by other definitions is indexed again, and then answers as one filled today."""

import os

from fhir_dmp.fhir import json
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import create, reindex, search_match
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings
from fhir_dmp.store import reindexing
from fhir_dmp.store.resources import wall_clock_ms
from tests.interactions.making import observation, patient

BASE = "http://localhost/fhir"


def context_of(store) -> Context:
    actor = Actor(kind="system", issuer="test", subject="test", expires=float("inf"))
    return Context(store, actor, Settings(), BASE, wall_clock_ms, os.urandom)


async def filled(store) -> list[tuple[str, list]]:
    """A few resources, and questions that find one each."""
    context = context_of(store)
    new = await create.run(context, "Patient", json.dump(patient("REINDEXER", birthDate="1979-03-15")))
    about = "/".join(new.location.split("/")[:2])
    value = {
        "valueQuantity": {"value": 7, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        "effectiveDateTime": "2026-01-02",
    }
    await create.run(context, "Observation", json.dump(observation(about, **value)))
    return [
        ("Patient", [("family", "reindexer")]),
        ("Patient", [("birthdate", "1979-03-15")]),
        ("Observation", [("code", "http://loinc.org|8302-2"), ("patient", about)]),
        ("Observation", [("date", "2026-01-02"), ("value-quantity", "7||kg")]),
    ]


async def found(store, questions) -> list[int]:
    return [len(await search_match.run(context_of(store), type_name, pairs, 2)) for type_name, pairs in questions]


async def test_rows_without_an_index_are_found_again_after_reindexing(sandbox_store):
    assert not await reindex.is_stale(sandbox_store)
    questions = await filled(sandbox_store)
    before = await sandbox_store.connection.database["resources"].find({"t": {"$gt": ""}}, hint="time").to_list()
    await sandbox_store.connection.database.command(
        {
            "update": "resources",
            "updates": [{"q": {"_id": row["_id"]}, "u": {"$unset": {"x": "", "g": "", "c": "", "n": ""}}} for row in before],
        }
    )
    assert await found(sandbox_store, questions) == [0, 0, 0, 0]
    assert await reindex.run(sandbox_store, (BASE,)) == 2
    assert await found(sandbox_store, questions) == [1, 1, 1, 1]
    after = await sandbox_store.connection.database["resources"].find({"t": {"$gt": ""}}, hint="time").to_list()
    assert [dict(row) for row in after] == [dict(row) for row in before]


async def test_a_store_indexed_by_other_definitions_is_stale_until_it_is_indexed_again(sandbox_store):
    await filled(sandbox_store)
    await reindexing.set_computed_by(sandbox_store, "another program")
    assert await reindex.is_stale(sandbox_store)
    told = []
    await reindex.run(sandbox_store, (BASE,), lambda done, total: told.append((done, total)))
    assert told == [(2, 2)]
    assert not await reindex.is_stale(sandbox_store)


async def test_a_resource_changed_meanwhile_keeps_its_own_index(sandbox_store):
    questions = await filled(sandbox_store)
    rows = [row async for row in sandbox_store.scan()]
    stale = [reindexing.Reindexed(row, reindex.entries_of(sandbox_store, row, (BASE,))) for row in rows]
    changed = next(row for row in rows if row.type == "Patient")
    await sandbox_store.connection.database.command(
        {"update": "resources", "updates": [{"q": {"_id": changed.key}, "u": {"$set": {"v": changed.version + 1}}}]}
    )
    assert await reindexing.replace_entries(sandbox_store, stale) == 1
    assert await found(sandbox_store, questions[2:]) == [1, 1]
