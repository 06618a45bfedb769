"""`POST [base]/$import`: accepted at once, progress while it runs, a report of every entry at the end, once for all."""

import os
import signal
import time

import httpx
import pytest
from pymongo import MongoClient

from fhir_dmp.exchange.import_job import SILENCE_MS
from tests.interactions.making import Fhir, basic, bundle, dumped, entry, identified, issues, refused, scoped, unique
from tests.serving import serving

NDJSON = "application/fhir+ndjson"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("asked")) as running:
        yield running


@pytest.fixture(scope="module")
def fhir(server):
    with httpx.Client(timeout=60, headers=server.auth) as http:
        yield Fhir(server, http)


def ended(fhir: Fhir, answer: httpx.Response, seconds: float = 60) -> dict:
    """Ask until the import has ended: its Parameters as name -> value."""
    assert answer.status_code == 202, answer.text
    address, end = answer.headers["content-location"], time.monotonic() + seconds
    while time.monotonic() < end:
        state = fhir.get(address)
        assert state.status_code == 200, state.text
        told = values(state.json())
        if told["state"] == "completed":
            return told
        assert told["state"] == "in-progress" and told["bytesDone"] <= told["bytes"] and "report" not in told
        time.sleep(0.1)
    raise AssertionError("the import did not end")


def values(parameters: dict) -> dict:
    return {
        one["name"]: one.get("resource", next((value for name, value in one.items() if name.startswith("value")), None))
        for one in parameters["parameter"]
    }


def lines(*resources: dict) -> bytes:
    return b"".join(dumped(resource) + b"\n" for resource in resources)


def test_ndjson_is_imported_and_every_line_is_reported(fhir):
    mark = unique()
    body = lines(identified("Basic", mark), {"resourceType": "Patient", "gender": "f"}, identified("Basic", mark, id=f"x{mark[1:20]}"))
    answer = fhir.send("POST", "$import?source=sandbox", body, content_type=NDJSON)
    told = ended(fhir, answer)
    assert (told["entries"], told["accepted"], told["refused"], told["known"]) == (3, 2, 1, 0)
    report = told["report"]
    assert (report["resourceType"], report["type"]) == ("Bundle", "batch-response")
    responses = [one["response"] for one in report["entry"]]
    assert [one["status"] for one in responses] == ["201 Created", "422 Unprocessable Entity", "201 Created"]
    places = [one["outcome"]["issue"][0]["details"]["text"] for one in responses]
    assert places == ["input:1", "input:2", "input:3"]
    assert responses[1]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert fhir.get(responses[0]["location"].partition("/_history")[0]).status_code == 200
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 2
    # The same again: nothing new, and the same places.
    again = ended(fhir, fhir.send("POST", "$import?source=sandbox", body, content_type=NDJSON))
    assert (again["accepted"], again["known"], again["refused"]) == (2, 2, 1)
    assert [one["response"].get("location") for one in again["report"]["entry"]] == [one.get("location") for one in responses]
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 2


def test_a_bundle_is_imported_with_its_provenance(fhir):
    mark = unique()
    sent = bundle("transaction", *(entry("POST", "Basic", identified("Basic", mark)) for _ in range(3)))
    told = ended(fhir, fhir.post("$import", sent))
    assert told["source"] == "sandbox" and told["accepted"] == 3
    location = told["report"]["entry"][0]["response"]["location"]
    found = fhir.get(f"Provenance?target={location.partition('/_history')[0]}").json()
    assert found["total"] == 1
    provenance = found["entry"][0]["resource"]
    # One for what came together: each version, with its name in the source.
    brought = [entry["response"]["location"] for entry in told["report"]["entry"]]
    assert [(one["reference"], one["display"]) for one in provenance["target"]] == [(at, at.partition("/_history")[0]) for at in brought]
    assert provenance["agent"][0]["who"]["identifier"]["value"] == "sandbox"
    refusing = bundle(
        "transaction",
        entry("POST", "Basic", identified("Basic", mark)),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "f"}),
    )
    told = ended(fhir, fhir.post("$import", refusing))
    assert (told["accepted"], told["refused"]) == (0, 1)
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 3


def test_who_and_what_is_refused(fhir, server):
    assert refused(fhir.send("POST", "$import?source=nobody", lines(basic()), content_type=NDJSON)) == (404, "not-found")
    assert refused(fhir.send("POST", "$import", b"", content_type=NDJSON))[0] == 400
    assert refused(fhir.send("POST", "$import", lines(basic()), content_type="text/csv"))[0] == 415
    assert refused(fhir.get("$import")) == (405, "not-supported")
    assert refused(fhir.get("$import/nothing")) == (404, "not-found")
    for kind in (
        ("patient", "--patient", "x"),
        ("structure", "--organization", "1750000001"),
        ("support", "--level", "2", "--ticket", "T"),
    ):
        token = {"authorization": f"Bearer {server.new_token(*kind)}"}
        answer = httpx.post(f"{fhir.base}/$import?source=sandbox", content=lines(basic()), headers={"content-type": NDJSON, **token})
        assert answer.status_code == 403
    host = {"authorization": f"Bearer {server.new_token('host', '--host', 'somebody')}"}
    answer = httpx.post(f"{fhir.base}/$import?source=sandbox", content=lines(basic()), headers={"content-type": NDJSON, **host})
    assert answer.status_code == 403


def test_only_who_asked_is_told_and_may_forget(fhir, server):
    answer = fhir.send("POST", "$import", lines(basic(code={"text": unique()})), content_type=NDJSON)
    assert issues(answer)[0]["severity"] == "information"
    ended(fhir, answer)
    address = answer.headers["content-location"]
    other = httpx.get(address, headers=scoped(server, "system/*.rs", sub="somebody-else"))
    assert other.status_code == 404
    assert fhir.delete(address).status_code == 202
    assert fhir.get(address).status_code == 404


def test_an_import_goes_on_when_its_server_was_killed(mongod, tmp_path):
    """kill -9 while it runs; the next server that is asked for it goes on with it, and nothing is there twice."""
    mark, count, database = unique(), 1500, f"killed_{os.getpid()}"
    body = lines(*(identified("Basic", mark, code={"text": f"{n}"}) for n in range(count)))
    options, environment = ("--mongodb-uri", mongod.uri, "--workers", "1"), {"FHIR_DMP_DATABASE": database}
    with serving(tmp_path, *options, environment=environment) as server:
        fhir = Fhir(server)
        answer = fhir.send("POST", "$import", body, content_type=NDJSON)
        assert answer.status_code == 202
        place, auth = answer.headers["content-location"].rpartition("/fhir/")[2], server.auth
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with MongoClient(mongod.uri) as client:
        # It has been silent for long enough.
        jobs = client[database]["host.jobs"]
        assert jobs.update_one({"_id": place.rpartition("/")[2], "state": "running"}, {"$inc": {"detail.beat": -SILENCE_MS}}).modified_count
    with serving(tmp_path, *options, environment=environment) as server, httpx.Client(timeout=60, headers=auth) as http:
        fhir = Fhir(server, http)
        again = httpx.Response(202, headers={"content-location": f"{server.fhir}/{place}"})
        told = ended(fhir, again, 120)
        assert (told["accepted"], told["known"], told["refused"]) == (count, 0, 0)
        assert len(told["report"]["entry"]) == count
        assert fhir.get(f"Basic?identifier=urn:x-test|{mark}&_summary=count").json()["total"] == count
    with MongoClient(mongod.uri) as client:
        client.drop_database(database)
