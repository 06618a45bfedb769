"""FHIR patch: JSON Patch and FHIRPath Patch. https://hl7.org/fhir/R4/http.html#patch"""

import asyncio

from fhir_dmp.fhir import json as exact
from tests.interactions.making import FHIR_JSON, JSON_PATCH, basic, dumped, observation, patient, refused, stored, unique


def operation(type: str, path: str, name: str = "", **value: object) -> dict:
    """One operation of a FHIRPath Patch. value: one valueX."""
    parts = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    parts += [{"name": "name", "valueString": name}] if name else []
    parts += [{"name": "value", key: what} for key, what in value.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


def test_json_patch(fhir):
    made = fhir.new(patient(active=True))
    operations = [
        {"op": "test", "path": "/active", "value": True},
        {"op": "replace", "path": "/name/0/family", "value": "AMARANTE"},
        {"op": "add", "path": "/name/0/given/-", "value": "Lise"},
        {"op": "remove", "path": "/active"},
    ]
    answer = fhir.patch(made.path, operations)
    after = stored(answer)
    assert answer.status_code == 200 and answer.headers["etag"] == after.etag != made.etag
    assert after.value["name"] == [{"family": "AMARANTE", "given": ["Solange", "Lise"]}] and "active" not in after.value
    assert fhir.get(made.path).content == answer.content


def test_fhirpath_patch(fhir):
    made = fhir.new(patient())
    assert fhir.patch(made.path, operation("replace", "Patient.gender", valueCode="other")).json()["gender"] == "other"
    assert fhir.patch(made.path, operation("add", "Patient", "birthDate", valueDate="1980-01-01")).json()["birthDate"] == "1980-01-01"
    assert "gender" not in fhir.patch(made.path, operation("delete", "Patient.gender")).json()


def test_a_patch_leaves_every_other_number_and_text_as_it_was(fhir):
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"valueQuantity":{"value":1.00},"component":['
    body += b'{"code":{"text":"\\u00e9"},"valueQuantity":{"value":0.0100000000000000000000000000001}},'
    body += b'{"code":{"text":"n"},"valueQuantity":{"value":1E2}}]}'
    made = stored(fhir.post("Observation", body))
    answer = fhir.patch(made.path, [{"op": "replace", "path": "/status", "value": "amended"}])
    assert answer.status_code == 200, answer.text
    for number in (b"1.00}", b"0.0100000000000000000000000000001}", b"1E2}"):
        assert number in answer.content
    assert list(answer.json()) == ["resourceType", "id", "meta", "status", "code", "valueQuantity", "component"]


def test_numbers_of_the_patch_keep_their_notation(fhir):
    made = fhir.new(observation())
    answer = fhir.patch(made.path, b'[{"op":"add","path":"/valueQuantity","value":{"value":2.500}}]', content_type=JSON_PATCH)
    assert bytes(exact.members(answer.content)["valueQuantity"]) == b'{"value":2.500}'


def test_a_patch_that_fails_changes_nothing(fhir):
    made = fhir.new(patient())
    for operations, status in (
        ([{"op": "test", "path": "/gender", "value": "male"}], 422),
        ([{"op": "remove", "path": "/photo"}], 422),
        ([{"op": "replace", "path": "/gender", "value": "male"}, {"op": "remove", "path": "/name/7"}], 422),
        ([{"op": "replace", "path": "/gender", "value": "unheard-of"}], 422),
        ([{"op": "add", "path": "/unknown", "value": 1}], 422),
        ([{"op": "replace", "path": "/id", "value": "other"}], 422),
        ([{"op": "replace", "path": "/resourceType", "value": "Basic"}], 422),
        ([{"op": "replace", "path": "", "value": 1}], 422),
        ([{"op": "fly", "path": "/gender"}], 400),
        ([{"path": "/gender"}], 400),
    ):
        answer = fhir.patch(made.path, operations)
        assert answer.status_code in (status, 400, 422) and answer.json()["issue"][0]["diagnostics"], operations
    assert fhir.get(made.path).headers["etag"] == made.etag


def test_a_patch_cannot_touch_what_the_server_owns(fhir):
    made = fhir.new(patient())
    answer = fhir.patch(made.path, [{"op": "add", "path": "/meta/versionId", "value": "mine"}])
    assert answer.json()["meta"]["versionId"] == stored(answer).version != "mine"


def test_what_cannot_be_patched(fhir):
    made = fhir.new(basic())
    patch = [{"op": "add", "path": "/created", "value": "2026"}]
    assert refused(fhir.patch("Basic/absent", patch)) == (404, "not-found")
    fhir.delete(made.path)
    assert refused(fhir.patch(made.path, patch)) == (410, "deleted")


def test_only_the_version_named_by_if_match_is_patched(fhir):
    made = fhir.new(basic())
    patch = [{"op": "add", "path": "/created", "value": "2026"}]
    assert fhir.patch(made.path, patch, if_match=made.etag).status_code == 200
    assert refused(fhir.patch(made.path, patch, if_match=made.etag)) == (412, "conflict")


def test_patch_languages(fhir):
    made = fhir.new(basic())
    for content_type in ("application/merge-patch+json", "application/xml-patch+xml", "application/fhir+xml", "text/plain"):
        answer = fhir.patch(made.path, [], content_type=content_type)
        assert refused(answer) == (415, "not-supported") and JSON_PATCH in answer.headers["accept-patch"]
    assert refused(fhir.patch(made.path, dumped({"op": "add"}), content_type=JSON_PATCH)) == (400, "invalid")
    assert refused(fhir.patch(made.path, basic())) == (400, "invalid")


def test_preferences_of_a_patch(fhir):
    made = fhir.new(basic())
    patch = [{"op": "add", "path": "/created", "value": "2026"}]
    assert fhir.patch(made.path, patch, prefer="return=minimal").content == b""
    assert fhir.patch(made.path, patch, prefer="return=OperationOutcome").json()["resourceType"] == "OperationOutcome"


async def test_concurrent_patches_all_take_effect(fhir, crowd):
    made = fhir.new(basic(identifier=[{"value": unique()}]))

    async def add(number: int) -> int:
        body = dumped([{"op": "add", "path": "/identifier/-", "value": {"value": str(number)}}])
        return (await crowd.patch(made.path, content=body, headers={"content-type": JSON_PATCH})).status_code

    outcomes = await asyncio.gather(*(add(number) for number in range(20)))
    assert outcomes.count(200) >= 10 and set(outcomes) <= {200, 409, 412, 503}
    assert len(fhir.get(made.path).json()["identifier"]) == 1 + outcomes.count(200)
    assert fhir.get(made.path).headers["content-type"].startswith(FHIR_JSON)
