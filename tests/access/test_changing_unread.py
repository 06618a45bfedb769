"""What a PATCH answers whose token may change but not read: that it was done. CONTRACT 3, http://hl7.org/fhir/smart-app-launch/"""

import base64
import json

import pytest

from tests.access.world import CANONICAL, care_team, day, now

MASK = {"coding": [{"system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"}]}
MASK["coding"][0]["code"] = "MASQUE_PS"
REPRESENTATION = {"prefer": "return=representation"}


@pytest.fixture
def asked(world):
    """Somebody's document, Consent and care team, each with a change of it, and the holder with the scopes to change alone."""
    dossier, anna = world.open(), world.professional()
    holder, scope = world.holder(dossier), "patient/DocumentReference.write patient/Consent.us patient/CareTeam.u patient/Patient.u"
    consent = world.consent(dossier, "access", anna, period={"start": day(days=-1), "end": day(days=9)})
    changes = {
        f"DocumentReference/{world.deposit(dossier, anna)['id']}": {"op": "add", "path": "/securityLabel/-", "value": MASK},
        f"Consent/{consent['id']}": {"op": "replace", "path": "/dateTime", "value": now()},
        f"CareTeam/{world.write(holder, care_team(dossier, anna))['id']}": {"op": "add", "path": "/name", "value": "équipe"},
        dossier.path: {"op": "add", "path": "/telecom", "value": [{"system": "phone", "value": "0601020304"}]},
    }
    return changes, world.again(holder, scope=scope), holder


def entry(path: str, *operations: dict) -> dict:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    resource = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    return {"resource": resource, "request": {"method": "PATCH", "url": path}}


@pytest.mark.parametrize("how", ["alone", "batch", "transaction"])
def test_who_may_change_and_not_read_is_shown_nothing(asked, how):
    changes, narrow, wide = asked
    for path, change in changes.items():
        assert narrow.get(path).status_code == 403
        for asker in (narrow, wide):
            if how == "alone":
                answer = asker.patch(path, [change], **REPRESENTATION)
                assert answer.status_code == 200 and answer.headers["etag"], answer.text
                shown = bool(answer.content)
            else:
                bundle = {"resourceType": "Bundle", "type": how, "entry": [entry(path, change)]}
                answer = asker.post("", bundle, **REPRESENTATION)
                (one,) = answer.json()["entry"]
                assert one["response"]["status"].startswith("200"), answer.text
                shown = "resource" in one
            assert shown == (asker is wide), path


def test_nor_told_what_is_there_by_a_patch_that_asks(asked):
    changes, narrow, wide = asked
    for path in changes:
        kind = path.partition("/")[0]
        for value, told in ((kind, 200), ("another", 422)):
            question = {"op": "test", "path": "/resourceType", "value": value}
            assert narrow.patch(path, [question]).status_code == 403
            assert wide.patch(path, [question]).status_code == told
            for form in ("batch", "transaction"):
                answer = narrow.post("", {"resourceType": "Bundle", "type": form, "entry": [entry(path, question)]})
                status = answer.status_code if form == "transaction" else answer.json()["entry"][0]["response"]["status"]
                assert str(status)[:3] == "403", answer.text
    parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": f"{kind}.telecom.where(value = '0601020304')"}]
    question = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    assert narrow.patch(path, question).status_code == 403
    assert wide.patch(path, question).status_code == 200


def test_nor_by_closing_and_opening_a_dossier(asked):
    changes, narrow, wide = asked
    path = list(changes)[-1]
    for asker in (narrow, wide):
        for operation in ("$close", "$reactivate"):
            answer = asker.run(f"{path}/{operation}", reason="holder-request")
            assert answer.status_code == 200 and bool(answer.content) == (asker is wide), answer.text


def test_a_patch_by_criteria_too(asked):
    changes, narrow, _ = asked
    (path,) = (one for one in changes if one.startswith("Consent"))
    code = f"{CANONICAL}CodeSystem/dmp-consent-category|access"
    answer = narrow.patch(f"Consent?patient={list(changes)[-1]}&category={code}", [changes[path]], **REPRESENTATION)
    assert answer.status_code == 200 and not answer.content, answer.text
