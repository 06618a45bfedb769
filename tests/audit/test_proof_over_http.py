"""The journal seen from outside: a running server merges and signs it, gives proofs, and lets anybody witness it."""

import asyncio
import base64
import os
import time

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from fhir_dmp.audit import chain
from fhir_dmp.audit.checkpoint import opened
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.store.resources import Store
from tests.audit.making import new_patient, read_of
from tests.serving import serving

DATABASE = f"witnessed_{os.getpid()}"


@pytest.fixture(scope="module")
def server(mongod, tmp_path_factory):
    environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_JOURNAL_SECONDS": "1"}
    options = ("--mongodb-uri", mongod.uri, "--workers", "2")
    with serving(tmp_path_factory.mktemp("witnessed"), *options, environment=environment) as running:
        yield running
    from pymongo import MongoClient

    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)


def traced(mongod, server, number: int) -> list[tuple[str, bytes]]:
    """Record traces in the store of the server, from another process: (id, body)."""

    async def work() -> list[tuple[str, bytes]]:
        store = await Store.open(mongod.uri, DATABASE, data_dir=server.data, sandbox=True)
        try:
            before = {row.key async for row in store.scan(types=["AuditEvent"])}
            patient = await new_patient(store)
            await Recorder(store).record([read_of(patient) for _ in range(number)])
            rows = [row async for row in store.scan(types=["AuditEvent"])]
            return [(store.vault.seal_id(row.key), row.body) for row in rows if row.key not in before]
        finally:
            await store.close()

    return asyncio.run(work())


def checkpoint(server, least: int) -> str:
    """The signed head, once it covers so many entries."""
    for _ in range(300):
        answer = server.client.get("/journal/checkpoint")
        if answer.status_code == 200 and int(answer.text.splitlines()[1]) >= least:
            assert answer.headers["content-type"].startswith("text/plain")
            return answer.text
        time.sleep(0.1)
    raise AssertionError(f"nothing was signed: {server.logged()[-2000:]}")


def public_key(server) -> bytes:
    pem = server.client.get("/journal/key").content
    return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def values(parameters: dict, name: str) -> list[bytes]:
    return [base64.b64decode(one["valueBase64Binary"]) for one in parameters["parameter"] if one["name"] == name]


def number(parameters: dict, name: str) -> int:
    (text,) = (one["valueString"] for one in parameters["parameter"] if one["name"] == name)
    return int(text)


def test_a_witness_checks_with_what_the_server_publishes(mongod, server):
    traces = traced(mongod, server, 5)
    old = checkpoint(server, 5)
    public, origin = public_key(server), old.splitlines()[0]
    first = opened(old, origin, public)
    assert first is not None

    id, body = traces[2]
    answer = server.client.get(f"/fhir/AuditEvent/{id}/$proof", headers=server.auth)
    assert answer.status_code == 200, answer.text
    proof = answer.json()
    (name,), (row,), (salt,), (root,) = (values(proof, part) for part in ("chain", "row", "salt", "root"))
    leaf = chain.leaf_hash(chain.leaf_data(chain.Position(name, number(proof, "number"), row), chain.commitment(salt, body)))
    path = tuple(values(proof, "path"))
    assert chain.is_included(leaf, number(proof, "index"), number(proof, "size"), path, root)
    (text,) = (one["valueString"] for one in proof["parameter"] if one["name"] == "checkpoint")
    head = opened(text, origin, public)
    assert (head.size, head.root) == (number(proof, "size"), root)

    traced(mongod, server, 4)
    later = opened(checkpoint(server, first.size + 4), origin, public)
    told = server.client.get("/journal/consistency", params={"old": first.size, "new": later.size}).json()
    path = [base64.b64decode(part) for part in told["path"]]
    assert chain.is_consistent(first.size, later.size, first.root, later.root, path)


def test_what_is_no_trace_of_the_journal_has_no_proof(mongod, server):
    http = httpx.Client(base_url=server.url, headers=server.auth)
    with http:
        patient = http.post("/fhir/Patient", json={"resourceType": "Patient", "active": True}).headers["location"].split("/Patient/")[1]
        for id in ("none", patient.split("/")[0]):
            answer = http.get(f"/fhir/AuditEvent/{id}/$proof")
            assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-found")
        assert http.get("/fhir/AuditEvent/$proof").status_code == 404
        assert http.get("/journal/consistency?old=1&new=99999").status_code == 404
        assert http.get("/journal/consistency?old=-1&new=x").status_code == 400
    assert server.client.get("/fhir/AuditEvent/none/$proof").status_code == 401
