"""A parent who is a professional: what is hidden from parents is hidden from him, whatever he asks as.

Code de la santé publique L1111-5, R1111-53; decision 4 no. 19
"""

import pytest

from fhir_dmp.dmp.visibility import concept
from tests.access.world import RPPS, care_team, day, listed, refused, related

LABEL = "INVISIBLE_REPRESENTANTS_LEGAUX"
HIDE = [{"op": "add", "path": "/securityLabel/-", "value": concept(LABEL)}]
TYPES = ("AuditEvent", "CareTeam", "Communication", "Consent", "DocumentReference", "Provenance")


@pytest.fixture
def family(world):
    """A dossier of somebody of 15, whose father is the médecin traitant; another physician in a secret session, and the child with him."""
    father, other = world.professional(), world.professional()
    dossier = world.open(age=15, traitant=father, people=("MTH",))
    person = related("FTH", identifier=[{"system": RPPS, "value": father.rpps}])
    world.write(world.representative(dossier), {**person, "patient": {"reference": dossier.path}})
    return dossier, father, world.again(other, secret_session=True), world.holder(dossier, beside=other)


def told(dossier, asker) -> dict[str, list[str]]:
    """What is there for him, but for the traces of his own acts."""
    found = {name: listed(asker, dossier, name) for name in TYPES}
    found["$everything"] = [one["resource"] for one in asker.get(f"{dossier.path}/$everything?_count=500").json()["entry"]]
    return {name: sorted(one["id"] for one in those if asker.idnps not in repr(one.get("agent"))) for name, those in found.items()}


def test_what_a_secret_session_gives_and_does_is_not_told_to_a_parent_who_is_the_medecin_traitant(world, family):
    dossier, father, other, child = family
    before = told(dossier, father)
    period = {"start": day(days=-1), "end": day(days=30)}
    consent = world.consent(dossier, "access", other, by=other, evidence="oral", period=period)
    made = world.deposit(dossier, other)
    assert other.get(f"DocumentReference/{made['id']}").status_code == other.get(f"Patient/{dossier.id}").status_code == 200
    broken = world.professional(secret_session=True)
    assert broken.run(f"{dossier.path}/$break-glass", justification="inconscient").status_code == 200
    assert broken.get(f"DocumentReference?patient={dossier.id}&description=grossesse").status_code == 200
    paths = [f"DocumentReference/{made['id']}", f"Consent/{consent['id']}", made["content"][0]["attachment"]["url"]]
    assert [father.get(path).status_code for path in paths] == [404] * 3
    assert told(dossier, father) == before
    journal = father.get(f"{dossier.path}/$access-journal").text
    assert not any(one.rpps in journal for one in (other, broken))
    assert father.get(f"DocumentReference?patient={dossier.id}&security-label={LABEL}&_summary=count").json()["total"] == 0
    assert child.get(f"DocumentReference/{made['id']}").status_code == 200
    # Who is no parent is told of it as the médecin traitant.
    mother = world.representative(dossier)
    world.declare(dossier, plain := world.professional(), by=mother)
    assert plain.get(f"DocumentReference/{made['id']}").status_code == 200
    assert broken.idnps in plain.get(f"AuditEvent?patient={dossier.id}&_count=500").text


def test_of_what_he_wrote_himself_he_is_not_told_that_it_was_hidden(world, family):
    dossier, father, other, child = family
    own, others = world.deposit(dossier, father), world.deposit(dossier, world.professional())
    team = world.write(father, care_team(dossier, other))
    assert father.get(f"DocumentReference/{others['id']}").status_code == 200
    before = father.get(f"DocumentReference/{own['id']}").json()
    for one in (own, others):
        assert child.patch(f"DocumentReference/{one['id']}", HIDE).status_code == 200
    assert father.get(f"DocumentReference/{others['id']}").status_code == 404
    answer = father.get(f"DocumentReference/{own['id']}")
    assert answer.json() == before and LABEL not in answer.text
    assert LABEL in other.get(f"DocumentReference/{own['id']}").text
    journal = father.get(f"AuditEvent?patient={dossier.id}&_count=500").text
    assert LABEL not in journal and others["id"] not in journal and team["id"] in journal
    # Shown again, it comes to him as something deposited late.
    show = [{"op": "remove", "path": "/securityLabel/1"}]
    assert child.get(f"DocumentReference/{others['id']}").json()["securityLabel"][1] == concept(LABEL)
    assert child.patch(f"DocumentReference/{others['id']}", show).status_code == 200
    late = father.get(f"DocumentReference/{others['id']}").json()
    assert late["meta"]["lastUpdated"] > others["meta"]["lastUpdated"]


def test_traces_of_others_tell_him_neither_by_their_words_nor_by_who_was_let_in(world, family):
    dossier, father, other, child = family
    given, stranger = world.professional(), world.professional()
    world.consent(dossier, "access", given, by=world.representative(dossier))
    made = [world.deposit(dossier, stranger) for _ in range(2)]
    for asker in (given, stranger):
        assert asker.get(f"DocumentReference?patient={dossier.id}&description=grossesse").status_code == 200

    def journal(who) -> list[dict]:
        return [one for one in listed(father, dossier, "AuditEvent") if who.idnps in repr(one["agent"])]

    assert len(journal(given)) == 1 and "query" not in repr(journal(given)) and journal(stranger)
    # Nothing but what is hidden now let him in.
    for one in made:
        assert child.patch(f"DocumentReference/{one['id']}", HIDE).status_code == 200
    assert journal(stranger) == [] and len(journal(given)) == 1


def ended(world, dossier, father):
    """His title is, by the other parent."""
    mother = world.representative(dossier)
    (person,) = [one for one in listed(mother, dossier, "RelatedPerson") if father.rpps in str(one)]
    assert mother.put(f"RelatedPerson/{person['id']}", {**person, "active": False}).status_code == 200
    return dossier


def joined(world, dossier, father):
    """The dossier goes on in another one, where he is a professional like others."""
    other = world.open(age=15, traitant=father, people=("MTH",))
    answer = world.operator().run(f"{other.path}/$merge", **{"source-patient": {"reference": dossier.path}})
    assert answer.status_code == 200, answer.text
    return other


@pytest.mark.parametrize("lose", [ended, joined])
def test_whose_title_is_over_is_a_parent_still(world, family, lose):
    dossier, father, other, _ = family
    plain, hidden = (world.deposit(dossier, by, description=name) for by, name in ((father, "plain"), (other, "hidden")))
    there = lose(world, dossier, father)
    assert [one["description"] for one in listed(father, there, "DocumentReference")] == ["plain"]
    assert father.get(f"DocumentReference/{hidden['id']}").status_code == 404
    assert not any(one["id"] == hidden["id"] or other.idnps in repr(one["agent"]) for one in listed(father, there, "AuditEvent"))
    assert refused(world.holder(there, beside=father).get(there.path))
    # As a parent he acts no more.
    people = listed(world.representative(there), there, "RelatedPerson")
    (gone,) = [one["id"] for one in people if father.rpps in str(one)]
    assert refused(world.representative(there, gone).get(there.path))
    beside = world.holder(there, beside=other)
    assert {one["description"] for one in listed(beside, there, "DocumentReference")} == {"plain", "hidden"}
    assert plain["id"] != hidden["id"]


def test_a_minor_beside_a_parent_is_alone(world, family):
    dossier, father, _, child = family
    made, beside = world.deposit(dossier, father), world.holder(dossier, beside=father)
    assert refused(beside.get(dossier.path)) and refused(beside.get(f"DocumentReference?patient={dossier.id}"))
    assert beside.get(f"DocumentReference/{made['id']}").status_code == 404
    assert child.get(f"DocumentReference/{made['id']}").status_code == 200


def test_what_waits_to_be_announced_waits_for_a_parent_whatever_he_asks_as(world, family):
    dossier, father, other, _ = family
    other = world.again(other, secret_session=None)
    own, hidden = (world.deposit(dossier, by, labels=("INVISIBLE_PATIENT",)) for by in (father, other))
    assert world.representative(dossier).get(f"DocumentReference/{hidden['id']}").status_code == 404
    show = [{"op": "remove", "path": "/securityLabel/1"}]
    for answer in (father.get(f"DocumentReference/{hidden['id']}"), father.patch(f"DocumentReference/{hidden['id']}", show)):
        assert answer.status_code == 404
    found = [one for one in listed(father, dossier, "DocumentReference") if "id" in one]
    assert [one["id"] for one in found] == [own["id"]]
    assert father.get(f"DocumentReference?patient={dossier.id}&_summary=count").json()["total"] == 1
    assert other.idnps not in father.get(f"AuditEvent?patient={dossier.id}&_count=500").text
    # Announced, it comes to him as something deposited late; his own he announces himself.
    assert other.patch(f"DocumentReference/{hidden['id']}", show).status_code == 200
    late = father.get(f"DocumentReference/{hidden['id']}").json()
    assert late["meta"]["lastUpdated"] > hidden["meta"]["lastUpdated"]
    journal = [one for one in listed(father, dossier, "AuditEvent") if hidden["id"] in repr(one)]
    assert journal and "INVISIBLE_PATIENT" not in repr(journal)
    assert father.patch(f"DocumentReference/{own['id']}", show).status_code == 200
