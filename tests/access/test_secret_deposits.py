"""What a professional deposits and changes in a minor's secret session, beside what the parents see: they are told of nothing.

Code de la santé publique L1111-5, R1111-53
"""

import base64
import json

import pytest

from fhir_dmp.dmp.documents import IS_ARCHIVED
from fhir_dmp.dmp.visibility import concept, label_of
from tests.access.test_deposits import LISTS, stored, submission
from tests.access.world import RPPS, document, listed, new_ins, patient, refused, related

INVISIBLE = "INVISIBLE_REPRESENTANTS_LEGAUX"
HIDE = [{"op": "add", "path": "/securityLabel/-", "value": concept(INVISIBLE)}]
KINDS = ("List", "Provenance", "Observation", "Condition", "DocumentReference")


@pytest.fixture
def minor(world):
    """A dossier of somebody of 15, the médecin traitant, the mother, and a document that she sees."""
    traitant = world.professional()
    dossier = world.open(age=15, traitant=traitant, people=("MTH",))
    return dossier, traitant, world.representative(dossier), world.deposit(dossier, traitant)


def secretly(world, asker):
    return world.again(asker, secret_session=True)


def shown(dossier, asker) -> dict[str, list[str]]:
    found = {kind: sorted(one["id"] for one in listed(asker, dossier, kind)) for kind in KINDS}
    everything = asker.get(f"{dossier.path}/$everything?_count=500&_type={','.join(KINDS)}").json().get("entry", [])
    return {**found, "everything": sorted(one["resource"]["id"] for one in everything)}


def naming(dossier, traitant, made: dict, kind: str) -> dict:
    """Something that names a document which was there before."""
    reference, subject = {"reference": f"DocumentReference/{made['id']}"}, {"reference": dossier.path}
    if kind == "List":
        code = {"coding": [{"system": LISTS, "code": "folder"}]}
        rest = {"mode": "working", "code": code, "source": traitant.reference, "entry": [{"item": reference}], "date": "2026-11-20"}
        return {"resourceType": "List", "status": "current", "subject": subject, **rest}
    category = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "exam"}]}]
    rest = {"category": category, "code": {"text": "poids"}, "performer": [traitant.reference], "derivedFrom": [reference]}
    return {"resourceType": "Observation", "status": "final", "subject": subject, **rest}


@pytest.mark.parametrize("kind", ["List", "Observation"])
def test_what_names_what_the_parents_see_is_kept_from_them_whatever_is_done_with_that(world, minor, kind):
    dossier, traitant, mother, made = minor
    before, child = shown(dossier, mother), world.holder(dossier, beside=traitant)
    new = world.write(secretly(world, traitant), naming(dossier, traitant, made, kind))
    path, document_ = f"{kind}/{new['id']}", f"DocumentReference/{made['id']}"
    assert shown(dossier, mother) == before and mother.get(path).status_code == 404
    for asker in (traitant, child):
        assert asker.get(path).status_code == 200 and new["id"] in [one["id"] for one in listed(asker, dossier, kind)]
    # The document itself is hidden from them, and shown again.
    assert child.patch(document_, HIDE).status_code == 200
    labels = child.get(document_).json()["securityLabel"]
    (place,) = [place for place, one in enumerate(labels) if label_of(one["coding"][0]) == INVISIBLE]
    assert child.patch(document_, [{"op": "remove", "path": f"/securityLabel/{place}"}]).status_code == 200
    assert mother.get(document_).status_code == 200 and mother.get(path).status_code == 404
    assert shown(dossier, mother) == before
    assert child.get(path).status_code == 200


def test_a_submission_that_names_what_the_parents_see_is_kept_from_them(world, minor):
    dossier, traitant, mother, made = minor
    before = shown(dossier, mother)
    sent = submission(dossier, traitant, document(dossier, traitant))
    sent["entry"][0]["resource"]["entry"].append({"item": {"reference": f"DocumentReference/{made['id']}"}})
    answer = secretly(world, traitant).post("", sent)
    (new,), (list_,) = stored(answer, "DocumentReference"), stored(answer, "List")
    assert shown(dossier, mother) == before and mother.get(f"List/{list_}").status_code == 404
    child = world.holder(dossier, beside=traitant)
    assert len(child.get(f"List/{list_}").json()["entry"]) == 2
    # It is shown with the document that came with it, once that is.
    labels = child.get(f"DocumentReference/{new}").json()["securityLabel"]
    (place,) = [place for place, one in enumerate(labels) if label_of(one["coding"][0]) == INVISIBLE]
    assert child.patch(f"DocumentReference/{new}", [{"op": "remove", "path": f"/securityLabel/{place}"}]).status_code == 200
    assert len(mother.get(f"List/{list_}").json()["entry"]) == 2


ARCHIVED = {"url": IS_ARCHIVED, "valueBoolean": True}
CHANGES = {
    "superseded": [{"op": "replace", "path": "/status", "value": "superseded"}],
    "withdrawn": [{"op": "replace", "path": "/status", "value": "entered-in-error"}],
    "archived": [{"op": "add", "path": "/extension", "value": [ARCHIVED]}],
    "retired": [{"op": "replace", "path": "/status", "value": "retired"}],
}


def bundle(method: str, url: str, resource: dict) -> dict:
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": resource, "request": {"method": method, "url": url}}]}


def binary(operations: list) -> dict:
    """A patch as an entry of a transaction."""
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


def in_secret(answer) -> bool:
    issue = answer.json()["issue"][0]
    return (answer.status_code, issue["code"]) == (422, "business-rule") and "secret session" in issue["diagnostics"]


def state(dossier, asker) -> list[tuple]:
    """What she sees, as it is."""
    found = [one for kind in KINDS for one in listed(asker, dossier, kind)]
    return sorted((one["resourceType"], one["id"], one["meta"]["versionId"], one["meta"]["lastUpdated"]) for one in found)


def test_in_a_secret_session_no_document_that_the_parents_see_is_changed(world, minor):
    dossier, traitant, mother, made = minor
    secret, path = secretly(world, traitant), f"DocumentReference/{made['id']}"
    list_ = world.write(traitant, naming(dossier, traitant, made, "List"))
    before = state(dossier, mother)
    answers = [secret.patch(path, CHANGES[how]) for how in ("superseded", "withdrawn", "archived")]
    answers += [
        secret.patch(f"List/{list_['id']}", CHANGES["retired"]),
        secret.post("", bundle("PATCH", path, binary(CHANGES["superseded"]))),
    ]
    assert all(map(in_secret, answers)), [one.text for one in answers]
    assert state(dossier, mother) == before
    # Who may not is refused as ever, and to change nothing changes nothing.
    stranger = world.professional(secret_session=True)
    assert stranger.patch(path, CHANGES["withdrawn"]).status_code == 404
    other = world.deposit(dossier, world.professional())
    assert refused(secret.patch(f"DocumentReference/{other['id']}", CHANGES["withdrawn"]))
    assert secret.patch(path, [{"op": "replace", "path": "/status", "value": "current"}]).status_code == 200
    # It is hidden from them; then it may be changed, and so may what was deposited in such a session.
    own = world.deposit(dossier, secret)
    assert secret.patch(f"DocumentReference/{own['id']}", CHANGES["withdrawn"]).status_code == 200
    assert secret.patch(path, HIDE).status_code == 200 and mother.get(path).status_code == 404
    assert secret.patch(path, CHANGES["superseded"]).status_code == 200


def test_in_a_secret_session_nothing_is_announced_to_the_parents(world, minor):
    dossier, traitant, mother, _ = minor
    made = world.deposit(dossier, traitant, labels=("INVISIBLE_PATIENT",))
    path, before = f"DocumentReference/{made['id']}", state(dossier, mother)
    labels = traitant.get(path).json()["securityLabel"]
    (place,) = [place for place, one in enumerate(labels) if label_of(one["coding"][0]) == "INVISIBLE_PATIENT"]
    announce = [{"op": "remove", "path": f"/securityLabel/{place}"}]
    assert in_secret(secretly(world, traitant).patch(path, announce)) and state(dossier, mother) == before
    assert traitant.patch(path, announce).status_code == 200 and mother.get(path).status_code == 200


def test_in_a_secret_session_no_resource_that_the_parents_see_is_changed(world, minor):
    dossier, traitant, mother, _ = minor
    condition = {"resourceType": "Condition", "subject": {"reference": dossier.path}, "code": {"text": "asthme"}}
    made, secret = world.write(traitant, condition), secretly(world, traitant)
    path, before = f"Condition/{made['id']}", state(dossier, mother)
    changed = {**made, "code": {"text": "autre"}}
    answers = [secret.put(path, changed), secret.post("", bundle("PUT", path, changed))]
    assert all(map(in_secret, answers)), [one.text for one in answers]
    assert state(dossier, mother) == before and mother.get(path).json()["code"] == {"text": "asthme"}
    own = world.write(secret, condition)
    assert secret.put(f"Condition/{own['id']}", {**own, "code": {"text": "autre"}}).status_code == 200
    assert state(dossier, mother) == before
    assert traitant.put(path, changed).status_code == 200


def test_whether_a_document_is_hidden_from_parents_is_not_told_so_to_a_parent_who_is_its_author(world):
    father = world.professional()
    dossier = world.open(age=15, traitant=father, people=("MTH",))
    person = related("FTH", identifier=[{"system": RPPS, "value": father.rpps}])
    world.write(world.representative(dossier), {**person, "patient": {"reference": dossier.path}})
    plain, hidden = world.deposit(dossier, father), world.deposit(dossier, father)
    child = world.holder(dossier, beside=world.professional())
    assert child.patch(f"DocumentReference/{hidden['id']}", HIDE).status_code == 200
    secret = secretly(world, father)
    assert all(in_secret(secret.patch(f"DocumentReference/{one['id']}", CHANGES["superseded"])) for one in (plain, hidden))
    # Nor by what he deposits in the session beside it.
    for one in (plain, hidden):
        resource, list_ = (world.write(secret, naming(dossier, father, one, kind)) for kind in ("Observation", "List"))
        assert in_secret(secret.put(f"Observation/{resource['id']}", {**resource, "code": {"text": "autre"}}))
        assert in_secret(secret.patch(f"List/{list_['id']}", CHANGES["retired"]))
        assert father.patch(f"List/{list_['id']}", CHANGES["retired"]).status_code == 200


def test_in_a_secret_session_no_sheet_is_issued_and_no_dossier_of_a_minor_opened(world, minor):
    dossier, _, mother, _ = minor
    opener = world.professional()
    given = {"patient": patient(new_ins(), age=15), "evidence": "oral", "relatedPerson": [related("MTH")]}
    assert in_secret(secretly(world, opener).run("Patient/$open", **given))
    assert in_secret(secretly(world, opener).run("Patient/$open", **given))  # there is none from then on
    answer = opener.run("Patient/$open", **given)
    assert answer.status_code == 201
    sheet = f"Patient/{answer.json()['id']}/$access-sheet"
    assert in_secret(secretly(world, opener).run(sheet)) and opener.run(sheet).status_code == 200
    # Whoever may not is refused as ever.
    assert refused(world.professional(secret_session=True).run(sheet))
    assert mother.run(f"{dossier.path}/$access-sheet").status_code == 200
