"""I9 for what is large: a mask of a document with much around it is kept, acknowledged and holds after a restore, and the journal of traces
is whole."""

import shutil

from tests.access.test_restore import MASK, SMALL
from tests.access.world import World, document
from tests.interactions.making import bundle, entry
from tests.serving import here, serving

LARGE = 950_000
DOCUMENT, CONTENT = "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-000000000001", "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-000000000002"


def with_results(dossier, author, number: int) -> dict:
    """The deposit of a document with its content and large Observations."""
    sent = document(dossier, author)
    attachment = sent["content"][0]["attachment"]
    content = {"resourceType": "Binary", "contentType": "text/plain", "data": attachment.pop("data")}
    attachment["url"] = CONTENT
    result = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": dossier.path},
        "derivedFrom": [{"reference": DOCUMENT}],
        "note": [{"text": "x" * LARGE}],
    }
    results = [entry("POST", "Observation", result, f"urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-1{one:011}") for one in range(number)]
    return bundle("transaction", entry("POST", "DocumentReference", sent, DOCUMENT), entry("POST", "Binary", content, CONTENT), *results)


def deposited(by, dossier, number: int) -> str:
    answer = by.post("", with_results(dossier, by, number))
    assert answer.status_code == 200, answer.text
    places = [one["response"]["location"].split("/fhir/")[-1].split("/") for one in answer.json()["entry"]]
    return next(place[1] for place in places if place[0] == "DocumentReference")


def test_a_mask_of_a_document_with_many_large_results_is_kept_and_holds_after_a_restore(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna, bob = world.professional(), world.professional(organization="750000002")
        dossier = world.open(traitant=anna)
        holder = world.holder(dossier)
        world.consent(dossier, "access", bob)
        large = deposited(anna, dossier, 20)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
        # Traces and a document that the backup does not have.
        assert bob.get(f"DocumentReference/{large}").status_code == 200
        late = deposited(anna, dossier, 2)
        assert bob.get(f"DocumentReference/{late}").status_code == 200
        before = (server.data / "journal" / "acts.log").stat().st_size
        for id in (large, late):
            assert holder.patch(f"DocumentReference/{id}", MASK).status_code == 200
            assert bob.get(f"DocumentReference/{id}").status_code == 404
        assert (server.data / "journal" / "acts.log").stat().st_size - before < 100_000

    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        for asker in (anna, bob, holder):
            asker.server, asker.base = again, again.fhir
        for id in (large, late):
            assert bob.get(f"DocumentReference/{id}").status_code == 404
        assert bob.get(f"Observation?patient={dossier.id}&_summary=count").json()["total"] == 0
        assert holder.get(f"DocumentReference/{large}").status_code == 200
        assert holder.get(f"Observation?patient={dossier.id}&_summary=count").json()["total"] == 20
    code, said = here("verify", "--data", server.data, environment=SMALL)
    assert code == 0, said
