"""Proofs: anybody can check with the answer, the proof and the public key that a trace is in the log; and the verify command."""

import json

import pytest
from click.testing import CliRunner

from fhir_dmp.audit import chain
from fhir_dmp.audit.merger import Merger, signer
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.audit.verify import Report
from fhir_dmp.audit.verify_rows import rows
from fhir_dmp.commands.verify import derivation
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import schema
from fhir_dmp.interactions import audit_proof
from tests.audit.making import new_patient, read_of


async def test_every_trace_has_a_proof_that_holds_for_it_alone(store, tmp_path):
    recorder, merger = Recorder(store), Merger(store, tmp_path)
    patient = await new_patient(store)
    for batch in (1, 300, 7):
        await recorder.record([read_of(patient) for _ in range(batch)])
        await merger.round()
    events = [row async for row in store.scan(types=["AuditEvent"])]
    origin = signer(store).origin
    for row in events[::17]:
        proof = await audit_proof.proof_of(store, store.vault.seal_id(row.key))
        assert proof.head.size == 308
        assert proof.holds(row.body, origin)
        assert not proof.holds(row.body.replace(b"810001234567", b"810001234568"), origin)
        assert not proof.holds(events[0].body if row is not events[0] else events[1].body, origin)
        assert not proof.holds(row.body, "another log")
        assert schema.validate(json.loads(audit_proof.parameters(proof))) == []


async def test_consistency_between_any_two_checkpoints(store, tmp_path):
    recorder, merger = Recorder(store), Merger(store, tmp_path)
    patient = await new_patient(store)
    for batch in (3, 260, 400):
        await recorder.record([read_of(patient) for _ in range(batch)])
        await merger.round()
    heads = await store.log.heads()
    assert [head["_id"] for head in heads] == [3, 263, 663]
    for old in heads:
        for new in heads:
            if old["_id"] <= new["_id"]:
                proof = await store.log.hashes(chain.consistency_ranges(old["_id"], new["_id"]))
                assert chain.is_consistent(old["_id"], new["_id"], bytes(old["root"]), bytes(new["root"]), proof)
    assert await audit_proof.checkpoint(store) == heads[-1]["text"]
    with pytest.raises(FhirError):
        await audit_proof.consistency(store, 3, 664)


async def test_a_trace_without_a_signed_head_is_asked_for_again_later(store):
    patient = await new_patient(store)
    await Recorder(store).record([read_of(patient)])
    (row,) = await store.find(types=["AuditEvent"])
    with pytest.raises(FhirError) as error:
        await audit_proof.proof_of(store, store.vault.seal_id(row.key))
    assert error.value.status == 503
    with pytest.raises(FhirError) as error:
        await audit_proof.proof_of(store, patient)
    assert error.value.status == 404


async def test_a_row_that_does_not_open_is_named(store):
    patient = await new_patient(store)
    await store.destroy_dossier(store.vault.dossier_of_patient(await new_patient(store)))
    report = Report()
    await rows(store, report)
    assert (report.faults, report.rows) == ([], 4)
    key = store.vault.locate("Patient", patient)
    await store._connection.database["resources"].update_one({"_id": key}, {"$inc": {"v": 1}})
    await rows(store, report)
    assert [fault.kind for fault in report.faults] == ["altered"]
    assert report.faults[0].what.startswith(f"Patient/{patient}")


def test_the_command_is_calm_when_nothing_differs_and_exits_1_with_a_list_otherwise(mongod, data_dir, database):
    import asyncio

    from fhir_dmp.cli import cli
    from fhir_dmp.store.resources import Store

    async def fill(tamper: bool) -> None:
        store = await Store.open(mongod.uri, database, data_dir=data_dir)
        if tamper:
            (row,) = await store.find(types=["AuditEvent"], limit=1)
            await store._connection.database["resources"].delete_one({"_id": row.key})
        else:
            await Recorder(store).record([read_of("") for _ in range(3)])
            await Merger(store, data_dir / database).round()
        await store.close()

    environment = {"FHIR_DMP_DATA": str(data_dir), "FHIR_DMP_MONGODB_URI": mongod.uri, "FHIR_DMP_DATABASE": database}
    asyncio.run(fill(tamper=False))
    calm = CliRunner().invoke(cli, ["verify"], env=environment)
    assert (calm.exit_code, "3 traces" in calm.output) == (0, True), calm.output
    asyncio.run(fill(tamper=True))
    found = CliRunner().invoke(cli, ["verify", "--json"], env=environment)
    assert found.exit_code == 1
    assert json.loads(found.output.splitlines()[0])["kind"] == "deleted"


async def test_an_index_that_does_not_follow_from_the_body_is_named(sandbox_store):
    from tests.search.hosting import put

    (row,) = await put(sandbox_store, {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}})
    await Recorder(sandbox_store).record([read_of(await new_patient(sandbox_store))])
    report, derive = Report(), derivation(sandbox_store, "")
    await rows(sandbox_store, report, derive=lambda row: None if row.type == "Patient" else derive(row))
    assert report.faults == []
    await sandbox_store.connection.database["resources"].update_one({"_id": row.key}, {"$push": {"x": 5}})
    await rows(sandbox_store, report, derive=lambda row: None if row.type == "Patient" else derive(row))
    assert [(fault.kind, fault.what.partition("/")[0]) for fault in report.faults] == [("index", "Observation")]
