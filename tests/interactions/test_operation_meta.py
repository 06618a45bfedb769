"""$meta. https://hl7.org/fhir/R4/resource-operation-meta.html"""

import pytest

from tests.interactions.making import basic, refused, scoped, unique

TAG = "urn:x-tag"


def meta(answer):
    """The Meta of the answer."""
    assert answer.status_code == 200, answer.text
    (returned,) = answer.json()["parameter"]
    assert (answer.json()["resourceType"], returned["name"]) == ("Parameters", "return")
    return returned["valueMeta"]


@pytest.fixture(scope="module")
def tagged(fhir):
    """A resource with labels, and its own former version without."""
    code = unique()
    first = fhir.new(basic())
    labels = {"tag": [{"system": TAG, "code": code}], "profile": [f"urn:x-profile:{code}"], "security": [{"code": f"s-{code}"}]}
    fhir.put(first.path, {**first.value, "meta": labels})
    return {"code": code, "first": first, "labels": labels}


def test_of_a_resource_it_is_its_meta(fhir, tagged):
    for method in ("GET", "POST"):
        answer = fhir.send(method, f"{tagged['first'].path}/$meta")
        now = fhir.get(tagged["first"].path)
        assert meta(answer) == now.json()["meta"] and meta(answer)["tag"] == tagged["labels"]["tag"]
        assert answer.headers["etag"] == now.headers["etag"]


def test_of_a_version_it_is_that_of_then(fhir, tagged):
    assert meta(fhir.get(f"{tagged['first'].path}/_history/{tagged['first'].version}/$meta")) == tagged["first"].value["meta"]
    assert refused(fhir.get(f"{tagged['first'].path}/_history/aaaaaaaaaaaaa/$meta")) == (404, "not-found")


@pytest.mark.parametrize("address", ["$meta", "Basic/$meta"])
def test_of_a_type_or_everything_it_is_what_is_in_use(fhir, tagged, address):
    found = meta(fhir.get(address))
    assert found["tag"].count({"system": TAG, "code": tagged["code"]}) == 1
    assert f"urn:x-profile:{tagged['code']}" in found["profile"] and {"code": f"s-{tagged['code']}"} in found["security"]
    assert not {"versionId", "lastUpdated"} & set(found)
    assert found["profile"] == sorted(set(found["profile"]))


def test_what_no_resource_carries_is_not_there(fhir, tagged):
    assert {"system": TAG, "code": tagged["code"]} not in meta(fhir.get("VerificationResult/$meta")).get("tag", [])


def test_what_is_not_there_has_none(fhir):
    gone = fhir.new(basic())
    fhir.delete(gone.path)
    assert refused(fhir.get("Basic/nothing/$meta")) == (404, "not-found")
    assert refused(fhir.get(f"{gone.path}/$meta")) == (410, "deleted")
    assert refused(fhir.get(f"{gone.path}/$meta?x=1")) == (400, "not-supported")


def test_scopes_narrow_it(fhir, server, tagged):
    token = scoped(server, "system/Basic.r")
    assert meta(fhir.get(f"{tagged['first'].path}/$meta", **token))
    for address in ("Basic/$meta", "$meta", "Patient/$meta"):
        assert refused(fhir.get(address, **token)) == (403, "forbidden")
