"""I9: a command that is the first thing after a restore meets dossiers as they were acknowledged, not as the backup has them."""

import shutil
import tarfile

from pymongo import MongoClient

from fhir_dmp.fhir import json
from fhir_dmp.settings import Settings
from fhir_dmp.signing import box
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.vault import Vault
from tests.access.test_restore import MASK, SMALL
from tests.access.test_restored_merge import joined
from tests.access.world import World
from tests.serving import here, serving


def two_dossiers(world):
    """Which ends, which goes on, and the document of this one."""
    anna = world.professional()
    ends, goes_on = (world.open(traitant=anna) for _ in range(2))
    world.deposit(ends, anna)
    return ends, goes_on, world.deposit(goes_on, anna)["id"]


def joined_and_masked(world, ends, goes_on, masked) -> None:
    joined(world, ends, goes_on)
    assert world.holder(goes_on).patch(f"DocumentReference/{masked}", MASK).status_code == 200


def exported(data, patient, folder) -> dict[str, int]:
    """Labels of the documents in the package of a dossier, by their ids."""
    code, said = here("export", patient, "--out", folder, "--data", data, environment=SMALL)
    assert code == 0, said
    with (folder / f"{patient}.dmp").open("rb") as file, tarfile.open(fileobj=box.Opening(file, box.own_key(data)), mode="r|") as archive:
        lines = next(archive.extractfile(one).read() for one in archive if one.name == "rows.ndjson")
    rows = [json.parse(line) for line in lines.splitlines()]
    return {one["id"]: one["facts"]["lb"] for one in rows if one["type"] == "DocumentReference" and one.get("current", True)}


def test_what_was_joined_is_so_as_soon_as_the_backup_is_restored(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        ends, goes_on, masked = two_dossiers(world)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
        joined_and_masked(world, ends, goes_on, masked)
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    found = exported(server.data, goes_on.id, tmp_path)
    assert len(found) == 2 and found[masked] == 1


def test_a_command_on_a_database_that_was_put_back_otherwise_does_what_a_start_does(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        ends, goes_on, masked = two_dossiers(World(server))
    shutil.copytree(server.data / "mongodb", tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock", "owner.lock"))
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        joined_and_masked(World(server), ends, goes_on, masked)
    shutil.rmtree(server.data / "mongodb")
    shutil.copytree(tmp_path / "copy", server.data / "mongodb")
    found = exported(server.data, goes_on.id, tmp_path)
    assert len(found) == 2 and found[masked] == 1


def cut_short(data, dossier, type_name) -> None:
    """A row of a dossier that does not open any more."""
    number, embedded = Vault.load(data).dossier_of_patient(dossier.id), Embedded.start(data, cache_gb=0.25)
    try:
        with MongoClient(embedded.uri) as client:
            rows = client[Settings().database]["resources"]
            row = rows.find_one({"d": number, "t": type_name})
            rows.update_one({"_id": row["_id"]}, {"$set": {"b": row["b"][:-1]}})
    finally:
        embedded.stop()


def test_what_cannot_be_joined_again_is_neither_given_away_nor_destroyed_and_holds_up_nothing_else(tmp_path):
    def told(*words) -> tuple[int, str]:
        return here(*words, "--data", server.data, environment=SMALL)

    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        (broken, half, _), (beside, other, _), whole = (two_dossiers(world) for _ in range(3))
    shutil.copytree(server.data / "mongodb", tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock", "owner.lock"))
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        for one in (broken, beside):
            joined(world, one, half)
        joined_and_masked(world, *whole)
    shutil.rmtree(server.data / "mongodb")
    shutil.copytree(tmp_path / "copy", server.data / "mongodb")
    cut_short(server.data, broken, "DocumentReference")
    # Which brings the acts, and says of no dossier that it is whole.
    assert told("sources", "list")[0] == 0
    for _ in range(2):  # what was tried once is not taken for done
        code, said = told("export", half.id, "--out", tmp_path)
        assert code == 1 and "not joined again" in said and not (tmp_path / f"{half.id}.dmp").exists()
    found = exported(server.data, whole[1].id, tmp_path)
    assert len(found) == 2 and found[whole[2]] == 1
    # That of the third one is staged where it waits for the first one: it is not there yet.
    for one in (half, broken, beside):
        code, said = told("keys", "destroy", one.id, "--reason", "asked", "--yes")
        assert code == 1 and "not joined again" in said
    assert told("keys", "destroy", other.id, "--reason", "asked", "--yes")[0] == 0
