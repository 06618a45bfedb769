"""The merger: whoever traces, however long he was silent and however many others there are, is under a signed head after the next round.

https://www.rfc-editor.org/rfc/rfc6962#section-3
"""

import asyncio

import pytest
from bson import Binary

from fhir_dmp.audit.chain import START
from fhir_dmp.audit.merger import CHECKPOINTS, Merger, checkpoints, signer
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Verifier
from fhir_dmp.interactions.audit_proof import proof_of
from fhir_dmp.store import merging
from tests.audit.making import new_patient, read_of


@pytest.fixture
async def patient(store):
    return await new_patient(store)


async def last_trace(store, patient: str) -> str:
    """Id of the newest trace of a dossier."""
    (row,) = await store.find(types=["AuditEvent"], dossiers=[store.vault.dossier_of_patient(patient)], limit=1)
    return store.vault.seal_id(row.key)


async def dead_chains(store, count: int) -> None:
    """Chains of processes that died: open for ever, and nothing comes any more."""
    document = {"at": store.clock(), "n": 0, "h": Binary(START), "open": True}
    chains = store._connection.database["journal.chains"]
    await chains.insert_many([{"_id": Binary(store.random(16)), **document} for _ in range(count)])


async def test_who_was_silent_for_long_is_heard_in_the_next_round(store, patient, tmp_path):
    """Many rounds without a word, among hundreds of chains of the dead: the next trace is provable after one round."""
    recorder, merger = Recorder(store), Merger(store, tmp_path)
    await dead_chains(store, 2 * merging.LOOKED_AT)
    await recorder.record([read_of(patient)])
    for _ in range(120):
        await merger.round()
    await recorder.record([read_of(patient)])
    assert await merger.round() == 1
    proof = await proof_of(store, await last_trace(store, patient))
    assert (proof.index, proof.head.size) == (1, 2)


async def test_a_round_ends_and_signs_while_others_write_without_end(store, patient, tmp_path):
    recorder, merger = Recorder(store), Merger(store, tmp_path)
    going = True

    async def write() -> None:
        while going:
            await recorder.record([read_of(patient)])

    writers = [asyncio.create_task(write()) for _ in range(8)]
    try:
        for _ in range(3):
            await asyncio.sleep(0.05)
            theirs = await last_trace(store, patient)
            await asyncio.wait_for(merger.round(), 20)
            # Written before the round began: covered by what it signed.
            assert await proof_of(store, theirs)
    finally:
        going = False
        await asyncio.gather(*writers)


async def test_one_long_chain_keeps_no_other_one_waiting(store, patient, tmp_path, monkeypatch):
    """Chains take turns, and a long round signs on its way."""
    monkeypatch.setattr(merging, "BATCH", 5)
    recorder, merger = Recorder(store), Merger(store, tmp_path, seconds=0)
    await recorder.record([read_of(patient) for _ in range(40)])
    (long,) = store._lanes._idle
    store._lanes._idle.clear()
    await recorder.record([read_of(patient)])
    assert await merger.round() == 41
    key = signer(store)
    sizes = [int(text.splitlines()[1]) for text in checkpoints(tmp_path / CHECKPOINTS, key.origin)]
    assert sizes == sorted(set(sizes)) and len(sizes) == 9 and sizes[-1] == 41
    order = [bytes(leaf["w"]) for batch in [leaves async for leaves in store.log.leaves()] for leaf in batch]
    assert order.index(next(name for name in order if name != long.chain)) <= 5
    report = await Verifier(store, tmp_path).run()
    assert (report.faults, report.unmerged) == ([], 0)


async def test_a_merger_whose_lease_went_to_another_stops(store, patient, tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "BATCH", 5)
    recorder, first, second = Recorder(store), Merger(store, tmp_path, seconds=0), Merger(store, tmp_path, seconds=0)
    await recorder.record([read_of(patient) for _ in range(40)])
    sign = first.sign

    async def signs_and_loses() -> None:
        await sign()
        await first.close()
        assert await second._hold()

    first.sign = signs_and_loses
    assert await first.round() == 5
    assert await second.round() == 35
    assert (await Verifier(store, tmp_path).run()).faults == []
