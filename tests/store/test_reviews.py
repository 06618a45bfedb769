"""What waits for the host's physician: once, in order, gone with its dossier, nothing of it in the clear."""

import os

from fhir_dmp.store import reviews
from fhir_dmp.store.reviews import Review


async def waiting(store, dossier: int, at_ms: int, id: bytes) -> Review:
    review = Review(id, dossier, at_ms, True, b'{"why":"choc"}')

    async def work(transaction) -> None:
        await reviews.add(transaction, review)

    await store.transact(work)
    return review


async def test_pages_are_in_the_order_of_the_acts(store):
    dossier = store.vault.new_dossier(os.urandom)
    made = [await waiting(store, dossier, at, bytes([number]) * 16) for number, at in ((3, 10), (1, 20), (2, 20))]
    first = await reviews.listed(store, open=True, most=2)
    assert first == made[:2]
    assert await reviews.listed(store, open=True, most=2, after=first[-1].id) == made[2:]
    assert await reviews.one(store, made[0].id) == made[0] and await reviews.one(store, b"x" * 16) is None


async def test_one_is_closed_once(store):
    made = await waiting(store, store.vault.new_dossier(os.urandom), 10, b"a" * 16)
    after = made._replace(open=False, body=b"{}")

    async def work(transaction) -> bool:
        return await reviews.close(transaction, after)

    assert await store.transact(work) is True
    assert await store.transact(work) is False
    assert await reviews.listed(store, open=True, most=9) == []
    assert await reviews.listed(store, open=False, most=9) == [after]


async def test_a_review_goes_with_its_dossier(store):
    dossier = store.vault.new_dossier(os.urandom)
    made = await waiting(store, dossier, 10, b"b" * 16)
    (document,) = await store.connection.database[reviews.COLLECTION].find({"_id": made.id}).to_list()
    assert b"choc" not in bytes(document["b"])
    await store.destroy_key(dossier)
    assert await reviews.one(store, made.id) is None
    await store.remove_dossier(dossier)
    assert await store.connection.database[reviews.COLLECTION].count_documents({}, hint="dossier") == 0
