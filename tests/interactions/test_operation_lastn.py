"""Observation/$lastn. https://hl7.org/fhir/R4/observation-operation-lastn.html"""

import pytest

from tests.interactions.making import issues, observation, patient, refused, scoped

LOINC = "http://loinc.org"
VITAL = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}]


@pytest.fixture(scope="module")
def dossier(fhir):
    """A patient with a history of measurements."""
    made = {"patient": fhir.new(patient("MESURE"))}

    def measure(name, code, when, **fields):
        dated = {"effectiveDateTime": when} if when else {}
        made[name] = fhir.new({**observation(made["patient"].path), "category": VITAL, "code": code, **dated, **fields})

    def coded(*codes):
        return {"coding": [{"system": LOINC, "code": code} for code in codes]}

    for year in (2020, 2022, 2024):
        measure(f"weight{year}", coded("29463-7"), f"{year}-01-01")
    measure("tie", coded("29463-7"), "2022-01-01")
    measure("other-name", coded("3141-9"), "2021-01-01")
    measure("both-names", coded("3141-9", "29463-7"), "2019-01-01")
    measure("pulse", coded("8867-4"), "2026-01-01", status="entered-in-error")
    measure("text", {"text": "Humeur"}, "2023-01-01")
    measure("same-text", {"text": "Humeur"}, "2020-01-01")
    measure("other-text", {"text": "humeur"}, "2018-01-01")
    measure("undated", coded("8310-5"), None)
    measure("other-system", {"coding": [{"system": "urn:other", "code": "8310-5"}]}, "2017-01-01")
    measure("laboratory", coded("2160-0"), "2026-01-01", category=[{"coding": [{"code": "laboratory"}]}])
    return made


def names(dossier, answer):
    """The observations of the answer, in order."""
    assert answer.status_code == 200, answer.text
    known = {stored.path: name for name, stored in dossier.items()}
    listed = [entry["fullUrl"].split("/fhir/")[1] for entry in answer.json().get("entry", []) if entry["search"]["mode"] == "match"]
    assert answer.json()["total"] == len(listed)
    return [known[path] for path in listed]


def test_the_newest_of_each_code_newest_first(fhir, dossier):
    found = names(dossier, fhir.get(f"Observation/$lastn?patient={dossier['patient'].id}&category=vital-signs"))
    assert found == ["pulse", "weight2024", "text", "other-text", "other-system", "undated"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, ["weight2024"]),
        # Those of the moment of the last one come too.
        (2, ["weight2024", "tie", "weight2022"]),
        (3, ["weight2024", "tie", "weight2022"]),
        (4, ["weight2024", "tie", "weight2022", "other-name"]),
        (5, ["weight2024", "tie", "weight2022", "other-name", "weight2020"]),
        (9, ["weight2024", "tie", "weight2022", "other-name", "weight2020", "both-names"]),
    ],
)
def test_max_ties_and_codes_that_are_one(fhir, dossier, most, expected):
    code = f"{LOINC}|29463-7,{LOINC}|3141-9"
    found = names(dossier, fhir.get(f"Observation/$lastn?subject={dossier['patient'].path}&code={code}&max={most}"))
    assert found == expected


def test_other_parameters_of_the_search_narrow_it(fhir, dossier):
    base = f"Observation/$lastn?patient={dossier['patient'].id}&category=vital-signs"
    assert names(dossier, fhir.get(f"{base}&status:not=entered-in-error"))[0] == "weight2024"
    assert names(dossier, fhir.get(f"{base}&date=lt2023&code=29463-7&max=2")) == ["tie", "weight2022"]
    assert names(dossier, fhir.get(f"{base}&date=gt2030")) == []
    named = fhir.get(f"{base}&code=8867-4&_include=Observation:subject&_elements=code").json()
    assert [entry["search"]["mode"] for entry in named["entry"]] == ["match", "include"]
    assert "status" in named["entry"][0]["resource"] and "effectiveDateTime" not in named["entry"][0]["resource"]


def test_a_chain_says_of_whom(fhir, dossier):
    assert names(dossier, fhir.get(f"Observation/$lastn?patient._id={dossier['patient'].id}&code=8867-4")) == ["pulse"]


def test_post_is_get(fhir, dossier):
    given = [
        {"name": "patient", "valueReference": {"reference": dossier["patient"].path}},
        {"name": "code", "valueCoding": {"system": LOINC, "code": "29463-7"}},
        {"name": "max", "valuePositiveInt": 1},
    ]
    assert names(dossier, fhir.post("Observation/$lastn", {"resourceType": "Parameters", "parameter": given})) == ["weight2024"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("code=8867-4", "needs to know of whom"),
        ("patient=a", "needs to know what to look for"),
        ("patient:missing=true&code=b", "needs to know of whom"),
        ("patient=a&code:not=b", "needs to know what to look for"),
        ("patient=a&code=b&max=0", "`0` is not of type positiveInt"),
        ("patient=a&code=b&_sort=date", "`_sort` has no meaning"),
        ("patient=a&code=b&_count=2", "`_count` has no meaning"),
        ("patient=a&code=b&size=2", "`size`"),
    ],
)
def test_what_is_not_understood_is_refused(fhir, query, words):
    answer = fhir.get(f"Observation/$lastn?{query}")
    assert answer.status_code == 400 and words in issues(answer)[0]["diagnostics"]


def test_scopes_narrow_it(fhir, server, dossier):
    token = scoped(server, "system/Observation.r")
    assert refused(fhir.get(f"Observation/$lastn?patient={dossier['patient'].id}&code=8867-4", **token)) == (403, "forbidden")
