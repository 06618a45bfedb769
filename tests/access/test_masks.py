"""Labels of documents: masked, shown, hidden and announced by who may, without a version. CSP R1111-49, R1111-50, R1111-53; PDSm st_maj"""

import pytest

from tests.access.test_deposits import posted, stored, submission
from tests.access.world import LOINC, VISIBILITY, day, document, listed, now, refused

N = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}
MASK = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
ADD = [{"op": "add", "path": "/securityLabel/-", "value": MASK}]


def labels(asker, made: dict) -> list[str]:
    answer = asker.get(f"DocumentReference/{made['id']}")
    assert answer.status_code == 200, answer.text
    return [concept["coding"][0]["code"] for concept in answer.json()["securityLabel"]]


def sees(asker, dossier, made: dict) -> bool:
    """Read, search and content agree."""
    read = asker.get(f"DocumentReference/{made['id']}").status_code
    found = made["id"] in {one["id"] for one in listed(asker, dossier, "DocumentReference") if one["resourceType"] == "DocumentReference"}
    content = asker.get(made["content"][0]["attachment"]["url"]).status_code
    assert (read, content) in ((200, 200), (404, 404)) and found == (read == 200)
    return found


@pytest.fixture
def masking(world):
    """A dossier with one document: (dossier, document, holder, author, colleague with the holder's consent)."""
    anna, nora = world.professional(), world.professional()
    dossier = world.open()
    world.consent(dossier, "access", nora)
    return dossier, world.deposit(dossier, anna), world.holder(dossier), anna, nora


def test_a_masked_document_is_gone_for_professionals_and_its_author_is_not_told(masking):
    dossier, made, holder, anna, nora = masking
    assert sees(nora, dossier, made)
    answer = holder.patch(f"DocumentReference/{made['id']}", ADD)
    assert answer.status_code == 200 and "MASQUE_PS" in answer.text
    assert not sees(nora, dossier, made)
    assert nora.get(f"DocumentReference/{made['id']}/_history").status_code == 404
    assert sees(anna, dossier, made) and labels(anna, made) == ["N"] and labels(holder, made) == ["N", "MASQUE_PS"]


def test_masking_and_unmasking_make_no_version(masking):
    _, made, holder, anna, _ = masking
    path = f"DocumentReference/{made['id']}"
    before = anna.get(path)
    for change in (ADD, [{"op": "replace", "path": "/securityLabel/1", "value": N}], ADD, [{"op": "remove", "path": "/securityLabel/1"}]):
        assert holder.patch(path, change).status_code == 200
        after = anna.get(path)
        assert after.content == before.content and after.headers["etag"] == before.headers["etag"]
    assert labels(holder, made) == ["N"] and anna.get(f"{path}/_history").json()["total"] == 1


def test_if_match_knows_nothing_of_a_mask(masking):
    _, made, holder, anna, _ = masking
    tag = anna.get(f"DocumentReference/{made['id']}").headers["etag"]
    assert holder.patch(f"DocumentReference/{made['id']}", ADD, if_match=tag).status_code == 200
    archive = [{"op": "add", "path": "/extension", "value": [ARCHIVED]}]
    assert anna.patch(f"DocumentReference/{made['id']}", archive, if_match=tag).status_code == 200
    assert labels(holder, made) == ["N", "MASQUE_PS"]  # a new version by who does not see the mask leaves it


ARCHIVED = {"url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived", "valueBoolean": True}


@pytest.mark.parametrize(
    "coding", [{"code": "MASQUE_PS"}, {"system": VISIBILITY, "code": "MASQUE"}, {"system": "http://x.example", "code": "secret"}]
)
def test_what_only_looks_like_a_label_is_refused(masking, coding):
    dossier, made, holder, _, nora = masking
    answer = holder.patch(f"DocumentReference/{made['id']}", [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [coding]}}])
    assert answer.status_code == 422 and sees(nora, dossier, made)


def test_confidentiality_is_added_never_removed(masking):
    _, made, _, anna, _ = masking
    change = [{"op": "replace", "path": "/securityLabel/0", "value": {"coding": [{**N["coding"][0], "code": "R"}]}}]
    assert anna.patch(f"DocumentReference/{made['id']}", change).status_code == 200
    assert labels(anna, made) == ["N", "R"]


def test_a_fhirpath_patch_and_a_conditional_one_mask_too(world, masking):
    dossier, made, holder, anna, nora = masking
    part = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "DocumentReference"},
        {"name": "name", "valueString": "securityLabel"},
        {"name": "value", "valueCodeableConcept": MASK},
    ]
    value = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    assert holder.patch(f"DocumentReference/{made['id']}", value).status_code == 200
    assert not sees(nora, dossier, made)
    other = world.deposit(
        dossier, anna, masterIdentifier={"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.{made['id'].encode()[0]}.7"}
    )
    found = f"DocumentReference?identifier=urn:ietf:rfc:3986|{other['masterIdentifier']['value']}"
    assert holder.patch(found, ADD).status_code == 200 and not sees(nora, dossier, other)


def test_only_who_manages_masks(world, masking):
    dossier, made, _, anna, nora = masking
    for asker in (anna, nora):
        assert asker.patch(f"DocumentReference/{made['id']}", ADD).status_code == 403
    assert world.professional().patch(f"DocumentReference/{made['id']}", ADD).status_code == 404
    assert sees(nora, dossier, made)


@pytest.mark.parametrize("path", ["/description", "/type", "/content/0/attachment/title"])
def test_nothing_else_of_a_document_changes(masking, path):
    _, made, holder, anna, _ = masking
    for asker in (holder, anna):
        assert asker.patch(f"DocumentReference/{made['id']}", [{"op": "add", "path": path, "value": "x"}]).status_code in (405, 422)
    assert anna.put(f"DocumentReference/{made['id']}", made).status_code == 405
    assert anna.delete(f"DocumentReference/{made['id']}").status_code == 405


def test_only_the_author_withdraws_and_then_nobody_finds_it(masking):
    dossier, made, holder, anna, nora = masking
    withdraw = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert nora.patch(f"DocumentReference/{made['id']}", withdraw).status_code == 403
    assert anna.patch(f"DocumentReference/{made['id']}", withdraw).status_code == 200
    assert nora.get(f"DocumentReference/{made['id']}").status_code == 404
    for asker in (anna, holder):
        assert asker.get(f"DocumentReference/{made['id']}").status_code == 200
        assert not listed(asker, dossier, "DocumentReference", status="entered-in-error")


def test_what_the_holder_may_not_see_yet_is_announced(world):
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    made = world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",))
    assert [one["coding"][0]["code"] for one in made["securityLabel"]] == ["N", "INVISIBLE_PATIENT"] == labels(anna, made)
    assert not sees(holder, dossier, made)
    assert anna.patch(f"DocumentReference/{made['id']}", [{"op": "remove", "path": "/securityLabel/1"}]).status_code == 200
    assert sees(holder, dossier, made)


def test_one_request_does_not_hide_from_both_sides(world):
    dossier, anna = world.open(), world.professional()
    answer = anna.post("DocumentReference", document(dossier, anna, labels=("INVISIBLE_PATIENT", "MASQUE_PS")))
    assert answer.status_code == 422


def test_a_secret_session_hides_from_representatives(world):
    dossier = world.open(age=14, people=("MTH",))
    doctor = world.professional(secret_session=True)
    made = world.deposit(dossier, doctor)
    mother, child = world.representative(dossier), world.holder(dossier, beside=doctor)
    assert not sees(mother, dossier, made) and sees(child, dossier, made)
    assert "INVISIBLE_REPRESENTANTS_LEGAUX" in labels(doctor, made)
    told = {trace["id"] for trace in listed(mother, dossier, "AuditEvent")}
    assert told < {trace["id"] for trace in listed(child, dossier, "AuditEvent")}


def test_a_professionals_word_at_the_deposit_hides_from_the_parents_of_a_minor(world):
    dossier, doctor = world.open(age=14, people=("MTH",)), world.professional()
    structure = world.structure(doctor.organization)
    child, mother = world.holder(dossier, beside=doctor), world.representative(dossier)
    for asker in (doctor, structure):
        answer = asker.post("DocumentReference", document(dossier, doctor, labels=("INVISIBLE_REPRESENTANTS_LEGAUX",)))
        assert answer.status_code == 201, answer.text
        made = answer.json() if asker is doctor else doctor.get(answer.headers["location"].split("/_history")[0]).json()
        assert not sees(mother, dossier, made) and sees(child, dossier, made)
        # The author alone does not show it: the minor, with a professional.
        patch = [{"op": "remove", "path": f"/securityLabel/{labels(doctor, made).index('INVISIBLE_REPRESENTANTS_LEGAUX')}"}]
        assert doctor.patch(f"DocumentReference/{made['id']}", patch).status_code == 403
        assert child.patch(f"DocumentReference/{made['id']}", patch).status_code == 200
        assert sees(mother, dossier, made)


@pytest.mark.parametrize("people", [(), ("GUARD",)])
def test_nothing_is_hidden_from_representatives_of_an_adult_at_the_deposit(world, people):
    dossier, doctor = world.open(people=people), world.professional()
    made = document(dossier, doctor, labels=("INVISIBLE_REPRESENTANTS_LEGAUX",))
    for asker in (doctor, world.structure(doctor.organization)):
        assert refused(asker.post("DocumentReference", made))
        assert refused(asker.post("", submission(dossier, doctor, document(dossier, doctor), made)))
    manager = world.representative(dossier) if people else world.holder(dossier)
    assert listed(manager, dossier, "DocumentReference") == []


@pytest.mark.parametrize("value", [None, "x", {"coding": "x"}, {"coding": [{"system": VISIBILITY}]}, {}, [MASK]])
def test_a_malformed_label_is_told(masking, value):
    _, made, holder, _, _ = masking
    answer = holder.patch(f"DocumentReference/{made['id']}", [{"op": "add", "path": "/securityLabel/-", "value": value}])
    assert answer.status_code in (400, 422), answer.text


def test_what_was_withdrawn_stays_withdrawn_when_its_author_replaces_it(world):
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    made = world.deposit(dossier, anna)
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert anna.patch(f"DocumentReference/{made['id']}", gone).status_code == 200
    newer = world.deposit(dossier, anna, relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{made['id']}"}}])
    assert not sees(team, dossier, made) and sees(team, dossier, newer)
    assert team.get(f"DocumentReference?patient={dossier.id}&status=superseded").json()["total"] == 0
    assert anna.get(f"DocumentReference/{made['id']}").json()["status"] == "entered-in-error"


@pytest.mark.parametrize(
    ("since", "until", "hidden"), [(-401, -399, True), (-200, -190, True), (-1, 0, True), (-500, -402, False), (2, 9, False)]
)
def test_a_mask_by_period_hides_what_any_date_of_it_meets(world, since, until, hidden):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    about = {"status": "final", "code": {"coding": [{"system": LOINC, "code": "8867-4"}]}, "subject": {"reference": dossier.path}}
    when = {"effectivePeriod": {"start": day(days=-400), "end": day(days=-398)}, "issued": now()}
    made = world.write(anna, {"resourceType": "Observation", **about, **when})
    told = world.deposit(dossier, anna, context={"period": when["effectivePeriod"]})
    world.consent(dossier, "mask", dataPeriod={"start": day(days=since), "end": day(days=until)})
    for one in (made, told):
        kind = one["resourceType"]
        assert nora.get(f"{kind}/{one['id']}").status_code == (404 if hidden else 200)
        assert [found["id"] for found in listed(nora, dossier, kind)] == ([] if hidden else [one["id"]])
        assert anna.get(f"{kind}/{one['id']}").status_code == 200
    # A content says no date itself.
    assert nora.get(told["content"][0]["attachment"]["url"]).status_code == (404 if hidden else 200)


PAST = {"start": day(days=-400), "end": day(days=-398)}
# What says when in one element alone, and the type it is said of.
SAID = {
    "Procedure": {"status": "completed", "performedPeriod": PAST},
    "Observation": {"status": "final", "effectiveTiming": {"event": [PAST["start"], PAST["end"]]}},
    "Condition": {"onsetPeriod": PAST},
    "MedicationStatement": {"status": "completed", "effectivePeriod": PAST},
}


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize(("since", "until", "hidden"), [(-401, -399, True), (-30, 0, False)])
def test_a_mask_by_period_hides_what_says_when_in_one_element_alone_whatever_it_comes_with(world, kind, since, until, hidden):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    what = "medicationCodeableConcept" if kind == "MedicationStatement" else "code"
    one = {"resourceType": kind, "subject": {"reference": dossier.path}, what: {"text": "ivg"}, **SAID[kind]}
    more = (posted(one, "urn:uuid:00000000-0000-4000-8000-00000000c000"),)
    sent = document(dossier, anna, context={"period": {"start": day(days=-1), "end": day()}})
    (beside,) = stored(anna.post("", submission(dossier, anna, sent, more=more)), kind)
    ids = {beside, world.write(anna, one)["id"]}
    world.consent(dossier, "mask", dataPeriod={"start": day(days=since), "end": day(days=until)})
    assert {nora.get(f"{kind}/{id}").status_code for id in ids} == {404 if hidden else 200}
    assert {found["id"] for found in listed(nora, dossier, kind)} == (set() if hidden else ids)
    assert {anna.get(f"{kind}/{id}").status_code for id in ids} == {200}


def test_a_seal_is_hidden_with_what_it_seals_whenever_it_was_made(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    world.deposit(dossier, anna, date=f"{PAST['start']}T08:00:00Z", context={"period": PAST})
    assert listed(nora, dossier, "Provenance")
    world.consent(dossier, "mask", dataPeriod={"start": day(days=-401), "end": day(days=-397)})
    assert not listed(nora, dossier, "Provenance")


def test_what_says_no_more_when_it_was_is_hidden_with_its_document(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    one = {"resourceType": "Procedure", "subject": {"reference": dossier.path}, "code": {"text": "ivg"}, **SAID["Procedure"]}
    more = (posted(one, "urn:uuid:00000000-0000-4000-8000-00000000c000"),)
    sent = document(dossier, anna, context={"period": {"start": day(days=-1), "end": day()}})
    (id,) = stored(anna.post("", submission(dossier, anna, sent, more=more)), "Procedure")
    made = anna.get(f"Procedure/{id}").json()
    for text in ("a", "b"):
        changed = {name: value for name, value in made.items() if name != "performedPeriod"} | {"code": {"text": text}}
        assert anna.put(f"Procedure/{id}", changed).status_code == 200
    assert nora.get(f"Procedure/{id}").status_code == 200
    world.consent(dossier, "mask", dataPeriod={"start": day(days=-2), "end": day(days=1)})
    assert nora.get(f"Procedure/{id}").status_code == 404 and not listed(nora, dossier, "Procedure")
