"""I5: no byte of clinical data leaves before its trace is durable; a database that fails in between, a client that leaves. IHE BALP

access-rules 7. The application in this process on a real MongoDB: what fails is the `insert` of the trace, after the query was answered.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from pymongo import MongoClient

from fhir_dmp.fhir import json
from fhir_dmp.store.embedded import Embedded
from tests.worlds import people
from tests.worlds.histories import Play, Story
from tests.worlds.hosting import Call, Host

PATIENCE_SECONDS = 1.0
CANCELLATIONS = 60


@pytest.fixture(scope="module")
def breakable():
    """A mongod of its own, whose commands can be made to fail."""
    folder = Path(tempfile.mkdtemp(prefix="fhir-dmp-"))
    (folder / "mongodb").mkdir()
    embedded = Embedded.start(folder / "mongodb", extra_parameters=("enableTestCommands=true",), cache_gb=0.25)
    yield embedded
    embedded.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as found:
        yield found


@pytest.fixture(scope="module")
def host(runner, breakable):
    found = runner.run(Host.open(breakable.uri, "traced", breakable.folder.parent))
    found.services.recorder._patience = PATIENCE_SECONDS
    yield found
    runner.run(found.close())


@pytest.fixture(scope="module")
def play(runner, host):
    """A dossier with one document, and its médecin traitant as the asker."""
    found = Play(host, people.professionals(host), Story(False, [], "traitant"), "traced")
    runner.run(found.open())
    runner.run(found.deposit(found.cast["hospital"], people.REPORT, (), 1, transaction=True))
    assert found.documents
    return found


def paths(play: Play) -> list[str]:
    one, here = play.documents[0], f"patient={play.patient}"
    return [
        one.address,
        f"{one.address}/_history",
        f"{one.address}/_history/{one.versions[0]}",
        f"Binary/{one.binary}",
        f"List/{one.listed}",
        f"DocumentReference?{here}",
        f"DocumentReference?{here}&_summary=count",
        f"List?{here}&_include=List:item",
        f"Patient/{play.patient}",
        f"Patient/{play.patient}/$everything",
        f"AuditEvent?{here}",
    ]


@contextlib.contextmanager
def failing(mongod: Embedded, **how: object):
    """Inserts, by which traces are written, fail or hang."""
    with MongoClient(mongod.uri) as client:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": {"failCommands": ["insert"], **how}})
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


FAULTS = {
    "the connection breaks": {"closeConnection": True},
    "no primary any more": {"errorCode": 10107, "errorLabels": []},
    "no majority in time": {
        "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}},
    },
    "no answer": {"blockConnection": True, "blockTimeMS": 4_000},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_byte_without_a_trace(runner, host, play, breakable, fault):
    document = play.documents[0]
    with failing(breakable, **FAULTS[fault]):
        for number, path in enumerate(paths(play)):
            host.moment(f"{fault} {number}".encode(), host.now + 1)
            answer = runner.run(host.send(Call("GET", path, play.asker.token)))
            assert answer.status == 503, (path, answer)
            assert answer.header("retry-after")
            value = answer.value()
            assert value["resourceType"] == "OperationOutcome" and document.id not in str(value)
            assert b"compte rendu" not in answer.body and b"contenu" not in answer.body
    host.moment(f"{fault} after".encode(), host.now + 1)
    assert runner.run(host.send(Call("GET", document.address, play.asker.token))).status == 200


async def traced(host: Host, play: Play, request_id: str) -> bool:
    """Whether a trace with this request id is stored."""
    number = host.services.store.vault.dossier_of_patient(play.patient)
    async for row in host.services.store.scan(types=("AuditEvent",), dossiers=(number,), batch=500):
        if request_id in json.dump(json.parse(row.body)).decode():
            return True
    return False


async def left_at(host: Host, play: Play, path: str, turns: int) -> tuple[bytes, bool]:
    """Ask, and leave after so many turns of the event loop; what was sent by then, and whether it is traced."""
    sent: list[bytes] = []
    task = asyncio.ensure_future(host.send(Call("GET", path, play.asker.token), seen=sent))
    for _ in range(turns):
        await asyncio.sleep(0 if turns < 40 else 0.0005)
        if task.done():
            break
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return b"".join(sent), await traced(host, play, host.seed.hex()[:32])


def test_a_client_that_leaves_at_any_moment(runner, host, play):
    """What was sent was traced before; what goes on afterwards finds a server in order."""
    chosen, disclosed, silent = random.Random(5), 0, 0
    for number in range(CANCELLATIONS):
        path = chosen.choice(paths(play)[:6])
        host.moment(f"leaves {number}".encode(), host.now + 1)
        sent, kept = runner.run(left_at(host, play, path, chosen.choice([1, 2, 5, 10, 20, 30, 60, 100, 200])))
        disclosed, silent = disclosed + bool(sent), silent + (not sent)
        assert kept or not sent, (path, sent[:200])
    assert disclosed and silent, (disclosed, silent)
    host.moment(b"leaves no more", host.now + 1)
    answer = runner.run(host.send(Call("GET", paths(play)[5], play.asker.token)))
    assert answer.status == 200 and answer.value()["total"] == 1
