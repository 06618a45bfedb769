"""What a request asks of MongoDB says which dossier it is about, or is on a short list of named exceptions.

https://www.mongodb.com/docs/manual/core/sharded-cluster-query-router/ ; https://www.mongodb.com/docs/manual/reference/command/profile/
The key of a row begins with its dossier, so a filter over `_id` says it as one over `d` does: on a sharded cluster it goes to one shard.
"""

import contextlib

import pytest
from pymongo import MongoClient

from tests.access.conftest import DATABASE
from tests.access.world import INS, document

# Rows of people: what is sharded. Everything else is small and in one place.
SHARDED = ("resources", "versions", "contents.files", "contents.chunks")


def says_dossier(filter: dict) -> bool:
    """Whether a filter binds the dossier: every branch of an $or does, or one part of an $and."""
    if any(name in filter and bound(filter[name]) for name in ("_id", "d", "k", "files_id")):
        return True
    if any(says_dossier(part) for part in filter.get("$and", ())):
        return True
    branches = filter.get("$or", ())
    return bool(branches) and all(says_dossier(branch) for branch in branches)


def bound(value: object) -> bool:
    """An equality or a list of values."""
    return not isinstance(value, dict) or "$in" in value or "$eq" in value


def filters(entry: dict) -> list[dict]:
    """The filters of one profiled command; of an insert none: its rows carry their keys."""
    command = entry.get("command", {})
    if "pipeline" in command:
        return [command["pipeline"][0].get("$match", {})]
    if entry["op"] == "getmore" or "getMore" in command:
        return []  # goes where its find went
    if entry["op"] in ("update", "remove"):
        return [command["q"]]
    return [command["filter"] if "filter" in command else command.get("query", {})] if entry["op"] in ("query", "command") else []


@contextlib.contextmanager
def profiled(mongod):
    """The commands sent meanwhile to the database of the server, by a list that is filled at the end."""
    found: list[dict] = []
    with MongoClient(mongod.uri) as client:
        database = client[DATABASE]
        database.command("profile", 2)
        try:
            yield found
        finally:
            database.command("profile", 0)
            found += database.command({"find": "system.profile", "batchSize": 100_000, "hint": {"$natural": 1}})["cursor"]["firstBatch"]
            database.drop_collection("system.profile")


@pytest.fixture
def everyday(world, mongod):
    """Profiled: what a day of a dossier asks for."""
    anna = world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    first = world.deposit(dossier, anna)
    with profiled(mongod) as found:
        written = world.deposit(dossier, anna)
        answers = [
            anna.get(f"Patient/{dossier.id}"),
            anna.get(f"DocumentReference/{first['id']}"),
            anna.get(f"DocumentReference/{first['id']}/_history/{first['meta']['versionId']}"),
            anna.get(f"DocumentReference/{first['id']}/_history"),
            anna.get(f"DocumentReference?patient=Patient/{dossier.id}&status=current&_sort=-date&_count=20"),
            anna.get(f"DocumentReference?patient=Patient/{dossier.id}&type=http://loinc.org|11488-4"),
            anna.get(f"Patient/{dossier.id}/DocumentReference"),
            anna.get(f"Patient/{dossier.id}/$everything"),
            holder.get(f"Patient/{dossier.id}"),
            holder.get(f"DocumentReference/{written['id']}"),
            holder.get(f"AuditEvent?patient=Patient/{dossier.id}"),
            holder.get(f"Consent?patient=Patient/{dossier.id}"),
            anna.post("DocumentReference", document(dossier, anna)),
        ]
    assert {answer.status_code for answer in answers} <= {200, 201}, [(answer.url, answer.status_code) for answer in answers]
    return found


def test_every_query_of_a_request_says_its_dossier(everyday):
    asked = [entry for entry in everyday if entry["ns"].partition(".")[2] in SHARDED]
    assert len(asked) > 20
    wide = [filter for entry in asked for filter in filters(entry) if not says_dossier(filter)]
    assert [one for one in wide if not background(one)] == []


def test_only_an_identity_is_looked_up_among_all_dossiers(world, mongod):
    """Named exceptions of requests: who a person is, found by a keyed hash of his INS."""
    anna = world.professional()
    with profiled(mongod) as found:
        dossier = world.open(traitant=anna)
        assert anna.get(f"Patient?identifier={INS}|{dossier.ins}").status_code == 200
    asked = [filter for entry in found if entry["ns"].partition(".")[2] in SHARDED for filter in filters(entry)]
    wide = [filter for filter in asked if not says_dossier(filter) and not background(filter)]
    assert wide and all(names_identity(filter) for filter in wide), wide


def names_identity(filter: dict) -> bool:
    """Whether a filter binds a selective token, by its index."""
    return ("g" in filter and bound(filter["g"])) or any(names_identity(part) for part in filter.get("$and", ()))


def background(filter: dict) -> bool:
    """Named exceptions: what runs behind the requests, on the whole store, at its own pace."""
    # The journal is merged chain by chain: a chain belongs to a process, not to a dossier.
    return "j.w" in filter or all("j.w" in one for one in filter.get("$or", ({},)))


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ({"d": 5, "t": "Patient"}, True),
        ({"_id": {"$in": [b"1"]}}, True),
        ({"d": {"$gt": 0}}, False),
        ({"g": {"$in": [1]}}, False),
        ({"$or": [{"d": 1}, {"d": 2}]}, True),
        ({"$or": [{"d": 1}, {"g": 2}]}, False),
        ({"$and": [{"t": "x"}, {"d": 1}]}, True),
    ],
)
def test_a_filter_without_dossier_is_told_from_one_with_it(filter, says):
    assert says_dossier(filter) is says
