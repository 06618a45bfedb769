"""Lists, named and functional. https://hl7.org/fhir/R4/lifecycle.html#current"""

from tests.search.hosting import context_on, ids, put

LISTS = "http://terminology.hl7.org/CodeSystem/list-example-use-codes"


def listing(id: str, patient: str, code: str, date: str, *named: str, status: str = "current", deleted: str = "") -> dict:
    entries = [{"item": {"reference": each}, **({"deleted": True} if each == deleted else {})} for each in named]
    return {
        "resourceType": "List",
        "id": id,
        "status": status,
        "mode": "working",
        "code": {"coding": [{"system": LISTS, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": date,
        "entry": entries,
    }


async def test_the_newest_current_list_of_each_patient_answers(sandbox_store):
    context = context_on(sandbox_store)
    allergies = [
        {"resourceType": "AllergyIntolerance", "id": f"a{number}", "category": [category], "patient": {"reference": f"Patient/{patient}"}}
        for number, (patient, category) in enumerate([("p1", "food"), ("p1", "medication"), ("p1", "food"), ("p2", "medication")])
    ]
    await put(
        sandbox_store,
        {"resourceType": "Patient", "id": "p1", "gender": "male"},
        {"resourceType": "Patient", "id": "p2", "gender": "female"},
        *allergies,
        listing("l1", "p1", "allergies", "2024-05-01", "AllergyIntolerance/a0", "AllergyIntolerance/a1"),
        listing("l2", "p1", "allergies", "2023-05-01", "AllergyIntolerance/a2"),  # older, though stored later
        listing("l3", "p1", "allergies", "2025-05-01", "AllergyIntolerance/a2", status="retired"),
        listing("l4", "p1", "problems", "2025-06-01", "AllergyIntolerance/a2", "Condition/c1", deleted="AllergyIntolerance/a2"),
        listing("l5", "p2", "allergies", "2020", "AllergyIntolerance/a3"),
    )
    asked = {
        "AllergyIntolerance?patient=p1&_list=$current-allergies": ["a1", "a0"],
        "AllergyIntolerance?patient=p1&_list=$current-drug-allergies": ["a1"],
        "AllergyIntolerance?patient=p1&_list=$current-problems": [],
        "AllergyIntolerance?patient=p2&_list=$current-allergies": ["a3"],
        "AllergyIntolerance?_list=$current-allergies": ["a3", "a1", "a0"],
        "AllergyIntolerance?patient.gender=female&_list=$current-allergies": ["a3"],
        "AllergyIntolerance?_id=a0,a2,a3&_list=$current-allergies": ["a3", "a0"],
        "Patient?_list=$current-drug-allergies": [],
        "AllergyIntolerance?_list=l2": ["a2"],
        "AllergyIntolerance?patient=p1&_filter=patient[gender eq male].gender eq male and category eq food": ["a2", "a0"],
    }
    assert {address: await ids(context, address) for address in asked} == asked
