"""What the host decided outside of dossiers outlives a restore: it is in the row of the common dossier, and in the journal of acts."""

import pytest

from fhir_dmp.store import revocations
from fhir_dmp.store.resources import Store
from tests.store.test_acts import documents, put_back

NOW = 1_795_000_000_000
OFF, ON = ["2026-11-18T11:46:40.000Z", "disabled", "clé volée"], ["2026-11-18T11:46:41.000Z", "enabled", ""]


@pytest.fixture
async def store(mongod, database, tmp_path):
    """An empty store with a journal of its own."""
    store = await Store.open(mongod.uri, database, data_dir=tmp_path)
    yield store
    await store.close()


async def test_switches_and_forgotten_keys_are_there_again_after_a_restore(store):
    await revocations.switched(store, "lab.one", ON, NOW)
    before = await documents(store)
    await revocations.switched(store, "lab.one", OFF, NOW + 1)
    await revocations.switched(store, "lab-one", ON, NOW + 2)
    await revocations.forgotten(store, {"b", "a"}, NOW + 3)
    await revocations.forgotten(store, {"c", "a"}, NOW + 4)
    for _ in range(2):
        assert await revocations.switches(store) == {"lab.one": OFF, "lab-one": ON}
        assert await revocations.kids(store) == {"a", "b", "c"}
        await put_back(store, before)
        assert (await revocations.switches(store), await revocations.kids(store)) == ({"lab.one": ON}, frozenset())
        assert (await store.acts.replay()).rows


async def test_the_last_word_counts_also_where_the_clock_went_back(store):
    before = await documents(store)
    await revocations.switched(store, "lab", ON, NOW)
    await revocations.switched(store, "lab", OFF, NOW - 5000)
    await put_back(store, before)
    await store.acts.replay()
    assert await revocations.switches(store) == {"lab": OFF}


async def test_what_was_said_of_a_source_ends_when_another_one_takes_its_id(store):
    await revocations.begun_anew(store, "lab")
    await revocations.switched(store, "lab", OFF, NOW)
    before = await documents(store)
    await revocations.begun_anew(store, "lab")
    for _ in range(2):
        assert await revocations.switches(store) == {}
        await put_back(store, before)
        await store.acts.replay()
