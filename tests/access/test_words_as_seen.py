"""`_content` and `_text` find by the words that the asker is shown, not by those of what is stored.

https://hl7.org/fhir/R4/search.html#content ; https://profiles.ihe.net/ITI/PCF/
"""

import pytest

from tests.access.test_hidden_together import MASK
from tests.access.test_told_together import HIDE
from tests.access.world import VISIBILITY, listed

FOLDERS = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
# Criteria that the words of a hidden reference would meet -> how many, where nothing is hidden.
WAYS = {
    "DocumentReference?patient={id}&_content=zwingel": 1,
    "DocumentReference?patient={id}&_content=appends": 1,
    "DocumentReference?patient={id}&_content=lettre zwingel&_summary=count": 1,
    "List?patient={id}&_content=zwingel": 1,
    "List?patient={id}&_sort=date&_content=zwingel": 1,
    "?patient={id}&_type=DocumentReference,List&_content=zwingel": 2,
    "Patient?_id={id}&_has:DocumentReference:patient:_content=zwingel": 1,
    "List?patient={id}&item:DocumentReference._content=zwingel": 1,
}


@pytest.fixture(scope="module", params=[False, True], ids=["shown", "masked"])
def referring(request, world):
    """(whether a document is masked, dossier, who sees the letter and the list that name it)."""
    anna, bob, dossier = world.professional(), world.professional(), world.open()
    for one in (anna, bob):
        world.consent(dossier, "access", one)
    named = {"reference": f"DocumentReference/{world.deposit(dossier, anna)['id']}", "display": "Zwingel"}
    letter = world.deposit(
        dossier, anna, description="lettre", relatesTo=[{"code": "appends", "target": named}], context={"related": [named]}
    )
    kind = {"coding": [{"system": FOLDERS, "code": "submissionset"}]}
    kept = {
        "status": "current",
        "mode": "working",
        "title": "lot",
        "date": letter["date"],
        "code": kind,
        "subject": {"reference": dossier.path},
    }
    entries = [{"item": named}, {"item": {"reference": f"DocumentReference/{letter['id']}"}}]
    world.write(anna, {"resourceType": "List", **kept, "entry": entries})
    if request.param:
        assert world.holder(dossier).patch(named["reference"], MASK).status_code == 200
        assert bob.get(named["reference"]).status_code == 404
    return request.param, dossier, bob


@pytest.mark.parametrize("way", WAYS)
def test_words_of_a_reference_to_what_is_hidden_find_nothing(referring, way):
    masked, dossier, bob = referring
    answer = bob.get(way.format(id=dossier.id))
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == (0 if masked else WAYS[way])
    seen = bob.get(f"DocumentReference?patient={dossier.id}&_content=lettre").json()
    assert seen["total"] == 1


@pytest.mark.parametrize("masked", [False, True])
def test_words_that_are_left_out_of_a_trace_do_not_find_it(world, masked):
    """Neither the mask of the holder for the author, nor what was announced since for the holder."""
    anna, dossier = world.professional(), world.open()
    world.consent(dossier, "access", anna)
    holder, path = world.holder(dossier), f"DocumentReference/{world.deposit(dossier, anna)['id']}"
    if masked:
        assert holder.patch(path, MASK).status_code == 200
    assert anna.patch(path, HIDE).status_code == 200

    def found(by, word: str) -> int:
        return by.get(f"AuditEvent?patient={dossier.id}&_content={word}").json()["total"]

    assert found(anna, "MASQUE_PS") == 0
    assert found(anna, "INVISIBLE_PATIENT") == 1
    labels = anna.get(path).json()["securityLabel"]
    place = next(
        place
        for place, one in enumerate(labels)
        if one["coding"][0] == {**one["coding"][0], "system": VISIBILITY, "code": "INVISIBLE_PATIENT"}
    )
    assert anna.patch(path, [{"op": "remove", "path": f"/securityLabel/{place}"}]).status_code == 200
    assert listed(holder, dossier, "DocumentReference")
    assert found(holder, "INVISIBLE_PATIENT") == 0
