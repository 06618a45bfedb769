"""Level 1 of proof: every version in a dossier is sealed by the host when it arrives."""

import base64
import json

import pytest

from fhir_dmp.signing import seal
from fhir_dmp.signing.keys import SealKeys
from tests.access.test_masks import ARCHIVED
from tests.access.world import VISIBILITY, document, listed
from tests.interactions.making import bundle, entry


def seals(by, dossier, **criteria):
    return listed(by, dossier, "Provenance", **criteria)


def statement(world, provenance):
    """What the first signature of a Provenance says, verified with the keys that the host publishes."""
    text = base64.b64decode(provenance["signature"][0]["data"]).decode()
    found = seal.opened(text, [SealKeys(world.server.data)])
    assert found.verdict.status == "passed", found
    return found.statement


def test_a_deposit_is_sealed_with_its_content(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    report = world.deposit(dossier, anna, masterIdentifier={"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3.4"})
    (found,) = seals(anna, dossier, target=f"DocumentReference/{report['id']}")
    said = statement(world, found)
    address = f"DocumentReference/{report['id']}/_history/{report['meta']['versionId']}"
    assert [one["reference"] for one in found["target"]][0] == address
    assert found["target"][-1] == {"reference": dossier.path}
    assert said.patient == dossier.path and said.what[0].identifier == ("urn:ietf:rfc:3986|urn:oid:1.2.3.4",)
    binary = anna.get(report["content"][0]["attachment"]["url"], accept="text/plain")
    assert said.what[1].octets == seal.digest(binary.content)
    assert found["recorded"] == said.at and found["signature"][0]["sigFormat"] == "application/jose"


def test_the_seal_names_the_message_that_was_received(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    body = json.dumps(document(dossier, anna)).encode()
    answer = anna.post("DocumentReference", body)
    assert answer.status_code == 201
    (found,) = seals(anna, dossier, target=f"DocumentReference/{answer.json()['id']}")
    assert statement(world, found).message.sha256 == seal.digest(body)


def test_a_mask_hides_the_seal_with_the_document_and_makes_no_new_one(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=world.professional())
    holder = world.holder(dossier)
    for one in (anna, bruno):
        world.consent(dossier, "access", one)
    report = world.deposit(dossier, anna)
    where = f"DocumentReference/{report['id']}"
    before = seals(bruno, dossier, target=where)
    assert len(before) == 1
    mask = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
    assert holder.patch(where, mask).status_code == 200
    assert seals(bruno, dossier, target=where) == []
    assert bruno.get(f"Provenance/{before[0]['id']}").status_code == 404
    assert seals(holder, dossier, target=where) == before


def test_a_withdrawn_document_takes_its_seals_along(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    report = world.deposit(dossier, anna)
    where = f"DocumentReference/{report['id']}"
    (before,) = seals(bruno, dossier, target=where)
    withdrawn = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert anna.patch(where, withdrawn).status_code == 200
    assert seals(bruno, dossier, target=where) == []
    assert bruno.get(f"Provenance/{before['id']}").status_code == 404
    everything = bruno.get(f"Patient/{dossier.id}/$everything").json()["entry"]
    assert "Provenance" not in {entry["resource"]["resourceType"] for entry in everything}


def test_seals_of_rights_are_shown_to_nobody(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    mask = {"class": [{"system": "urn:oid:1.2.250.1.213.1.1.4.1", "code": "11"}]}
    consent = world.consent(dossier, "mask", **mask)
    for one in (anna, world.holder(dossier)):
        assert seals(one, dossier, target=f"Consent/{consent['id']}") == []


def messages(world, by, dossier):
    """What the seals of documents that somebody sees say of the message, by the address of each version."""
    return {
        said.what[0].reference: said.message
        for said in (statement(world, one) for one in seals(by, dossier))
        if said.what[0].reference.startswith("DocumentReference/")
    }


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("beside", ["nothing", "a document", "a label"])
def test_a_seal_does_not_tell_that_something_hidden_came_in_the_same_bundle(world, kind, beside):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    label = {"coding": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}
    sent = [entry("POST", "DocumentReference", document(dossier, anna))]
    if beside == "a document":
        sent.append(entry("POST", "DocumentReference", document(dossier, anna, labels=("INVISIBLE_PATIENT",))))
    elif beside == "a label":
        patch = json.dumps([{"op": "add", "path": "/securityLabel/-", "value": label}]).encode()
        value = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": base64.b64encode(patch).decode()}
        sent.append(entry("PATCH", f"DocumentReference/{world.deposit(dossier, anna)['id']}", value))
    answer = anna.post("", bundle(kind, *sent))
    assert answer.status_code == 200 and {one["response"]["status"][:3] for one in answer.json()["entry"]} <= {"200", "201"}, answer.text
    assert list(messages(world, world.holder(dossier), dossier).values()) == [None]


def test_the_digest_of_a_message_is_in_the_seal_of_what_was_sent_and_in_no_other(world):
    """Whoever reads the replaced document could try guesses about what replaces it; a patch is short enough to be guessed whole."""
    anna = world.professional()
    dossier = world.open(traitant=anna)
    first = world.deposit(dossier, anna)
    archived = [{"op": "add", "path": "/extension", "value": [ARCHIVED]}]
    assert anna.patch(f"DocumentReference/{first['id']}", archived).status_code == 200
    replaces = [{"code": "replaces", "target": {"reference": f"DocumentReference/{first['id']}"}}]
    body = json.dumps(document(dossier, anna, relatesTo=replaces)).encode()
    answer = anna.post("DocumentReference", body)
    assert answer.status_code == 201, answer.text
    found = messages(world, anna, dossier)
    own = f"DocumentReference/{answer.json()['id']}/"
    assert [said.sha256 for reference, said in found.items() if reference.startswith(own)] == [seal.digest(body)]
    assert len(found) == 4 and [said for reference, said in found.items() if not reference.startswith(own)].count(None) == 2
