"""FHIR vread. https://hl7.org/fhir/R4/http.html#vread"""

from tests.interactions.making import basic, refused, stored


def test_each_version_stays_readable_as_it_was(fhir):
    first = fhir.post("Basic", basic())
    made = stored(first)
    second = fhir.put(made.path, b'{"resourceType":"Basic","id":"%s","code":{"text":"b"},"created":"2026"}' % made.id.encode())
    third = fhir.patch(made.path, [{"op": "replace", "path": "/code/text", "value": "c"}])
    for answer in (first, second, third):
        found = fhir.get(f"{made.path}/_history/{stored(answer).version}")
        assert (found.status_code, found.content) == (200, answer.content)
        assert found.headers["etag"] == answer.headers["etag"]
        assert found.headers["last-modified"] == answer.headers["last-modified"]
        assert found.headers["content-location"] == answer.headers["location"]
    assert len({answer.headers["etag"] for answer in (first, second, third)}) == 3


def test_the_location_of_a_write_leads_to_that_version(fhir):
    answer = fhir.post("Basic", basic())
    assert answer.headers["location"].startswith(f"{fhir.base}/Basic/")
    assert fhir.get(answer.headers["location"]).content == answer.content


def test_versions_before_a_deletion_stay_the_deletion_itself_is_gone(fhir):
    made = fhir.new(basic())
    deletion = fhir.delete(made.path).headers["etag"].removeprefix('W/"').removesuffix('"')
    assert fhir.get(f"{made.path}/_history/{made.version}").json()["meta"]["versionId"] == made.version
    assert refused(fhir.get(f"{made.path}/_history/{deletion}")) == (410, "deleted")


def test_versions_that_never_were(fhir):
    made, other = fhir.new(basic()), fhir.new(basic())
    for version in ("1", "absent", other.version, "A" * 13, "a" * 64):
        assert refused(fhir.get(f"{made.path}/_history/{version}")) == (404, "not-found"), version
    assert refused(fhir.get(f"Patient/{made.id}/_history/{made.version}")) == (404, "not-found")
    assert refused(fhir.get(f"Basic/absent/_history/{made.version}")) == (404, "not-found")


def test_parts_of_a_version(fhir):
    made = fhir.new(basic(created="2026"))
    found = fhir.get(f"{made.path}/_history/{made.version}?_elements=created").json()
    assert found["created"] == "2026" and found["meta"]["tag"][0]["code"] == "SUBSETTED"
    head = fhir.send("HEAD", f"{made.path}/_history/{made.version}")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", made.etag)
