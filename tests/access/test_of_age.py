"""The majority, as it is known now: what was given for a minor by who acts for him ends with it.

Code de la santé publique L1111-5, R1111-46
"""

import pytest

from tests.access.world import Dossier, birth_date, day, listed, new_ins, patient, refused, related


@pytest.fixture
def family(world):
    """A dossier of somebody recorded as 12, his mother, a guardian whom she names, and the mandataires of both."""
    dossier = world.open(age=12, traitant=world.professional(), people=("MTH", "NOK", "FRND"))
    mother = world.representative(dossier, dossier.people["MTH"])
    guardian = named(world, dossier, mother)
    for by, code in ((mother, "NOK"), (guardian, "FRND")):
        mandate(world, dossier, code, by)
    return dossier, mother, guardian, [world.mandataire(dossier, dossier.people[code]) for code in ("NOK", "FRND")]


def named(world, dossier, by, **fields):
    """A guardian whom somebody names."""
    person = {**related("GUARD", period={"end": day(days=1000)}), "patient": {"reference": dossier.path}, **fields}
    return world.representative(dossier, world.write(by, person)["id"])


def mandate(world, dossier, code: str, by, **fields):
    person = {"reference": f"RelatedPerson/{dossier.people[code]}"}
    return world.consent(dossier, "mandate", person, by=by, period={"start": day(days=-1), "end": day(days=900)}, **fields)


def born(world, dossier, age: int) -> None:
    """The feed brings another birth date."""
    answer = world.feed().put(dossier.path, {**dossier.patient, "birthDate": birth_date(age)})
    assert answer.status_code == 200, answer.text


def manages(asker, dossier) -> bool:
    answer = asker.run(f"{dossier.path}/$access-list")
    assert answer.status_code == 200 or refused(answer)
    return answer.status_code == 200


def test_whom_representatives_of_a_minor_appointed_is_nobody_once_he_is_known_to_be_of_age(world, family):
    dossier, mother, guardian, mandataires = family
    everybody = [mother, guardian, *mandataires]
    assert all(manages(one, dossier) for one in everybody)
    born(world, dossier, 19)
    holder = world.holder(dossier)
    assert not any(manages(one, dossier) for one in everybody) and manages(holder, dossier)
    for one in everybody:
        assert refused(one.get(f"DocumentReference?patient={dossier.id}")) and refused(one.get(f"Consent?patient={dossier.id}"))
    # He does what an adult does, and his sheet is his own.
    assert holder.run(f"{dossier.path}/$access-sheet").status_code == 200
    # It was a mistake: they are who they were.
    born(world, dossier, 12)
    assert all(manages(one, dossier) for one in everybody)


def test_a_guardian_at_the_opening_for_a_minor_is_nobody_either(world):
    opener, value = world.professional(), patient(new_ins(), age=12)
    guardian = related("GUARD", period={"end": day(days=1000)})
    answer = opener.run("Patient/$open", patient=value, evidence="oral", relatedPerson=[guardian])
    assert answer.status_code == 201
    dossier = Dossier(world, answer.json(), "")
    (person,) = listed(world.operator("physician", "T1"), dossier, "RelatedPerson")
    tutor = world.representative(dossier, person["id"])
    assert manages(tutor, dossier)
    born(world, dossier, 19)
    assert not manages(tutor, dossier) and manages(world.holder(dossier), dossier)


def test_of_an_adult_guardian_and_mandataire_stay_and_he_gives_again_what_was_given_for_him(world, family):
    dossier, mother, guardian, (mandataire, _) = family
    born(world, dossier, 19)
    holder = world.holder(dossier)
    (given,) = [one for one in listed(holder, dossier, "Consent") if dossier.people["NOK"] in str(one.get("provision"))]
    answer = holder.put(f"Consent/{given['id']}", given)
    assert answer.status_code == 200 and manages(mandataire, dossier) and not manages(mother, dossier)
    # What nobody says anew stays over: another telephone names no guardian.
    path = f"RelatedPerson/{guardian.claims['related_person']}"
    person = holder.get(path).json()
    telephone = {**person, "telecom": [{"system": "phone", "value": "0102030405"}]}
    assert holder.put(path, telephone).status_code == 200 and not manages(guardian, dossier) and manages(holder, dossier)
    # Whom he names himself acts for him as an adult.
    protector = named(world, dossier, holder)
    mandate(world, dossier, "FRND", protector)
    friend = world.mandataire(dossier, dossier.people["FRND"])
    assert all(manages(one, dossier) for one in (protector, friend, mandataire)) and not manages(holder, dossier)
    assert not manages(guardian, dossier)


def test_no_sheet_is_handed_out_for_a_minor_for_whom_nobody_acts(world):
    opener = world.professional()
    dossier = world.open(by=opener, age=17)
    answer = opener.run(f"{dossier.path}/$access-sheet")
    assert answer.status_code == 422 and "RelatedPerson" in answer.text
    dossier = world.open(by=opener, age=17, people=("MTH",))
    assert opener.run(f"{dossier.path}/$access-sheet").status_code == 200
