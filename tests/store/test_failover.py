"""Three mongod as a replica set: who reads and writes through the loss of the primary repeats what was answered 503, and nothing is lost.

https://www.mongodb.com/docs/manual/core/replica-set-elections/
"""

import asyncio
import socket
import subprocess
import time

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from fhir_dmp.errors import FhirError
from fhir_dmp.store.embedded import find_mongod
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change

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


@pytest.fixture
def members(tmp_path):
    """Three members, of which one is primary."""
    made = [Member(tmp_path / f"member{number}") for number in range(3)]
    try:
        for member in made:
            for _ in range(600):
                if member.hello():
                    break
                time.sleep(0.1)
        config = {
            "_id": NAME,
            "members": [{"_id": number, "host": member.address} for number, member in enumerate(made)],
            "settings": {"electionTimeoutMillis": 2_000},
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
