"""A dossier is named by the id of its Patient alone: the id of anything else in it names nobody, and tells nothing. CONTRACT 6"""

import pytest

from tests.access.test_consents import reads
from tests.access.world import INS, care_team, consent, document, new_ins, number, patient, refused, related

NOBODY = "a" * 26
JSON_PATCH = "application/json-patch+json"


class Named:
    """A dossier as somebody names it who has the id of one of its documents."""

    def __init__(self, id: str) -> None:
        self.id, self.path = id, f"Patient/{id}"


@pytest.fixture(scope="module")
def scene(world):
    """(dossier, its holder, an author, a member of the care team, id of a document)."""
    author, member = world.professional(), world.professional()
    dossier = world.open(traitant=world.professional())
    holder = world.holder(dossier)
    world.write(holder, care_team(dossier, member))
    return dossier, holder, author, member, world.deposit(dossier, author)["id"]


READING = (
    "DocumentReference?patient={id}",
    "DocumentReference?patient={id}&_summary=count",
    "{path}",
    "{path}/_history",
    "{path}/DocumentReference",
    "{path}/*",
    "{path}/$everything",
    "{path}/$summary",
    "{path}/$access-list",
    "{path}/$access-journal",
    "{path}/$explain-access",
    "DocumentReference/$docref?patient={id}",
    "?patient={id}",
    "AuditEvent?patient={id}",
    "Consent?patient={id}",
)


@pytest.mark.parametrize("path", READING)
def test_whoever_reads_the_dossier_is_told_as_of_nobody(scene, path):
    _, holder, _, member, id = scene
    for by in (holder, member):
        told, nobody = (by.get(path.format(id=one, path=f"Patient/{one}")) for one in (id, NOBODY))
        assert told.status_code == nobody.status_code in (403, 404) and told.content == nobody.content


def test_nothing_is_done_to_it_by_that_name(scene, world):
    dossier, holder, author, member, id = scene
    stranger, anna = world.professional(), world.professional()
    wrong = Named(id)
    for by, operation, given in (
        (stranger, "$break-glass", {"justification": "urgence"}),
        (holder, "$close", {"reason": "holder-request"}),
        (holder, "$access-sheet", {}),
        (holder, "$export-dossier", {"recipient": {"system": "urn:x", "value": "other"}}),
        (holder, "$explain-access", {"professional": anna.reference["identifier"]}),
        (world.operator("admin"), "$close", {"reason": "transfer"}),
    ):
        told, nobody = (by.run(f"Patient/{one}/{operation}", **given) for one in (id, NOBODY))
        assert told.status_code == nobody.status_code == 403 and told.content == nobody.content, operation
    for by, value in (
        (author, document(wrong, author)),
        (holder, consent(wrong, "access", stranger)),
        (holder, care_team(wrong, stranger)),
        (holder, {**related("MTH"), "patient": {"reference": wrong.path}}),
    ):
        assert refused(by.post(value["resourceType"], value)), value["resourceType"]
    assert not reads(stranger, dossier) and reads(member, dossier)
    assert holder.get(dossier.path).json()["active"] is True


def test_what_is_written_does_not_change_whose_it_is(scene, world):
    dossier, holder, _, member, id = scene
    team = world.write(holder, care_team(dossier, member))
    moved = {**team, "subject": {"reference": f"Patient/{id}"}}
    assert refused(holder.put(f"CareTeam/{team['id']}", moved))
    given = world.consent(dossier, "access", world.professional())
    answer = holder.patch(
        f"Consent/{given['id']}", [{"op": "replace", "path": "/patient/reference", "value": f"Patient/{id}"}], content_type=JSON_PATCH
    )
    assert refused(answer)


def test_the_existence_test_answers_every_professional_and_structure_alike(world):
    """TD0.2: no or one Patient, reduced; nobody learns by it what he is to the dossier."""
    traitant, blocked = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.consent(dossier, "block", blocked)
    button = f"Patient?identifier={INS}|{dossier.ins}"
    askers = (traitant, blocked, world.professional(), world.structure())
    told = [by.get(button) for by in askers]
    assert {(answer.status_code, answer.content) for answer in told} == {(200, told[0].content)}
    (entry,) = told[0].json()["entry"]
    assert set(entry["resource"]) == {"resourceType", "id", "identifier", "active"} and entry["resource"]["id"] == dossier.id
    nobody = [by.get(f"Patient?identifier={INS}|{new_ins()}") for by in askers]
    assert all(answer.status_code == 200 and answer.json()["total"] == 0 and "entry" not in answer.json() for answer in nobody)
    for more in ("&active=true", "&name=x", f",{INS}|{new_ins()}", "&_has:DocumentReference:patient:status=current", "&_include=*"):
        answers = [by.get(button + more) for by in (blocked, world.professional())]
        assert len({answer.content for answer in answers}) == 1, more
        assert all(answer.status_code != 200 or "entry" not in answer.json() for answer in answers), more


def test_the_existence_test_is_shaped_as_every_search(world):
    """`_summary`, `_elements`, `_count=0`: for everybody alike, and never more than the three elements."""
    dossier, anna = world.open(), world.professional()
    button = f"Patient?identifier={INS}|{dossier.ins}"
    for more in ("&_summary=count", "&_count=0"):
        answer = anna.get(button + more)
        assert answer.status_code == 200 and answer.json()["total"] == 1 and "entry" not in answer.json(), more
        assert anna.get(f"Patient?identifier={INS}|{new_ins()}{more}").json()["total"] == 0
        assert answer.content == world.structure().get(button + more).content
    kept = {"resourceType", "id", "meta"}
    shapes = {"_elements=active": {"active"}, "_elements=name,identifier": {"identifier"}, "_summary=text": set()}
    shapes |= {"_summary=true": {"identifier", "active"}, "_summary=data": {"identifier", "active"}}
    for more, names in shapes.items():
        (entry,) = anna.get(f"{button}&{more}").json()["entry"]
        assert set(entry["resource"]) == kept | names and entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED", more
    assert set(anna.get(f"{button}&_summary=false").json()["entry"][0]["resource"]) == {"resourceType", "id", "identifier", "active"}
    assert "total" not in anna.get(f"{button}&_total=none").json()
    for wrong in ("_summary=some", "_count=few", "_elements=nothing", "_summary=true&_elements=active"):
        assert anna.get(f"{button}&{wrong}").status_code == 400, wrong


def test_the_existence_test_is_asked_with_an_ins_and_tells_the_one_in_force(world):
    """Other numbers of a person are short and in order: they neither find anybody nor are told."""
    anna, ins, old, local = world.professional(), new_ins(), new_ins(), str(number())
    others = [{"system": "urn:oid:1.2.250.1.999.5", "value": local}, {"system": "urn:x-test:passport", "value": f"P{local}"}]
    value = patient(ins)
    opened = anna.run("Patient/$open", patient={**value, "identifier": value["identifier"] + others}, evidence="oral")
    assert opened.status_code == 201
    was = {"use": "old", "system": INS, "value": old}
    known_as = opened.json()
    feed = world.feed().put(f"Patient/{known_as['id']}", {**known_as, "identifier": [*known_as["identifier"], was]})
    assert feed.status_code == 200, feed.text
    for known in (ins, old):
        (entry,) = anna.get(f"Patient?identifier={INS}|{known}").json()["entry"]
        assert entry["resource"]["identifier"] == value["identifier"]
    for token in (local, f"|{local}", f"{others[0]['system']}|{local}", f"P{local}", f"{INS}|", f"{others[0]['system']}|", ins, f"|{ins}"):
        for asker in (anna, world.structure()):
            answer = asker.get(f"Patient?identifier={token}")
            assert answer.status_code == 200 and answer.json()["total"] == 0 and "entry" not in answer.json(), token


def test_the_existence_test_is_refused_to_sectors_that_are_never_served(world):
    dossier, insurer = world.open(), world.professional(sector="SA23")
    for ins in (dossier.ins, new_ins()):
        assert refused(insurer.get(f"Patient?identifier={INS}|{ins}"))
        assert refused(
            insurer.http.post(f"{insurer.base}/Patient/_search", data={"identifier": f"{INS}|{ins}"}, headers=insurer.headers(None, {}))
        )
