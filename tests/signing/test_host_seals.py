"""Level 1 of proof: every version in a dossier is sealed by the host when it arrives."""

import base64
import json

from fhir_dmp.signing import seal
from fhir_dmp.signing.keys import SealKeys
from tests.access.world import VISIBILITY, document, listed


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
