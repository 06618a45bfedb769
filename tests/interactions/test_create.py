"""FHIR create. https://hl7.org/fhir/R4/http.html#create"""

import base64
import json
import os

import httpx
import pytest

from tests.interactions.making import FHIR_JSON, basic, dumped, issue, issues, observation, patient, places, refused, stored


def test_headers_and_body_of_a_creation(fhir):
    answer = fhir.post("Patient", patient())
    made = stored(answer)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{fhir.base}/Patient/{made.id}/_history/{made.version}"
    assert answer.headers["etag"] == f'W/"{made.version}"'
    assert answer.headers["content-type"] == f"{FHIR_JSON}; charset=utf-8"
    assert "last-modified" in answer.headers and "content-location" not in answer.headers
    assert {name: value for name, value in made.value.items() if name not in ("id", "meta")} == patient()
    assert (made.value["id"], made.value["meta"]["versionId"]) == (made.id, made.version)


def test_the_server_chooses_the_id_and_owns_version_and_instant(fhir):
    made = fhir.new(patient(id="mine", meta={"versionId": "9", "lastUpdated": "1999-01-01T00:00:00Z", "source": "urn:mine"}))
    assert made.id != "mine" and made.value["meta"]["versionId"] == made.version != "9"
    assert made.value["meta"]["lastUpdated"] > "2020" and made.value["meta"]["source"] == "urn:mine"
    assert fhir.get("Patient/mine").status_code == 404


def test_ids_are_told_apart_and_tell_nothing(fhir):
    person = fhir.new(patient())
    made = [fhir.new(observation(person.path)).id for _ in range(4)]
    assert len({*made, person.id}) == 5
    assert len({id[:4] for id in made}) == 4


@pytest.mark.parametrize(
    ("prefer", "seen"), [("return=minimal", None), ("return=representation", "Basic"), ("return=OperationOutcome", "OperationOutcome")]
)
def test_the_client_prefers_an_answer(fhir, prefer, seen):
    answer = fhir.post("Basic", basic(), prefer=prefer)
    assert answer.status_code == 201 and "etag" in answer.headers and "location" in answer.headers
    if seen is None:
        assert answer.content == b"" and "content-type" not in answer.headers
    else:
        assert answer.json()["resourceType"] == seen
    if seen == "OperationOutcome":
        assert issue(answer) == ("information", "informational")


def test_every_fault_is_told_at_once_each_with_its_place(fhir):
    wrong = {"resourceType": "Patient", "gender": "f", "birthDate": "2026-02-30", "unknown": 1, "name": [{"given": []}, {"family": ""}]}
    answer = fhir.post("Patient", wrong)
    assert answer.status_code == 422
    assert {"Patient.gender", "Patient.birthDate", "Patient.name[0].given", "Patient.name[1].family"} <= set(places(answer))
    assert any("unknown" in place or "unknown" in told["diagnostics"] for told in issues(answer) for place in told["expression"])
    assert len(issues(answer)) == 5


def test_the_type_of_the_body_is_that_of_the_address(fhir):
    assert refused(fhir.post("Patient", basic())) == (400, "invalid")
    assert places(fhir.post("Patient", basic())) == ["resourceType"]
    assert refused(fhir.post("Patient", {"name": []})) == (400, "invalid")
    assert refused(fhir.post("Patient", {"resourceType": "Nothing"})) == (400, "invalid")
    assert refused(fhir.post("Nothing", {"resourceType": "Nothing"})) == (404, "not-found")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"Patient"', b"{", b"{}x", b"\xff\xfe", b'{"resourceType":"Patient"'])
def test_bodies_that_are_no_json_object(fhir, body):
    assert refused(fhir.post("Patient", body)) == (400, "invalid")


def test_content_types(fhir):
    body = dumped(basic())
    for accepted in ("application/fhir+json", "application/json", "application/fhir+json; charset=UTF-8; fhirVersion=4.0", "text/json"):
        assert fhir.post("Basic", body, content_type=accepted).status_code == 201, accepted
    for unknown in (
        *("application/fhir+xml", "application/xml", "text/xml", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"),
        *("application/fhir+json; charset=latin-1", "application/fhir+json; fhirVersion=5.0", "nonsense"),
    ):
        assert refused(fhir.post("Basic", body, content_type=unknown)) == (415, "not-supported"), unknown
    assert refused(fhir.post("Basic", body, content_type="")) == (415, "not-supported")


def test_a_reference_to_a_patient_that_comes_later_is_accepted_in_a_sandbox(fhir):
    made = fhir.new(observation("Patient/comes-later"))
    assert fhir.put("Patient/comes-later", patient(id="comes-later")).status_code in (200, 201)
    assert fhir.get(made.path).status_code == 200


def test_what_was_created_is_found_by_a_second_connection_at_once(fhir, server):
    made = fhir.new(basic())
    assert httpx.get(fhir.url(made.path), headers=server.auth).json() == json.loads(fhir.get(made.path).content)


def test_post_to_an_id_is_no_interaction(fhir):
    made = fhir.new(basic())
    answer = fhir.post(made.path, basic())
    assert refused(answer) == (405, "not-supported")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}
    assert fhir.put(f"{made.path}/_history", basic(id=made.id)).headers["allow"] == "GET, HEAD"
    assert fhir.put("", basic()).headers["allow"] == "GET, HEAD, POST"


def test_an_attachment_of_twenty_megabytes_comes_back_whole(fhir):
    data = base64.b64encode(os.urandom(15 * 1024 * 1024)).decode()
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "application/pdf", "data": data}}],
    }
    made = fhir.new(document)
    assert fhir.get(made.path).json()["content"][0]["attachment"]["data"] == data
    found = fhir.get(f"DocumentReference?_id={made.id}").json()
    assert found["entry"][0]["resource"]["content"][0]["attachment"]["data"] == data
