"""`fhir-dmp export DOSSIER...` without a receiver: a copy that this host alone opens, and takes back without doing harm."""

import pytest
from pymongo import MongoClient

from tests.access.world import VISIBILITY
from tests.exchange.test_package_hosts import STAMP, Hosting
from tests.serving import serving

MASKED = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}


@pytest.fixture(scope="module")
def host(mongod, tmp_path_factory):
    folder = tmp_path_factory.mktemp("itself")
    environment = {"FHIR_DMP_DATABASE": f"{STAMP}_itself", "FHIR_DMP_JOURNAL_SECONDS": "1"}
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "1", environment=environment, sandbox=False) as running:
        yield Hosting("itself", running, mongod.uri)
    with MongoClient(mongod.uri) as client:
        client.drop_database(f"{STAMP}_itself")


def masked(world, dossier, id):
    answer = world.holder(dossier).patch(f"DocumentReference/{id}", [{"op": "add", "path": "/securityLabel/-", "value": MASKED}])
    assert answer.status_code == 200, answer.text


def test_a_copy_for_this_host_comes_back_and_takes_nothing_back(host, tmp_path):
    world = host.world
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    permit = world.consent(dossier, "access", bruno)
    report = world.deposit(dossier, anna)
    said = host.command("export", dossier.id, "--out", tmp_path)
    assert "for this host itself" in said and f"{dossier.id}.dmp" in said
    # Again: it knows itself by now.
    host.command("export", f"Patient/{dossier.id}", "--out", tmp_path)
    assert b"compte rendu" not in (tmp_path / f"{dossier.id}.dmp").read_bytes()
    masked(world, dossier, report["id"])
    where = f"DocumentReference/{report['id']}"
    assert bruno.get(where).status_code == 404
    for command in ("takeover", "import"):
        assert f"Patient/{dossier.id}  0 new versions" in host.command(command, tmp_path / f"{dossier.id}.dmp", "--source", "this-host")
    # What was hidden since stays so, nothing came twice, and everything holds.
    assert bruno.get(where).status_code == 404
    listed = anna.get(f"DocumentReference?patient={dossier.id}").json()
    assert listed["total"] == 1 and "MASQUE_PS" in str(listed["entry"][0]["resource"]["securityLabel"])
    world.revoke(world.holder(dossier), permit)
    assert "  0 new versions" in host.command("import", tmp_path / f"{dossier.id}.dmp", "--source", "this-host")
    assert bruno.get(f"DocumentReference?patient={dossier.id}").status_code == 403
    assert " 0 faults" in host.command("verify")


def test_a_copy_for_this_host_closes_nothing(host, tmp_path):
    dossier = host.world.open(traitant=host.world.professional())
    host.command("export", dossier.id, "--out", tmp_path)
    host.command("takeover", tmp_path / f"{dossier.id}.dmp", "--source", "this-host")
    receipt = tmp_path / f"{dossier.id}.receipt"
    host.command("export", "--acknowledged", receipt, code=2)
    assert "nothing is closed" in host.command("export", "--to", "this-host", "--acknowledged", receipt, code=1)
    assert host.world.holder(dossier).get(dossier.path).json()["active"] is True


def test_the_exit_code_says_whether_some_or_all_failed(host, tmp_path):
    dossier = host.world.open(traitant=host.world.professional())
    nobody = "b" * 26
    host.command("export", nobody, "--out", tmp_path, code=1)
    host.command("export", nobody, dossier.id, "--out", tmp_path, code=3)
    host.command("export", dossier.id, "--to", "nobody-knows", "--out", tmp_path, code=1)
