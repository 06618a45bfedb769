"""A source that an operator disabled: nothing new is taken from it, what it brought stays, what waits is still imported."""

from datetime import UTC, datetime

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import import_job, sources
from fhir_dmp.exchange.import_job import SILENCE_MS
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.settings import Settings
from fhir_dmp.store.records import Job, Source
from tests.exchange.test_sources import command, load, sender, server, world  # noqa: F401  fixtures
from tests.interactions.making import dumped


def test_a_disabled_source_sends_nothing_and_what_waits_is_still_taken(load, command, world, sender, tmp_path):  # noqa: F811
    source = f"retired-{sender.tag}"
    assert command("sources", "register", source, "--name", "Cabinet qui ferme", "--kind", "experiment")[0] == 0
    world.consent(sender.dossier, "takeover")
    local = {"coding": [{"system": "urn:x-retired", "code": f"OPE{sender.tag}", "display": "Compte rendu opératoire"}]}
    sent = (sender.patient(), sender.practitioner(), sender.document("o", type=local))
    assert load(*sent, source=source)[0] == 3
    assert command("sources", "enable", source)[0] == 1
    code, said = command("sources", "disable", source, "--reason", "cabinet fermé")
    assert code == 0 and "disabled 20" in said and said.rstrip().endswith("cabinet fermé")
    assert command("sources", "disable", source)[0] == 1
    assert command("sources", "disable", f"no-{source}")[0] == 1
    assert said.strip() in command("sources", "list")[1]

    body = b"".join(dumped(one) + b"\n" for one in (sender.patient(), sender.document("p")))
    refused = world.host(source).post(f"$import?source={source}", body, content_type="application/fhir+ndjson")
    assert refused.status_code == 403 and refused.json()["resourceType"] == "OperationOutcome"
    words = refused.json()["issue"][0]["diagnostics"]
    assert f"source `{source}` is disabled since 20" in words and f"`fhir-dmp sources enable {source}`" in words
    assert "fermé" not in words
    # Whoever may not send as it, is not told.
    stranger = world.host("host-ct").post(f"$import?source={source}", body, content_type="application/fhir+ndjson")
    assert stranger.status_code == 403 and "disabled" not in stranger.text
    path = tmp_path / "late.ndjson"
    path.write_bytes(body)
    code, said = command("import", path, "--source", source)
    assert code == 1 and f"`fhir-dmp sources enable {source}`" in said

    assert f"OPE{sender.tag}" in command("quarantine", "list", "--source", source)[1]
    assert world.operator().get(f"$quarantine?source={source}").status_code == 200
    assert command("quarantine", "map", "--source", source, f"urn:x-retired|OPE{sender.tag}", "34874-8")[0] == 0
    assert "1 accepted" in command("quarantine", "replay", "--source", source)[1]
    search = f"DocumentReference?patient={sender.dossier.id}"
    assert world.holder(sender.dossier).get(search).json()["total"] == 1

    assert "disabled" not in command("sources", "enable", source)[1]
    assert load(sender.document("p"), source=source)[0] == 0
    assert world.holder(sender.dossier).get(search).json()["total"] == 2


async def test_an_import_without_a_server_ends_when_its_source_was_disabled(store, data_dir):
    """Nobody goes on with it, and whoever asks is told why; enabled again, it is sent again."""
    await sources.register(store, "closing", name="Cabinet qui ferme", kind="host")
    context = context_of(store, Settings(data=data_dir), await sources.rules_of(store, "closing"), "http://localhost/fhir")
    long_ago = context.now_ms() - 2 * SILENCE_MS
    detail = {"asker": reader_digest(context).hex(), "dossier": str(store.new_dossier()), "base": context.base_url, "beat": long_ago}
    job = Job(
        id="import-20260101000000-x", kind="import", state="running", source="closing", total=1, created=datetime.now(UTC), detail=detail
    )
    await job.insert()
    await sources.switch(store, "closing", False, context.now_ms())
    with pytest.raises(FhirError, match="source `closing` is disabled since") as refused:
        await import_job.state_of(context, job.id)
    assert refused.value.status == 403
    assert (await Job.get(job.id)).state == "failed"
    await import_job.cancel(context, job.id)
    switches = (await sources.switch(store, "closing", True, context.now_ms(), "reprise")).rules[sources.SWITCHES]
    assert [(state, why) for _, state, why in switches] == [("disabled", ""), ("enabled", "reprise")]


async def test_a_source_disabled_after_a_backup_stays_so_after_its_restore(store):
    async def put_back(record) -> None:
        await record.save()
        await sources.settle(store)

    await sources.register(store, "pilfered", name="Cabinet volé", kind="host")
    before = await Source.get("pilfered")
    at_ms = store.clock()
    await sources.switch(store, "pilfered", False, at_ms, "clé volée")
    for _ in range(2):
        await put_back(before)
        found = await Source.get("pilfered")
        assert not found.enabled and [said[1:] for said in found.rules[sources.SWITCHES]] == [["disabled", "clé volée"]]
        with pytest.raises(FhirError, match="is disabled since"):
            sources.admit(found)
    await sources.switch(store, "pilfered", True, at_ms + 1)
    await sources.settle(store)
    assert [said[1] for said in (await Source.get("pilfered")).rules[sources.SWITCHES]] == ["disabled", "enabled"]
    await put_back(before)
    assert (await Source.get("pilfered")).enabled


async def test_a_source_registered_anew_is_not_the_one_that_was_disabled(store):
    await sources.register(store, "gone", name="Cabinet", kind="host")
    await sources.switch(store, "gone", False, store.clock())
    with pytest.raises(FhirError, match="registered already"):
        await sources.register(store, "gone", name="Cabinet", kind="host")
    await sources.settle(store)
    assert not (await Source.get("gone")).enabled
    # The backup is older than its registration.
    await (await Source.get("gone")).delete()
    await sources.settle(store)
    await sources.register(store, "gone", name="Un autre cabinet", kind="host")
    await sources.settle(store)
    assert (await Source.get("gone")).enabled
