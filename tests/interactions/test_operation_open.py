"""The life of a dossier in a sandbox: `system` tokens meet no rule, all others the same ones as elsewhere."""

import pytest

from tests.access.world import World, consent, new_ins, parameters, patient, refused
from tests.interactions.making import issue


@pytest.fixture(scope="module")
def world(server):
    return World(server)


def test_a_system_token_opens_closes_and_reopens(fhir):
    ins = new_ins()
    answer = fhir.post("Patient/$open", parameters(patient=patient(ins)))
    assert answer.status_code == 201
    id = answer.json()["id"]
    assert fhir.get(f"Consent?patient={id}").json()["total"] == 4
    again = fhir.post("Patient/$open", parameters(patient=patient(ins)))
    assert (again.status_code, issue(again)[1]) == (409, "conflict")
    assert fhir.post(f"Patient/{id}/$close", parameters(reason="holder-request")).json()["active"] is False
    assert fhir.post(f"Patient/{id}/$close", parameters(reason="holder-request")).status_code == 409
    assert fhir.post(f"Patient/{id}/$reactivate", parameters()).json()["active"] is True


def test_a_system_token_breaks_no_glass(fhir):
    id = fhir.post("Patient/$open", parameters(patient=patient(new_ins()))).json()["id"]
    for operation in ("$break-glass", "$access-list", "$explain-access"):
        assert fhir.post(f"Patient/{id}/{operation}", parameters()).status_code == 400


def test_others_meet_the_rules(world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    assert traitant.get(dossier.path).status_code == 200 and refused(anna.get(dossier.path))
    assert anna.run(f"{dossier.path}/$break-glass", justification="choc").status_code == 200
    assert anna.get(dossier.path).status_code == 200
    world.consent(dossier, "block", anna)
    assert refused(anna.get(dossier.path))
    assert refused(anna.post("Consent", consent(dossier, "access", anna, evidence="oral")))
    assert world.holder(dossier).run(f"{dossier.path}/$close", reason="holder-request").status_code == 200
    assert refused(traitant.get(dossier.path))
