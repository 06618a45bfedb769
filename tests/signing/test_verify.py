"""$verify: three levels of proof, each passed, indeterminate or failed, with reasons."""

import base64
import json

from fhir_dmp.signing import seal
from fhir_dmp.signing.keys import SealKeys
from tests.access.test_deposits import posted, stored, submission
from tests.access.world import LOINC, VISIBILITY, document
from tests.signing.test_author import Someone

LETTER = "34133-9"


def verified(by, where):
    """Status of each level, and the reasons."""
    answer = by.get(f"{where}/$verify")
    assert answer.status_code == 200, answer.text
    listed = answer.json()["parameter"]
    found = {one["name"]: one["valueCode"] for one in listed if "valueCode" in one}
    return found, [one["valueString"] for one in listed if one["name"] == "reason"]


def test_what_was_deposited_is_verified_by_whoever_reads_it(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    report = world.deposit(dossier, anna)
    where = f"DocumentReference/{report['id']}"
    for by in (anna, world.holder(dossier)):
        found, reasons = verified(by, where)
        assert found == {"seal": "passed", "message": "indeterminate", "author": "indeterminate"}
        assert any(one.startswith("seal: sealed by the host on ") for one in reasons)
        assert "message: the message that brought it was not sealed by its sender" in reasons
        assert "author: the document carries no signature of its author" in reasons
    assert verified(anna, report["content"][0]["attachment"]["url"])[0]["seal"] == "passed"


def signed_beside(dossier, by, value, octets, *targets):
    """A deposit with a signature beside it. octets: the JWS. targets: what else it says that it signs."""
    signature = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
        "when": "2026-11-22T10:00:00Z",
        "who": by.reference,
        "sigFormat": "application/jose",
        "data": base64.b64encode(octets).decode(),
    }
    named = ("urn:uuid:00000000-0000-4000-8000-00000000d000", *targets, dossier.path)
    proof = {"resourceType": "Provenance", "target": [{"reference": one} for one in named], "recorded": "2026-11-22T10:00:00Z"}
    proof |= {"agent": [{"who": by.reference}], "signature": [signature]}
    sent = submission(dossier, by, value, more=(posted(proof, "urn:uuid:00000000-0000-4000-8000-00000000e000"),))
    (id,) = stored(by.post("", sent), "DocumentReference")
    return f"DocumentReference/{id}"


def test_a_signature_beside_a_document_counts_where_it_came_with_it(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    value = document(dossier, anna)
    signer = Someone(f"8{anna.rpps}")
    signature = signer.jws(base64.b64decode(value["content"][0]["attachment"]["data"]), detached=True)
    where = signed_beside(dossier, anna, value, signature)
    found, reasons = verified(anna, where)
    assert found["author"] == "indeterminate" and any("no authority is trusted here" in reason for reason in reasons)
    assert any("an author of the document" in reason for reason in reasons)
    # What a colleague says of it beside a document of his own neither proves nor disproves anything.
    own = signed_beside(dossier, bruno, document(dossier, bruno), signature, where)
    assert verified(anna, where) == (found, reasons)
    found, reasons = verified(bruno, own)
    assert found["author"] == "failed" and "author: the JWS does not hold: the signature does not fit the octets" in reasons


def crowd(dossier, by, where, version, octets, *, labels, how_many=201):
    """A document, and as many Provenances beside it that hold a seal of nobody over a version of another one."""
    signature = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14"}],
        "when": "2026-11-22T10:00:00Z",
        "who": by.reference,
        "sigFormat": "application/jose",
        "data": base64.b64encode(octets).decode(),
    }
    named = ("urn:uuid:00000000-0000-4000-8000-00000000d000", f"{where}/_history/{version}", dossier.path)
    proof = {"resourceType": "Provenance", "target": [{"reference": one} for one in named], "recorded": "2026-11-22T10:00:00Z"}
    proof |= {"agent": [{"who": by.reference}], "signature": [signature]}
    more = tuple(posted(proof, f"urn:uuid:00000000-0000-4000-8000-{number:012d}") for number in range(how_many))
    stored(by.post("", submission(dossier, by, document(dossier, by, labels=labels), more=more)), "DocumentReference")


def test_the_seal_of_the_host_is_found_among_any_number_of_provenances(world, tmp_path):
    anna, bruno, carla = world.professional(), world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    for one in (bruno, carla):
        world.consent(dossier, "access", one)
    report = world.deposit(dossier, anna)
    where, version = f"DocumentReference/{report['id']}", report["meta"]["versionId"]
    told = verified(carla, where)
    assert told[0]["seal"] == "passed"
    (tmp_path / "keys").mkdir()
    forged = seal.sign(SealKeys(tmp_path), "elsewhere", "2026-11-22T10:00:00Z", "", [seal.Sealed(where, "0")]).encode()
    # What is hidden from somebody tells him nothing, however much it is.
    crowd(dossier, bruno, where, version, forged, labels=("MASQUE_PS",), how_many=1)
    assert verified(carla, where) == told
    crowd(dossier, bruno, where, version, forged, labels=("MASQUE_PS",))
    assert verified(carla, where) == told
    crowd(dossier, bruno, where, version, forged, labels=())
    assert verified(carla, where) == told


def test_a_signature_beside_a_hidden_replacement_is_not_told_of_what_it_replaces(world):
    anna, bruno, carla = world.professional(), world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    for one in (bruno, carla):
        world.consent(dossier, "access", one)
    where = f"DocumentReference/{world.deposit(dossier, anna)['id']}"
    target = {"code": "replaces", "target": {"reference": where}}
    told = verified(carla, where)
    signature = Someone(f"8{bruno.rpps}").jws(b"something else", detached=True)
    signed_beside(dossier, bruno, document(dossier, bruno, type=LETTER, relatesTo=[target]), signature, where)
    assert verified(carla, where)[0]["author"] == "failed"
    world.consent(dossier, "mask", code=[{"coding": [{"system": LOINC, "code": LETTER}]}])
    found, reasons = verified(carla, where)
    assert found == told[0] and [one for one in reasons if one.startswith("author")] == [one for one in told[1] if one.startswith("author")]


def test_who_may_not_read_may_not_verify(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    report = world.deposit(dossier, anna)
    where = f"DocumentReference/{report['id']}"
    absent = bruno.get("DocumentReference/aaaaaaaaaaaaaaaaaaaaaaaaaa/$verify")
    hidden = bruno.get(f"{where}/$verify")
    assert (hidden.status_code, hidden.content) == (404, absent.content)
    world.consent(dossier, "access", bruno)
    assert bruno.get(f"{where}/$verify").status_code == 200
    mask = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
    assert world.holder(dossier).patch(where, mask).status_code == 200
    assert bruno.get(f"{where}/$verify").content == absent.content


def test_a_mask_changes_nothing_of_the_proof(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    report = world.deposit(dossier, anna, labels=("MASQUE_PS",))
    assert verified(world.holder(dossier), f"DocumentReference/{report['id']}")[0]["seal"] == "passed"


def test_rights_are_sealed_too(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    consent = world.consent(dossier, "access", world.professional())
    assert verified(world.holder(dossier), f"Consent/{consent['id']}")[0]["seal"] == "passed"
    assert verified(world.holder(dossier), dossier.path)[0]["seal"] == "passed"


def test_seals_made_before_a_rotation_stay_good(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    before = world.deposit(dossier, anna)
    for algorithm in ("ES384", "Ed25519", "ES256"):
        new = SealKeys(world.server.data).rotate(algorithm)
        after = world.deposit(dossier, anna)
        for one in (before, after):
            found, reasons = verified(anna, f"DocumentReference/{one['id']}")
            # Told as it is shown: by the key of now, which each worker finds within a second.
            assert found["seal"] == "passed"
            assert any(f"key {kid} " in reason for kid in SealKeys(world.server.data).public for reason in reasons)
        if new in " ".join(verified(anna, f"DocumentReference/{after['id']}")[1]):
            assert algorithm in " ".join(verified(anna, f"DocumentReference/{after['id']}")[1])
    kept = json.loads((world.server.data / "keys" / "seals.json").read_text())["keys"]
    assert ["d" in one for one in kept] == [True] + [False] * (len(kept) - 1)


def test_large_contents_are_sealed(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    value = document(dossier, anna)
    value["content"][0]["attachment"]["data"] = "QUJD" * 300_000
    report = anna.post("DocumentReference", value)
    assert report.status_code == 201
    assert verified(anna, report.json()["content"][0]["attachment"]["url"])[0]["seal"] == "passed"
