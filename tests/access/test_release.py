"""The month of INVISIBLE_PATIENT: over at its instant, whatever restarts, and nothing is done twice. CSP R1111-49; invariant I10"""

import asyncio
import os

import pytest
from pymongo import MongoClient

from fhir_dmp.dmp.visibility import release_ms
from fhir_dmp.fhir.instants import to_instant
from tests.worlds import people
from tests.worlds.histories import Play, Story
from tests.worlds.hosting import Host

LATER = 40 * 86_400_000


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
