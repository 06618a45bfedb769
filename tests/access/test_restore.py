"""I9: a backup, then acts that protect, the loss of the database, a restore: everything that was protected is protected."""

import shutil
from pathlib import Path

import pytest

from tests.access.world import VISIBILITY, World, listed, refused
from tests.serving import run, serving

SMALL = {"FHIR_DMP_MONGOD_CACHE_GB": "0.25"}
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


def ids(by, dossier) -> set[str]:
    return {one["id"] for one in listed(by, dossier, "DocumentReference") if one["resourceType"] == "DocumentReference"}


def labels(by, document: dict) -> set[str]:
    found = by.get(f"DocumentReference/{document['id']}").json()
    return {coding["code"] for concept in found["securityLabel"] for coding in concept["coding"]}


@pytest.mark.parametrize("journal", ["the journal is left", "the whole folder is lost"])
def test_what_was_masked_blocked_and_opposed_after_the_backup_stays_so(tmp_path, journal):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna, bob, carl = world.professional(), world.professional(), world.professional()
        dossier = world.open(traitant=anna)
        holder = world.holder(dossier)
        for one in (bob, carl):
            world.consent(dossier, "access", one)
        masked, plain = world.deposit(dossier, anna), world.deposit(dossier, anna)
        both = {masked["id"], plain["id"]}
        assert ids(bob, dossier) == ids(carl, dossier) == both

        done = run("backup", str(tmp_path / "backup"), "--data", str(server.data), environment=SMALL)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()) == tmp_path / "backup"

        assert holder.patch(f"DocumentReference/{masked['id']}", MASK).status_code == 200
        world.consent(dossier, "block", carl)
        world.consent(dossier, "emergency-break-glass", permit=False)
        late = world.deposit(dossier, anna)
        assert ids(bob, dossier) == {plain["id"], late["id"]}
        tokens = (anna.token, bob.token, carl.token, holder.token)

    keys, left = tmp_path / "keys", tmp_path / "journal"
    shutil.copytree(server.data / "keys", keys)
    shutil.copytree(server.data / "journal", left)
    shutil.rmtree(server.data if journal == "the whole folder is lost" else server.data / "mongodb")
    if journal == "the whole folder is lost":
        refused_restore = run("restore", str(tmp_path / "backup"), "--data", str(server.data), environment=SMALL)
        assert refused_restore.returncode == 1 and "holds no keys" in refused_restore.stderr
        shutil.copytree(keys, server.data / "keys")
        shutil.copytree(left, server.data / "journal")
    done = run("restore", str(tmp_path / "backup"), "--data", str(server.data), environment=SMALL)
    assert done.returncode == 0, done.stderr
    assert "0 not here" in done.stdout

    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        world.server = again
        for asker, token in zip((anna, bob, carl, holder), tokens, strict=True):
            asker.server, asker.base = again, again.fhir
            assert asker.token == token
        assert ids(bob, dossier) == {plain["id"]}
        assert bob.get(f"DocumentReference/{masked['id']}").status_code == 404
        assert refused(carl.get(f"DocumentReference?patient={dossier.id}"))
        assert ids(anna, dossier) == ids(holder, dossier) == both
        assert "MASQUE_PS" in labels(holder, masked)
        glass = world.professional().run(f"{dossier.path}/$break-glass", justification="accident")
        assert glass.status_code == 403, glass.text
    told = run("verify", "--data", str(server.data), environment=SMALL)
    assert told.returncode == 0, told.stdout
