"""I9: a command that is the first thing after a restore meets dossiers as they were acknowledged, not as the backup has them."""

import shutil
import tarfile

from fhir_dmp.fhir import json
from fhir_dmp.signing import box
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
