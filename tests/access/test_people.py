"""Identification, médecin traitant, care team, representatives. Code de la santé publique L1111-14, L1111-16"""

import base64
import json

import pytest

from tests.access.test_consents import reads
from tests.access.world import INS, care_team, day, new_ins, patient, refused, related
from tests.interactions.making import issue, places

PHONE = [{"system": "phone", "value": "0102030405"}]


def changed(asker, dossier, **fields):
    """PUT of the Patient with some elements replaced; None removes one."""
    current = asker.get(dossier.path).json()
    value = {name: part for name, part in {**current, **fields}.items() if part is not None}
    return asker.put(dossier.path, value)


# ---- identification


def test_the_holder_edits_contact_and_address(world):
    dossier = world.open()
    holder = world.holder(dossier)
    answer = changed(holder, dossier, telecom=PHONE, address=[{"city": "Lyon"}], contact=[{"telecom": PHONE}])
    assert answer.status_code == 200 and answer.json()["telecom"] == PHONE
    assert holder.patch(dossier.path, [{"op": "replace", "path": "/address/0/city", "value": "Brest"}]).json()["address"] == [
        {"city": "Brest"}
    ]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"identifier": [{"system": INS, "value": new_ins()}]}, "Patient.identifier"),
        ({"name": [{"use": "official", "family": "AUTRE", "given": ["Solange"]}]}, "Patient.name"),
        ({"birthDate": "1950-01-01"}, "Patient.birthDate"),
        ({"gender": "male"}, "Patient.gender"),
        ({"active": False}, "Patient.active"),
        ({"deceasedBoolean": True}, "Patient.deceasedBoolean"),
        ({"name": None}, "Patient.name"),
    ],
)
def test_traits_of_the_ins_are_not_free_text(world, fields, place):
    dossier = world.open()
    answer = changed(world.holder(dossier), dossier, **fields)
    assert answer.status_code == 422 and place in places(answer)


def test_a_name_in_use_is_free(world):
    dossier = world.open()
    names = dossier.patient["name"]
    assert changed(world.holder(dossier), dossier, name=[*names, {"use": "usual", "family": "LENOIR"}]).status_code == 200


def test_professionals_do_not_edit_the_identification(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    assert refused(changed(anna, dossier, telecom=PHONE))
    stranger = world.professional()
    assert refused(stranger.put(dossier.path, {**dossier.patient, "telecom": PHONE}))


def test_a_parent_edits_for_a_child(world):
    dossier = world.open(age=9, people=("MTH",))
    assert changed(world.representative(dossier), dossier, telecom=PHONE).status_code == 200


def test_the_patient_is_never_deleted(world):
    dossier = world.open()
    assert world.holder(dossier).delete(dossier.path).status_code == 405


# ---- médecin traitant


def test_the_holder_declares_and_changes_his_medecin_traitant(world):
    anna, carl = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.declare(dossier, carl)
    assert reads(carl, dossier) and not reads(anna, dossier)


def test_a_blocked_professional_is_not_declared(world):
    anna, dossier = world.professional(), world.open()
    world.consent(dossier, "block", anna)
    answer = changed(world.holder(dossier), dossier, generalPractitioner=[anna.reference])
    assert (answer.status_code, issue(answer)[1]) == (409, "conflict")


def test_a_medecin_traitant_is_somebody(world):
    dossier = world.open()
    answer = changed(world.holder(dossier), dossier, generalPractitioner=[{"display": "Dr Personne"}])
    assert answer.status_code == 422 and places(answer) == ["Patient.generalPractitioner"]


def contained(asker):
    """A practitioner that a Patient contains."""
    return {"resourceType": "Practitioner", "id": "gp", "identifier": [asker.reference["identifier"]]}


def test_a_medecin_traitant_whom_the_patient_contains_is_declared_like_any_other(world):
    """Whom the reference leads to counts, though it stays `#gp`, or that of a role."""
    anna, carl, team = (world.professional() for _ in range(3))
    dossier = world.open()
    holder, feed = world.holder(dossier), world.feed()
    world.consent(dossier, "block", team)
    assert changed(holder, dossier, generalPractitioner=[{"reference": "#gp"}], contained=[contained(anna)]).status_code == 200
    assert reads(anna, dossier)
    answer = changed(holder, dossier, contained=[contained(team)])
    assert (answer.status_code, issue(answer)[1]) == (409, "conflict")
    nobody = {"resourceType": "Practitioner", "id": "gp", "name": [{"family": "Personne"}]}
    answer = changed(holder, dossier, contained=[nobody])
    assert answer.status_code == 422 and places(answer) == ["Patient.generalPractitioner"]
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#gp"}}
    assert changed(holder, dossier, generalPractitioner=[{"reference": "#r"}], contained=[role, contained(anna)]).status_code == 200
    answer = changed(holder, dossier, contained=[role, contained(team)])
    assert (answer.status_code, issue(answer)[1]) == (409, "conflict")
    assert reads(anna, dossier) and not reads(team, dossier)
    replaced = {**holder.get(dossier.path).json(), "contained": [role, contained(carl)]}
    assert feed.put(dossier.path, replaced).status_code == 200
    assert reads(carl, dossier) and not reads(anna, dossier)


def test_a_patient_follows_no_rules_of_its_sender(world):
    dossier, anna = world.open(), world.professional()
    answer = changed(world.holder(dossier), dossier, implicitRules="urn:x-test:rules")
    assert answer.status_code == 422 and places(answer) == ["Patient.implicitRules"]
    answer = anna.run("Patient/$open", patient=patient(new_ins(), implicitRules="urn:x-test:rules"), evidence="oral")
    assert answer.status_code == 422 and places(answer) == ["Patient.implicitRules"]


def test_a_professional_declares_nobody(world):
    anna, carl = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    assert refused(changed(anna, dossier, generalPractitioner=[carl.reference]))


def test_the_feed_declares_and_brings_traits_without_reading(world):
    anna, dossier, feed = world.professional(), world.open(), world.feed()
    assert refused(feed.get(dossier.path))
    known_as = {**dossier.patient, "generalPractitioner": [anna.reference]}
    answer = feed.put(dossier.path, known_as)
    assert answer.status_code == 200 and answer.content == b""
    assert reads(anna, dossier)
    name = [{"use": "official", "family": "QUATREMERE", "given": ["Solange", "Marie"]}]
    assert feed.put(dossier.path, {**known_as, "name": name}).status_code == 200
    assert world.holder(dossier).get(dossier.path).json()["name"] == name
    other = [{**dossier.patient["identifier"][0], "value": new_ins()}]
    assert feed.put(dossier.path, {**known_as, "identifier": other}).status_code == 422
    assert feed.put(dossier.path, {**known_as, "active": False}).status_code == 422
    assert refused(feed.put("Patient/unknown", {**dossier.patient, "id": "unknown"}))


def test_the_feed_changes_nothing_in_what_it_does_not_read(world):
    """A PATCH asks what is there: whoever is the médecin traitant, for one."""
    anna, feed = world.professional(), world.feed()
    dossier = world.open(traitant=anna)
    asked = [("/gender", dossier.patient["gender"]), ("/gender", "other"), ("/generalPractitioner/0/identifier/value", anna.rpps)]
    for path, value in asked:
        operations = [{"op": "test", "path": path, "value": value}]
        data = base64.b64encode(json.dumps(operations).encode()).decode()
        binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
        entry = {"resource": binary, "request": {"method": "PATCH", "url": dossier.path}}
        answers = [feed.patch(one, operations) for one in (dossier.path, f"Patient/{'a' * 26}")]
        assert all(map(refused, answers)) and len({answer.content for answer in answers}) == 1
        told = feed.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}).json()["entry"][0]["response"]
        assert told["status"].startswith("403")
        assert refused(feed.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}))


# ---- care team


def test_a_member_of_the_care_team_reads(world):
    dossier, anna = world.open(), world.professional()
    team = world.write(world.holder(dossier), care_team(dossier, anna))
    assert reads(anna, dossier)
    world.holder(dossier).put(f"CareTeam/{team['id']}", {**team, "status": "inactive"})
    assert not reads(anna, dossier)


def test_members_and_the_medecin_traitant_add_others_never_themselves(world):
    traitant, anna, carl, stranger = (world.professional() for _ in range(4))
    dossier = world.open(traitant=traitant)
    team = world.write(traitant, care_team(dossier, anna))
    both = care_team(dossier, anna, carl)["participant"]
    assert anna.put(f"CareTeam/{team['id']}", {**team, "participant": both}).status_code == 200
    assert reads(carl, dossier)
    assert refused(traitant.post("CareTeam", care_team(dossier, traitant)))
    assert refused(stranger.post("CareTeam", care_team(dossier, stranger)))
    assert stranger.put(f"CareTeam/{team['id']}", team).status_code == 404


def test_a_member_does_not_lengthen_his_own_membership(world):
    dossier, anna = world.open(), world.professional()
    value = care_team(dossier, anna)
    value["participant"][0]["period"] = {"end": day(days=3)}
    team = world.write(world.holder(dossier), value)
    longer = {**team, "participant": [{"member": anna.reference, "period": {"end": day(days=300)}}]}
    assert refused(anna.put(f"CareTeam/{team['id']}", longer))


def test_an_organisation_in_a_team_adds_nobody(world):
    dossier, anna = world.open(), world.professional()
    value = care_team(dossier)
    value["participant"] = [{"member": {"identifier": {"system": "https://finess.esante.gouv.fr", "value": anna.organization}}}]
    world.write(world.holder(dossier), value)
    assert not reads(anna, dossier)


def test_a_membership_that_ended_gives_nothing(world):
    dossier, anna = world.open(), world.professional()
    world.write(world.holder(dossier), care_team(dossier, anna, period={"end": day(days=-2)}))
    assert not reads(anna, dossier)


# ---- representatives


def test_a_parent_is_added_by_a_parent(world):
    dossier = world.open(age=9, people=("MTH",))
    mother = world.representative(dossier)
    father = world.write(mother, {**related("FTH"), "patient": {"reference": dossier.path}})
    assert world.representative(dossier, father["id"]).get(dossier.path).status_code == 200


def test_nobody_gives_himself_a_longer_title(world):
    dossier = world.open(age=40)
    guardian = {**related("GUARD"), "patient": {"reference": dossier.path}, "period": {"end": day(days=20)}}
    person = world.write(world.holder(dossier), guardian)
    asker = world.representative(dossier, person["id"])
    assert asker.get(dossier.path).status_code == 200
    assert asker.put(f"RelatedPerson/{person['id']}", {**person, "telecom": PHONE}).status_code == 200
    assert refused(asker.put(f"RelatedPerson/{person['id']}", {**person, "period": {"end": day(days=900)}}))


def test_nobody_names_a_guardian_for_longer_than_he_acts_himself(world):
    """Else a parent would stay for life, and shut the child out who has come of age."""
    child, adult = world.open(age=17, people=("MTH",)), world.open(age=40)
    mother, holder = world.representative(child), world.holder(adult)
    first = world.write(holder, {**related("GUARD"), "patient": {"reference": adult.path}, "period": {"end": day(days=20)}})
    for asker, dossier in ((mother, child), (world.representative(adult, first["id"]), adult)):
        for period in ({}, {"period": {"end": day(days=900)}}):
            answer = asker.post("RelatedPerson", {**related("GUARD"), "patient": {"reference": dossier.path}, **period})
            assert (answer.status_code, places(answer)) == (422, ["RelatedPerson.period"])
        short = {**related("GUARD"), "patient": {"reference": dossier.path}, "period": {"end": day(days=10)}}
        made = world.write(asker, short)
        assert world.representative(dossier, made["id"]).get(dossier.path).status_code == 200
        assert asker.put(f"RelatedPerson/{made['id']}", {**made, "period": {"end": day(days=900)}}).status_code == 422
    father = world.write(mother, {**related("FTH"), "patient": {"reference": child.path}})
    turned = {**father, "relationship": related("GUARD")["relationship"]}
    assert mother.put(f"RelatedPerson/{father['id']}", turned).status_code == 422


def test_a_title_that_ended_gives_nothing(world):
    dossier = world.open(age=9, people=("MTH",))
    mother = world.representative(dossier)
    ended = {**related("FTH"), "patient": {"reference": dossier.path}, "period": {"end": day(days=-2)}}
    father = world.write(mother, ended)
    assert refused(world.representative(dossier, father["id"]).get(dossier.path))


def test_a_parents_title_ends_on_the_18th_birthday(world):
    dossier = world.open(age=18, people=("MTH",))
    assert refused(world.representative(dossier).get(dossier.path))
    assert world.holder(dossier).get(dossier.path).status_code == 200


def test_professionals_write_no_related_persons(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    assert refused(anna.post("RelatedPerson", {**related("MTH"), "patient": {"reference": dossier.path}}))


def test_notices_are_written_by_the_server_alone(world):
    dossier = world.open()
    value = {"resourceType": "Communication", "status": "completed", "subject": {"reference": dossier.path}}
    assert world.holder(dossier).post("Communication", value).status_code == 405
    assert world.professional().post("Communication", value).status_code == 405
