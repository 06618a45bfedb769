"""No double entry: the same masterIdentifier from the same depositor is one document; in the hands of others it is another one."""

import base64
from concurrent.futures import ThreadPoolExecutor

from tests.access.test_deposits import submission
from tests.access.world import document, number
from tests.interactions.making import bundle, entry, refused


def identified(world, dossier, by, **fields: object) -> dict:
    value = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}"}
    return {**document(dossier, by, **fields), "masterIdentifier": value}


def total(world, dossier) -> int:
    return world.holder(dossier).get(f"DocumentReference?patient={dossier.id}").json()["total"]


def test_sent_again_it_is_the_first_one_and_nothing_new(world):
    dossier, doctor = world.open(), world.professional()
    sent = identified(world, dossier, doctor)
    first, again = doctor.post("DocumentReference", sent), doctor.post("DocumentReference", sent)
    assert (first.status_code, again.status_code) == (201, 200), again.text
    assert first.headers["location"] == again.headers["location"] and first.json() == again.json()
    assert total(world, dossier) == 1


def test_another_content_under_the_same_identifier_is_a_conflict(world):
    dossier, doctor = world.open(), world.professional()
    sent = identified(world, dossier, doctor)
    assert doctor.post("DocumentReference", sent).status_code == 201
    attachment = {**sent["content"][0]["attachment"], "data": base64.b64encode(b"autre").decode()}
    changed = {**sent, "content": [{**sent["content"][0], "attachment": attachment}]}
    assert refused(doctor.post("DocumentReference", changed)) == (409, "conflict")
    assert total(world, dossier) == 1


def test_the_identifiers_of_another_depositor_do_not_meet_mine(world):
    dossier, doctor, other = world.open(), world.professional(), world.professional()
    sent = identified(world, dossier, doctor)
    assert doctor.post("DocumentReference", sent).status_code == 201
    assert other.post("DocumentReference", {**sent, "author": [other.reference]}).status_code == 201
    assert total(world, dossier) == 2


def test_a_submission_sent_again_with_other_addresses_is_the_first_one(world):
    dossier, doctor = world.open(), world.professional()
    sent = identified(world, dossier, doctor)
    data = sent["content"][0]["attachment"].pop("data")

    def addressed(at: int) -> dict:
        urn = f"urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a{at:04d}"
        attachment = {**sent["content"][0]["attachment"], "url": urn}
        told = {**sent, "content": [{**sent["content"][0], "attachment": attachment}]}
        binary = {"resourceType": "Binary", "contentType": "text/plain", "data": data}
        urn_of_document = f"urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a{at + 1:04d}"
        return bundle("transaction", entry("POST", "DocumentReference", told, urn_of_document), entry("POST", "Binary", binary, urn))

    first, again = doctor.post("", addressed(1)), doctor.post("", addressed(3))
    assert (first.status_code, again.status_code) == (200, 200), (first.text, again.text)
    told = [[one["response"] for one in answer.json()["entry"]] for answer in (first, again)]
    assert [one["status"][:3] for one in told[0]] == ["201", "201"] and [one["status"][:3] for one in told[1]] == ["200", "200"]
    assert [one["location"] for one in told[0]] == [one["location"] for one in told[1]]
    assert total(world, dossier) == 1


def test_a_document_of_a_submission_sent_again_by_itself_is_that_one(world):
    dossier, doctor = world.open(), world.professional()
    sent = identified(world, dossier, doctor)
    first, again = doctor.post("", submission(dossier, doctor, sent)), doctor.post("DocumentReference", sent)
    assert (first.status_code, again.status_code) == (200, 200), again.text
    assert again.json()["resourceType"] == "DocumentReference" and again.json()["id"] in str(first.json())
    assert total(world, dossier) == 1


def test_sent_many_times_at_once_it_is_one(world):
    dossier, doctor = world.open(), world.professional()
    sent = identified(world, dossier, doctor)
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: doctor.post("DocumentReference", sent), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201], [answer.text for answer in answers]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert total(world, dossier) == 1


def test_rivals_for_an_identifier_leave_one_document_and_everybody_else_his(world):
    """What waits together is stored together, each for itself: the same, another content of the same name, and what is nobody's rival."""
    dossier, doctor = world.open(), world.professional()
    mine = identified(world, dossier, doctor)
    attachment = {**mine["content"][0]["attachment"], "data": base64.b64encode(b"autre").decode()}
    other = {**mine, "content": [{**mine["content"][0], "attachment": attachment}]}
    alone = [identified(world, dossier, doctor) for _ in range(6)]
    sent = [mine, other, *alone[:3], mine, other, *alone[3:]]
    with ThreadPoolExecutor(len(sent)) as pool:
        answers = list(pool.map(lambda one: doctor.post("DocumentReference", one), sent))
    statuses = [answer.status_code for answer in answers]
    assert [status for place, status in enumerate(statuses) if sent[place] in alone] == [201] * 6
    rivals = sorted(status for place, status in enumerate(statuses) if sent[place] not in alone)
    assert rivals == [200, 201, 409, 409], [answer.text for answer in answers]
    assert total(world, dossier) == 7


def test_who_cannot_be_named_is_not_his_structure(world):
    """A certificate speaks for the structure; whoever is of it and is refused everywhere is not told what it sent."""
    dossier, structure = world.open(), world.structure()
    sent = identified(world, dossier, structure, labels=("MASQUE_PS",))
    assert structure.post("DocumentReference", sent).status_code == 201
    unnamed = world.again(world.professional(organization=structure.organization), SubjectNameID="secretariat", sub="secretariat")
    others = identified(world, dossier, structure)
    answers = [unnamed.post("DocumentReference", one) for one in (sent, {**others, "masterIdentifier": sent["masterIdentifier"]}, others)]
    assert [(one.status_code, one.content) for one in answers] == [(403, answers[0].content)] * 3
    assert structure.post("DocumentReference", sent).status_code == 200
