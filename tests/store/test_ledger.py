"""The ledger: receipts that are stored with their rows, those of several requests together."""

import os

import pytest
from bson import ObjectId

from fhir_dmp.errors import FhirError
from fhir_dmp.store.batching import Failed
from fhir_dmp.store.ledger import Entry, Ledger, Receipt, Repeated, Stored, _deposited
from fhir_dmp.store.rows import Change, NewRow

from .making import new_row


def deposit(row: NewRow, *names: bytes, version: int = 1) -> Entry:
    return Entry([Change(row, None)], Receipt(names, row.key, row.type, Stored(version, version, row.version, 0, 201)), only=True)


async def test_what_is_deposited_together_is_stored_each_for_itself(store):
    await Ledger(store).ready()
    dossier = store.new_dossier()
    first, other, last, faulty, late = (new_row(store, "Observation", dossier=dossier) for _ in range(5))
    faulty = faulty._replace(x=(2**70,))
    name, another = os.urandom(16), os.urandom(16)
    entries = [deposit(first, name), deposit(faulty, os.urandom(16)), deposit(other, name, version=2), deposit(last, another)]
    elected = await store.elected()
    items = [(elected, one) for one in entries] + [(ObjectId(), deposit(late, os.urandom(16)))]
    outcomes = await _deposited(store, items)
    assert [outcomes[0], outcomes[3]] == [None, None]
    assert [type(one.error) for one in outcomes if isinstance(one, Failed)] == [FhirError, Repeated, FhirError]
    assert (outcomes[1].error.status, outcomes[2].error.line.key, outcomes[4].error.status) == (422, first.key, 503)
    assert [await store.load(row.key) is not None for row in (first, other, last, faulty, late)] == [True, False, True, False, False]
    lines = await Ledger(store).known((name, another, faulty.key))
    assert {found: line.key for found, line in lines.items()} == {name: first.key, another: last.key}


@pytest.mark.parametrize("only", [True, False])
async def test_another_version_of_a_thing_is_taken_where_it_may_come(store, only):
    ledger, dossier, name = Ledger(store), store.new_dossier(), os.urandom(16)
    await ledger.ready()
    one, two = (new_row(store, "Observation", dossier=dossier) for _ in range(2))
    assert await ledger.commit([deposit(one, name)]) == [None]
    (outcome,) = await ledger.commit([deposit(two, name, version=2)._replace(only=only)])
    assert isinstance(outcome, Repeated) if only else outcome is None
    assert (await store.load(two.key) is None) == only
    assert len((await ledger.known([name]))[name].versions) == (1 if only else 2)
