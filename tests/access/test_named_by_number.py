"""A dossier that a request names by a number: it is refused alike, and in as many steps, whether or not somebody has that number.

CONTRACT 6; access-rules 6: "no extra message or timing path"
"""

from functools import partial

import pytest
from pymongo import MongoClient

from tests.access.world import (
    INS,
    LOINC,
    REPORT,
    VISIBILITY,
    birth_date,
    consent,
    day,
    document,
    new_ins,
    number,
    parameters,
    patient,
    refused,
)
from tests.interactions.making import bundle, entry, observation
from tests.worlds.asking import PATCH

LOCAL = "urn:x-hospital:ipp"
SAME = [{"op": "test", "path": "/status", "value": "current"}]
NOBODY = "a" * 26


def opened(world, by, *numbers: str):
    """A dossier whose Patient carries these numbers of a hospital; its INS."""
    ins = new_ins()
    value = patient(ins)
    value["identifier"] += [{"system": LOCAL, "value": one} for one in numbers]
    answer = by.run("Patient/$open", patient=value, evidence="oral")
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], ins


def let_in(id: str, by) -> dict:
    """A Consent by which a professional authorises himself, the holder being there."""
    period = {"start": day(days=-1), "end": day(days=100)}
    return consent(Named(id), "access", by, evidence="oral", performer=by.reference, period=period)


class Named:
    """A dossier, by the id of its Patient."""

    def __init__(self, id: str) -> None:
        self.id, self.path = id, f"Patient/{id}"


@pytest.fixture(scope="module")
def scene(world):
    """(dossier of those who ask, who asks, numbers that somebody has and numbers that nobody has, ids alike)."""
    local = f"n{number()}"
    victim, ins = opened(world, world.professional(), local)
    own = world.open(people=("NOK",))
    kin = own.people["NOK"]
    world.consent(own, "mandate", {"reference": f"RelatedPerson/{kin}"}, period={"start": day(days=-1), "end": day(days=100)})
    askers = {
        "unrelated": world.professional(),
        "insurer": world.professional(sector="SA23"),
        "another patient": world.holder(own),
        "a mandataire of another": world.mandataire(own, kin),
        "structure": world.structure(),
        "support": world.support(),
        "administrator": world.operator("admin"),
        "host": world.host(),
        "feed": world.feed(),
    }
    there = f"{INS}|{ins}", f"{LOCAL}|{local}", local, victim
    nobody = f"{INS}|{new_ins()}", f"{LOCAL}|{local}0", f"{local}0", NOBODY
    return own, askers, tuple(zip(there, nobody, strict=True))


ASKERS = (
    "unrelated",
    "insurer",
    "another patient",
    "a mandataire of another",
    "structure",
    "support",
    "administrator",
    "host",
    "feed",
)
CRITERIA = (
    "DocumentReference?patient.identifier={}&identifier=urn:x|y",
    "DocumentReference?patient:identifier={}&type=" + REPORT,
    "DocumentReference?subject:Patient.identifier={}&identifier=urn:x|y",
    "Observation?subject.identifier={}&code=zz",
    "AuditEvent?patient.identifier={}&action=R",
    "Patient?identifier={}",
    "Patient?identifier={}&active=true",
)


@pytest.mark.parametrize("name", ASKERS)
def test_a_change_on_condition_of_a_number_is_refused_whoever_has_it(scene, name):
    _, askers, numbers = scene
    by = askers[name]
    for criteria in CRITERIA:
        for pair in numbers[:3]:
            told = [by.patch(criteria.format(one), SAME, **PATCH) for one in pair]
            assert [one.status_code for one in told] in ([403, 403], [405, 405]), (criteria, pair)
            assert told[0].content == told[1].content, (criteria, pair)
            gone = [by.delete(criteria.format(one)) for one in pair]
            assert gone[0].status_code == gone[1].status_code >= 400 and gone[0].content == gone[1].content, (criteria, pair)
    for criteria in ("DocumentReference?patient={}&identifier=urn:x|y", "Observation?subject=Patient/{}&code=zz", "Patient?_id={}"):
        told = [by.patch(criteria.format(one), SAME, **PATCH) for one in numbers[3]]
        assert told[0].status_code == told[1].status_code == 403 and told[0].content == told[1].content, criteria


@pytest.mark.parametrize("name", ASKERS)
def test_a_deposit_on_condition_of_a_number_goes_on_whoever_has_it(scene, name):
    """It is the deposit that is decided on: to feed a dossier nobody needs to search it."""
    own, askers, numbers = scene
    by = askers[name]
    for pair in numbers[:3]:
        for criteria in ("patient.identifier={}&code=zz", "subject:identifier={}&identifier=urn:x|y"):
            told = []
            for one in pair:
                named = criteria.format(one)
                value, document_ = (
                    observation(own.path),
                    bundle("transaction", entry("POST", "Observation", observation(own.path), ifNoneExist=named)),
                )
                changed = by.put(f"Observation?{named}", observation("Patient/none"))
                told.append(
                    [answer.status_code for answer in (by.post("Observation", value, if_none_exist=named), by.post("", document_), changed)]
                )
            assert told[0] == told[1], (criteria, pair)


def faulty(one: str, by) -> list:
    """Deposits about somebody, each with a fault: what is sent to which address. one: INS, or id of the Patient."""
    system, bar, value = one.partition("|")
    subject = {"identifier": {"system": system, "value": value}} if bar else {"reference": f"Patient/{one}"}
    right = {**document(Named(NOBODY), by), "author": [{"display": "somebody"}], "subject": subject}
    no_type = {**right, "type": {"coding": [{"system": LOINC, "code": "99999-9"}]}}
    label = {**right, "meta": {"security": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}
    nowhere = {**right, "context": {"related": [{"reference": "Observation?identifier=urn:x|none"}]}}
    gone = entry("DELETE", f"DocumentReference/{NOBODY}")
    alone = [("DocumentReference", each) for each in (right, no_type, label)]
    together = [("", bundle("transaction", *each)) for each in ([posted(nowhere)], [posted(right), gone], [posted(label)])]
    return [*alone, *together, ("Observation", {**observation(), "subject": subject, "meta": label["meta"]})]


def posted(value: dict) -> dict:
    return entry("POST", value["resourceType"], value, "urn:uuid:00000000-0000-4000-8000-000000000001")


@pytest.mark.parametrize("name", [name for name in ASKERS if name not in ("unrelated", "structure", "host", "feed")])
def test_what_is_wrong_with_a_deposit_is_told_whoever_it_is_about(scene, name):
    """To whom the dossier of somebody would be refused; who may feed it learns that it is there."""
    _, askers, numbers = scene
    by = askers[name]
    for pair in (numbers[0], numbers[3]):
        for place, (there, nobody) in enumerate(zip(*(faulty(one, by) for one in pair), strict=True)):
            told = [by.post(*each) for each in (there, nobody)]
            assert told[0].status_code == told[1].status_code >= 400, (pair, place, [each.text for each in told])
            assert told[0].content == told[1].content, (pair, place)


def test_who_feeds_a_dossier_names_it_by_a_number_and_finds_what_he_fed(world):
    anna, local = world.professional(), f"n{number()}"
    id, ins = opened(world, world.professional(), local)
    value = document(Named(id), anna, identifier=[{"system": "urn:x-department", "value": local}])
    tokens = f"{INS}|{ins}", f"{LOCAL}|{local}"
    criteria = [f"patient.identifier={one}&identifier=urn:x-department|{local}" for one in tokens]
    first = anna.post("DocumentReference", value, if_none_exist=criteria[0])
    assert first.status_code == 201, first.text
    # What she sent before she finds though she does not see the Patient, nor thus that he has the number; others do not.
    for each in (*criteria, f"subject:Patient.identifier={tokens[0]}&identifier=urn:x-department|{local}"):
        again = anna.post("DocumentReference", value, if_none_exist=each)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"]), again.text
        answer = anna.get(f"DocumentReference?{each}&security-label:not=MASQUE_PS").json()
        assert [one["resource"]["id"] for one in answer["entry"]] == [first.json()["id"]]
        assert id not in answer["link"][0]["url"]
    world.write(anna, let_in(id, anna))
    for each in criteria:
        again = anna.post("DocumentReference", value, if_none_exist=each)
        assert again.status_code == 200 and again.json()["id"] == first.json()["id"], again.text
        assert anna.patch(f"DocumentReference?{each}", SAME, **PATCH).status_code == 200
    bob = world.professional()
    assert bob.post("DocumentReference", {**value, "author": [bob.reference]}, if_none_exist=criteria[0]).status_code == 201


def test_a_number_that_somebody_else_has_too_names_the_dossier_one_may_search(world):
    """Whoever opens a dossier under the numbers of others is told of none of them, nor keeps them from their own."""
    anna, bob, shared = world.professional(), world.professional(), f"n{number()}"
    own = {by.rpps: opened(world, by, shared)[0] for by in (anna, bob)}
    for by in (anna, bob):
        world.write(by, let_in(own[by.rpps], by))
        for token in (f"{LOCAL}|{shared}", shared):
            for path in (
                "DocumentReference?patient.identifier={}",
                "Patient?identifier={}&_revinclude=DocumentReference:patient",
                "?_type=DocumentReference&patient.identifier={}",
            ):
                answer = by.get(path.format(token))
                assert answer.status_code == 200, (path, answer.text)
            found = by.get(f"Patient?identifier={token}&active=true").json()
            assert [each["resource"]["id"] for each in found["entry"]] == [own[by.rpps]]
    # Who may search both says of whom; who may search neither is refused.
    world.write(anna, let_in(own[bob.rpps], anna))
    search = f"DocumentReference?patient.identifier={LOCAL}|{shared}"
    assert refused(anna.get(search)) and refused(world.professional().get(search))
    assert all(anna.get(f"{search}&patient={id}").status_code == 200 for id in own.values())


def test_a_system_alone_names_nobody(world):
    """All whom a hospital sent have a number of its system."""
    anna, local = world.professional(), f"n{number()}"
    id, _ = opened(world, anna, local)
    world.write(anna, let_in(id, anna))
    assert anna.get(f"DocumentReference?patient.identifier={LOCAL}|{local}").status_code == 200
    assert refused(anna.get(f"DocumentReference?patient.identifier={LOCAL}|"))


@pytest.fixture
def steps(mongod):
    """Commands that go to the database for a request: the fewest of several counts, since what the server does meanwhile is counted too."""
    with MongoClient(mongod.uri) as client:

        def commands() -> dict[str, int]:
            counted = client.admin.command("serverStatus")["metrics"]["commands"]
            return {name: counted[name]["total"] for name in ("find", "aggregate", "insert", "update")}

        def counted(ask) -> dict[str, int]:
            counts = []
            for _ in range(6):
                before = commands()
                ask()
                counts.append({name: total - before[name] for name, total in commands().items()})
            return {name: min(each[name] for each in counts) for name in counts[0]}

        yield counted


REQUESTS = {
    "a search": lambda by, own, one: by.get(f"DocumentReference?patient.identifier={one}"),
    "a search that says of whom": lambda by, own, one: by.get(f"DocumentReference?patient:identifier={one}&patient={own.id}"),
    "a search of traces": lambda by, own, one: by.get(f"AuditEvent?patient.identifier={one}"),
    "a search of patients": lambda by, own, one: by.get(f"Patient?identifier={one}&active=true"),
    "a patch": lambda by, own, one: by.patch(f"DocumentReference?patient.identifier={one}&identifier=urn:x|y", SAME, **PATCH),
    "a patch of a patient": lambda by, own, one: by.patch(f"Patient?identifier={one}", SAME, **PATCH),
}


@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize("name", ["unrelated", "another patient", "structure"])
def test_a_number_of_somebody_takes_as_many_steps_as_one_of_nobody(scene, steps, name, asked):
    own, askers, numbers = scene
    for pair in numbers[:2]:
        there, nobody = (steps(partial(REQUESTS[asked], askers[name], own, one)) for one in pair)
        assert there == nobody, pair


def test_a_deposit_for_a_number_that_is_refused_takes_as_many_steps(scene, steps):
    _, askers, numbers = scene
    by = askers["another patient"]
    values = [{**observation(), "subject": {"identifier": {"system": INS, "value": one.partition("|")[2]}}} for one in numbers[0]]
    assert all(refused(by.post("Observation", one)) for one in values)
    alone = [steps(partial(by.post, "Observation", one)) for one in values]
    together = [steps(partial(by.post, "", bundle("transaction", entry("POST", "Observation", one)))) for one in values]
    assert alone[0] == alone[1] and together[0] == together[1]


def test_a_number_takes_as_many_steps_however_many_have_it(world, steps):
    anna, alone, shared = world.professional(), f"n{number()}", f"n{number()}"
    own, _ = opened(world, anna, alone, shared)
    world.write(anna, let_in(own, anna))
    for _ in range(3):
        opened(world, world.professional(), shared)
    told = [steps(partial(anna.get, f"DocumentReference?patient.identifier={LOCAL}|{one}")) for one in (alone, shared)]
    assert told[0] == told[1]


def test_a_number_that_is_no_ins_in_force_makes_nobody_the_holder(world):
    """A hospital's number, or an INS of before, may be another person's."""
    local, former = f"n{number()}", new_ins()
    id, ins = opened(world, world.professional(), local)
    value = world.holder(Named(id)).get(f"Patient/{id}").json()
    value["identifier"].append({"use": "old", "system": INS, "value": former})
    assert world.feed().put(f"Patient/{id}", value).status_code == 200

    def reads(said: str) -> int:
        return world.again(world.holder(ins), ins=said).get(f"DocumentReference?patient={id}").status_code

    assert reads(f"{INS}|{ins}") == 200
    assert [reads(said) for said in (f"{LOCAL}|{local}", f"{INS}|{former}", f"{LOCAL}|x,{INS}|{ins}")] == [403] * 3


def test_who_matches_is_told_of_those_he_reads_however_many_others_there_are(world, steps):
    """Names match by their beginnings: what others have, and how many, would be told letter by letter."""
    anna, stranger, family = world.professional(), world.professional(), f"FOULE{number()}"
    named = {"name": [{"use": "official", "family": family, "given": ["Solange"]}], "birthDate": birth_date(50)}
    asked = {"resourceType": "Patient", **named}
    nobody = {**asked, "name": [{"family": f"{family}X", "given": ["Solange"]}]}
    shared = {"system": LOCAL, "value": f"n{number()}"}
    ids = []
    for place in range(101):
        value = patient(new_ins(), **named)
        value["identifier"] += [shared] if place < 2 else []
        answer = anna.run("Patient/$open", patient=value, evidence="oral")
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
        if not place:
            there, none = (steps(partial(stranger.post, "Patient/$match", one)) for one in (asked, nobody))
            assert there == none
    told = [stranger.post("Patient/$match", one) for one in (asked, nobody)]
    assert [one.status_code for one in told] == [200, 200] and told[0].content == told[1].content
    # A second one of that number would make his own less certain.
    world.write(stranger, let_in(ids[0], stranger))
    certain = parameters(resource={**asked, "identifier": [shared]}, onlyCertainMatches=True)
    found = stranger.post("Patient/$match", certain).json()
    assert [one["resource"]["id"] for one in found["entry"]] == [ids[0]]
