"""Conditional create, update, patch and delete. https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #cdelete"""

import asyncio

import pytest

from tests.interactions.making import FHIR_JSON, basic, dumped, identified, patient, places, refused, stored, unique


def query(value: str) -> str:
    return f"identifier=urn:x-test|{value}"


def total(fhir, type_name: str, value: str) -> int:
    return fhir.get(f"{type_name}?{query(value)}").json()["total"]


def test_create_if_none_exists(fhir):
    value = unique()
    first = fhir.post("Patient", identified("Patient", value), if_none_exist=query(value))
    second = fhir.post("Patient", identified("Patient", value), if_none_exist=query(value))
    assert (first.status_code, second.status_code) == (201, 200)
    assert stored(first).path == stored(second).path and first.headers["etag"] == second.headers["etag"]
    assert second.json() == first.json() and total(fhir, "Patient", value) == 1


@pytest.mark.parametrize("form", ["{}", "?{}", "Patient?{}", "{}&gender=female"])
def test_the_condition_may_be_written_in_several_ways(fhir, form):
    value = unique()
    condition = form.format(query(value))
    for status in (201, 200):
        assert fhir.post("Patient", identified("Patient", value), if_none_exist=condition).status_code == status


def test_create_when_several_exist(fhir):
    value = unique()
    for _ in range(2):
        fhir.new(identified("Patient", value))
    assert refused(fhir.post("Patient", patient(), if_none_exist=query(value))) == (412, "multiple-matches")
    assert total(fhir, "Patient", value) == 2


@pytest.mark.parametrize("condition", ["", "?", "unknown=1", "birthDate=nonsense", "identifier"])
def test_a_condition_that_is_none_is_never_taken_for_all(fhir, condition):
    answer = fhir.post("Patient", patient(), if_none_exist=condition)
    assert answer.status_code in (400, 412), answer.text
    assert fhir.delete(f"Patient?{condition.removeprefix('?')}").status_code in (400, 405, 412)
    assert fhir.put(f"Patient?{condition.removeprefix('?')}", patient()).status_code in (400, 405, 412)


def test_what_is_created_on_condition_is_checked_first(fhir):
    answer = fhir.post("Patient", {"resourceType": "Patient", "gender": "f"}, if_none_exist=query(unique()))
    assert answer.status_code == 422 and places(answer) == ["Patient.gender"]


async def test_of_twenty_concurrent_creates_one_creates(fhir, crowd):
    value = unique()
    headers = {"content-type": FHIR_JSON, "if-none-exist": query(value)}
    answers = await asyncio.gather(
        *(crowd.post("Patient", content=dumped(identified("Patient", value)), headers=headers) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({stored(answer).path for answer in answers}) == 1 and total(fhir, "Patient", value) == 1


async def test_concurrent_creates_on_different_conditions_do_not_wait_for_one_another_for_ever(fhir, crowd):
    values = [unique() for _ in range(20)]
    answers = await asyncio.gather(
        *(
            crowd.post("Patient", content=dumped(identified("Patient", v)), headers={"content-type": FHIR_JSON, "if-none-exist": query(v)})
            for v in values
        )
    )
    assert [answer.status_code for answer in answers] == [201] * 20


async def test_concurrent_creates_whose_conditions_are_spelled_in_another_order(fhir, crowd):
    value = unique()
    spelled = [f"{query(value)}&gender=female", f"gender=female&{query(value)}"] * 5
    answers = await asyncio.gather(
        *(
            crowd.post("Patient", content=dumped(identified("Patient", value)), headers={"content-type": FHIR_JSON, "if-none-exist": text})
            for text in spelled
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201] and total(fhir, "Patient", value) == 1


def test_update_on_condition_creates_replaces_or_refuses(fhir):
    value = unique()
    first = fhir.put(f"Basic?{query(value)}", identified("Basic", value))
    second = fhir.put(f"Basic?{query(value)}", identified("Basic", value, created="2026"))
    assert (first.status_code, second.status_code) == (201, 200)
    assert stored(first).path == stored(second).path and second.json()["created"] == "2026"
    assert fhir.put(f"Basic?{query(value)}", identified("Basic", value, id=stored(first).id)).status_code == 200
    wrong = fhir.put(f"Basic?{query(value)}", identified("Basic", value, id="other"))
    assert refused(wrong) == (400, "invalid") and places(wrong) == ["Basic.id"]
    fhir.new(identified("Basic", value))
    assert refused(fhir.put(f"Basic?{query(value)}", basic())) == (412, "multiple-matches")


def test_update_on_condition_with_an_id_of_the_client(fhir):
    value, id = unique(), unique()
    first = fhir.put(f"Basic?{query(value)}", identified("Basic", value, id=id))
    assert (first.status_code, stored(first).id) == (201, id)
    assert refused(fhir.put(f"Basic?{query(unique())}", identified("Basic", value, id=id))) == (409, "conflict")


def test_update_on_condition_obeys_if_match(fhir):
    value = unique()
    made = fhir.new(identified("Basic", value))
    assert fhir.put(f"Basic?{query(value)}", identified("Basic", value), if_match=made.etag).status_code == 200
    assert refused(fhir.put(f"Basic?{query(value)}", identified("Basic", value), if_match=made.etag)) == (412, "conflict")
    assert refused(fhir.put(f"Basic?{query(unique())}", basic(), if_match=made.etag)) == (412, "conflict")


async def test_of_concurrent_updates_on_one_condition_one_creates(fhir, crowd):
    value = unique()
    body = dumped(identified("Basic", value))
    answers = await asyncio.gather(
        *(crowd.put(f"Basic?{query(value)}", content=body, headers={"content-type": FHIR_JSON}) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201] and total(fhir, "Basic", value) == 1


def test_patch_on_condition(fhir):
    value = unique()
    operations = [{"op": "add", "path": "/created", "value": "2026"}]
    assert refused(fhir.patch(f"Basic?{query(value)}", operations)) == (404, "not-found")
    made = fhir.new(identified("Basic", value))
    answer = fhir.patch(f"Basic?{query(value)}", operations)
    assert answer.status_code == 200 and fhir.get(made.path).json()["created"] == "2026"
    fhir.new(identified("Basic", value))
    assert refused(fhir.patch(f"Basic?{query(value)}", operations)) == (412, "multiple-matches")


def test_the_format_of_the_answer_is_no_criterion(fhir):
    value = unique()
    made = fhir.new(identified("Basic", value))
    answer = fhir.put(f"Basic?{query(value)}&_format=json&_pretty=true", identified("Basic", value))
    assert (answer.status_code, stored(answer).path) == (200, made.path) and answer.content.startswith(b"{\n")
    for alone in ("_format=json", "_pretty=true", "_format=json&_pretty=true"):
        assert fhir.delete(f"Basic?{alone}").status_code in (400, 412)
    assert fhir.delete(f"Basic?{query(value)}&_format=json").status_code == 204
    assert fhir.get(made.path).status_code == 410


def test_delete_on_condition(fhir):
    value = unique()
    assert fhir.delete(f"Basic?{query(value)}").status_code == 204
    made = fhir.new(identified("Basic", value))
    assert fhir.delete(f"Basic?{query(value)}").status_code == 204
    assert fhir.get(made.path).status_code == 410 and total(fhir, "Basic", value) == 0
    kept = [fhir.new(identified("Basic", value)) for _ in range(2)]
    assert refused(fhir.delete(f"Basic?{query(value)}")) == (412, "multiple-matches")
    assert [fhir.get(one.path).status_code for one in kept] == [200, 200]


def test_deleted_resources_meet_no_condition(fhir):
    value = unique()
    made = fhir.new(identified("Patient", value))
    fhir.delete(made.path)
    again = fhir.post("Patient", identified("Patient", value), if_none_exist=query(value))
    assert again.status_code == 201 and stored(again).path != made.path


def test_preferences_of_a_conditional_create_that_creates_nothing(fhir):
    value = unique()
    fhir.new(identified("Patient", value))
    answer = fhir.post("Patient", identified("Patient", value), if_none_exist=query(value), prefer="return=minimal")
    assert (answer.status_code, answer.content) == (200, b"") and "location" in answer.headers
