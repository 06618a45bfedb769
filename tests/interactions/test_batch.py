"""FHIR batch. https://hl7.org/fhir/R4/http.html#transaction"""

import base64
import json

import pytest

from fhir_dmp.fhir import json as exact
from tests.interactions.making import FHIR_JSON, basic, bundle, entry, located, patient, places, refused, statuses, unique


def test_each_entry_has_its_own_answer_in_its_own_place(fhir):
    made, gone, id = fhir.new(basic()), fhir.new(basic()), unique()
    fhir.delete(gone.path)
    answer = fhir.post(
        "",
        bundle(
            "batch",
            entry("GET", made.path),
            entry("POST", "Patient", patient()),
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "f"}),
            entry("GET", "Basic/absent"),
            entry("PUT", f"Basic/{id}", basic(id=id)),
            entry("GET", gone.path),
            entry("DELETE", made.path),
            entry("FLY", "Basic"),
            entry("PUT", f"Basic/{id}x", basic(id=id)),
            entry("POST", "Nothing", {"resourceType": "Nothing"}),
            {"resource": basic()},
        ),
    )
    assert statuses(answer) == ["200", "201", "422", "404", "201", "410", "204", "400", "400", "404", "400"]
    assert answer.json()["type"] == "batch-response"
    for told in answer.json()["entry"]:
        refusal = told["response"]["status"][0] == "4"
        assert ("outcome" in told["response"]) == refusal
        if refusal:
            assert told["response"]["outcome"]["issue"][0]["diagnostics"]
    assert fhir.get(made.path).status_code == 410 and fhir.get(f"Basic/{id}").status_code == 200
    created = answer.json()["entry"][1]["response"]
    assert created["location"].startswith(f"{fhir.base}/Patient/") and "/_history/" in created["location"]
    assert created["etag"].startswith('W/"') and created["lastModified"].endswith("Z")
    assert fhir.get(located(answer)[1]).status_code == 200


def test_reads_give_their_resource_byte_for_byte(fhir):
    body = b'{"resourceType":"Observation","status":"final","code":{"text" : "a"},"valueQuantity":{"value":1.00}}'
    path = "/".join(fhir.post("Observation", body).headers["location"].split("/")[-4:-2])
    answer = fhir.post("", bundle("batch", entry("GET", path)))
    assert bytes(exact.members(bytes(exact.items(exact.members(answer.content)["entry"])[0]))["resource"]) == fhir.get(path).content


def test_numbers_of_entries_keep_their_notation(fhir):
    body = (
        b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Observation","status":"final","code":{"text":"a"},'
    )
    body += b'"valueQuantity":{"value":0.0100}},"request":{"method":"POST","url":"Observation"}}]}'
    assert b'"value":0.0100}' in fhir.get(located(fhir.post("", body))[0]).content


@pytest.mark.parametrize(("prefer", "shown"), [("return=minimal", False), ("return=representation", True), ("", False)])
def test_written_resources_are_shown_on_request(fhir, prefer, shown):
    answer = fhir.post("", bundle("batch", entry("POST", "Basic", basic())), prefer=prefer)
    assert ("resource" in answer.json()["entry"][0]) == shown


def test_patches_versions_histories_and_conditions(fhir):
    made = fhir.new(basic())
    operations = base64.b64encode(json.dumps([{"op": "add", "path": "/created", "value": "2026"}]).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": operations}
    answer = fhir.post(
        "",
        bundle(
            "batch",
            entry("PATCH", made.path, binary, ifMatch='W/"other"'),
            entry("PATCH", made.path, binary),
            entry("GET", f"{made.path}/_history/{made.version}"),
            entry("GET", f"{made.path}/_history"),
            entry("GET", made.path, ifNoneMatch=made.etag),
            entry("HEAD", made.path),
        ),
    )
    assert statuses(answer)[:5] == ["412", "200", "200", "200", "200"]
    assert statuses(answer)[5] == "200" and "resource" not in answer.json()["entry"][5]
    assert answer.json()["entry"][3]["resource"]["type"] == "history"
    again = fhir.post("", bundle("batch", entry("GET", made.path, ifNoneMatch=fhir.get(made.path).headers["etag"])))
    assert statuses(again) == ["304"] and "resource" not in again.json()["entry"][0]


def test_an_empty_batch(fhir):
    assert statuses(fhir.post("", {"resourceType": "Bundle", "type": "batch"})) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"resourceType": "Bundle", "type": "collection", "entry": []}, 400),
        ({"resourceType": "Bundle"}, 400),
        ({"resourceType": "Patient"}, 400),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, 400),
        ([], 400),
    ],
)
def test_what_is_no_batch(fhir, body, status):
    answer = fhir.post("", exact.dump(body))
    assert refused(answer)[0] == status


def test_faulty_entries_never_stop_the_others_whatever_they_are(fhir):
    wrong = [
        None,
        1,
        "x",
        [],
        {},
        {"request": 1},
        {"request": {}},
        {"request": {"method": 1, "url": 2}},
        {"request": {"method": "GET", "url": "a b"}},
    ]
    answer = fhir.post("", bundle("batch", *wrong, entry("POST", "Basic", basic())))
    assert statuses(answer) == ["400"] * len(wrong) + ["201"]


def test_the_content_type_of_a_bundle_is_that_of_fhir(fhir):
    assert refused(fhir.post("", bundle("batch"), content_type="application/xml"))[0] == 415
    assert fhir.post("", bundle("batch"), accept="application/fhir+xml").status_code == 406
    assert fhir.post("", bundle("batch"), accept="application/json").headers["content-type"] == "application/json; charset=utf-8"
    assert fhir.post("?_format=json", bundle("batch")).headers["content-type"] == f"{FHIR_JSON}; charset=utf-8"
    assert fhir.post("?_format=xml", bundle("batch")).status_code == 406
    assert b"\n" in fhir.post("?_pretty=true", bundle("batch")).content


def test_faults_of_an_entry_are_told_with_their_place_in_the_resource(fhir):
    answer = fhir.post("", bundle("batch", entry("POST", "Patient", {"resourceType": "Patient", "gender": "f", "birthDate": "x"})))
    outcome = answer.json()["entry"][0]["response"]["outcome"]
    assert {place for issue in outcome["issue"] for place in issue["expression"]} == {"Patient.gender", "Patient.birthDate"}
    assert places(fhir.post("", bundle("transaction", entry("POST", "Patient", {"resourceType": "Patient", "gender": "f"})))) == [
        "Bundle.entry[0].resource.gender"
    ]


def test_capabilities_may_be_asked_in_a_batch(fhir):
    answer = fhir.post("", bundle("batch", entry("GET", "metadata")))
    assert answer.json()["entry"][0]["resource"]["resourceType"] == "CapabilityStatement"
