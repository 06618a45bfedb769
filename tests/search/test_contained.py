"""Searches for contained resources. https://hl7.org/fhir/R4/search.html#contained"""

import json

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import parse_query
from fhir_dmp.interactions import search_type
from tests.search.hosting import BASE, ask, context_on, found, ids, put

ATC = "http://www.whocc.no/atc"


def request(id: str, patient: str, *medications: dict) -> dict:
    about = {"subject": {"reference": f"Patient/{patient}"}, "medicationReference": {"reference": "#m0"}}
    contained = [{"resourceType": "Medication", "id": f"m{at}", **each} for at, each in enumerate(medications)]
    return {"resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order", "contained": contained, **about}


def coded(code: str, **more) -> dict:
    return {"code": {"coding": [{"system": ATC, "code": code}]}, **more}


@pytest.fixture
async def shelf(sandbox_store):
    maker = {"manufacturer": {"reference": "Organization/o1"}}
    await put(
        sandbox_store,
        {"resourceType": "Organization", "id": "o1", "name": "Laboratoire du Nord"},
        {"resourceType": "Medication", "id": "m0", **coded("A10")},
        request("r1", "p1", coded("A10", **maker), coded("A10", status="active")),
        request("r2", "p1", coded("B01", identifier=[{"system": "http://i", "value": "7"}])),
        request("r3", "p2", coded("A10", status="inactive")),
        {"resourceType": "MedicationRequest", "id": "r4", "status": "active", "intent": "order", "subject": {"reference": "Patient/p1"}},
    )
    return context_on(sandbox_store)


async def test_contained_resources_are_found_through_their_containers(shelf):
    asked = {
        f"Medication?code={ATC}|A10": ["m0"],
        f"Medication?code={ATC}|A10&_contained=false": ["m0"],
        f"Medication?code={ATC}|A10&_contained=true": ["r3", "r1"],
        f"Medication?code={ATC}|A10&_contained=both": ["r3", "r1", "m0"],
        "Medication?code=B01,A10&_contained=true&_containedType=container&_count=1": ["r3", "r2", "r1"],
        "Medication?identifier=http://i|7&_contained=true": ["r2"],
        "Medication?status=active&_contained=true": ["r1"],
        "Medication?code:not=B01&_contained=true": ["r3", "r1"],
        "Medication?manufacturer.name=laboratoire&_contained=true": ["r1"],
        "Medication?manufacturer=Organization/o1&_contained=both": ["r1"],
        "Medication?_contained=true&_id=m0": [],
        "?_type=Medication,Organization&_contained=true": ["r3", "r2", "r1"],
        "Medication?code=zzz&_contained=both": [],
    }
    assert {address: await ids(shelf, address) for address in asked} == asked
    assert {a: (await ask(shelf, a)).total for a in asked} == {a: len(expected) for a, expected in asked.items()}


async def test_contained_resources_are_answered_by_themselves_where_that_is_asked(shelf):
    address = "Medication?code=A10&_contained=both&_containedType=contained"
    result = await ask(shelf, address)
    assert result.total == 4
    assert sorted(entry.address for entry in result.entries) == [
        "Medication/m0", "MedicationRequest/r1#m0", "MedicationRequest/r1#m1", "MedicationRequest/r3#m0",
    ]  # fmt: skip
    page, seen = await ask(shelf, address + "&_count=1"), []
    while True:
        assert page.total == 4
        seen += [entry.address for entry in page.entries]
        if "next" not in dict(page.links):
            break
        page = await ask(shelf, dict(page.links)["next"])
    assert seen == [entry.address for entry in result.entries]
    answer = await search_type.run(shelf, "Medication", parse_query("code=B01&_contained=true&_containedType=contained&_pretty=true"))
    (entry,) = json.loads(answer.body)["entry"]
    assert entry["fullUrl"] == f"{BASE}/MedicationRequest/r2#m0"
    assert entry["resource"]["resourceType"] == "Medication" and entry["resource"]["id"] == "m0"
    assert entry["search"] == {"mode": "match"}


async def test_what_changed_since_the_first_page_is_judged_again(shelf):
    first = await ask(shelf, "Medication?code=A10&_contained=both&_count=1")
    assert found(first) == ["MedicationRequest/r3"]
    await put(shelf.store, request("r1", "p1", coded("B01")))
    second = await ask(shelf, dict(first.links)["next"])
    assert found(second) == ["Medication/m0"]


async def test_containers_are_included_from_and_questions_without_sense_are_refused(shelf):
    await put(shelf.store, {"resourceType": "Patient", "id": "p2"})
    result = await ask(shelf, "Medication?status=inactive&_contained=true&_include=MedicationRequest:subject")
    assert (found(result), found(result, "include")) == (["MedicationRequest/r3"], ["Patient/p2"])
    for address in (
        "?_contained=true&_lastUpdated=ge2020",
        "Medication?_contained=true&_list=l1",
        "Medication?_contained=true&_containedType=contained&_include=Medication:manufacturer",
        "Organization?_contained=true&_has:Medication:manufacturer:code=A10",
    ):
        with pytest.raises(FhirError):
            await ask(shelf, address)
