"""The ledger: receipts that are stored with their rows, those of several requests together."""

import os

import pytest
from bson import ObjectId
from pymongo.errors import ConfigurationError

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.consent.predicate import row_of
from fhir_dmp.dmp.documents import WITHDRAWN, Facts
from fhir_dmp.errors import FhirError
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.delete import deletion_of
from fhir_dmp.settings import Settings
from fhir_dmp.store.acts import COLLECTION
from fhir_dmp.store.batching import Failed
from fhir_dmp.store.failures import unavailable
from fhir_dmp.store.ledger import LINES, Entry, Ledger, Receipt, Recording, Repeated, Stored, _deposited
from fhir_dmp.store.rows import Change, NewRow
from tests.audit.making import new_patient, read_of

from .making import changed, new_row


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


async def test_a_thing_of_many_names_has_its_rows_once(store):
    """Each name leads to all of them, and n names of n rows do not take n² places."""
    ledger, dossier, many = Ledger(store), store.new_dossier(), 40
    await ledger.ready()
    rows = [new_row(store, "Observation", dossier=dossier) for _ in range(many)]
    names = tuple(os.urandom(16) for _ in rows)
    entry = deposit(rows[0], *names)
    await Recording(store, ledger, entry.receipt, only=True).commit([Change(row, None) for row in rows])
    whole = (await ledger.known(names))[names[0]].version(1).parts
    assert [part.key for part in whole] == [row.key for row in rows]
    for name in names[:3]:
        assert (await ledger.known([name]))[name].version(1).parts == whole
    assert {name: line.version(1).parts for name, line in (await ledger.known(names)).items()} == dict.fromkeys(names, whole)
    size = {"$group": {"_id": None, "size": {"$sum": {"$bsonSize": "$$ROOT"}}}}
    cursor = await store.connection.database[LINES].aggregate([{"$match": {"_id": {"$in": names}}}, size])
    assert (await cursor.to_list())[0]["size"] < many * 400
    with pytest.raises(Repeated) as again:
        await Recording(store, ledger, entry.receipt._replace(names=names[1:]), only=True).commit([Change(new_row(store), None)])
    assert again.value.line.version(1).parts == whole


@pytest.mark.parametrize("way", ["together", "alone"])
async def test_a_chain_of_traces_is_given_up_when_what_was_stored_seemed_to_fail(store, monkeypatch, way):
    """The answer to a commit is lost, the work is done again and finds itself stored: no number of the chain is used twice."""
    await Ledger(store).ready()
    patient, recorder = await new_patient(store), Recorder(store)
    row = new_row(store, "Observation", dossier=store.vault.dossier_of_patient(patient))
    real, lost = store.connection._commit, []

    async def loses_the_answer(*given):
        await real(*given)
        if not lost:
            lost.append(given)
            raise ConfigurationError("Sessions are not supported by this MongoDB deployment")

    monkeypatch.setattr(store.connection, "_commit", loses_the_answer)
    entry = deposit(row, os.urandom(16))
    changes = [*entry.changes, *recorder.changes([read_of(patient, kind="create")])]
    if way == "together":
        (outcome,) = await _deposited(store, [(None, entry._replace(changes=changes))])
        assert isinstance(outcome.error, Repeated)
    else:
        with pytest.raises(Repeated):
            await Recording(store, Ledger(store), entry.receipt, only=True).commit(changes, claims=[b"a claim"])
    assert lost
    for _ in range(3):
        await recorder.record([read_of(patient)])
        await store.commit([Change(new_row(store, "Observation", dossier=row.dossier), None), *recorder.changes([read_of(patient)])])
    report = await Verifier(store).run()
    assert (report.faults, report.traces) == ([], 7)


async def replaced(store, row: NewRow, change: Change) -> int:
    """How many acts are kept of what replaces a row."""
    ledger = Ledger(store)
    await ledger.ready()
    await store.create(row)
    entry = Entry([change], Receipt((os.urandom(16),), row.key, row.type, Stored(2, 2, change.row.version, 0, 200)))
    assert await ledger.commit([entry]) == [None]
    return len(await store.connection.read({"find": COLLECTION}))


def observed(store, status: str) -> NewRow:
    facts = row_of(Facts(type="LOINC|8302-2", status=status, root="Observation/o"), store.vault.hash64)
    return new_row(store, "Observation", visible=facts)


async def withdrawn(store) -> int:
    row = observed(store, "current")
    return await replaced(store, row, Change(changed(row, visible=observed(store, WITHDRAWN).visible), row.version, former=row.visible))


async def test_what_an_import_withdraws_is_an_act(store):
    assert await withdrawn(store) == 1


async def test_in_a_sandbox_an_import_withdraws_nothing_from_anybody(sandbox_store):
    assert await withdrawn(sandbox_store) == 0


async def test_the_deletion_of_what_was_withdrawn_is_no_act_of_withdrawal(store):
    row = observed(store, WITHDRAWN)
    context = Context(store, Actor(kind="system", issuer="", subject="", expires=0), Settings(), "", store.clock, store.random)
    assert await replaced(store, row, deletion_of(context, row, "o")) == 0


async def test_what_no_smaller_batch_would_help_is_not_tried_in_halves(store, monkeypatch):
    await Ledger(store).ready()
    rows = [new_row(store, "Observation", dossier=store.new_dossier()) for _ in range(8)]
    tried, real = [], store.connection.transaction

    async def counted(*given, **more):
        tried.append(given)
        return await real(*given, **more)

    def away(election):
        raise unavailable()

    monkeypatch.setattr(store.connection, "transaction", counted)
    monkeypatch.setattr(store, "still", away)
    outcomes = await _deposited(store, [(None, deposit(row, os.urandom(16))) for row in rows])
    assert [outcome.error.status for outcome in outcomes] == [503] * 8 and len(tried) == 1
    assert not await store.load_many([row.key for row in rows])
