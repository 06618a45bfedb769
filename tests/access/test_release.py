"""The month of INVISIBLE_PATIENT: over at its instant, whatever restarts, and nothing is done twice. CSP R1111-49; invariant I10"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymongo import MongoClient

from fhir_dmp.dmp.visibility import release_ms
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import appearing
from tests.worlds import people
from tests.worlds.histories import Play, Story
from tests.worlds.hosting import Host

LATER = 40 * 86_400_000
# Small pages: by the index, by what rows show; of several types; as an operation.
WALKS = (
    "DocumentReference?patient={patient}&_count=1",
    "DocumentReference?patient={patient}&_count=1&_sort=_lastUpdated",
    "DocumentReference?patient={patient}&_count=1&_sort=date",
    "DocumentReference?patient={patient}&_count=1&_sort=-date&_total=none",
    "Provenance?patient={patient}&_count=2&_sort=recorded",
    "DocumentReference/$docref?patient={patient}&_count=1",
    "Patient/{patient}/$everything?_count=3&_type=DocumentReference,Provenance",
)
# Runs of the test in one store: ids are drawn by the names of histories.
NAME = f"{os.urandom(4).hex()} release"


@pytest.fixture
def runner():
    with asyncio.Runner() as found:
        yield found


def test_it_is_over_at_its_instant_over_restarts_and_other_clocks(runner, mongod, data_dir):
    name = f"release_{os.getpid()}"

    def opened(now_ms: int) -> Host:
        host = runner.run(Host.open(mongod.uri, name, data_dir))
        host.now = now_ms
        return host

    host = opened(0)
    host.now = host.services.began_ms
    play = Play(host, people.professionals(host), Story(False, [], "holder"), "release")
    runner.run(play.open())
    document = runner.run(play.deposit(play.cast["hospital"], people.REPORT, ("INVISIBLE_PATIENT",), 1))
    over = release_ms(play.steps[-1].at_ms)
    seen: set[tuple] = set()
    try:
        for turn, now_ms in enumerate((over - 1, over, over - 1, over, over + LATER, over - 1, over)):
            host.moment(f"looks {turn}".encode(), now_ms)
            answer = runner.run(host.send(play.call("holder", "GET", document.address)))
            assert answer.status == (200 if now_ms >= over else 404), turn
            if answer.status == 200:
                seen.add((answer.body, answer.header("last-modified"), answer.header("etag")))
            if turn in (1, 3):  # another process goes on
                runner.run(host.close())
                host = opened(now_ms)
        # It came to him once: whoever looks, and whenever, says the same of when that was.
        assert len(seen) == 1 and answer.value()["meta"]["lastUpdated"] == to_instant(over)
    finally:
        runner.run(host.close())
        with MongoClient(mongod.uri) as client:
            client.drop_database(name)


@contextmanager
def staged(runner, mongod, data_dir) -> Iterator[Play]:
    """The dossier of a grown up on a host with a clock of its own."""
    name = f"released_{os.getpid()}"
    host = runner.run(Host.open(mongod.uri, name, data_dir))
    play = Play(host, people.professionals(host), Story(False, [], "holder", True), NAME)
    try:
        runner.run(play.open())
        yield play
    finally:
        runner.run(host.close())
        with MongoClient(mongod.uri) as client:
            client.drop_database(name)


def walked(runner, play: Play, path: str, instants: tuple[int, int]) -> tuple[list, str]:
    """(ids and total of each page, the last page). instants: at which the first page is read, and all others."""
    pages, last = [], path
    while path:
        play.host.moment(path.encode(), instants[1 if pages else 0])
        answer = runner.run(play.host.send(play.call("holder", "GET", path)))
        assert answer.status == 200, answer
        bundle, last = answer.value(), path
        pages.append(([entry["resource"]["id"] for entry in bundle.get("entry", ())], bundle.get("total")))
        path = linked(bundle, "next")
    return pages, last


def linked(bundle: dict, relation: str) -> str:
    return next((link["url"].partition("/fhir/")[2] for link in bundle["link"] if link["relation"] == relation), "")


def test_what_comes_between_two_pages_is_a_late_deposit(runner, mongod, data_dir, monkeypatch):
    """A walk that began before goes on without it, forth and back, whatever its order: where it stands would tell when it was deposited."""
    with staged(runner, mongod, data_dir) as play:
        for number, labels in enumerate(((), ("INVISIBLE_PATIENT",), (), ()), 1):
            document = runner.run(play.deposit(play.cast["hospital"], people.REPORT, labels, number, transaction=True))
            if labels:
                hidden, over = document, release_ms(play.steps[-1].at_ms)
        for walk in WALKS:
            path = walk.format(patient=play.patient)
            before, _ = walked(runner, play, path, (over - 1, over - 1))
            found, last = walked(runner, play, path, (over - 1, over))
            assert found == before and len(found) >= 2, path
            back = []
            while last := linked(runner.run(play.host.send(play.call("holder", "GET", last))).value(), "previous"):
                bundle = runner.run(play.host.send(play.call("holder", "GET", last))).value()
                back.append(([entry["resource"]["id"] for entry in bundle["entry"]], bundle.get("total")))
            assert back[::-1] == found[:-1], path
            anew, _ = walked(runner, play, path, (over, over))
            assert sum(len(ids) for ids, _ in anew) > sum(len(ids) for ids, _ in found), path
            if path.startswith("Document"):
                assert [hidden.id] in [ids for ids, _ in anew] and [hidden.id] not in [ids for ids, _ in found]
        # The same where much came late.
        monkeypatch.setattr(appearing, "MOST", 1)
        path = WALKS[1].format(patient=play.patient)
        assert walked(runner, play, path, (over - 1, over))[0] == walked(runner, play, path, (over - 1, over - 1))[0]


def test_nothing_is_hidden_from_the_holder_after_the_month(runner, mongod, data_dir):
    """INVISIBLE_PATIENT is refused then, to whoever may add it before: it would tell the holder another time at which the document came."""
    with staged(runner, mongod, data_dir) as play:
        late, early = (runner.run(play.deposit(play.cast["hospital"], people.REPORT, (), number)) for number in (1, 2))
        over = release_ms(play.steps[-1].at_ms)
        hiding = [
            {"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": people.VISIBILITY, "code": "INVISIBLE_PATIENT"}]}}
        ]

        def sent(by: str, address: str, now_ms: int, patch: list | None = None):
            play.host.moment(f"{by} {address} {now_ms}".encode(), now_ms)
            call = play.json_patch(by, address, patch) if patch else play.call(by, "GET", address)
            return runner.run(play.host.send(call))

        def seen() -> tuple:
            answer = sent("holder", late.address, over)
            listed = sent("holder", f"DocumentReference?patient={play.patient}&_id={late.id},{early.id}", over).value()
            return answer.status, answer.body, [entry["resource"]["id"] for entry in listed["entry"]]

        before = seen()
        assert sent("team", late.address, over, hiding).status == sent("holder", late.address, over, hiding).status == 403
        refused = sent("hospital", late.address, over, hiding)
        assert refused.status == 422 and "the month after the first deposit is over" in refused.value()["issue"][0]["diagnostics"]
        assert seen() == before and before[0] == 200
        assert sent("hospital", early.address, over - 1, hiding).status == 200
        assert sent("holder", early.address, over - 1).status == 404
