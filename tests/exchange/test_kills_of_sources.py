"""An import of a registered source, with all its rules and seals, that is killed anywhere and resumed ends as one that never was.

https://hl7.org/fhir/R4/http.html#transaction ; tests/exchange/test_kills.py has the same of plain imports, at length
"""

import json
import os
from collections import Counter
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from pymongo import MongoClient

from fhir_dmp.bench import mixed
from fhir_dmp.consent.dossier import Dossier, Permit
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.opening import ADDRESS, context_of
from fhir_dmp.exchange.points import NAMES, VARIABLE
from fhir_dmp.exchange.rules import CARE_RECORD, Rules
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.settings import Settings
from fhir_dmp.store.ledger import Ledger
from fhir_dmp.store.resources import Store
from tests.exchange.test_engine import put, visit
from tests.exchange.test_kills import Whole, World, different, finish, ledger_lines, versions_named
from tests.interactions.making import dumped

SOURCE, HOLDERS, SEED = "hospital", range(30), 20261122


class Registered(World):
    """The same with a store for real use: a source is registered, and the dossiers of those it tells of are open."""

    async def _created(self, name: str) -> None:
        store = await Store.open(self.uri, name, data_dir=self.data)
        try:
            await Ledger(store).ready()
            await sources.register(store, SOURCE, name="a hospital", kind=CARE_RECORD, organization="1750000001")
            context = context_of(store, Settings(data=self.data), Rules(source=SOURCE, kind=CARE_RECORD), ADDRESS)
            context = replace(context, random=Random(SEED).randbytes)
            for number in HOLDERS:
                made = stamp(context, check(context, dumped(mixed.holder(number)), "Patient"), method="POST")
                await store.create(made.row)
                permits = (Permit("feed"),)
                policy = Dossier(patient=made.id, birth_date=mixed.holder(number)["birthDate"], permits=permits, epoch=1)
                dossier = store.vault.dossier_of_patient(made.id)
                await store.transact(lambda inside, d=dossier, p=policy: inside.set_policy(d, p, at_ms=1))
        finally:
            await store.close()

    def start(self, database, *arguments, environment=None):
        named = () if "--resume" in arguments else ("--source", SOURCE)
        return super().start(database, *arguments, *named, environment=environment)

    async def _content(self, database: str) -> list[str]:
        store = await Store.open(self.uri, database, data_dir=self.data)
        told: list[str] = []
        named: Counter[str] = Counter()
        written: set[str] = set()
        try:
            async for row in store.scan(batch=1000):
                value = json.loads(row.body)
                if row.type == "AuditEvent":
                    named.update(versions_named(value))
                    continue
                if row.type == "Provenance":
                    # The instant and the import are what differs; that the seal holds is for `verify`.
                    value = {name: value[name] for name in ("id", "target", "activity")}
                elif row.type != "Patient":
                    written.add(f"{row.type}/{value['id']}/_history/{value['meta']['versionId']}")
                value.get("meta", {}).pop("lastUpdated", None)
                told.append(f"{row.type} {json.dumps(value, sort_keys=True)} {row.method} {facts(row.visible)}")
            history = sorted(f"{row.key.hex()} {row.version}" for row in await store.history(limit=100_000) if row.type != "AuditEvent")
            lines = await ledger_lines(store)
            waiting = [one async for one in store.connection.database["quarantine"].find({}, {"_id": 1}, hint="source")]
        finally:
            await store.close()
        assert written <= named.keys() and {named[one] for one in written} == {1}
        return [*sorted(told), *history, *map(repr, sorted(lines)), str(len(waiting))]


def facts(visible) -> str:
    """What a row is judged by, without instants of its arrival."""
    listed = visible if isinstance(visible, list) else [visible] if visible else []
    return repr([{name: one[name] for name in ("lb", "rt", "st", "au", "og") if name in one} for one in listed])


@pytest.fixture(scope="module")
def world(mongod, data_dir, tmp_path_factory):
    made = Registered(mongod.uri, data_dir, tmp_path_factory.mktemp("killed-sources"))
    yield made
    with MongoClient(mongod.uri) as client:
        for number in range(1, made.count + 1):
            client.drop_database(f"kills_{os.getpid()}_{number}")


def written(place):
    """Dossiers, corrections, a transaction of what is PUT, a document that waits, and what is refused."""
    place.mkdir()
    dossiers = [one for number in HOLDERS for one in mixed.dossier(number)]
    seen = [one for one in dossiers if one["resourceType"] == "Observation"]
    documents = [one for one in dossiers if one["resourceType"] == "DocumentReference"]
    corrected = [one | {"note": [{"text": "corrected"}]} for one in seen[::10]]
    waits = documents[0] | {
        "id": "waits",
        "masterIdentifier": {"value": "urn:oid:1.2.3"},
        "type": {"coding": [{"system": "urn:x", "code": "Y"}]},
    }
    refused = [one | {"id": "refused", "status": "nonsense"} for one in seen[:3]]
    for name, listed in (("a-dossiers", dossiers), ("b-corrected", [*corrected, waits, *refused])):
        (place / f"{name}.ndjson").write_bytes(b"".join(dumped(one) + b"\n" for one in listed))
    for number in (1, 2):
        (place / f"c-{number}.json").write_bytes(dumped(put(*visit(number, "1"))))
    return place


@pytest.fixture(scope="module")
def undisturbed(world):
    """What the import gives that nobody disturbs."""
    return cache(lambda: Whole(world, written(world.folder / "input")))


def points():
    """Each place once, and at length each as often as it comes by."""
    chance = Random(SEED)
    ordinary = {"in-commit", "after-commit", "chunk-done"}
    for name in NAMES:
        counts = chance.sample(range(1, 7), 3)
        for place, count in enumerate(counts if name not in ("report-written", "job-done") else [1]):
            marks = () if name in ordinary and place == 0 else pytest.mark.at_length
            yield pytest.param(name, count, marks=marks, id=f"{name}-{count}")


def test_the_input_has_something_of_everything(undisturbed):
    whole = undisturbed()
    states = Counter(json.loads(line)["status"] for line in whole.report)
    assert whole.code == 3 and {200, 201, 202, 422} <= states.keys() and states[201] > 500


@pytest.mark.parametrize(("name", "count"), list(points()))
def test_killed_at_a_known_point_and_resumed(world, undisturbed, name, count):
    database, whole = world.database(), undisturbed()
    process = world.start(database, whole.folder, environment={VARIABLE: f"{name}:{count}"})
    process.communicate(timeout=900)
    assert finish(world, database, whole.folder) == whole.report
    assert different(world.content(database), whole.content) == []
