"""Rows in and out of the store: create, load, commit, find, histories.

https://hl7.org/fhir/R4/http.html#versions
"""

import asyncio
import zlib
from decimal import Context, Decimal

import pytest
from bson import Decimal128
from bson.decimal128 import create_decimal128_context
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.audit.chain import commitment
from fhir_dmp.errors import FhirError
from fhir_dmp.store import compressed
from fhir_dmp.store.failures import AlreadyExists, Conflict
from fhir_dmp.store.merging import committed_in
from fhir_dmp.store.rows import Change, current_document, decimal128, row_of
from fhir_dmp.store.vault import COMMON, seal, version_row

from .making import changed, new_row

LARGE = Context(prec=60, Emax=99_999, Emin=-99_999)


async def test_a_created_row_is_read_back_byte_for_byte(store):
    row = new_row(store, body='{"resourceType":"Patient","a":1.00, "b":"é"}'.encode())
    await store.create(row)
    read = await store.load(row.key)
    assert (read.body, read.type, read.version, read.updated_ms) == (row.body, "Patient", row.version, row.updated_ms)
    assert (read.deleted, read.erased, read.method, read.self64) == (False, False, "POST", row.self64)
    assert await store.load(bytes(range(16))) is None


async def test_an_update_keeps_the_former_version(store):
    row = new_row(store)
    await store.create(row)
    second = changed(row, body=b'{"v":2}')
    await store.commit([Change(second, row.version)])
    assert (await store.load(row.key)).body == b'{"v":2}'
    assert (await store.load_version(row.key, row.version)).body == row.body
    assert (await store.load_version(row.key, second.version)).body == b'{"v":2}'
    assert await store.load_version(row.key, 12345) is None


async def test_an_update_of_another_version_is_a_conflict_and_changes_nothing(store):
    row, other = new_row(store), new_row(store)
    await store.create(row)
    await store.create(other)
    with pytest.raises(Conflict) as raised:
        await store.commit([Change(changed(other), other.version), Change(changed(row), 99)])
    assert (raised.value.index, raised.value.current) == (1, row.version)
    assert (await store.load(other.key)).version == other.version
    with pytest.raises(Conflict):
        await store.commit([Change(changed(new_row(store)), 99)])


async def test_a_deleted_resource_is_met_by_no_search_and_can_come_back(store):
    row = new_row(store)
    await store.create(row)
    gone = changed(row, body=None, method="DELETE", deleted=True)
    await store.commit([Change(gone, row.version)])
    read = await store.load(row.key)
    assert (read.deleted, read.body, read.type) == (True, None, "Patient")
    assert await store.find() == []
    again = changed(gone, body=b'{"v":3}', method="PUT")
    await store.commit([Change(again, gone.version)])
    history = await store.history(key=row.key)
    assert [(r.method, r.deleted, r.body) for r in history] == [
        ("PUT", False, b'{"v":3}'),
        ("DELETE", True, None),
        ("POST", False, row.body),
    ]
    assert await store.history_count(key=row.key) == 3


async def test_creating_twice_is_refused(store):
    row = new_row(store)
    await store.create(row)
    with pytest.raises(AlreadyExists):
        await store.create(changed(row))
    with pytest.raises(AlreadyExists):
        await store.commit([Change(changed(row), None)])
    await store.create(row)  # the same version again, as after a lost answer, is done already
    await store.commit([Change(row, None)])
    assert (await store.load(row.key)).version == row.version


async def test_find_orders_pages_and_counts(store):
    dossier = store.new_dossier()
    rows = [new_row(store, "Observation", dossier=dossier, updated_ms=1000 + n // 2, x=(n % 2,), c=(7,)) for n in range(10)]
    others = [new_row(store, "Condition", updated_ms=5000 + n, g=(n,)) for n in range(3)]
    await asyncio.gather(*(store.create(row) for row in rows + others))
    ordered = sorted(((r.updated_ms, r.key) for r in rows), reverse=True)
    seen = []
    after = None
    while page := await store.find(types=("Observation",), after=after, limit=3):
        seen += [row.place for row in page]
        after = page[-1].place
    assert seen == ordered
    back = await store.find(types=("Observation",), before=ordered[5], limit=3)
    assert [row.place for row in back] == ordered[2:5]
    up = await store.find(dossiers=(dossier,), descending=False, limit=4)
    assert [row.place for row in up] == ordered[::-1][:4]
    assert await store.count(types=("Observation",)) == 10
    assert await store.count({"x": 1}, dossiers=(dossier,), types=("Observation", "Condition")) == 5
    assert await store.count() == 13
    assert await store.count(limit=4) == 4
    assert [row.key for row in await store.find({"g": 2}, hint="selective")] == [others[2].key]
    assert len(await store.find({"c": {"$in": [7, 8]}}, hint="code", types=("Observation",), bodies=False)) == 10
    assert len(await store.find({"_id": {"$in": [row.key for row in others]}}, hint="id")) == 3
    assert len([row async for row in store.scan(batch=4)]) == 13
    assert sorted(await store.selves(types=("Condition",))) == sorted(row.self64 for row in others)


async def test_intervals_are_found_by_decimals_and_whole_numbers(store):
    row = new_row(store, n=((5, Decimal("1.005"), Decimal("1.015")), (6, 10, 20)))
    await store.create(row)
    inside = {"n": {"$elemMatch": {"p": 5, "a": {"$lte": Decimal("1.01")}, "b": {"$gt": Decimal("1.01")}}}}
    outside = {"n": {"$elemMatch": {"p": 5, "a": {"$lte": Decimal("2")}, "b": {"$gt": Decimal("2")}}}}
    assert [await store.count(where) for where in (inside, outside)] == [1, 0]
    assert await store.count({"n": {"$elemMatch": {"p": 6, "b": {"$gt": 19}}}}) == 1


async def test_histories_of_type_system_and_dossier_are_merged_newest_first(store):
    dossier = store.new_dossier()
    patient = new_row(store, dossier=dossier, updated_ms=1)
    note = new_row(store, "Observation", dossier=dossier, updated_ms=2)
    other = new_row(store, updated_ms=3)
    for row in (patient, note, other):
        await store.create(row)
    second = changed(patient, updated_ms=4)
    await store.commit([Change(second, patient.version)])
    gone = changed(note, updated_ms=5, method="DELETE", body=None, deleted=True)
    await store.commit([Change(gone, note.version)])
    versions = [row.version for row in await store.history()]
    assert versions == [row.version for row in (gone, second, other, note, patient)]
    assert [r.version for r in await store.history(types=("Patient",))] == [r.version for r in (second, other, patient)]
    assert [r.version for r in await store.history(dossiers=(dossier,), types=("Patient", "Observation"), since_ms=2)] == [
        r.version for r in (gone, second, note)
    ]
    paged, before = [], None
    while page := await store.history(before=before, limit=2):
        paged += [row.version for row in page]
        before = page[-1].history_place
    assert paged == versions
    assert (await store.history_count(), await store.history_count(types=("Patient",), since_ms=3)) == (5, 2)


async def test_a_transaction_reads_its_own_writes_and_leaves_nothing_when_it_fails(store):
    row, new = new_row(store), new_row(store)
    await store.create(row)

    async def work(tx):
        await tx.write([Change(new, None), Change(changed(row, body=b"{}"), row.version)])
        assert (await tx.load(new.key)).body == new.body
        assert await tx.count() == 2
        assert (await tx.load(row.key)).body == b"{}"
        return "done"

    async def failing(tx):
        await work(tx)
        raise FhirError("business-rule", "no")

    with pytest.raises(FhirError):
        await store.transact(failing)
    assert await store.load(new.key) is None
    assert await store.transact(work, claims=[b"one", b"two"]) == "done"
    assert (await store.load(row.key)).body == b"{}"


async def test_transactions_with_a_claim_in_common_go_one_after_the_other(store):
    async def create_if_none(tx):
        if await tx.count({"g": 42}, hint="selective"):
            return False
        await tx.write([Change(new_row(store, g=(42,)), None)])
        return True

    created = await asyncio.gather(*(store.transact(create_if_none, claims=[b"identifier=42"]) for _ in range(20)))
    assert created.count(True) == 1
    assert await store.count() == 1


@given(st.decimals(allow_nan=False, places=None), st.integers(-6300, 6300))
def test_numbers_are_written_as_the_driver_writes_them(value, exponent):
    for number in (value, value.scaleb(exponent, LARGE) if value.is_finite() else value):
        assert decimal128(number).bid == Decimal128(create_decimal128_context().create_decimal(number)).bid


async def test_a_trace_that_was_deflated_with_its_salt_apart_is_read_and_proved(store):
    """The form of before: what is stored stays readable."""
    row = new_row(store, "AuditEvent", dossier=COMMON, body=b'{"resourceType":"AuditEvent","id":"a"}')._replace(journal=True)
    key = (await store.journal.keys([row.dossier]))[row.dossier]
    place, salt = version_row(row.key, row.version), bytes(range(16))
    packed = zlib.compressobj(3, zlib.DEFLATED, -12, 3, zlib.Z_DEFAULT_STRATEGY, compressed._TEXT)
    stored = current_document(row, key, body=compressed.DEFLATED + packed.compress(row.body) + packed.flush())
    stored["salt"] = seal(key, salt, place + b" salt")
    assert row_of(stored, key).body == row.body
    assert committed_in(stored, key) == commitment(salt, row.body)
