"""Nobody in a batch suffers from another one; nothing of a large result is lost; no update is lost."""

import asyncio

import pytest

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError
from fhir_dmp.store.batching import Failed
from fhir_dmp.store.failures import AlreadyExists, Conflict
from fhir_dmp.store.ledger import Entry, Ledger, Receipt, Stored
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change

from .making import changed, new_row


async def test_what_cannot_be_stored_fails_alone(store, gather):
    existing = new_row(store)
    await store.create(existing)
    good = [new_row(store) for _ in range(40)]
    duplicate = changed(existing)
    too_large = new_row(store, x=tuple(range(1_200_000)))
    not_encodable = new_row(store, x=(2**64,))
    rows = [*good[:20], duplicate, too_large, not_encodable, *good[20:]]
    for write in (store.create, lambda row: store.commit([Change(row, None)])):
        results = await gather(*(write(row) for row in rows))
        assert [type(result) for result in results[20:23]] == [AlreadyExists, FhirError, FhirError]
        assert [result.kind for result in results[20:23]] == ["conflict", "too-long", "unprocessable"]
        assert [result for result in results[:20] + results[23:] if result is not None] == []
        assert len(await store.load_many([row.key for row in good])) == 40
        good = [new_row(store) for _ in range(40)]
        rows = [*good[:20], duplicate, too_large, not_encodable, *good[20:]]


async def test_one_conflict_in_a_group_of_transactions_leaves_the_others_alone(store, gather):
    rows = [new_row(store) for _ in range(30)]
    await asyncio.gather(*(store.create(row) for row in rows))
    expected = [row.version if n != 13 else 99 for n, row in enumerate(rows)]
    results = await gather(*(store.commit([Change(changed(row), version)]) for row, version in zip(rows, expected, strict=True)))
    assert [n for n, result in enumerate(results) if result is not None] == [13]
    assert isinstance(results[13], Conflict) and results[13].current == rows[13].version


async def test_results_over_16_megabytes_lose_nothing(store):
    dossier = store.new_dossier()
    body = b'"' + b"a" * 900_000 + b'"'
    rows = [new_row(store, dossier=dossier, body=body) for _ in range(30)]
    await asyncio.gather(*(store.create(row) for row in rows))
    loaded = await asyncio.gather(*(store.load(row.key) for row in rows))
    assert [row.body == body for row in loaded] == [True] * 30
    assert len(await store.load_many([row.key for row in rows])) == 30
    assert len(await store.find(dossiers=(dossier,), limit=1000)) == 30

    async def counted(tx):
        return len(await tx.find(dossiers=(dossier,), limit=1000)), len(await tx.load_many([row.key for row in rows]))

    assert await store.transact(counted) == (30, 30)


async def test_results_over_101_rows_lose_nothing(store):
    rows = [new_row(store, "Observation", dossier=0, self64=n + 1) for n in range(450)]
    await store.commit([Change(row, None) for row in rows])
    assert len(await store.load_many([row.key for row in rows])) == 450
    assert len(await asyncio.gather(*(store.load(row.key) for row in rows))) == 450
    assert len(await store.find(types=("Observation",), limit=1000)) == 450
    assert sorted(await store.selves(types=("Observation",))) == list(range(1, 451))
    assert len([row async for row in store.scan(batch=200)]) == 450
    assert len(await store.history(limit=1000)) == 450


@pytest.fixture
async def second(mongod, data_dir, database, store):
    """The same store as another process has it open."""
    second = await Store.open(mongod.uri, database, data_dir=data_dir)
    yield second
    await second.close()


async def test_fifty_writers_with_if_match_lose_no_update(store, second):
    row = new_row(store, body=b"0")
    await store.create(row)
    acknowledged = []

    async def writer(number):
        own = (store, second)[number % 2]
        for _ in range(3):
            current = await own.load(row.key)
            version = changed(row, body=str(number).encode(), updated_ms=current.updated_ms + 1)
            try:
                await own.commit([Change(version, current.version)])
            except Conflict:
                continue
            acknowledged.append(version.version)

    await asyncio.gather(*(writer(n) for n in range(50)))
    history = await store.history(key=row.key, limit=1000)
    assert acknowledged
    assert len(history) == 1 + len(acknowledged) == await store.history_count(key=row.key)
    assert {version.version for version in history} == {row.version, *acknowledged}
    assert len({version.updated_ms for version in history}) == len(history)


async def test_of_many_creates_with_one_key_one_succeeds(store, second, gather):
    row = new_row(store)
    rivals = [changed(row, method="POST") for _ in range(20)]
    writes = [
        own.create(rival) if n % 4 < 2 else own.commit([Change(rival, None)])
        for n, rival in enumerate(rivals)
        for own in [(store, second)[n % 2]]
    ]
    results = await gather(*writes)
    won = [rival for rival, result in zip(rivals, results, strict=True) if result is None]
    assert len(won) == 1 and all(isinstance(result, AlreadyExists) for result in results if result is not None)
    assert (await second.load(row.key)).version == won[0].version


async def test_conditional_creates_of_two_processes_make_one_resource(store, second):
    async def create_if_none(own):
        async def work(tx):
            if await tx.count({"g": 42}, hint="selective"):
                return False
            await tx.write([Change(new_row(store, g=(42,)), None)])
            return True

        return await own.transact(work, claims=[b"identifier=42"])

    created = await asyncio.gather(*(create_if_none((store, second)[n % 2]) for n in range(20)))
    assert created.count(True) == 1 == await store.count()


async def test_a_cancelled_commit_is_done_or_not_but_never_half(store):
    groups = [[new_row(store, dossier=0) for _ in range(3)] for _ in range(30)]
    tasks = [asyncio.create_task(store.commit([Change(row, None) for row in rows])) for rows in groups]
    for n, task in enumerate(tasks):
        if n % 3 == 0:
            await asyncio.sleep(0.001)
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for rows, result in zip(groups, results, strict=True):
        present = len(await store.load_many([row.key for row in rows]))
        assert present == 3 if result is None else present in (0, 3)


async def test_two_rows_are_always_changed_together(store):
    """Transfers between two rows by many at once: readers in a transaction never see half of one."""
    first, second = new_row(store, body=b"100"), new_row(store, body=b"0")
    await store.commit([Change(first, None), Change(second, None)])

    async def transfer(tx):
        a, b = await tx.load(first.key), await tx.load(second.key)
        assert int(a.body) + int(b.body) == 100
        await tx.write(
            [
                Change(changed(first, body=b"%d" % (int(a.body) - 1), updated_ms=a.updated_ms + 1), a.version),
                Change(changed(second, body=b"%d" % (int(b.body) + 1), updated_ms=b.updated_ms + 1), b.version),
            ]
        )

    await asyncio.gather(*(store.transact(transfer) for _ in range(12)))
    rows = await store.load_many([first.key, second.key])
    assert (rows[first.key].body, rows[second.key].body) == (b"88", b"12")


async def test_a_new_dossier_has_one_key_however_many_write_first(store):
    dossier = store.new_dossier()
    rows = [new_row(store, "Observation", dossier=dossier) for _ in range(30)]
    await asyncio.gather(*(store.create(row) if n % 2 else store.commit([Change(row, None)]) for n, row in enumerate(rows)))
    assert [row.body for row in (await store.load_many([row.key for row in rows])).values()] == [row.body for row in rows]


async def test_a_deletion_cannot_be_created(store):
    with pytest.raises(ValueError):
        await store.create(new_row(store, deleted=True, body=None))


async def test_one_commit_does_not_write_a_resource_twice(store):
    row = new_row(store)
    with pytest.raises(Conflict) as raised:
        await store.commit([Change(row, None), Change(changed(row), row.version)])
    assert raised.value.index == 1
    assert await store.load(row.key) is None


async def test_what_joins_a_lineage_is_stored_only_if_nobody_acted_on_it_since(store):
    dossier = store.new_dossier()
    root = new_row(store, dossier=dossier, visible={"lb": 0, "rt": 7, "st": 0})
    await store.create(root)
    await store.commit([Change(new_row(store, dossier=dossier), None)], acted={root.key: 0})
    await store.transact(lambda tx: tx.relabel(dossier, 7, add=1, remove=0, at_ms=5))
    late, claims = new_row(store, dossier=dossier), [b"lineages"]
    with pytest.raises(Conflict):
        await store.commit([Change(late, None)], claims=claims, acted={root.key: 0})
    with pytest.raises(Conflict):
        await store.transact(lambda tx: tx.unchanged({root.key: 0}), claims=claims)
    assert await store.load(late.key) is None
    await store.commit([Change(late, None)], claims=claims, acted={root.key: 5, new_row(store).key: 9})
    assert (await store.load(late.key)).version == late.version


async def test_a_claim_within_a_transaction_makes_the_later_one_see_the_former(store):
    """Else each could decide by what the other is about to change, and both be stored."""
    first, second = asyncio.Event(), asyncio.Event()
    dossier = store.new_dossier()
    root = new_row(store, dossier=dossier, visible={"lb": 0, "rt": 7, "st": 0})
    await store.create(root)
    seen = []

    async def join(tx):
        seen.append((await tx.load(root.key)).visible["lb"])
        first.set()
        await second.wait()
        await tx.claim([b"rights"])
        await tx.write([Change(new_row(store, dossier=dossier), None)])

    async def mask(tx):
        await tx.claim([b"rights"])
        await tx.relabel(dossier, 7, add=1, remove=0, at_ms=5)

    joining = asyncio.create_task(store.transact(join))
    await first.wait()
    await store.transact(mask)
    second.set()
    await joining
    assert seen == [0, 1]


OPEN = Dossier(patient="p", birth_date="1950-01-01")
CLOSED = Dossier(patient="p", birth_date="1950-01-01", status=Status.CLOSED)
DEAD = Dossier(patient="p", birth_date="1950-01-01", status=Status.CLOSED, deceased_ms=1)
GIVEN = Dossier(patient="p", birth_date="1950-01-01", status=Status.CLOSED, deceased_ms=1, given="other")


async def in_state(store, dossier, policy):
    await store.dossier_key(dossier)
    await store.transact(lambda tx: tx.set_policy(dossier, policy, at_ms=1))


def adding(store, row):
    """Ways to store what was decided on while the dossier was open."""

    async def alone():
        await store.commit([Change(row, None)], adding=[row.dossier])

    async def decided_on_with_others():
        await store.commit([Change(row, None)], adding=[row.dossier], claims=[b"rights"])

    async def within():
        async def work(tx):
            await tx.enter([row.dossier])
            await tx.write([Change(row, None)])

        await store.transact(work)

    async def imported():
        receipt = Receipt((row.key,), row.key, row.type, Stored(1, 1, row.version, 1, 201))
        (outcome,) = await Ledger(store).commit([Entry([Change(row, None)], receipt)])
        if isinstance(outcome, Failed):
            raise outcome.error

    return {"alone": alone, "decided on with others": decided_on_with_others, "within": within, "imported": imported}


WAYS = ["alone", "decided on with others", "within", "imported"]


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_added_to_a_dossier_that_was_closed(store, gather, way):
    await Ledger(store).ready()
    for before, taken in ((OPEN, True), (CLOSED, False), (DEAD, True), (GIVEN, False)):
        row = new_row(store)
        await in_state(store, row.dossier, before)
        others = [new_row(store) for _ in range(3)]
        ways = [adding(store, one)[way] for one in (*others, row)]
        results = await gather(*(add() for add in ways))
        assert [type(one) for one in results[:3]] == [type(None)] * 3
        assert (results[3] is None, isinstance(results[3], Conflict)) == (taken, not taken)
        assert (await store.load(row.key) is not None) is taken
        await in_state(store, row.dossier, OPEN)
        if not taken:
            await adding(store, row)[way]()


async def test_who_closes_a_dossier_sees_everything_that_was_added_before(store, second):
    """Were it read, and then closed, without anything that both write, one would not hinder the other."""
    row = new_row(store)
    await in_state(store, row.dossier, OPEN)
    added, read = asyncio.Event(), asyncio.Event()
    seen = []

    async def add(tx):
        await tx.enter([row.dossier])
        await tx.write([Change(row, None)])
        added.set()
        await read.wait()

    async def close(tx):
        seen.append(len(await tx.standing(row.dossier)))
        read.set()
        await tx.set_policy(row.dossier, CLOSED, at_ms=2)

    adding = asyncio.create_task(store.transact(add))
    await added.wait()
    await second.transact(close)
    await adding
    assert (seen[0], seen[-1]) == (0, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_added_while_a_dossier_closes_is_seen_or_not_stored(store, second, gather, way):
    await Ledger(store).ready()
    for _ in range(5):
        rows = [new_row(store)]
        rows += [new_row(store, dossier=rows[0].dossier) for _ in range(7)]
        await in_state(store, rows[0].dossier, OPEN)
        seen = []

        async def close(tx, dossier=rows[0].dossier, seen=seen):
            seen[:] = [key for key, *_ in await tx.standing(dossier)]
            await tx.set_policy(dossier, CLOSED, at_ms=2)

        results = await gather(*(adding(store, row)[way]() for row in rows), second.transact(close))
        assert {type(one) for one in results[:-1]} <= {type(None), Conflict} and results[-1] is None
        assert sorted(seen) == sorted(row.key for row, one in zip(rows, results, strict=False) if one is None)
        assert sorted(await store.load_many([row.key for row in rows])) == sorted(seen)
