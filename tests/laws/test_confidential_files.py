"""Who reads the disk reads nothing: no file of the database shows a name, an identifier, an address, a code or a title of what it holds.

And who destroys the key of one dossier destroys that dossier, everywhere, and nothing else.
"""

import base64
import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pymongo import MongoClient

from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import Vault
from tests.exchange.loading import NEEDED
from tests.interactions.making import FHIR_JSON, Fhir, bundle, entry, located, observation, patient, stored, unique
from tests.serving import serving

LOINC = "http://loinc.org"
# Below six bytes a text turns up in some hundred million random ones by chance.
SHORTEST = 6
# The database writes its own times and sizes as decimal text, of up to twenty digits each.
SHORTEST_NUMBER = 10
# What the database itself writes: names of resource types, of its own fields and settings.
ITS_OWN = frozenset({"active", "create", "content", "document", "description"})


def resources(folder: Path) -> Iterator[dict]:
    """Every resource that was imported, those inside others too."""
    waiting: list[object] = [NEEDED]
    for path in sorted(folder.rglob("*")):
        if path.name.endswith((".json", ".ndjson", ".gz")):
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            lines = data.splitlines() if ".ndjson" in path.name else [data]
            waiting += [json.loads(line) for line in lines if line.strip()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "resourceType" in value:
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def secrets(resource: dict) -> Iterator[str]:
    """What of a resource nobody may read on the disk."""
    yield from _all(resource, "family")
    for given in _all(resource, "given"):
        yield from given if isinstance(given, list) else [given]
    for identifier in (*_all(resource, "identifier"), *_all(resource, "masterIdentifier")):
        for one in identifier if isinstance(identifier, list) else [identifier]:
            yield one.get("value", "") if isinstance(one, dict) else ""
    for address in _all(resource, "address"):
        for one in address if isinstance(address, list) else [address]:
            if isinstance(one, dict):
                yield from (*one.get("line", ()), one.get("city", ""))
    for coding in _all(resource, "coding"):
        for one in coding if isinstance(coding, list) else [coding]:
            if one.get("system") == LOINC:
                yield one.get("code", "")
    yield from _all(resource, "title")


def shortest(word: str) -> int:
    """From how many bytes on a text on the disk is no chance."""
    return SHORTEST_NUMBER if word.isdecimal() else SHORTEST


def _all(value: object, name: str) -> Iterator:
    if isinstance(value, dict):
        for key, part in value.items():
            if key == name:
                yield part
            yield from _all(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _all(part, name)


def test_no_byte_of_the_database_files_shows_what_was_imported(imported, tmp_path):
    words = {word for resource in resources(imported.folder) for word in secrets(resource) if isinstance(word, str)}
    words = {word for word in words if len(word.encode()) >= shortest(word) and "\n" not in word and word.lower() not in ITS_OWN}
    assert {"QUATREMERE", "260058815400233", "14 rue des Alouettes", "8302-2", "Compte rendu de pneumologie"} <= words
    listed, control = tmp_path / "words", tmp_path / "control"
    listed.write_text("\n".join(sorted(words)) + "\n", "utf-8")
    control.write_bytes(os.urandom(10_000) + "Sainte-Foy-lès-Lyon".encode() + os.urandom(10_000))
    files = [path for path in (imported.data / "mongodb").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 5_000_000 and any("journal" in str(path) for path in files)

    def found(*paths: Path) -> list[bytes]:
        command = ["grep", "--text", "--only-matching", "--fixed-strings", f"--file={listed}", *map(str, paths)]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
        assert done.returncode in (0, 1), done.stderr
        return sorted(set(done.stdout.splitlines()))

    assert found(control) == ["Sainte-Foy-lès-Lyon".encode()]
    assert found(*files) == []


@pytest.fixture(scope="module")
def database() -> str:
    return f"destroyed_{os.getpid()}"


@pytest.fixture(scope="module")
def fhir(mongod, database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("destroyed")
    environment = {"FHIR_DMP_DATABASE": database}
    with (
        serving(folder, "--mongodb-uri", mongod.uri, environment=environment) as server,
        httpx.Client(timeout=60, headers=server.auth) as http,
    ):
        yield Fhir(server, http)
    with MongoClient(mongod.uri) as client:
        client.drop_database(database)


LARGE = os.urandom(1_500_000)


def dossier(fhir: Fhir, value: str) -> list[str]:
    """A patient with all that a dossier may hold; addresses that answer 200."""
    urls = [f"urn:uuid:{number}" for number in range(4)]
    document = {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": urls[0]}}
    document["content"] = [{"attachment": {"contentType": "application/pdf", "url": url}} for url in urls[2:]]
    octets = [
        {"resourceType": "Binary", "contentType": "application/pdf", "data": base64.b64encode(data).decode()} for data in (b"small", LARGE)
    ]
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("POST", "Patient", patient(identifier=[{"system": "urn:x-test", "value": value}]), urls[0]),
            entry("POST", "DocumentReference", document, urls[1]),
            entry("POST", "Binary", octets[0], urls[2]),
            entry("POST", "Binary", octets[1], urls[3]),
        ),
    )
    person, *rest = located(answer)
    first = fhir.new(observation(person, note=[{"text": value}]))
    second = stored(fhir.put(first.path, observation(person, id=first.id)))
    wide = fhir.new(observation(person, note=[{"text": "w" * 900_000}, {"text": "w" * 900_000}]))
    gone = fhir.new(observation(person))
    fhir.delete(gone.path)
    return [
        *(person, *rest, first.path, wide.path),
        *(f"{first.path}/_history/{first.version}", f"{first.path}/_history/{second.version}", f"{gone.path}/_history/{gone.version}"),
        *(f"{first.path}/_history", f"{gone.path}/_history"),
    ]


async def test_with_the_key_of_a_dossier_all_of_it_is_gone_and_nothing_else(fhir, mongod, database):
    values = [unique(), unique()]
    lost, kept = [dossier(fhir, value) for value in values]
    common = fhir.new({"resourceType": "Organization", "name": "Cabinet des Alouettes"}).path
    for path in (*lost, *kept, common):
        assert fhir.get(path).status_code == 200, path
    before = {path: fhir.get(path).content for path in (*kept, common)}
    store = await Store.open(mongod.uri, database, data_dir=fhir.server.data, sandbox=True)
    try:
        await store.destroy_key(Vault.load(fhir.server.data).dossier_of_patient(lost[0].split("/")[1]))
    finally:
        await store.close()

    for path in lost:
        for accept in ("*/*", FHIR_JSON):
            answer = fhir.get(path, accept=accept)
            assert answer.status_code in (404, 410), (path, answer.status_code, answer.text[:300])
            assert LARGE[:50] not in answer.content
        assert fhir.send("HEAD", path).status_code in (404, 410)
    for path, content in before.items():
        assert fhir.get(path).content == content, path
    assert fhir.get(f"Patient?identifier=urn:x-test|{values[0]}").json()["total"] == 0
    assert fhir.get(f"Patient?identifier=urn:x-test|{values[1]}").json()["total"] == 1
    assert fhir.get(f"Observation?subject={lost[0]}").json().get("entry", []) == []
    assert len(fhir.get(f"Observation?subject={kept[0]}").json()["entry"]) == 2
    for query in ("Observation?_count=100", "_history?_count=100", "Observation/_history", "Patient/_history", "Binary?_count=10"):
        answer = fhir.get(query)
        assert answer.status_code == 200, (query, answer.text[:300])
        shown = {hit.get("fullUrl", "").removeprefix(f"{fhir.base}/") for hit in answer.json().get("entry", ())}
        assert not shown & set(lost) and "" not in shown, query
        assert values[0].encode() not in answer.content


async def test_nothing_can_be_added_to_a_destroyed_dossier(fhir, mongod, database):
    made = fhir.new(patient())
    store = await Store.open(mongod.uri, database, data_dir=fhir.server.data, sandbox=True)
    try:
        await store.destroy_dossier(store.vault.dossier_of_patient(made.id))
    finally:
        await store.close()
    for answer in (
        fhir.post("Observation", observation(made.path)),
        fhir.post("", bundle("transaction", entry("POST", "Observation", observation(made.path)))),
        fhir.put(made.path, patient(id=made.id)),
        fhir.patch(made.path, []),
        fhir.get(made.path),
    ):
        assert answer.status_code in (404, 410), answer.text
    # As for whatever never was: there is nothing left to delete.
    assert fhir.delete(made.path).status_code == 204 and fhir.get(made.path).status_code in (404, 410)
    assert fhir.alive() and fhir.post("Patient", patient()).status_code == 201
