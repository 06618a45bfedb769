"""Several reads at one moment of the database.

https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/
"""

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Change

from .making import changed, new_row


async def test_reads_at_one_moment_see_nothing_of_what_is_written_meanwhile(store):
    rows = [new_row(store, updated_ms=1000 + n) for n in range(6)]
    for row in rows:
        await store.create(row)
    moment = Moment()
    first = await store.find(types=("Patient",), limit=3, moment=moment)
    assert moment.time is not None
    await store.commit([Change(changed(rows[0], updated_ms=9000), rows[0].version)])
    await store.commit([Change(changed(rows[1], updated_ms=9001, deleted=True, method="DELETE", body=None), rows[1].version)])
    await store.create(new_row(store, updated_ms=500))
    again = Moment(moment.time)
    second = await store.find(types=("Patient",), limit=10, after=first[-1].place, moment=again)
    assert [row.key for row in first + second] == [row.key for row in reversed(rows)]
    assert await store.count(types=("Patient",), moment=again) == 6 == len(await store.selves(moment=again))
    assert len([row async for row in store.scan(batch=2, moment=again)]) == 6
    assert again.time == moment.time
    assert await store.count() == 6  # one less, one more
    assert (await store.find(limit=1))[0].updated_ms == 9000


async def test_a_count_can_set_the_moment(store):
    moment = Moment()
    assert await store.count(moment=moment) == 0
    await store.create(new_row(store))
    assert await store.find(moment=moment) == [] and len(await store.find()) == 1


async def test_a_moment_too_far_back_is_told(store):
    await store.create(new_row(store))
    moment = Moment()
    await store.find(moment=moment)
    long_ago = Moment(moment.time - (100_000 << 32))
    with pytest.raises(FhirError) as raised:
        await store.find(moment=long_ago)
    assert raised.value.status == 410


async def test_an_erased_dossier_is_unreadable_at_every_moment(store):
    row = new_row(store)
    await store.create(row)
    moment = Moment()
    assert (await store.find(moment=moment))[0].body == row.body
    await store.destroy_dossier(row.dossier)
    assert (await store.find(moment=moment))[0].body is None


async def test_a_transaction_has_its_own_moment(store):
    await store.create(new_row(store))

    async def work(tx):
        return await tx.count(moment=Moment())

    assert await store.transact(work) == 1
