"""Every read goes through an index, and those that page need no sort.

https://www.mongodb.com/docs/manual/reference/explain-results/
"""

import pytest
from pymongo.errors import OperationFailure

from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change

from .making import changed, new_row


def stages(plan) -> set[str]:
    """Names of all stages in an explanation."""
    if isinstance(plan, dict):
        return {value for name, value in plan.items() if name == "stage"}.union(*(stages(value) for value in plan.values()))
    return set().union(*(stages(item) for item in plan)) if isinstance(plan, list) else set()


@pytest.fixture
async def commands(store, monkeypatch):
    """The find and aggregate commands that the store sends."""
    sent = []
    read = store._connection.read

    async def recording(command, session=None, moment=None):
        sent.append(command)
        return await read(command, session, moment)

    monkeypatch.setattr(store._connection, "read", recording)
    return sent


async def test_the_test_server_refuses_collection_scans(store):
    await store.create(new_row(store))
    with pytest.raises(OperationFailure, match="No indexed plans|notablescan|table scan"):
        await store._connection.read({"find": "resources", "filter": {"x": 5}})


async def test_every_read_uses_an_index(store, commands):
    dossiers = (store.new_dossier(), store.new_dossier())
    row = None
    for n in range(20):
        row = new_row(store, "Observation" if n % 2 else "Condition", dossier=dossiers[n % 2], g=(1, n), c=(2,), x=(3,))
        await store.commit([Change(row, None)])
        await store.commit([Change(changed(row), row.version)])
    one, both = ("Observation",), ("Observation", "Condition")
    current = await store.load(row.key)
    place = current.place
    paging = {"limit": 5, "after": place}
    await store.load_version(row.key, row.version)
    for options in (
        {"types": one},
        {"types": both},
        {},
        {"types": one, "dossiers": dossiers[:1]},
        {"types": both, "dossiers": dossiers},
        {"where": {"g": 1}, "hint": "selective", "types": one},
        {"where": {"c": 2}, "hint": "code", "types": one},
        {"where": {"_id": {"$in": [row.key]}}, "hint": "id"},
        {"where": {"l": {"$gte": row.updated_ms}}, "types": one},
    ):
        await store.find(**options, **paging)
        await store.find(**options, limit=5, before=place, descending=False)
        await store.count(**options)
        await store.selves(**options)
    sortless = len(commands)
    await store.find(dossiers=dossiers[:1])
    for options in ({"key": row.key}, {"types": one}, {}, {"types": both, "dossiers": dossiers}):
        await store.history(**options, before=current.history_place, since_ms=1, until_ms=row.updated_ms + 1)
        await store.history_count(**options)
    assert len(commands) > 60
    for number, command in enumerate(commands):
        asked = {name: value for name, value in command.items() if name != "readConcern"}
        plan = await store._connection.database.command("explain", asked, verbosity="queryPlanner")
        used = stages(plan)
        assert "COLLSCAN" not in used, (command, used)
        assert used & {"IXSCAN", "IDHACK", "COUNT_SCAN"}, (command, used)
        by_key = "_id" in str(command.get("hint", "_id"))
        if number < sortless and "sort" in command and not by_key:
            assert "SORT" not in used, (command, used)


async def test_batches_are_told_to_who_counts_them(mongod, data_dir, database):
    told = []
    store = await Store.open(mongod.uri, database, data_dir=data_dir, observe=lambda *said: told.append(said))
    row = new_row(store)
    await store.create(row)
    await store.commit([Change(changed(row), row.version)])
    await store.load_version(row.key, row.version)
    await store.close()
    assert {kind for kind, _ in told} == {"read", "vread", "create", "commit"}
    assert all(size >= 1 for _, size in told)
