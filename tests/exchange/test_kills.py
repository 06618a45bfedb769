"""An import that is killed at any moment and resumed ends in the same store as one that was never interrupted.

A few kills on a few hundred entries, and at length twenty at seeded points and twenty at random moments on 10,000 entries.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pymongo import MongoClient

from fhir_dmp.exchange.points import NAMES, VARIABLE
from fhir_dmp.store.resources import Store
from tests.interactions.making import dumped
from tests.serving import clean

FEW, MANY = 300, 10_000
KILLS = {FEW: 2, MANY: 20}
SEED = 20260102


class World:
    """Databases of one mongod and one host key, so that the same import gives the same ids in each."""

    def __init__(self, uri: str, data: Path, folder: Path) -> None:
        self.uri, self.data, self.folder, self.count = uri, data, folder, 0

    def database(self) -> str:
        """The name of an empty sandbox."""
        self.count += 1
        name = f"kills_{os.getpid()}_{self.count}"
        asyncio.run(self._created(name))
        return name

    async def _created(self, name: str) -> None:
        store = await Store.open(self.uri, name, data_dir=self.data, sandbox=True)
        await store.close()

    def start(self, database: str, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen:
        command = [sys.executable, "-m", "fhir_dmp", "import", *map(str, arguments)]
        command += ["--mongodb-uri", self.uri, "--data", str(self.data)]
        env = clean({"FHIR_DMP_DATABASE": database, **(environment or {})})
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def whole(self, database: str, *arguments: object) -> str:
        """Run to the end; what was printed."""
        process = self.start(database, *arguments)
        out, said = process.communicate(timeout=600)
        assert process.returncode == 0, said
        return out

    def job(self, database: str) -> str | None:
        """The import that was begun last."""
        with MongoClient(self.uri) as client:
            found = client[database]["host.jobs"].find_one(sort=[("_id", -1)], hint="_id_")
            return found and found["_id"]

    def resumed(self, database: str, *arguments: object) -> None:
        """Go on, or begin again when it had not even begun."""
        job = self.job(database)
        self.whole(database, *(("--resume", job) if job else arguments), "--report", self.folder / f"{database}.ndjson")

    def content(self, database: str) -> list[str]:
        """Everything stored, but for instants, the name of the job, and traces, which are checked by themselves.

        Of a Provenance what it says of each version.
        """
        return asyncio.run(self._content(database))

    async def _content(self, database: str) -> list[str]:
        store = await Store.open(self.uri, database, data_dir=self.data, sandbox=None)
        told: list[str] = []
        named: Counter[str] = Counter()
        vouched: Counter[str] = Counter()
        written: set[str] = set()
        try:
            async for row in store.scan(batch=1000):
                value = json.loads(row.body)
                if row.type == "AuditEvent":
                    named.update(versions_named(value))
                    continue
                address = f"{row.type}/{value['id']}/_history/{value['meta']['versionId']}"
                value["meta"].pop("lastUpdated")
                if row.type == "Provenance":
                    # Which versions share one depends on what was stored together; that each has its own words in one does not.
                    value["agent"].pop()  # this store
                    origin = json.dumps([value["activity"], value["agent"]])
                    told += [f"{one['reference']} is {one['display']}: {origin}" for one in value["target"]]
                    vouched.update(one["reference"] for one in value["target"])
                    continue
                written.add(address)
                told.append(f"{address} {json.dumps(value, sort_keys=True)} {row.method}")
            history = {f"{row.key.hex()} {row.version}" for row in await store.history(limit=100_000)}
            lines = await ledger_lines(store)
        finally:
            await store.close()
        # Every version is told by one trace, whatever happened in between.
        assert written <= named.keys() and set(named.values()) == {1}
        assert written <= vouched.keys() and set(vouched.values()) == {1}
        assert len(history) >= len(written)
        return [*sorted(told), *map(repr, sorted(lines))]

    def report(self, path: Path) -> list[str]:
        """Lines of a report, each with its place; what the database put off for a moment is told after the rest."""
        return sorted(path.read_text("utf-8").splitlines())


def versions_named(trace: dict) -> list[str]:
    """The versions that a trace names."""
    references = [entity["what"].get("reference", "") for entity in trace.get("entity", ()) if "what" in entity]
    return [reference for reference in references if "/_history/" in reference]


async def ledger_lines(store: Store) -> list[tuple]:
    """What the ledger of imports knows, without instants."""
    return [
        (bytes(line["_id"]).hex(), bytes(line["k"]).hex(), line["t"], [(e["w"], e["h"], e["v"], e["s"]) for e in line["e"]])
        async for line in store.connection.database["imports"].find(hint="_id_")
    ]


@pytest.fixture(scope="module")
def world(mongod, data_dir, tmp_path_factory):
    made = World(mongod.uri, data_dir, tmp_path_factory.mktemp("kills"))
    yield made
    with MongoClient(mongod.uri) as client:
        for number in range(1, made.count + 1):
            client.drop_database(f"kills_{os.getpid()}_{number}")


def written(place: Path, entries: int) -> Path:
    """Patients, what was observed of them, versions, a transaction, a collection, a history, and a few that are refused."""
    chance = random.Random(SEED)
    place.mkdir()
    people = max(10, entries // 20)
    with (place / "people.ndjson").open("wb") as file:
        for number in range(people):
            file.write(dumped({"resourceType": "Patient", "id": f"p{number}", "name": [{"family": f"OZENNE{number}"}]}) + b"\n")
    with (place / "things.ndjson").open("wb") as file:
        for number in range(entries - people - 60):
            about = {"reference": f"Patient/p{chance.randrange(people)}"}
            value = {"resourceType": "Basic", "code": {"text": f"note {number} " + "x" * chance.randrange(400)}, "subject": about}
            if chance.random() < 0.7:
                value["id"] = f"b{number if chance.random() < 0.9 else chance.randrange(number + 1)}"
            if chance.random() < 0.01:
                value["code"] = "not a concept"
            file.write(dumped(value) + b"\n")
    entries = [
        {
            "fullUrl": f"urn:uuid:{n}",
            "resource": {"resourceType": "Basic", "code": {"text": f"t{n}"}},
            "request": {"method": "POST", "url": "Basic"},
        }
        for n in range(20)
    ]
    (place / "transaction.json").write_bytes(dumped({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    listed = [{"resource": {"resourceType": "Basic", "id": f"c{n}", "code": {"text": "c"}}} for n in range(20)]
    (place / "collection.json").write_bytes(dumped({"resourceType": "Bundle", "type": "collection", "entry": listed}))
    versions = [{"resource": {"resourceType": "Basic", "id": "h", "code": {"text": f"h{n}"}}} for n in reversed(range(20))]
    gone = {"request": {"method": "DELETE", "url": "Basic/h"}}
    (place / "history.json").write_bytes(dumped({"resourceType": "Bundle", "type": "history", "entry": [gone, *versions]}))
    return place


class Whole:
    """What an import gives that nobody disturbs."""

    def __init__(self, world: World, folder: Path) -> None:
        self.folder, self.path = folder, world.folder / f"{folder.name}.ndjson"
        database = world.database()
        process = world.start(database, folder, "--report", self.path)
        process.communicate(timeout=900)
        self.code = process.returncode
        self.content = world.content(database)
        self.report = world.report(self.path)


@pytest.fixture(scope="module")
def undisturbed(world):
    """What an import of so many entries gives, and the folder of them; made when the first one asks."""
    return cache(lambda entries: Whole(world, written(world.folder / f"input-{entries}", entries)))


def test_the_input_has_something_of_everything(undisturbed):
    whole = undisturbed(FEW)
    states = Counter(json.loads(line)["status"] for line in whole.report)
    assert whole.code == 3 and {200, 201, 204, 422} <= states.keys() and states.total() >= FEW - 20


def different(one: list[str], other: list[str]) -> list[str]:
    """A few lines that only one of two stores has."""
    found = sorted(set(one) ^ set(other))[:4]

    return found


def finish(world: World, database: str, folder: Path) -> list[str]:
    """Resume until it ends, and give its report."""
    report = world.folder / f"{database}.ndjson"
    job = world.job(database)
    process = world.start(database, *(("--resume", job) if job else (folder,)), "--report", report)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 3, said
    return world.report(report)


def points() -> Iterator:
    """Places where an import dies, and how often it comes by before: of few entries, and at length of many."""
    for entries, kills in KILLS.items():
        chance = random.Random(SEED)
        for number in range(kills):
            name, count = chance.choice(NAMES), chance.randrange(1, 3 if entries == FEW else 20)
            marks = pytest.mark.at_length if entries == MANY else ()
            yield pytest.param(entries, name, count, marks=marks, id=f"{entries}-{number}-{name}-{count}")


def moments() -> Iterator:
    """The same of moments."""
    for entries, kills in KILLS.items():
        for number in range(kills):
            yield pytest.param(entries, number, marks=pytest.mark.at_length if entries == MANY else (), id=f"{entries}-{number}")


@pytest.mark.parametrize(("entries", "name", "count"), list(points()))
def test_killed_at_a_known_point_and_resumed(world, undisturbed, entries, name, count):
    database, whole = world.database(), undisturbed(entries)
    process = world.start(database, whole.folder, environment={VARIABLE: f"{name}:{count}"})
    process.communicate(timeout=900)
    assert finish(world, database, whole.folder) == whole.report
    assert different(world.content(database), whole.content) == []


@pytest.mark.parametrize(("entries", "number"), list(moments()))
def test_killed_at_any_moment_and_resumed(world, undisturbed, entries, number):
    chance = random.Random(SEED + number)
    database, whole = world.database(), undisturbed(entries)
    folder = whole.folder
    process = world.start(database, folder)
    for _ in range(1 if (entries, number) == (FEW, 1) else 2):
        time.sleep(0.5 + chance.random() * (8 if entries == MANY else 1.5))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        job = world.job(database)
        process = world.start(database, *(("--resume", job) if job else (folder,)))
    process.communicate(timeout=900)
    assert finish(world, database, folder) == whole.report
    assert different(world.content(database), whole.content) == []


def test_two_imports_at_once_give_what_one_gives(world, undisturbed):
    database, whole = world.database(), undisturbed(FEW)
    both = [world.start(database, whole.folder), world.start(database, whole.folder)]
    for process in both:
        _, said = process.communicate(timeout=900)
        assert process.returncode == 3, said
    assert different(world.content(database), whole.content) == []


def test_a_worker_that_dies_ends_the_import_which_is_resumed(world):
    """Enough for worker processes: one of them is killed, the import says so, and goes on from there when it is resumed."""
    path = world.folder / "large.ndjson"
    with path.open("wb") as file:
        for number in range(900):
            file.write(dumped({"resourceType": "Basic", "id": f"w{number}", "code": {"text": "x" * 2600}}) + b"\n")
    database, alone = world.database(), world.database()
    process = world.start(database, path, "--workers", "2", environment={VARIABLE: "after-commit:2"})
    _, said = process.communicate(timeout=900)
    assert process.returncode == 1 and "a worker of the import failed" in said
    job = world.job(database)
    assert job in said
    report = world.folder / "large-report.ndjson"
    # Its paths and its source need not be said again; what is said must be what they are.
    for wrong, why in (((world.folder,), "name these, or nothing"), ((path, "--source", "another"), "of the source `sandbox`")):
        process = world.start(database, *wrong, "--resume", job)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 1 and why in said
    assert "900 accepted, 0 refused" in world.whole(database, path, "--resume", job, "--report", report, "--workers", "2")
    assert {json.loads(line)["status"] for line in world.report(report)} == {201}
    world.whole(alone, path, "--workers", "1")
    assert different(world.content(database), world.content(alone)) == []
