"""FHIR update. https://hl7.org/fhir/R4/http.html#update"""

import asyncio

from tests.interactions.making import FHIR_JSON, basic, dumped, observation, patient, places, refused, scoped, stored, unique


def test_an_update_makes_a_version(fhir):
    made = fhir.new(basic())
    answer = fhir.put(made.path, basic(id=made.id, created="2026-01-01"))
    after = stored(answer)
    assert (answer.status_code, after.path) == (200, made.path) and after.version != made.version
    assert answer.headers["etag"] == after.etag and "last-modified" in answer.headers
    assert answer.headers["location"] == f"{fhir.base}/{made.path}/_history/{after.version}"
    assert after.value["meta"]["lastUpdated"] > made.value["meta"]["lastUpdated"]
    assert fhir.get(made.path).json()["created"] == "2026-01-01"


def test_a_client_may_choose_an_id_in_a_sandbox(fhir):
    id = unique()
    first = fhir.put(f"Patient/{id}", patient(id=id))
    assert first.status_code == 201 and stored(first).id == id
    assert fhir.put(f"Patient/{id}", patient(id=id)).status_code == 200
    assert fhir.get(f"Patient/{id}").json()["id"] == id


def test_an_update_that_creates_asks_for_the_scope_to_create(fhir, server):
    token, id = scoped(server, "system/Basic.us"), unique()
    sent = {"fullUrl": f"http://x.test/Basic/{id}", "resource": basic(id=id), "request": {"method": "PUT", "url": f"Basic/{id}"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [sent]}
    refusals = (fhir.put(f"Basic/{id}", basic(id=id), **token), fhir.send("POST", "", bundle, **token))
    assert [answer.status_code for answer in refusals] == [403, 403]
    assert fhir.put(f"Basic/{id}", basic(id=id)).status_code == 201
    assert fhir.put(f"Basic/{id}", basic(id=id, created="2026-01-01"), **token).status_code == 200
    assert fhir.delete(f"Basic/{id}").status_code == 204 and fhir.put(f"Basic/{id}", basic(id=id), **token).status_code == 403


def test_the_longest_and_the_oddest_ids(fhir):
    for id in ("a" * 64, "1", "-", ".a", "A.b-C", unique("UPPER")):
        assert fhir.put(f"Basic/{id}", basic(id=id)).status_code in (200, 201), id
        assert fhir.get(f"Basic/{id}").json()["id"] == id
    assert fhir.put("Basic/" + "a" * 65, basic(id="a" * 65)).status_code == 400
    assert fhir.put("Basic/a_b", basic(id="a_b")).status_code == 400


def test_ids_differ_by_case_and_by_type(fhir):
    id = unique("case")
    fhir.put(f"Basic/{id}", basic(id=id))
    assert fhir.get(f"Basic/{id.upper()}").status_code == 404
    assert fhir.put(f"Patient/{id}", patient(id=id)).status_code == 201
    assert fhir.get(f"Basic/{id}").json()["resourceType"] == "Basic"


def test_the_id_of_the_body_is_that_of_the_address(fhir):
    made = fhir.new(basic())
    for body in (basic(), basic(id="other")):
        answer = fhir.put(made.path, body)
        assert refused(answer) == (400, "invalid") and places(answer) == ["Basic.id"]
    assert refused(fhir.put(made.path, patient(id=made.id))) == (400, "invalid")
    assert fhir.get(made.path).headers["etag"] == made.etag


def test_only_the_version_named_by_if_match_is_replaced(fhir):
    made = fhir.new(basic())
    second = fhir.put(made.path, basic(id=made.id, created="2026-01-01"), if_match=made.etag)
    assert second.status_code == 200
    stale = fhir.put(made.path, basic(id=made.id, created="2026-01-02"), if_match=made.etag)
    assert refused(stale) == (412, "conflict")
    assert fhir.get(made.path).json()["created"] == "2026-01-01"
    assert fhir.put(made.path, basic(id=made.id), if_match=f'"{stored(second).version}"').status_code == 200
    assert fhir.put(made.path, basic(id=made.id), if_match="*").status_code == 200
    assert fhir.put(made.path, basic(id=made.id), if_match="not a tag").status_code == 400


def test_if_match_on_something_absent_or_deleted_never_creates(fhir):
    id = unique()
    for tag in ("*", 'W/"1"'):
        assert refused(fhir.put(f"Basic/{id}", basic(id=id), if_match=tag)) == (412, "conflict")
    assert fhir.get(f"Basic/{id}").status_code == 404
    made = fhir.new(basic())
    fhir.delete(made.path)
    assert refused(fhir.put(made.path, basic(id=made.id), if_match=made.etag)) == (412, "conflict")


def test_if_none_match_star_creates_only(fhir):
    id = unique()
    assert fhir.put(f"Basic/{id}", basic(id=id), if_none_match="*").status_code == 201
    assert refused(fhir.put(f"Basic/{id}", basic(id=id), if_none_match="*")) == (412, "conflict")


async def test_fifty_concurrent_writers_lose_no_update(fhir, crowd):
    made = fhir.new(basic())

    async def writer(number: int) -> int:
        """Reads, adds its own mark, writes with If-Match; once, whatever comes."""
        read = await crowd.get(made.path)
        value = read.json()
        value["identifier"] = [*value.get("identifier", []), {"value": f"{number}"}]
        headers = {"if-match": read.headers["etag"], "content-type": FHIR_JSON}
        return (await crowd.put(made.path, content=dumped(value), headers=headers)).status_code

    outcomes = [status for _ in range(2) for status in await asyncio.gather(*(writer(number) for number in range(50)))]
    acknowledged = outcomes.count(200)
    assert set(outcomes) == {200, 412} and acknowledged >= 2
    assert fhir.get(f"{made.path}/_history").json()["total"] == 1 + acknowledged
    assert len(fhir.get(made.path).json()["identifier"]) == acknowledged


async def test_fifty_concurrent_writers_without_if_match_all_write(fhir, crowd):
    made = fhir.new(basic())
    body = dumped(basic(id=made.id))
    answers = await asyncio.gather(*(crowd.put(made.path, content=body, headers={"content-type": FHIR_JSON}) for _ in range(50)))
    acknowledged = [answer for answer in answers if answer.status_code == 200]
    assert all(answer.status_code in (200, 409, 412, 503) for answer in answers) and len(acknowledged) >= 25
    assert fhir.get(f"{made.path}/_history").json()["total"] == 1 + len(acknowledged)
    assert len({answer.headers["etag"] for answer in acknowledged}) == len(acknowledged)


async def test_of_many_who_create_the_same_id_one_creates(fhir, crowd):
    id = unique()
    body, headers = dumped(basic(id=id)), {"content-type": FHIR_JSON, "if-none-match": "*"}
    answers = await asyncio.gather(*(crowd.put(f"Basic/{id}", content=body, headers=headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [412] * 19
    assert fhir.get(f"Basic/{id}/_history").json()["total"] == 1


async def test_of_many_who_put_a_new_id_one_creates_and_the_others_update(fhir, crowd):
    id = unique()
    answers = await asyncio.gather(
        *(crowd.put(f"Basic/{id}", content=dumped(basic(id=id)), headers={"content-type": FHIR_JSON}) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]


def test_a_resource_may_change_patient_in_a_sandbox_and_both_versions_stay_readable(fhir):
    one, other = fhir.new(patient()), fhir.new(patient())
    made = fhir.new(observation(one.path))
    moved = stored(fhir.put(made.path, observation(other.path, id=made.id)))
    assert fhir.get(made.path).json()["subject"]["reference"] == other.path
    assert fhir.get(f"{made.path}/_history/{made.version}").json()["subject"]["reference"] == one.path
    assert [e["resource"]["meta"]["versionId"] for e in fhir.get(f"{made.path}/_history").json()["entry"]] == [moved.version, made.version]


def test_a_large_resource_of_several_megabytes_is_kept_exactly(fhir):
    parts = [{"url": "urn:x", "valueString": chr(0x41 + n % 26) * 900_000} for n in range(4)]
    made = fhir.new(basic(extension=parts))
    assert fhir.get(made.path).json()["extension"] == parts
    assert fhir.put(made.path, basic(id=made.id)).status_code == 200
    assert fhir.get(f"{made.path}/_history/{made.version}").json()["extension"] == parts
    assert fhir.delete(made.path).status_code == 204


def test_a_resource_beyond_the_bound_is_refused(fhir):
    assert refused(fhir.post("Basic", basic(extension=[{"url": "urn:x", "valueString": "a" * 1_000_000}] * 68))) == (413, "too-long")
