"""What a professional deposits and changes in a minor's secret session, beside what the parents see: they are told of nothing.

Code de la santé publique L1111-5, R1111-53
"""

import pytest

from fhir_dmp.dmp.visibility import concept, label_of
from tests.access.test_deposits import LISTS, stored, submission
from tests.access.world import document, listed

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
