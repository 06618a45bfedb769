"""The recorder: nothing is acknowledged before it is durable, nothing leaves a gap, whatever is cancelled, lost or stopped."""

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from bson import Binary

from fhir_dmp.audit.merger import Merger
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.errors import FhirError
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.failures import AlreadyExists, Broken
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change
from fhir_dmp.store.vault import COMMON, dossier_row
from tests.audit.making import new_patient, read_of
from tests.store.making import changed, new_row


async def sound(store: Store, expected: int | None = None) -> None:
    """The journal has no gap and, when told, so many traces."""
    report = await Verifier(store).run()
    assert report.faults == []
    if expected is not None:
        assert report.traces == expected


async def traces_of(store: Store, patient: str) -> list:
    return await store.find(types=["AuditEvent"], dossiers=[store.vault.dossier_of_patient(patient)], limit=1000)


async def test_a_trace_is_a_row_of_its_dossier_when_record_returns(store):
    patient = await new_patient(store)
    receipt = await Recorder(store).record([read_of(patient)])
    (row,) = await traces_of(store, patient)
    assert f"Patient/{patient}".encode() in row.body
    assert receipt.election == store.journal.election is not None
    await sound(store, 1)


async def test_many_at_once_share_batches_and_chains_have_no_gap(store):
    recorder = Recorder(store)
    patients = [await new_patient(store) for _ in range(5)]

    async def reader(n: int) -> None:
        for _ in range(10):
            await recorder.record([read_of(patients[n % 5])])

    await asyncio.gather(*(reader(n) for n in range(30)))
    assert 1 <= len(await store.log.chains()) <= 2
    await sound(store, 300)


async def test_a_trace_that_cannot_be_made_takes_no_other_with_it(store):
    recorder = Recorder(store)
    patient = await new_patient(store)
    told = [read_of(patient), read_of(patient, kind="no such kind"), read_of(patient)]
    outcomes = await asyncio.gather(*(recorder.record([one]) for one in told), return_exceptions=True)
    assert [isinstance(one, KeyError) for one in outcomes] == [False, True, False]
    await sound(store, 2)


async def test_traces_of_unknown_or_erased_dossiers_name_no_patient_and_make_no_dossier(store):
    recorder = Recorder(store)
    unknown, erased = store.vault.new_id(store.new_dossier()), await new_patient(store)
    await store.destroy_dossier(store.vault.dossier_of_patient(erased))
    for patient in (unknown, erased):
        await recorder.record([read_of(patient, kind="refusal", outcome="8", reason="no such dossier")])
    rows = await store.find(types=["AuditEvent"], dossiers=[COMMON])
    assert len(rows) == 2
    assert not any(patient.encode() in row.body for row in rows for patient in (unknown, erased))
    with pytest.raises(FhirError):
        await store.dossier_key(store.vault.dossier_of_patient(erased))
    assert store.vault.dossier_of_patient(unknown) not in await store.journal.keys([store.vault.dossier_of_patient(unknown)])


async def test_a_trace_joins_the_write_it_tells_of_all_or_nothing(store):
    recorder = Recorder(store)
    patient = await new_patient(store)
    row = new_row(store, "Observation", dossier=store.vault.dossier_of_patient(patient))
    await store.commit([Change(row, None), *recorder.changes([read_of(patient, kind="create")])])
    with pytest.raises(AlreadyExists):
        await store.commit([Change(row._replace(version=5), None), *recorder.changes([read_of(patient, kind="create")])])
    assert len(await traces_of(store, patient)) == 1
    await sound(store, 1)


async def test_conflicts_and_rivals_within_a_group_leave_no_gap(store, gather):
    recorder = Recorder(store)
    patient = await new_patient(store)
    row = new_row(store, "Observation", dossier=store.vault.dossier_of_patient(patient))
    await store.create(row)
    outcomes = []
    for _ in range(4):
        rivals = [changed(row) for _ in range(12)]
        done = await gather(*(store.commit([Change(one, row.version), *recorder.changes([read_of(patient)])]) for one in rivals))
        outcomes += done
        row = next(one for one, outcome in zip(rivals, done, strict=True) if outcome is None)
    assert outcomes.count(None) == len(await traces_of(store, patient)) == 4
    await sound(store, 4)


async def test_transactions_write_their_traces_with_them(store):
    recorder = Recorder(store)
    patient = await new_patient(store)
    dossier = store.vault.dossier_of_patient(patient)

    async def work(transaction, fail=False):
        await transaction.write([Change(new_row(store, "Observation", dossier=dossier), None), *recorder.changes([read_of(patient)])])
        await transaction.write(recorder.changes([read_of(patient)]))
        if fail:
            raise FhirError("business-rule", "no")

    await asyncio.gather(*(store.transact(work) for _ in range(5)))
    with pytest.raises(FhirError):
        await store.transact(lambda transaction: work(transaction, fail=True))
    assert len(await traces_of(store, patient)) == 10
    await sound(store, 10)


async def test_who_waits_needs_one_timer(store, monkeypatch):
    recorder, patient, timers = Recorder(store, patience_seconds=600), await new_patient(store), []
    loop = asyncio.get_running_loop()
    real = loop.call_at

    def call_at(when, callback, *given, **more):
        if callback == recorder._late:
            timers.append(when)
        return real(when, callback, *given, **more)

    monkeypatch.setattr(loop, "call_at", call_at)
    for _ in range(100):
        await recorder.record([read_of(patient)])
    assert len(timers) == 1


async def test_a_key_that_does_not_open_keeps_nobody_else_from_being_traced(store):
    recorder, whole, broken = Recorder(store), await new_patient(store), await new_patient(store)
    dossier = store.vault.dossier_of_patient(broken)
    rows = store.connection.database["resources"]
    await rows.update_one({"_id": Binary(dossier_row(dossier))}, {"$set": {"k": Binary(bytes(60))}}, hint="_id_")
    store.journal._keys.clear()
    told = [read_of(whole), read_of(broken), read_of(whole)]
    outcomes = await asyncio.gather(*(recorder.record([one]) for one in told), return_exceptions=True)
    assert [isinstance(one, Broken) for one in outcomes] == [False, True, False]
    await sound(store, 2)


async def test_a_caller_cancelled_at_any_await_leaves_the_journal_sound(store):
    """What was acknowledged is stored; what was cancelled is stored or not; no chain has a gap either way."""
    recorder = Recorder(store)
    patient = await new_patient(store)
    dossier = store.vault.dossier_of_patient(patient)
    acknowledged = 0

    async def one(n: int) -> None:
        nonlocal acknowledged
        traces = [read_of(patient)]
        match n % 3:
            case 0:
                await recorder.record(traces)
            case 1:
                await store.commit([Change(new_row(store, "Observation", dossier=dossier), None), *recorder.changes(traces)])
            case _:
                await store.transact(lambda transaction: transaction.write(recorder.changes(traces)))
        acknowledged += 1

    for steps in range(60):
        task = asyncio.create_task(one(steps))
        others = [asyncio.create_task(one(n)) for n in range(3)]
        for _ in range(steps // 3):
            await asyncio.sleep(0 if steps % 2 else 0.0002)
        task.cancel()
        await asyncio.wait([task, *others])
    stored = len(await traces_of(store, patient))
    assert acknowledged <= stored <= 60 * 4
    await sound(store, stored)


async def test_a_batch_whose_answer_was_lost_is_sent_again_without_doubles(store):
    recorder = Recorder(store)
    patient = await new_patient(store)
    journal, insert = store.journal, store.journal._insert
    lost = []

    async def loses_the_answer(documents):
        receipt = await insert(documents[: len(documents) // 2] if not lost else documents)
        if not lost:
            lost.append(receipt)
            from pymongo.errors import AutoReconnect

            raise AutoReconnect("the connection broke")
        return receipt

    journal._insert = loses_the_answer
    await recorder.record([read_of(patient) for _ in range(8)])
    assert lost
    await sound(store, 8)


async def test_a_chain_whose_last_write_is_in_doubt_is_written_on_by_nobody(store):
    """What seemed to fail was stored: a number used twice would be told as a fault for ever."""
    recorder = Recorder(store)
    patient = await new_patient(store)
    journal, insert = store.journal, store.journal._insert

    async def stores_and_fails(documents):
        await insert(documents)
        raise RuntimeError("unforeseen")

    await recorder.record([read_of(patient)])
    journal._insert = stores_and_fails
    with pytest.raises(RuntimeError):
        await recorder.record([read_of(patient)])
    journal._insert = insert
    await recorder.record([read_of(patient)])
    assert len(await store.log.chains()) == 2
    await sound(store, 3)


async def test_mergers_at_the_same_time_and_killed_ones_do_no_harm(store, tmp_path):
    recorder = Recorder(store)
    patient = await new_patient(store)
    mergers = [Merger(store, tmp_path / str(n)) for n in range(3)]
    writing = asyncio.gather(*(recorder.record([read_of(patient)]) for _ in range(400)))
    for round in range(12):
        tasks = [asyncio.create_task(store.log.merge_all()) for merger in mergers]
        await asyncio.sleep(0.002 * round)
        tasks[round % 3].cancel()
        await asyncio.wait(tasks)
    await writing
    await mergers[0].round()
    assert (await store.log.state()).size == 400
    report = await Verifier(store, tmp_path / "0").run()
    assert (report.faults, report.unmerged) == ([], 0)


async def test_a_chain_that_is_closed_is_merged_to_its_end_and_left(mongod, data_dir, database, tmp_path):
    store = await Store.open(mongod.uri, database, data_dir=data_dir)
    await Recorder(store).record([read_of(await new_patient(store))])
    await store.close()
    store = await Store.open(mongod.uri, database, data_dir=data_dir)
    merger = Merger(store, tmp_path)
    assert [await merger.round(), await merger.round()] == [1, 0]
    assert await store.log.chains(only_open=True) == []
    await store.close()


async def test_without_a_majority_nothing_is_acknowledged():
    """503 while MongoDB is stopped; afterwards every acknowledged trace is there and no chain has a gap."""
    folder = Path(tempfile.mkdtemp(prefix="fhir-dmp-"))
    embedded = Embedded.start(folder, extra_parameters=("notablescan=true",), cache_gb=0.25)
    try:
        store = await Store.open(embedded.uri, "test", data_dir=folder)
        recorder = Recorder(store, patience_seconds=1)
        patient = await new_patient(store)
        await recorder.record([read_of(patient)])
        os.kill(embedded.process.pid, signal.SIGSTOP)
        try:
            outcomes = await asyncio.gather(*(recorder.record([read_of(patient)]) for _ in range(20)), return_exceptions=True)
        finally:
            os.kill(embedded.process.pid, signal.SIGCONT)
        assert [(outcome.status, outcome.headers["Retry-After"]) for outcome in outcomes] == [(503, "2")] * 20
        await recorder.record([read_of(patient)])
        stored = len(await traces_of(store, patient))
        assert 2 <= stored <= 22
        await sound(store, stored)
        await store.close()
    finally:
        embedded.stop()
        shutil.rmtree(folder)
