"""How much is hidden tells nobody that it is there: what is looked at a part at a time is looked at to the end. access-rules 6"""

import os
from dataclasses import replace

import pytest

from fhir_dmp.interactions import appearing, enforcement, search_pages
from fhir_dmp.search.limits import DEFAULTS
from tests.worlds import people
from tests.worlds.histories import Play, Story

HIDDEN = "INVISIBLE_PATIENT"
MASK = {"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": people.VISIBILITY, "code": "MASQUE_PS"}]}}
UNMASK = {"op": "remove", "path": "/securityLabel/1"}


@pytest.fixture(scope="module")
def professionals(host):
    return people.professionals(host)


@pytest.fixture
def play(request, runner, host, professionals):
    found = Play(host, professionals, Story(False, [], "holder"), f"many {os.getpid()} {request.node.name}")
    runner.run(found.open())
    return found


def test_traces_of_somebody_whom_his_own_documents_let_in_go_with_any_of_them(runner, play, monkeypatch):
    """The holder sees one of his documents, and none of those that he deposited after it."""
    monkeypatch.setattr(enforcement, "AT_ONCE", 1)

    async def told() -> str:
        for number, labels in enumerate([(), (HIDDEN,), (HIDDEN,)]):
            await play.deposit(play.cast["elsewhere"], people.REPORT, labels, number)
        path = f"DocumentReference?patient={play.patient}"
        assert (await play.act("elsewhere", "search", play.call("elsewhere", "GET", path))).value()["total"] == 3
        searches = f"AuditEvent?patient={play.patient}&subtype=search"
        return str((await play.act("holder", "search", play.call("holder", "GET", searches))).value())

    assert f"8{play.cast['elsewhere'].rpps}" in runner.run(told())


def test_a_search_is_answered_by_what_came_late_to_who_asks_alone(runner, play, monkeypatch):
    """What was masked, shown and masked again came to nobody: the search goes by the index, whatever there is of it."""
    monkeypatch.setattr(appearing, "MOST", 1)
    few = replace(DEFAULTS, candidates=1)
    monkeypatch.setattr(search_pages, "limits_of", lambda context: few)

    async def asked() -> int:
        for number in range(4):
            one = await play.deposit(play.cast["consented"], people.REPORT, (), number)
            for act in (MASK, UNMASK, MASK) if number < 2 else ():
                answer = await play.act("holder", "label", play.json_patch("holder", one.address, [act]))
                assert answer.status == 200, answer
        path = f"DocumentReference?patient={play.patient}"
        return (await play.act("team", "search", play.call("team", "GET", path))).status

    assert runner.run(asked()) == 200
