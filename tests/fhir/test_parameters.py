"""Input of operations. https://hl7.org/fhir/R4/operations.html#request"""

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.json import dump
from fhir_dmp.fhir.parameters import Parameter, read

KNOWN = (
    Parameter("start", "date"),
    Parameter("at", "instant"),
    Parameter("exact", "boolean"),
    Parameter("most", "positiveInt"),
    Parameter("kind", "token", many=True),
    Parameter("needed", "string", required=True),
)
RESOURCE = (Parameter("resource", "Resource", required=True), Parameter("mode", "code"))


def body(*parameters):
    return dump({"resourceType": "Parameters", "parameter": list(parameters)})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"valueString": "a|b"}, "a|b"),
        ({"valueBoolean": False}, "false"),
        ({"valueInteger": 7}, "7"),
        ({"valueCoding": {"system": "s", "code": "c"}}, "s|c"),
        ({"valueCoding": {"code": "c$d"}}, "c\\$d"),
        ({"valueIdentifier": {"system": "s", "value": "v,w"}}, "s|v\\,w"),
        ({"valueReference": {"reference": "Patient/1"}}, "Patient/1"),
        ({"valueCodeableConcept": {"coding": [{"code": "a"}, {"system": "s", "code": "b"}]}}, "a,s|b"),
    ],
)
def test_values_are_spelled_as_in_a_query(given, text):
    found = read([Parameter("x", many=True)], [], body({"name": "x", **given}))
    assert found.one("x") == text


def test_query_and_body_add_up_and_lists_are_lists():
    found = read(KNOWN, [("needed", "n"), ("kind", "a,b")], body({"name": "kind", "valueCode": "b"}, {"name": "most", "valueInteger": 3}))
    assert found.listed("kind") == ("a", "b") and found.number("most", 1) == 3 and not found.flag("exact") and found.one("start") is None


def test_every_fault_is_told():
    with pytest.raises(FhirError) as refusal:
        read(KNOWN, [("start", "2026-01-01T00:00:00Z"), ("at", "2026"), ("exact", "yes"), ("most", "0"), ("other", "x"), ("most", "1")])
    assert [issue.code for issue in refusal.value.issues] == ["value", "value", "value", "value", "not-supported", "invalid", "required"]
    assert refusal.value.status == 400


def test_a_resource_is_the_body_or_a_parameter():
    patient = {"resourceType": "Patient", "multipleBirthInteger": 1}
    for text in (dump(patient), body({"name": "resource", "resource": patient})):
        assert read(RESOURCE, [("mode", "create")], text).resources == {"resource": (patient, dump(patient))}


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Parameters","parameter":{}}',
        body({"valueString": "nameless"}),
        body({"name": "needed"}),
        body({"name": "needed", "valueString": "a", "valueCode": "b"}),
        body({"name": "needed", "valuePeriod": {"start": "2020"}}),
        body({"name": "needed", "resource": {"resourceType": "Patient"}}),
        body({"name": "needed", "part": [{"name": "x", "valueString": "y"}]}),
    ],
)
def test_malformed_input_is_refused(text):
    with pytest.raises(FhirError) as refusal:
        read(KNOWN, [], text)
    assert refusal.value.status == 400


def test_malformed_resources_are_refused():
    for text in (
        body({"name": "resource", "resource": "x"}),
        body({"name": "resource", "resource": {}}, {"name": "resource", "resource": {}}),
    ):
        with pytest.raises(FhirError):
            read(RESOURCE, [], text)
