"""A content that was changed in the database is told by $verify and by `fhir-dmp verify`."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo import MongoClient

from fhir_dmp.store.rows import row_of
from fhir_dmp.store.vault import Vault, dossier_in, dossier_row, seal, version_row
from tests.access.world import World
from tests.serving import here, serving
from tests.signing.test_verify import verified

DATABASE = f"tampering_{os.getpid()}"


@pytest.fixture
def host(mongod, tmp_path):
    """A server of this test's own, and its rows."""
    environment = {"FHIR_DMP_DATABASE": DATABASE}
    options = ("--mongodb-uri", mongod.uri, "--workers", "1")
    with serving(tmp_path, *options, environment=environment, sandbox=False) as running, MongoClient(mongod.uri) as client:
        yield World(running), client[DATABASE]["resources"], mongod.uri
        client.drop_database(DATABASE)


def command(data, uri):
    """`fhir-dmp verify --json` on this store: exit code, and what it says."""
    return here("verify", "--json", "--data", data, "--mongodb-uri", uri, environment={"FHIR_DMP_DATABASE": DATABASE})


def test_who_holds_the_keys_of_the_store_still_cannot_change_what_was_sealed(host):
    world, rows, uri = host
    anna = world.professional()
    dossier = world.open(traitant=anna)
    report = world.deposit(dossier, anna)
    where = f"DocumentReference/{report['id']}"
    assert verified(anna, where)[0]["seal"] == "passed"
    code, said = command(world.server.data, uri)
    assert code == 0, said
    vault = Vault.load(world.server.data)
    key = vault.locate("DocumentReference", report["id"])
    opened: AESGCM = vault.dossier_key(dossier_in(key), rows.find_one({"_id": dossier_row(dossier_in(key))})["k"])
    document = rows.find_one({"_id": key})
    body = row_of(document, opened).body.replace(b'"current"', b'"current" ')
    rows.update_one({"_id": key}, {"$set": {"b": seal(opened, body, version_row(key, document["v"]))}})
    found, reasons = verified(anna, where)
    assert found["seal"] == "failed"
    assert "seal: the resource is not the one that was sealed: it was changed since" in reasons
    code, said = command(world.server.data, uri)
    assert code == 1
    assert f"{where}/_history/{report['meta']['versionId']}" in said and "it was changed since" in said
