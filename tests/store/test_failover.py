"""Three mongod as a replica set: who reads and writes through the loss of the primary repeats what was answered 503, and nothing is lost.

https://www.mongodb.com/docs/manual/core/replica-set-elections/
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import NamedTuple

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions.tracing import NOT_GIVEN
from fhir_dmp.store.embedded import find_mongod
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change
from tests.access import world as making
from tests.worlds import people
from tests.worlds.histories import Named, Play, Story
from tests.worlds.hosting import Call, Host, Reply

from .making import changed, new_row

NAME = "failover"


class Member:
    """One mongod on a port of its own."""

    def __init__(self, folder) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir()
        command = [str(find_mongod()), "--dbpath", ".", "--port", str(self.port), "--bind_ip", "127.0.0.1", "--replSet", NAME]
        command += ["--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--quiet"]
        command += ["--setParameter", "enableTestCommands=1"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def hello(self) -> dict:
        """What it says of itself, {} when it does not answer."""
        try:
            with MongoClient(self.address, directConnection=True, serverSelectionTimeoutMS=500) as client:
                return client.admin.command("hello")
        except PyMongoError:
            return {}

    def command(self, command: dict) -> None:
        with MongoClient(self.address, directConnection=True, serverSelectionTimeoutMS=5_000) as client:
            client.admin.command(command)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def primary_of(members: list[Member]) -> Member:
    """The one that accepts writes; waits for it."""
    for _ in range(600):
        for member in members:
            if member.process.poll() is None and member.hello().get("isWritablePrimary"):
                return member
        time.sleep(0.1)
    raise AssertionError("no member became primary within a minute")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Three members, of which one is primary."""
    folder = tmp_path_factory.mktemp("members")
    made = [Member(folder / f"member{number}") for number in range(3)]
    try:
        for member in made:
            for _ in range(600):
                if member.hello():
                    break
                time.sleep(0.1)
        config = {
            "_id": NAME,
            "members": [{"_id": number, "host": member.address} for number, member in enumerate(made)],
            "settings": {"electionTimeoutMillis": 2_000, "catchUpTimeoutMillis": 0},
        }
        with MongoClient(made[0].address, directConnection=True) as client:
            client.admin.command("replSetInitiate", config)
        primary_of(made)
        yield made
    finally:
        for member in made:
            member.stop()


class Load:
    """Writes and reads in turn until told to stop. refused: (when it began, status) of what failed. kept: rows acknowledged."""

    def __init__(self, store: Store) -> None:
        self.store, self.stop = store, asyncio.Event()
        self.kept: list = []
        self.refused: list[tuple[float, int]] = []

    async def run(self) -> None:
        while not self.stop.is_set():
            row = new_row(self.store)
            await self.until_done(lambda row=row: self.store.commit([Change(row, None)]))
            newer = changed(row)
            await self.until_done(lambda row=row, newer=newer: self.store.commit([Change(newer, row.version)]))
            self.kept.append(newer)
            found = await self.until_done(lambda row=row: self.store.load(row.key))
            assert found.version == newer.version

    async def until_done(self, call):
        """As a client does: repeats what is answered 503."""
        while True:
            began = time.monotonic()
            try:
                return await call()
            except FhirError as error:
                assert error.status == 503, error
                self.refused.append((began, error.status))
                await asyncio.sleep(0.05)


def elected(members: list[Member]) -> list[Member]:
    """Have one of them elected, who has heard of everything by then; that one first."""
    for attempt in range(100):
        new = members[attempt % len(members)]
        with contextlib.suppress(OperationFailure):
            new.command({"replSetStepUp": 1})
            primary_of([new])
            return [new, *(one for one in members if one is not new)]
        time.sleep(0.1)
    raise AssertionError("no member was elected")


@contextlib.contextmanager
def deposed(members: list[Member]):
    """Another primary was elected, and the former one has not noticed: what it hears of its fall waits, as behind a slow network."""
    old = primary_of(members)
    deaf = {"configureFailPoint": "blockHeartbeatStepdown", "mode": "alwaysOn"}
    old.command(deaf)
    try:
        new, third = elected([one for one in members if one is not old])
        with contextlib.suppress(OperationFailure):  # it may have been elected meanwhile
            third.command({"replSetSyncFrom": new.address})
        yield
    finally:
        old.command({**deaf, "mode": "off"})


class Scene(NamedTuple):
    """Two servers of one store, and a dossier with a document that its care team reads.

    late: it hears of an election when a command of its own fails, or after a while: often later than the others.
    """

    late: Host
    other: Host
    play: Play

    @property
    def read(self) -> Call:
        return Call("GET", self.play.documents[0].address, self.play.asker.token)


async def dossier(host: Host, cast: dict, name: str) -> Play:
    """A dossier with a document that its care team reads."""
    play = Play(host, cast, Story(False, [], "team"), name)
    play.now = max(play.now, host.now)
    await play.open()
    await play.deposit(play.cast["hospital"], people.REPORT, (), 1, transaction=True)
    return play


@pytest.fixture(scope="module")
async def scene(members, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    uri = f"mongodb://{','.join(one.address for one in members)}/?replicaSet={NAME}"
    late = await Host.open(f"{uri}&serverMonitoringMode=poll&heartbeatFrequencyMS=15000", "deposed", folder)
    other = await Host.open(uri, "deposed", folder)
    yield Scene(late, other, await dossier(late, people.professionals(late), "shared"))
    await late.close()
    await other.close()


async def test_without_a_majority_nothing_is_shown(members, scene):
    """The primary answers reads as before, and no trace can be made durable: 503, and not one byte."""
    host, play = scene.other, scene.play
    primary = await asyncio.to_thread(primary_of, members)
    patience, host.services.recorder._patience = host.services.recorder._patience, 1
    one, here = play.documents[0], f"patient={play.patient}"
    host.moment(b"before", scene.late.now + 1)
    assert (await host.send(scene.read)).status == 200
    for member in members:
        if member is not primary:
            os.kill(member.process.pid, signal.SIGSTOP)
    try:
        for path in (f"Binary/{one.binary}", f"DocumentReference?{here}"):
            reply = await host.send(Call("GET", path, play.asker.token))
            assert reply.status == 503 and reply.header("retry-after"), (path, reply)
            assert one.id.encode() not in reply.body and b"contenu" not in reply.body
    finally:
        for member in members:
            os.kill(member.process.pid, signal.SIGCONT)
        host.services.recorder._patience = patience
    await asyncio.to_thread(primary_of, members)
    (healed,) = await answering(host, scene.read)
    assert healed.status == 200


async def answering(host: Host, *calls: Call) -> list[Reply]:
    """What it answers when it does not say 503, to all of them: as a client does, they are repeated."""
    for number in range(100):
        host.moment(f"again {number}".encode(), host.now + 1)
        replies = [await host.send(one) for one in calls]
        if 503 not in [reply.status for reply in replies]:
            return replies
        await asyncio.sleep(0.1)
    raise AssertionError(replies)


async def test_a_deposed_primary_shows_nothing_that_another_one_has_hidden(members, scene):
    """A mask and a block acknowledged by the new primary hold for a server that still asks the former one."""
    for attempt in range(8):
        await answering(scene.late, scene.read)  # it has not heard of the elections since; once it was told no, it has
        shown = await asked_of_a_deposed_primary(members, scene, await dossier(scene.late, scene.play.cast, f"deposed {attempt}"))
        if shown:  # the former primary was asked, and what it gave did not leave
            return
    raise AssertionError("each time the late server heard of the election before it asked")


async def asked_of_a_deposed_primary(members: list[Member], scene: Scene, play: Play) -> bool:
    """Mask and block through one server, read and deposit through the late one; whether that one was still asking the former primary."""
    late, other, document = scene.late, scene.other, play.documents[0]
    read = Call("GET", document.address, play.asker.token)
    value = people.document(play.patient, play.cast["hospital"], people.REPORT, 2, (), play.at)
    feed = play.call("hospital", "POST", "DocumentReference", value)
    late.moment(b"before", max(late.now, other.now) + 1)
    assert (await late.send(read)).status == 200
    with deposed(members):
        other.moment(b"mask", late.now)
        coding = {"system": people.VISIBILITY, "code": "MASQUE_PS"}
        mask = play.json_patch("holder", document.address, [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [coding]}}])
        block = play.call("holder", "POST", "Consent", making.consent(Named(play.patient), "block", play.cast["hospital"]))
        done = await answering(other, mask, block)  # it may hear of the election only now
        assert [reply.status for reply in done] == [200, 201], done
        late.moment(b"stale", other.now + 1)
        request = late.seed.hex()[:32]
        # The former primary shows the one and permits the other; but neither a trace nor a deposit can be made durable there.
        stale = [asyncio.create_task(late.send(one)) for one in (read, feed)]
        await asyncio.wait(stale, timeout=0.5)
    replies = await asyncio.gather(*stale)
    not_given = replies[0].status == 503
    # Who hears of the election soon enough asks the new primary, and is refused as anybody is.
    for reply, refused in zip(replies, (404, 403), strict=True):
        assert reply.status == refused or (reply.status == 503 and reply.header("retry-after")), reply
        assert document.id.encode() not in reply.body
    assert [reply.status for reply in await answering(late, read, feed)] == [404, 403]
    traces = play.call("traitant", "GET", f"AuditEvent?patient={play.patient}&outcome=12&entity:identifier={request}")
    (journal,) = await answering(other, traces)
    told = [entry["resource"] for entry in journal.value().get("entry", [])]
    for each in told:
        assert each["outcomeDesc"] == NOT_GIVEN and document.address in str(each["entity"])
    assert len(told) <= not_given
    return bool(told)


async def test_reads_and_writes_go_on_through_the_loss_of_the_primary(members, tmp_path):
    store = await Store.open(f"mongodb://{','.join(one.address for one in members)}/?replicaSet={NAME}", "failover", data_dir=tmp_path)
    try:
        loads = [Load(store) for _ in range(4)]
        running = [asyncio.create_task(load.run()) for load in loads]
        await asyncio.sleep(1)
        lost = await asyncio.to_thread(primary_of, members)
        lost.stop()
        before = [len(load.kept) for load in loads]
        await asyncio.to_thread(primary_of, [one for one in members if one is not lost])
        elected = time.monotonic()
        while any(len(load.kept) < start + 5 for load, start in zip(loads, before, strict=True)):
            assert not any(task.done() for task in running)
            await asyncio.sleep(0.05)
        for load in loads:
            load.stop.set()
        await asyncio.gather(*running)
        # Nothing that was begun after there was a primary again has failed: no error lasts longer than the election.
        assert [began for load in loads for began, _ in load.refused if began > elected] == []
        assert all(before)
        for load in loads:
            found = await store.load_many([row.key for row in load.kept])
            assert {row.key: row.version for row in found.values()} == {row.key: row.version for row in load.kept}
    finally:
        await store.close()
