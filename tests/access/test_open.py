"""Patient/$open. Code de la santé publique L1111-14"""

import asyncio

import httpx
import pytest

from tests.access.world import (
    EVIDENCE,
    INS,
    RPPS,
    care_team,
    category,
    day,
    document,
    listed,
    new_ins,
    parameters,
    patient,
    refused,
    related,
)
from tests.interactions.making import issue, places


def given(ins, **more):
    return {"patient": patient(ins, **more.pop("fields", {})), "evidence": "signed-form", **more}


def categories(world, dossier):
    found = {}
    for one in listed(world.holder(dossier), dossier, "Consent"):
        found[category(one)] = (one["status"], one["provision"]["type"], [p["code"] for p in one["provision"].get("purpose", [])])
    return found


def test_a_professional_opens_a_dossier_with_evidence(world):
    ins, anna = new_ins(), world.professional()
    answer = anna.run("Patient/$open", **given(ins))
    assert answer.status_code == 201
    opened = answer.json()
    assert answer.headers["location"].startswith(f"{anna.base}/Patient/{opened['id']}/_history/")
    assert opened["active"] is True and opened["identifier"][0]["value"] == ins
    found = anna.get(f"Patient?identifier={INS}|{ins}").json()
    assert [one["resource"]["id"] for one in found["entry"]] == [opened["id"]] and found["entry"][0]["resource"]["active"] is True


def test_the_opener_gets_no_right(world):
    anna = world.professional()
    dossier = world.open(by=anna)
    assert refused(anna.get(dossier.path))
    assert refused(anna.get(f"DocumentReference?patient={dossier.id}"))


def test_the_opener_who_is_the_medecin_traitant_reads(world):
    anna = world.professional()
    dossier = world.open(by=anna, traitant=anna)
    assert anna.get(dossier.path).status_code == 200


def test_the_emergency_consents_are_permit_permit_deny(world):
    dossier = world.open()
    assert categories(world, dossier) == {
        "opening": ("active", "permit", []),
        "emergency-regulation": ("active", "permit", ["ETREAT"]),
        "emergency-break-glass": ("active", "permit", ["BTG"]),
        "emergency-masked": ("active", "deny", ["ETREAT", "BTG"]),
    }


def test_the_emergency_consents_are_as_ticked(world):
    dossier = world.open(emergencyRegulation=False, emergencyBreakGlass=False, emergencyMasked=True)
    found = categories(world, dossier)
    said = [found[name][1] for name in ("emergency-regulation", "emergency-break-glass", "emergency-masked")]
    assert said == ["deny", "deny", "permit"]
    assert refused(world.professional(regulation=True, purpose="ETREAT").get(dossier.path))


def test_the_opening_consent_attests_how(world):
    dossier = world.open()
    (opening,) = [one for one in listed(world.holder(dossier), dossier, "Consent") if category(one) == "opening"]
    assert opening["extension"] == [{"url": EVIDENCE, "valueCode": "signed-form"}]
    assert opening["performer"][0]["identifier"]["value"].startswith("81")


def test_a_structure_opens(world):
    establishment = world.structure()
    dossier = world.open(by=establishment)
    assert refused(establishment.get(dossier.path))


def test_a_holder_opens_his_own(world):
    ins = new_ins()
    holder = world.holder(ins)
    answer = holder.run("Patient/$open", patient=patient(ins))
    assert answer.status_code == 201
    assert holder.get(f"Patient/{answer.json()['id']}").status_code == 200


def test_a_holder_opens_nobody_elses(world):
    assert refused(world.holder(new_ins()).run("Patient/$open", patient=patient(new_ins())))


def test_a_minor_does_not_open_alone(world):
    ins = new_ins()
    assert refused(world.holder(ins).run("Patient/$open", patient=patient(ins, age=15)))


def test_a_parent_opens_for_a_child(world):
    ins = new_ins()
    answer = world.representative().run("Patient/$open", patient=patient(ins, age=9), relatedPerson=[related("MTH"), related("FTH")])
    assert answer.status_code == 201
    assert answer.json()["birthDate"] == patient(ins, age=9)["birthDate"]


def test_parents_opened_with_read_the_dossier_of_their_child(world):
    dossier = world.open(age=9, people=("MTH", "FTH"))
    for related_person in dossier.people.values():
        assert world.representative(dossier, related_person).get(dossier.path).status_code == 200


def test_a_guardian_of_a_minor_is_one_until_the_majority(world):
    mother = world.representative()
    for people in (["MTH", "GUARD"], ["GUARD"]):
        answer = mother.run("Patient/$open", **given(new_ins(), fields={"age": 17}, relatedPerson=[related(one) for one in people]))
        assert (answer.status_code, places(answer)) == (422, ["RelatedPerson.period"])
    guardian = related("GUARD", period={"end": day(days=30)})
    assert mother.run("Patient/$open", **given(new_ins(), fields={"age": 17}, relatedPerson=guardian)).status_code == 201


def test_a_representative_without_title_does_not_open(world):
    parent = world.representative()
    answer = parent.run("Patient/$open", patient=patient(new_ins(), age=40), relatedPerson=[related("MTH")])
    assert answer.status_code == 422
    assert parent.run("Patient/$open", patient=patient(new_ins(), age=9)).status_code == 422
    # Whose title is over is a parent still, and acts for nobody; that he is a professional too makes it no other.
    for code in ("MTH", "GUARD"):
        former = related(code, active=False, identifier=[{"system": RPPS, "value": world.professional().rpps}])
        assert parent.run("Patient/$open", patient=patient(new_ins(), age=9), relatedPerson=former).status_code == 422


@pytest.mark.parametrize("kind", ["host", "feed", "support", "operator"])
def test_others_do_not_open(world, kind):
    assert refused(getattr(world, kind)().run("Patient/$open", **given(new_ins())))


def test_a_mandataire_does_not_open(world):
    dossier = world.open(age=9, people=("MTH",))
    assert refused(world.mandataire(dossier, dossier.people["MTH"]).run("Patient/$open", **given(new_ins())))


def test_who_may_not_open_is_refused_before_the_body_is_judged(world):
    assert refused(world.feed().run("Patient/$open", patient={"resourceType": "Patient"}))


def test_who_cannot_be_named_does_not_open(world):
    opened = world.open()
    named = world.professional()
    for by in (world.again(named, SubjectNameID="ABC"), world.again(world.structure(), SubjectOrganizationID="hospital")):
        for ins in (new_ins(), opened.ins):
            assert refused(by.run("Patient/$open", **given(ins)))
    assert named.run("Patient/$open", **given(new_ins())).status_code == 201


def test_insurers_do_not_open(world):
    assert refused(world.professional(sector="SA23").run("Patient/$open", **given(new_ins())))


def test_evidence_is_needed_of_professionals(world):
    answer = world.professional().run("Patient/$open", patient=patient(new_ins()))
    assert (answer.status_code, issue(answer)) == (422, ("error", "business-rule"))
    answer = world.professional().run("Patient/$open", patient=patient(new_ins()), evidence="hearsay")
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"identifier": [{"system": RPPS, "value": "10001234567"}]}, "Patient.identifier"),
        ({"identifier": [{"system": INS, "value": "27903"}]}, "Patient.identifier"),
        ({"name": [{"use": "usual", "family": "A", "given": ["B"]}]}, "Patient.name"),
        ({"name": [{"use": "official", "family": "A"}]}, "Patient.name"),
        ({"gender": None}, "Patient.gender"),
        ({"birthDate": None}, "Patient.birthDate"),
        *(({"birthDate": text}, "Patient.birthDate") for text in ("2199-01-01", "2199-01", "2199", "9990", "9999-12", "9999-12-31")),
        ({"deceasedBoolean": True}, "Patient.deceased"),
    ],
)
def test_what_a_patient_needs(world, wrong, place):
    value = {name: part for name, part in {**patient(new_ins()), **wrong}.items() if part is not None}
    answer = world.professional().run("Patient/$open", patient=value, evidence="oral")
    assert answer.status_code == 422 and place in places(answer)


def test_an_ins_has_one_dossier(world):
    dossier = world.open()
    answer = world.professional().run("Patient/$open", **given(dossier.ins))
    assert (answer.status_code, issue(answer)) == (409, ("error", "conflict"))


def test_nobody_opens_with_an_ins_that_was_somebody_elses(world):
    """It would bring the documents of that person into the dossier of whoever typed it."""
    taken = new_ins()
    value = patient(new_ins())
    value["identifier"].append({"use": "old", "system": INS, "value": taken})
    for asker in (world.professional(), world.structure(), world.representative()):
        answer = asker.run("Patient/$open", patient=value, evidence="oral", relatedPerson=related("MTH"))
        assert (answer.status_code, places(answer)) == (422, ["Patient.identifier[1]"])
    assert world.professional().get(f"Patient?identifier={INS}|{taken}").json()["total"] == 0


def test_numbers_of_former_systems_are_said_by_professionals_and_are_one_persons(world):
    """What sources send of old is found by them."""
    number = new_ins()
    value = patient(new_ins(), age=9)
    value["identifier"].append({"system": "urn:dmp:nis", "value": number})
    dossier = world.open()
    more = {**dossier.patient, "identifier": [*dossier.patient["identifier"], {"system": "urn:oid:1.2.250.1.999.7", "value": "4711"}]}
    answer = world.holder(dossier).put(dossier.path, more)
    assert (answer.status_code, places(answer)) == (422, ["Patient.identifier"])
    answer = world.representative().run("Patient/$open", patient=value, relatedPerson=related("MTH"))
    assert (answer.status_code, places(answer)) == (422, ["Patient.identifier[1]"])
    assert world.professional().run("Patient/$open", patient=value, evidence="oral").status_code == 201
    again = {**patient(new_ins()), "identifier": [*patient(new_ins())["identifier"], value["identifier"][1]]}
    assert world.professional().run("Patient/$open", patient=again, evidence="oral").status_code == 409


def test_what_stores_nothing_does_not_tell_who_has_a_number_of_a_former_system(world):
    """They are short and run in order. A minor's dossier is opened in no secret session, whoever has the number."""
    taken = new_ins()
    told = []
    for secret, age, said in ((False, 50, taken), (True, 9, taken), (True, 9, new_ins())):
        value = patient(new_ins(), age=age)
        value["identifier"].append({"system": "urn:dmp:nis", "value": said})
        told.append(world.professional(secret_session=secret).run("Patient/$open", patient=value, evidence="oral"))
    assert [one.status_code for one in told] == [201, 422, 422] and told[1].content == told[2].content


@pytest.mark.parametrize("kind", ["replaced-by", "replaces", "refer", "seealso"])
def test_nobody_opens_a_dossier_as_a_part_of_another_one(world, kind):
    """By such a link a login of his own would be one of the other holder's."""
    other, ins = world.open(), new_ins()
    value = patient(ins, link=[{"other": {"reference": other.path}, "type": kind}])
    answer = world.holder(ins).run("Patient/$open", patient=value)
    assert (answer.status_code, places(answer)) == (422, ["Patient.link"])
    assert refused(world.holder(ins).get(other.path))


def test_an_ins_is_his_who_has_it_in_force(world):
    """The teleservice says what was an INS before: that opens no second dossier, and takes nobody's own."""
    dossier, other, before = world.open(), world.open(), new_ins()
    feed, doctor = world.feed(), world.professional()
    former = [{"use": "old", "system": INS, "value": one} for one in (before, other.ins)]
    value = {**dossier.patient, "id": dossier.id, "identifier": [*dossier.patient["identifier"], *former]}
    assert feed.put(dossier.path, value).status_code == 200

    def found(ins: str) -> list[str]:
        return [one["resource"]["id"] for one in doctor.get(f"Patient?identifier={INS}|{ins}").json().get("entry", [])]

    assert (found(before), found(dossier.ins), found(other.ins)) == ([dossier.id], [dossier.id], [other.id])
    assert world.holder(other.ins).get(other.path).status_code == 200
    assert doctor.run("Patient/$open", **given(before)).status_code == 409
    body = {name: part for name, part in document(other, doctor).items() if name != "subject"}
    made = doctor.post("DocumentReference", {**body, "subject": {"identifier": {"system": INS, "value": other.ins}}})
    assert made.status_code == 201 and len(listed(world.holder(other), other, "DocumentReference")) == 1


async def test_of_many_who_open_at_once_one_succeeds(world):
    ins = new_ins()
    asker = world.professional()
    body = parameters(**given(ins))
    async with httpx.AsyncClient(timeout=120, headers=asker.headers(body, {})) as client:
        answers = await asyncio.gather(*(client.post(f"{asker.base}/Patient/$open", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert asker.get(f"Patient?identifier={INS}|{ins}").json()["total"] == 1


def test_the_opening_leaves_one_trace_that_names_what_was_made(world):
    dossier = world.open(age=9, people=("MTH",))
    parent = world.representative(dossier)
    found = [entry["resource"] for entry in parent.get(f"AuditEvent?patient={dossier.id}").json().get("entry", [])]
    made = [one for one in found if one["action"] == "E" and len(one["entity"]) > 5]
    assert len(made) == 1
    named = {entity["what"].get("reference", "").split("/")[0] for entity in made[0]["entity"] if "what" in entity}
    assert {"Patient", "RelatedPerson", "Consent"} <= named


def test_a_dossier_is_not_opened_by_creating_its_patient(world):
    answer = world.professional().post("Patient", patient(new_ins()))
    assert answer.status_code == 405 and "$open" in answer.json()["issue"][0]["diagnostics"]


def test_nothing_is_stored_when_the_opening_is_refused(world):
    ins, anna = new_ins(), world.professional()
    assert anna.run("Patient/$open", **given(ins), relatedPerson=[{"resourceType": "RelatedPerson", "gender": "nobody"}]).status_code == 422
    assert anna.get(f"Patient?identifier={INS}|{ins}").json()["total"] == 0


def test_a_care_team_of_an_unknown_dossier_is_refused_alike(world):
    anna, dossier = world.professional(), world.open()
    known = anna.post("CareTeam", care_team(dossier, anna))
    dossier.patient = {**dossier.patient, "id": dossier.id[:-1] + ("A" if dossier.id[-1] != "A" else "B")}
    unknown = anna.post("CareTeam", care_team(dossier, anna))
    assert refused(known) and known.content == unknown.content
