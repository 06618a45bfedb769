"""[type]/$validate. https://hl7.org/fhir/R4/resource-operation-validate.html"""

import pytest

from tests.interactions.making import bundle, entry, issues, observation, patient, places, refused, scoped

WRONG = {"resourceType": "Observation", "status": "done", "effectiveDateTime": "2026-02-30"}


def parameters(**given):
    def one(name, value):
        return {"name": name, "resource" if isinstance(value, dict) else "valueCode": value}

    return {"resourceType": "Parameters", "parameter": [one(name, value) for name, value in given.items()]}


def said(answer):
    """(severity, code) of all issues; the status is 200 whatever they are."""
    assert answer.status_code == 200, answer.text
    return [(issue["severity"], issue["code"]) for issue in issues(answer)]


VALID = [("information", "informational")]


def test_a_valid_resource_has_no_fault_and_is_not_stored(fhir):
    before = fhir.get("Observation?_summary=count").json()["total"]
    assert said(fhir.post("Observation/$validate", observation())) == VALID
    assert said(fhir.post("Observation/$validate", parameters(resource=observation()))) == VALID
    assert fhir.get("Observation?_summary=count").json()["total"] == before


def test_every_fault_is_told_with_its_place(fhir):
    expected = ["Observation.code", "Observation.effective.ofType(dateTime)", "Observation.status"]
    for body in (WRONG, parameters(resource=WRONG), parameters(resource=WRONG, mode="create")):
        answer = fhir.post("Observation/$validate", body)
        assert {severity for severity, _ in said(answer)} == {"error"}
        assert sorted(places(answer)) == expected


def test_another_type_is_a_fault(fhir):
    answer = fhir.post("Patient/$validate", observation())
    assert said(answer) == [("error", "invalid")] and places(answer) == ["resourceType"]


def test_the_mode_may_stand_in_the_address(fhir):
    assert said(fhir.post("Observation/$validate?mode=create", observation())) == VALID


def test_an_update_is_judged_against_what_is_there(fhir):
    made = fhir.new(patient())
    address = f"{made.path}/$validate"
    assert said(fhir.post(address, parameters(resource={**made.value, "active": True}, mode="update"))) == VALID
    assert said(fhir.post(address, parameters(resource=patient(), mode="update"))) == [("error", "invalid")]
    assert said(fhir.post(address, parameters(resource=patient()))) == VALID
    assert "active" not in fhir.get(made.path).json()


def test_a_deletion_needs_something_to_delete(fhir):
    made = fhir.new(patient())
    assert said(fhir.post(f"{made.path}/$validate", parameters(mode="delete"))) == VALID
    assert said(fhir.get(f"{made.path}/$validate?mode=delete")) == VALID
    assert fhir.get(made.path).status_code == 200
    assert said(fhir.post("Patient/nobody/$validate", parameters(mode="delete"))) == [("error", "not-found")]


def test_of_profiles_it_knows_those_of_the_standard(fhir):
    base = "http://hl7.org/fhir/StructureDefinition/Observation"
    assert said(fhir.post(f"Observation/$validate?profile={base}", observation())) == VALID
    assert said(fhir.post(f"Observation/$validate?mode=profile&profile={base}|4.0.1", observation())) == VALID
    unknown = fhir.post("Observation/$validate?profile=http://a.example/profile", observation())
    assert refused(unknown) == (400, "not-supported")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("Patient/$validate", b"{", (400, "invalid")),
        ("Patient/$validate", parameters(mode="create"), (400, "invalid")),
        ("Patient/$validate", parameters(resource=patient(), mode="update"), (400, "invalid")),
        ("Patient/$validate", parameters(resource=patient(), mode="destroy"), (400, "invalid")),
        ("Patient/$validate", parameters(resource=patient(), mode="profile"), (400, "invalid")),
        ("Patient/$validate?strict=1", patient(), (400, "not-supported")),
        ("Nothing/$validate", patient(), (404, "not-found")),
    ],
)
def test_where_nothing_can_be_validated_the_request_is_refused(fhir, path, body, expected):
    assert refused(fhir.post(path, body)) == expected


def test_parameters_are_a_resource_too(fhir):
    assert said(fhir.post("Parameters/$validate", {"resourceType": "Parameters", "parameter": [{"name": "a", "valueCode": "b"}]})) == VALID


def test_in_a_batch_it_is_an_entry(fhir):
    answer = fhir.post("", bundle("batch", entry("POST", "Observation/$validate", WRONG))).json()["entry"][0]
    assert answer["response"]["status"][:3] == "200" and len(answer["resource"]["issue"]) == 3


def test_scopes_narrow_it(fhir, server):
    token = scoped(server, "system/Patient.r")
    assert said(fhir.post("Patient/$validate", patient(), **token)) == VALID
    assert refused(fhir.post("Patient/$validate?mode=create", patient(), **token)) == (403, "forbidden")
