"""Whether a restore left something undone is known, in a database that was never restored too."""

import pytest

from fhir_dmp.store import restored


@pytest.mark.parametrize("before", [False, True])
async def test_what_came_back_from_the_journal_is_left_undone_until_it_is_done(store, before):
    if before:
        await restored.note(store.connection, 7)
        await restored.whole(store.connection)
    told = await restored.last(store.connection)
    assert await restored.is_whole(store.connection)
    await restored.undone(store.connection)
    assert not await restored.is_whole(store.connection)
    assert await restored.last(store.connection) == told
    await restored.whole(store.connection)
    assert await restored.is_whole(store.connection)


async def test_a_restore_leaves_undone_whatever_the_backup_says(store):
    await restored.undone(store.connection)
    await restored.note(store.connection, 7)
    assert not await restored.is_whole(store.connection)
