"""Bulk Data $export. https://hl7.org/fhir/uv/bulkdata/export.html"""

import json
import time
from dataclasses import replace

import pytest

from fhir_dmp.consent.asking import asking
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import enforcement, export, export_job, sets
from fhir_dmp.store.records import Job
from tests.interactions.making import FHIR_JSON, INSTANT, bundle, entry, identified, issue, observation, patient, refused, scoped, unique
from tests.search.hosting import context_on, put

ASYNC = {"prefer": "respond-async", "accept": FHIR_JSON}


def begun(fhir, path, body=None, **headers):
    """Address of the state of an export that was accepted."""
    answer = fhir.send("GET" if body is None else "POST", path, body, **{**ASYNC, **headers})
    assert answer.status_code == 202, answer.text
    assert answer.headers["content-location"].startswith(f"{fhir.base}/$export/")
    return answer.headers["content-location"]


def finished(fhir, address, **headers):
    """The manifest, waited for."""
    for _ in range(200):
        answer = fhir.get(address, **headers)
        if answer.status_code != 202:
            break
        assert "of" in answer.headers["x-progress"] and int(answer.headers["retry-after"]) > 0 and not answer.content
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json" and "expires" in answer.headers
    return answer.json()


def lines(fhir, manifest):
    """Type -> the resources of its files."""
    found = {}
    for output in manifest["output"]:
        answer = fhir.get(output["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+ndjson")
        assert answer.content.endswith(b"\n")
        resources = [json.loads(line) for line in answer.content.splitlines()]
        assert len(resources) == output["count"] and {r["resourceType"] for r in resources} == {output["type"]}
        found.setdefault(output["type"], []).extend(resources)
    return found


def exported(fhir, path, body=None):
    return lines(fhir, finished(fhir, begun(fhir, path, body)))


def ids(found, *stored):
    """Which of these are in the files."""
    there = {f"{name}/{each['id']}" for name, listed in found.items() for each in listed}
    return [each.path in there for each in stored]


@pytest.fixture(scope="module")
def world(fhir):
    """Two patients with an observation each, one of a doctor, one of nobody; a group of the first patient."""
    made = {"mark": unique("export")}
    made["in"] = fhir.new(identified("Patient", made["mark"]))
    made["out"] = fhir.new(patient("DEHORS"))
    made["doctor"] = fhir.new({"resourceType": "Practitioner", "identifier": [{"system": "urn:x-test", "value": made["mark"]}]})
    made["his"] = fhir.new({**identified("Observation", made["mark"]), "subject": {"reference": made["in"].path}, "valueInteger": 1})
    made["hers"] = fhir.new({**identified("Observation", made["mark"]), "subject": {"reference": made["out"].path}})
    made["nobodys"] = fhir.new(identified("Observation", made["mark"]))
    members = [{"entity": {"reference": made["in"].path}}, {"entity": {"reference": made["out"].path}, "inactive": True}]
    inner = fhir.new({"resourceType": "Group", "type": "person", "actual": True, "member": members})
    made["group"] = fhir.new({"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": {"reference": inner.path}}]})
    return made


def test_the_system_with_types_and_filters(fhir, world):
    query = f"_type=Patient,Observation,Practitioner&_typeFilter=Observation?identifier=urn:x-test|{world['mark']}"
    address = begun(fhir, f"$export?{query}&_typeFilter=Patient?identifier=urn:x-test|{world['mark']}")
    manifest = finished(fhir, address)
    assert INSTANT.fullmatch(manifest["transactionTime"]) and manifest["requiresAccessToken"] is True and manifest["error"] == []
    assert manifest["request"].startswith(f"{fhir.base}/$export?_type=Patient,Observation,Practitioner&")
    found = lines(fhir, manifest)
    assert ids(found, world["in"], world["out"], world["his"], world["hers"], world["nobodys"], world["doctor"]) == [
        True, False, True, True, True, True,
    ]  # fmt: skip
    assert len(found["Observation"]) == 3


def test_filters_of_one_type_are_alternatives(fhir, world):
    mark = f"Observation?identifier=urn:x-test|{world['mark']}"
    query = f"_type=Observation&_typeFilter={mark}%26subject={world['in'].path}&_typeFilter={mark}%26subject:missing=true"
    assert ids(exported(fhir, f"$export?{query}"), world["his"], world["hers"], world["nobodys"]) == [True, False, True]


def test_patients_and_their_compartments_only(fhir, world):
    found = exported(fhir, "Patient/$export?_type=Patient,Observation")
    assert ids(found, world["in"], world["out"], world["his"], world["hers"], world["nobodys"]) == [True, True, True, True, False]
    answer = fhir.get("Patient/$export?_type=Practitioner", **ASYNC)
    assert refused(answer) == (400, "not-supported")


def test_a_group_is_its_active_patients(fhir, world):
    found = exported(fhir, f"{world['group'].path}/$export")
    assert ids(found, world["in"], world["his"]) == [True, True]
    assert sorted((name, len(listed)) for name, listed in found.items()) == [("Group", 1), ("Observation", 1), ("Patient", 1)]
    assert refused(fhir.get("Group/nobody/$export", **ASYNC)) == (404, "not-found")


def test_since(fhir, world):
    since = fhir.new(patient()).value["meta"]["lastUpdated"]
    later = fhir.new(observation(world["in"].path))
    found = exported(fhir, f"$export?_type=Observation,Patient&_since={since}")
    assert ids(found, later, world["his"], world["in"]) == [True, False, False]


def test_post_is_get(fhir, world):
    given = [
        {"name": "_type", "valueString": "Observation"},
        {"name": "_outputFormat", "valueString": "application/fhir+ndjson"},
        {"name": "_typeFilter", "valueString": f"Observation?identifier=urn:x-test|{world['mark']}"},
    ]
    found = exported(fhir, "$export", {"resourceType": "Parameters", "parameter": given})
    assert ids(found, world["his"], world["hers"], world["nobodys"]) == [True, True, True]


def test_it_is_the_store_of_one_moment_byte_for_byte(fhir):
    mark = unique("exact")
    body = b'{"resourceType":"Observation","status":"final","identifier":[{"value":"%s"}],\n"code":{"text":"x"},' % mark.encode()
    made = fhir.post("Observation", body + b'"valueQuantity":{"value":1.00}}')
    address = begun(fhir, f"$export?_type=Observation&_typeFilter=Observation?identifier={mark}")
    fhir.new({**identified("Observation", mark)})
    manifest = finished(fhir, address)
    text = fhir.get(manifest["output"][0]["url"]).text
    assert '"valueQuantity":{"value":1.00}' in text and text.count("\n") == 1
    assert json.loads(text)["id"] == made.json()["id"]


def test_large_contents_are_whole(fhir):
    content = bytes(range(256)) * 4096
    made = fhir.send("POST", "Binary", content, content_type="application/octet-stream")
    id = made.headers["location"].split("/")[-3]
    (binary,) = exported(fhir, f"$export?_type=Binary&_typeFilter=Binary?_id={id}")["Binary"]
    assert len(binary["data"]) == -(-len(content) // 3) * 4 and binary["id"] == id


def test_nothing_found_is_a_manifest_without_files(fhir):
    address = begun(fhir, f"$export?_type=Basic&_typeFilter=Basic?_tag={unique()}")
    assert finished(fhir, address)["output"] == []


def test_deleting_it_destroys_its_files(fhir, rows, world):
    address = begun(fhir, f"$export?_type=Patient&_typeFilter=Patient?_id={world['in'].id}")
    (output,) = finished(fhir, address)["output"]
    content = bytes.fromhex(rows["host.jobs"].find_one({"_id": address.rpartition("/")[2]})["detail"]["outputs"][0]["content"])
    assert rows["contents.files"].find_one({"_id": content})
    assert fhir.delete(address).status_code == 202
    assert refused(fhir.get(address)) == refused(fhir.get(output["url"])) == refused(fhir.delete(address)) == (404, "not-found")
    assert rows["contents.files"].find_one({"_id": content}) is None


@pytest.mark.parametrize("accept", ["application/fhir+ndjson", "application/ndjson", "application/x-ndjson;q=0.9", "*/*", FHIR_JSON])
def test_a_file_is_given_to_whoever_takes_lines_or_json(fhir, world, accept):
    address = begun(fhir, f"$export?_type=Patient&_typeFilter=Patient?_id={world['in'].id}")
    (output,) = finished(fhir, address)["output"]
    answer = fhir.get(output["url"], accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+ndjson")
    assert refused(fhir.get(output["url"], accept="application/fhir+xml")) == (406, "not-supported")
    assert refused(fhir.get(address, accept="application/fhir+ndjson")) == (406, "not-supported")


def test_only_who_asked_may_know(fhir, server, world):
    address = begun(fhir, f"$export?_type=Patient&_typeFilter=Patient?_id={world['in'].id}")
    (output,) = finished(fhir, address)["output"]
    other = scoped(server, "system/*.cruds", client_id="another")
    for url in (address, output["url"]):
        assert refused(fhir.get(url, **other)) == (404, "not-found")
    assert refused(fhir.delete(address, **other)) == (404, "not-found")
    assert fhir.get(address).status_code == 200
    assert fhir.get(output["url"], authorization="").status_code == 401


def test_a_file_can_be_asked_for_without_reading_it(fhir, world):
    address = begun(fhir, f"$export?_type=Patient&_typeFilter=Patient?_id={world['in'].id}")
    (output,) = finished(fhir, address)["output"]
    answer = fhir.send("HEAD", output["url"])
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", "application/fhir+ndjson")
    assert int(answer.headers["content-length"]) == len(fhir.get(output["url"]).content)
    assert (
        refused(fhir.get(f"{address}/7")) == refused(fhir.get(f"{address}/x")) == refused(fhir.get(f"{address}/0/1")) == (404, "not-found")
    )
    assert fhir.post(address, {"resourceType": "Parameters"}).headers["allow"] == "GET, HEAD, DELETE"


def test_a_job_whose_server_died_has_failed_with_a_word(fhir, rows, world):
    address = begun(fhir, "$export?_type=Basic")
    finished(fhir, address)
    rows["host.jobs"].update_one({"_id": address.rpartition("/")[2]}, {"$set": {"state": "running", "detail.beat": 1}})
    answer = fhir.get(address)
    assert (answer.status_code, issue(answer)) == (500, ("error", "exception"))
    assert "ask again" in answer.text
    assert fhir.delete(address).status_code == 202


def test_what_is_over_is_forgotten(fhir, rows):
    address = begun(fhir, "$export?_type=Basic")
    finished(fhir, address)
    job = rows["host.jobs"].find_one({"_id": address.rpartition("/")[2]})
    rows["host.jobs"].delete_one({"_id": job["_id"]})
    old = {**job, "_id": job["_id"].replace(job["_id"].split("-")[1], "20200101000000")}
    rows["host.jobs"].insert_one(old)
    finished(fhir, begun(fhir, "$export?_type=Basic"))
    assert rows["host.jobs"].find_one({"_id": old["_id"]}) is None


async def test_a_server_that_stops_ends_its_exports_with_a_word(sandbox_store):
    context = context_on(sandbox_store)
    await put(sandbox_store, *({"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x"}} for n in range(3)))
    url = Url("", "", ("$export",), (), False)
    id = await export_job.start(
        context, await export.planned(context, url, Given((("_type", "Basic"),)), "https://dmp.example/fhir/$export")
    )
    await export_job.stop()
    with pytest.raises(FhirError, match="the server was stopped while this export ran"):
        await export.state_of(context, id)
    assert (await Job.get(id)).state == "failed"
    await export.cancel(context, id)
    assert await Job.get(id) is None


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("$export", {"prefer": "return=minimal"}, (400, "invalid")),
        ("$export", {"accept": "text/csv"}, (406, "not-supported")),
        ("$export?_outputFormat=text/csv", {}, (400, "not-supported")),
        ("$export?_type=Patients", {}, (400, "invalid")),
        ("$export?_typeFilter=Patient", {}, (400, "invalid")),
        ("$export?_type=Patient&_typeFilter=Observation?status=final", {}, (400, "invalid")),
        ("$export?_typeFilter=Patient?size=1", {}, (400, "invalid")),
        ("$export?_typeFilter=Patient?_count=1", {}, (400, "invalid")),
        ("$export?_since=yesterday", {}, (400, "value")),
        ("$export?_elements=id", {}, (400, "not-supported")),
    ],
)
def test_what_is_not_understood_is_refused_before_anything_is_promised(fhir, path, headers, expected):
    assert refused(fhir.get(path, **{**ASYNC, **headers})) == expected


def test_what_is_not_known_may_be_left_out(fhir):
    begun(fhir, "$export?_type=Basic&organizeOutputBy=Patient", prefer="respond-async, handling=lenient")


def test_the_format_may_be_written_as_clients_write_it(fhir):
    for form in ("application/fhir+ndjson", "application/fhir%2Bndjson", "application/ndjson", "ndjson"):
        begun(fhir, f"$export?_type=VerificationResult&_outputFormat={form}")


WHOLE = (Url("", "", ("$export",), (), False), Given(), "https://dmp.example/fhir/$export")


def asked_by(store, kind):
    context = context_on(store)
    actor = Actor(kind=kind, issuer="i", subject="s", expires=0)
    return replace(context, actor=actor, enforcer=enforcement.Enforcer(asking(actor)))


@pytest.mark.parametrize("kind", ["professional", "patient", "representative", "mandataire", "structure", "feed", "support"])
async def test_under_the_rules_who_is_no_host_and_no_operator_exports_nothing(store, kind):
    with pytest.raises(FhirError) as refusal:
        await export.planned(asked_by(store, kind), *WHOLE)
    assert refusal.value.status == 403


@pytest.mark.parametrize("kind", ["host", "operator"])
async def test_a_host_exports_its_directory_and_no_dossier(store, kind):
    about = {"status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p"}}
    await put(
        store,
        {"resourceType": "Patient", "id": "p"},
        {"resourceType": "Observation", "id": "o", **about},
        {"resourceType": "Practitioner", "id": "d", "name": [{"family": "SOIN"}]},
    )
    context = asked_by(store, kind)
    plan = await export.planned(context, *WHOLE)
    found = [row.type for _, alternatives in plan.parts for row in await sets.all_rows(context, alternatives, plan.sight)]
    assert found == ["Practitioner"]


def test_scopes_narrow_it(fhir, server, world):
    token = scoped(server, "system/Patient.rs system/Observation.r")
    assert refused(fhir.get("$export?_type=Observation", **ASYNC, **token)) == (403, "forbidden")
    address = begun(fhir, "$export", **token)
    assert [output["type"] for output in finished(fhir, address, **token)["output"]] == ["Patient"]
    none = scoped(server, "system/Patient.c")
    assert refused(fhir.get("$export", **ASYNC, **none)) == (403, "forbidden")
    # Nor is one that was begun told of, or stopped, by a token that could begin none; of its files each is told those it may read.
    assert [refused(fhir.send(method, address, **none)) for method in ("GET", "DELETE")] == [(403, "forbidden")] * 2
    assert finished(fhir, address, **scoped(server, "system/Observation.rs"))["output"] == []
    assert len(finished(fhir, address, **token)["output"]) == 1


def test_who_only_looks_begins_nothing(fhir, rows):
    before = rows["host.jobs"].count_documents({}, hint="_id_")
    answer = fhir.send("HEAD", "$export", **ASYNC)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert rows["host.jobs"].count_documents({}, hint="_id_") == before


def test_inside_a_batch_it_is_refused(fhir):
    answer = fhir.post("", bundle("batch", entry("GET", "$export"))).json()["entry"][0]["response"]
    assert answer["status"][:3] == "400"
