"""How large what is hidden is tells nobody that it is there: bounds of what is read together count what is shown alone.

access-rules 6
"""

import asyncio
import os
from base64 import b64encode

import pytest
from pymongo import MongoClient

from fhir_dmp.store import reading
from fhir_dmp.store.contents import Contents
from tests.worlds import people
from tests.worlds.asking import NOBODY, PATCH
from tests.worlds.histories import Play, Story
from tests.worlds.hosting import Host

MIB = 1024 * 1024
FAIL = [{"op": "test", "path": "/status", "value": "nonsense"}]


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as found:
        yield found


@pytest.fixture(scope="module")
def play(runner, mongod, data_dir):
    """A document that `team` sees, a letter and a list that name it and three large ones, hidden from her. ids: of these."""
    name = f"large_{os.getpid()}"
    host = runner.run(Host.open(mongod.uri, name, data_dir))
    found = Play(host, people.professionals(host), Story(False, [], "team"), name)
    runner.run(_told(found))
    yield found
    runner.run(host.close())
    with MongoClient(mongod.uri) as client:
        client.drop_database(name)


async def _told(play: Play) -> None:
    await play.open()
    small = people.document(play.patient, play.cast["consented"], people.REPORT, 1, at=play.at)
    play.shown = await _new(play, "consented", small)
    padding = [{"url": f"http://example.org/{n}", "valueString": str(n) * 900_000} for n in range(2)]
    play.ids = []
    for number in (2, 3, 4):
        large = people.document(play.patient, play.cast["hospital"], people.REPORT, number, ("MASQUE_PS",), play.at, extension=padding)
        play.ids.append(await _new(play, "hospital", {**large, "identifier": [{"system": "urn:x-local", "value": "large"}]}))
    play.named = [{"reference": f"DocumentReference/{id}"} for id in (play.shown, *play.ids)]
    letter = people.document(play.patient, play.cast["traitant"], people.REPORT, 5, at=play.at, context={"related": play.named})
    play.letter = await _new(play, "traitant", letter)
    play.listed = await _new(play, "traitant", _list(play))


def _list(play: Play) -> dict:
    kind = {"coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "submissionset"}]}
    own = {"status": "current", "mode": "working", "code": kind, "subject": {"reference": f"Patient/{play.patient}"}, "date": play.at}
    return {"resourceType": "List", **own, "entry": [{"item": one} for one in play.named]}


async def _new(play: Play, by: str, value: dict) -> str:
    answer = await play.act(by, "deposit", play.call(by, "POST", value["resourceType"], value))
    assert answer.status == 201, answer
    return answer.value()["id"]


@pytest.fixture
def ask(runner, play, monkeypatch):
    """Asks as `team`, while three large ones are more than is read together."""
    monkeypatch.setattr(reading, "BODY_BYTES", 4 * MIB)

    def asked(method: str, path: str, body: object = None, by: str = "team", **headers: str):
        return runner.run(play.act(by, "read", play.call(by, method, path, body, **headers)))

    return asked


def test_the_bound_is_met_by_who_sees_them(play, ask):
    path = f"DocumentReference?patient={play.patient}&_id={','.join(play.ids)}"
    assert ask("GET", path, by="traitant").status == 400
    assert ask("GET", path).value()["total"] == 0


@pytest.mark.parametrize(
    "path",
    [
        "DocumentReference?patient={p}",
        "DocumentReference?patient={p}&_include=*&_revinclude=*",
        "DocumentReference?patient={p}&related={hidden}",
        "DocumentReference?patient={p}&related:DocumentReference.description:contains=compte",
        "DocumentReference?patient={p}&_content=compte&_sort=date",
        "List?patient={p}",
        "List?patient={p}&_include=List:item",
        "List?patient={p}&item:DocumentReference.type=" + people.REPORT,
        "AuditEvent?patient={p}&_include=*",
        "Patient/{p}/$everything",
        "Patient/{p}/$summary",
        "List/{listed}",
        "DocumentReference/{letter}",
        "DocumentReference/{letter}/$verify",
    ],
)
def test_what_names_them_is_shown(play, ask, path):
    hidden = ",".join(f"DocumentReference/{id}" for id in play.ids)
    answer = ask("GET", path.format(p=play.patient, hidden=hidden, listed=play.listed, letter=play.letter))
    assert answer.status == 200, answer
    assert not any(id.encode() in answer.body for id in play.ids) or "related=" in path


@pytest.mark.parametrize("path", ["", "/_history", "/_history/aaaaaaaaaaaaa", "/$verify", "/$meta", "/$validate"])
def test_they_are_not_opened_for_whom_they_are_hidden_from(play, ask, monkeypatch, path):
    """It takes long."""
    opened, read_all = [], Contents.read_all

    async def counted(contents, *what):
        opened.append(what)
        return await read_all(contents, *what)

    monkeypatch.setattr(Contents, "read_all", counted)
    statuses = {ask("GET", f"DocumentReference/{id}{path}").status for id in (play.ids[0], NOBODY)}
    assert len(statuses) == 1 and opened == []
    assert ask("PATCH", f"DocumentReference/{play.ids[0]}", FAIL, **PATCH).status == 404 and opened == []
    assert ask("GET", f"DocumentReference/{play.ids[0]}", by="traitant").status == 200 and len(opened) == 1


def test_they_meet_no_condition(play, ask):
    """Whoever asks: who has nothing to do with the dossier too."""
    for by in ("team", "unrelated"):
        found = ask("PATCH", "DocumentReference?identifier=urn:x-local|large", FAIL, by, **PATCH)
        nobody = ask("PATCH", "DocumentReference?identifier=urn:x-local|nobody", FAIL, by, **PATCH)
        assert (found.status, found.body) == (nobody.status, nobody.body) and found.status == 404


def test_they_are_absent_in_a_bundle_and_as_what_is_referred_to(play, ask):
    def changing(ids: list[str]) -> dict:
        binary = {"resourceType": "Binary", "contentType": PATCH["content-type"], "data": b64encode(people.dumped(FAIL)).decode()}
        entry = [{"resource": binary, "request": {"method": "PATCH", "url": f"DocumentReference/{id}"}} for id in ids]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entry}

    nobody = [NOBODY[:-1] + letter for letter in "abc"]
    statuses = {ask("POST", "", changing(ids)).status for ids in (play.ids, nobody)}
    assert len(statuses) == 1 and statuses < {404, 422}
    for ids in (play.ids, nobody):
        named = [{"reference": f"DocumentReference/{id}"} for id in ids]
        own = people.document(play.patient, play.cast["team"], people.REPORT, 7, at=play.at, context={"related": named})
        assert ask("POST", "DocumentReference", own).status == 422


def test_who_sees_them_refers_to_them(play, ask):
    """He asks for none of them."""
    assert ask("POST", "List", _list(play), "traitant").status == 201
