"""Structural validation. https://hl7.org/fhir/R4/validation.html"""

import random
import time
from decimal import Decimal

import pytest

from fhir_dmp.fhir.schema import MAX_ISSUES, RESOURCE_TYPES, validate
from tests.fhir.generated import MUTATIONS, mutated, resource

EXTENSION = {"url": "http://example.org/e", "valueString": "x"}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'


def patient(**members):
    return {"resourceType": "Patient", **members}


def observation(**members):
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **members}


def found(value, **keywords):
    return [(issue.code, issue.expression) for issue in validate(value, **keywords)]


VALID = [
    patient(),
    patient(_birthDate={"extension": [EXTENSION]}),
    patient(birthDate="1970-01-01", _birthDate={"id": "a"}),
    patient(name=[{"given": ["Anne", None], "_given": [None, {"extension": [EXTENSION]}]}]),
    patient(name=[{"_given": [{"extension": [EXTENSION]}]}]),
    patient(name=[{"_family": {"extension": [EXTENSION]}}]),
    patient(deceasedBoolean=False, multipleBirthInteger=2),
    patient(extension=[{"url": "http://example.org/e", "extension": [EXTENSION]}]),
    patient(extension=[{"url": "http://example.org/e", "_valueString": {"extension": [EXTENSION]}}]),
    patient(text={"status": "generated", "div": DIV}),
    patient(generalPractitioner=[{"reference": "Practitioner/1"}]),
    patient(generalPractitioner=[{"reference": "http://example.org/fhir/Practitioner/1/_history/2"}]),
    patient(generalPractitioner=[{"reference": "https://example.org/something-else"}]),
    patient(generalPractitioner=[{"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}]),
    patient(generalPractitioner=[{"reference": "Practitioner?identifier=http://example.org|1"}]),
    patient(generalPractitioner=[{"type": "Practitioner", "identifier": {"value": "1"}}]),
    patient(generalPractitioner=[{"type": "http://example.org/LogicalModel", "display": "x"}]),
    patient(contained=[{"resourceType": "Practitioner", "id": "p"}], generalPractitioner=[{"reference": "#p"}]),
    patient(
        contained=[
            {"resourceType": "Practitioner", "id": "p"},
            {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#p"}},
        ],
        generalPractitioner=[{"reference": "#r"}],
    ),
    observation(valueQuantity={"value": Decimal("1.00"), "comparator": "<"}),
    observation(status="final", valueInteger=-0),
    {"resourceType": "Observation", "_status": {"extension": [EXTENSION]}, "code": {"extension": [EXTENSION]}},
    {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient()}, {"fullUrl": "urn:x:y", "resource": observation()}]},
    {"resourceType": "Parameters", "parameter": [{"name": "a", "part": [{"name": "b", "resource": patient()}]}]},
    {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="},
    {
        "resourceType": "Questionnaire",
        "status": "draft",
        "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "display"}]}],
    },
]

# What is wrong -> the resource, the issue code, the place.
WRONG = {
    "not an object": ([], "structure", "Resource"),
    "no type": ({"id": "a"}, "required", "Resource.resourceType"),
    "an unknown type": ({"resourceType": "Patiant"}, "structure", "Resource.resourceType"),
    "an abstract type": ({"resourceType": "DomainResource"}, "structure", "Resource.resourceType"),
    "a type that is no string": ({"resourceType": ["Patient"]}, "structure", "Resource.resourceType"),
    "an unknown element": (patient(shoe=1), "structure", "Patient.shoe"),
    "an unknown element further in": (patient(contact=[{"name": {"nick": "x"}}]), "structure", "Patient.contact[0].name.nick"),
    "a name that is no name": (patient(**{"$where": "1"}), "structure", "Patient"),
    "a choice without its type": (observation(value="x"), "structure", "Observation.value"),
    "a choice with a type it has not": (observation(valueAddress={"text": "x"}), "structure", "Observation.valueAddress"),
    "two choices": (observation(valueString="x", valueBoolean=True), "structure", "Observation.value"),
    "two choices, one an extension": (
        observation(valueString="x", _valueBoolean={"id": "a", "extension": [EXTENSION]}),
        "structure",
        "Observation.value",
    ),
    "a required choice missing": (
        {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"reference": "Patient/1"}},
        "required",
        "MedicationRequest.medication",
    ),
    "a required element missing": ({"resourceType": "Observation", "status": "final"}, "required", "Observation.code"),
    "a required primitive missing": ({"resourceType": "Observation", "code": {"text": "x"}}, "required", "Observation.status"),
    "a required element missing further in": (patient(link=[{"type": "seealso"}]), "required", "Patient.link[0].other"),
    "no array for a repeating element": (patient(name={"family": "x"}), "structure", "Patient.name"),
    "an array for a single element": (patient(gender=["female"]), "structure", "Patient.gender"),
    "an empty array": (patient(name=[]), "structure", "Patient.name"),
    "an empty object": (patient(maritalStatus={}), "structure", "Patient.maritalStatus"),
    "an empty object where something is required": (patient(link=[{}]), "structure", "Patient.link[0]"),
    "an object with an id alone": (patient(maritalStatus={"id": "a"}), "structure", "Patient.maritalStatus"),
    "an empty string": (patient(name=[{"family": ""}]), "value", "Patient.name[0].family"),
    "a blank string": (patient(name=[{"given": ["x", " \n"]}]), "value", "Patient.name[0].given[1]"),
    "null": (patient(gender=None), "structure", "Patient.gender"),
    "null for an object in an array": (patient(name=[None]), "structure", "Patient.name[0]"),
    "null without companion": (patient(name=[{"given": [None, "x"]}]), "structure", "Patient.name[0].given[0]"),
    "null on both sides": (
        patient(name=[{"given": ["a", None], "_given": [{"extension": [EXTENSION]}, None]}]),
        "structure",
        "Patient.name[0].given[1]",
    ),
    "companion of another length": (
        patient(name=[{"given": ["a", "b"], "_given": [{"extension": [EXTENSION]}]}]),
        "structure",
        "Patient.name[0].given",
    ),
    "null in a companion alone": (
        patient(name=[{"_given": [{"extension": [EXTENSION]}, None]}]),
        "structure",
        "Patient.name[0].given[1]",
    ),
    "a companion that is no array": (patient(name=[{"_given": {"extension": [EXTENSION]}}]), "structure", "Patient.name[0].given"),
    "a companion with an id alone and no value": (patient(_birthDate={"id": "a"}), "structure", "Patient.birthDate"),
    "an empty companion": (patient(birthDate="1970", _birthDate={}), "structure", "Patient.birthDate"),
    "a companion with a value": (patient(_birthDate={"value": "1970"}), "structure", "Patient.birthDate.value"),
    "a companion of an object": (patient(_maritalStatus={"extension": [EXTENSION]}), "structure", "Patient.maritalStatus"),
    "a companion of the id": (patient(id="a", _id={"extension": [EXTENSION]}), "structure", "Patient.id"),
    "a bad id": (patient(id="a/b"), "value", "Patient.id"),
    "a date that does not exist": (patient(birthDate="1970-02-30"), "value", "Patient.birthDate"),
    "a time without zone": (observation(effectiveDateTime="2024-01-01T10:00:00"), "value", "Observation.effective.ofType(dateTime)"),
    "a string for a boolean": (patient(active="true"), "structure", "Patient.active"),
    "a whole number with a fraction": (patient(multipleBirthInteger=Decimal("1.00")), "value", "Patient.multipleBirth.ofType(integer)"),
    "a whole number that is none": (patient(multipleBirthInteger=Decimal("1.5")), "value", "Patient.multipleBirth.ofType(integer)"),
    "a number over 32 bits": (patient(multipleBirthInteger=2**31), "value", "Patient.multipleBirth.ofType(integer)"),
    "a decimal beyond all measure": (
        observation(valueQuantity={"value": Decimal("1e999999999999")}),
        "value",
        "Observation.value.ofType(Quantity).value",
    ),
    "a code outside its value set": (patient(gender="f"), "code-invalid", "Patient.gender"),
    "a code with spaces": (patient(language=" fr"), "value", "Patient.language"),
    "a concept outside its value set": (
        {
            "resourceType": "AllergyIntolerance",
            "patient": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": "http://example.org", "code": "active"}]},
        },
        "code-invalid",
        "AllergyIntolerance.clinicalStatus",
    ),
    "a concept of text alone where a code is required": (
        {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"}, "clinicalStatus": {"text": "active"}},
        "code-invalid",
        "AllergyIntolerance.clinicalStatus",
    ),
    "a comparator in a simple quantity": (
        observation(referenceRange=[{"low": {"value": 1, "comparator": "<"}}]),
        "structure",
        "Observation.referenceRange[0].low.comparator",
    ),
    "a reference to a type not allowed": (
        patient(generalPractitioner=[{"reference": "Patient/1"}]),
        "invalid",
        "Patient.generalPractitioner[0].reference",
    ),
    "an absolute reference to a type not allowed": (
        patient(generalPractitioner=[{"reference": "http://example.org/fhir/Patient/1"}]),
        "invalid",
        "Patient.generalPractitioner[0].reference",
    ),
    "a conditional reference to a type not allowed": (
        patient(generalPractitioner=[{"reference": "Patient?identifier=1"}]),
        "invalid",
        "Patient.generalPractitioner[0].reference",
    ),
    "a reference to a type unknown to R4": (
        patient(generalPractitioner=[{"reference": "Doctor/1"}]),
        "invalid",
        "Patient.generalPractitioner[0].reference",
    ),
    "a reference that contradicts its type": (
        patient(generalPractitioner=[{"reference": "Practitioner/1", "type": "Organization"}]),
        "invalid",
        "Patient.generalPractitioner[0].type",
    ),
    "a type not allowed beside an identifier": (
        patient(generalPractitioner=[{"type": "Patient", "identifier": {"value": "1"}}]),
        "invalid",
        "Patient.generalPractitioner[0].type",
    ),
    "a fragment that leads nowhere": (
        patient(generalPractitioner=[{"reference": "#p"}]),
        "invalid",
        "Patient.generalPractitioner[0].reference",
    ),
    "a fragment that leads to a type not allowed": (
        patient(contained=[{"resourceType": "Patient", "id": "p"}], generalPractitioner=[{"reference": "#p"}]),
        "invalid",
        "Patient.generalPractitioner[0].reference",
    ),
    "a wrong reference inside an extension of a primitive": (
        patient(_birthDate={"extension": [{"url": "http://example.org/e", "valueReference": {"reference": "#p"}}]}),
        "invalid",
        "Patient.birthDate.extension[0].value.ofType(Reference).reference",
    ),
    "an extension with value and extensions": (
        patient(extension=[{**EXTENSION, "extension": [EXTENSION]}]),
        "structure",
        "Patient.extension[0]",
    ),
    "an extension with neither": (patient(extension=[{"url": "http://example.org/e"}]), "structure", "Patient.extension[0]"),
    "an extension with an id alone": (patient(extension=[{"url": "http://example.org/e", "id": "a"}]), "structure", "Patient.extension[0]"),
    "an extension without url": (patient(extension=[{"valueString": "x"}]), "required", "Patient.extension[0].url"),
    "an extension with two values": (patient(extension=[{**EXTENSION, "valueCode": "x"}]), "structure", "Patient.extension[0].value"),
    "a script in the narrative": (
        patient(text={"status": "generated", "div": DIV.replace("x<", "<script>x</script><")}),
        "invalid",
        "Patient.text.div",
    ),
    "a contained resource without id": (
        patient(contained=[{"resourceType": "Basic", "code": {"text": "x"}}]),
        "required",
        "Patient.contained[0].id",
    ),
    "a fault in a contained resource": (
        patient(contained=[{"resourceType": "Practitioner", "id": "p", "gender": "x"}]),
        "code-invalid",
        "Patient.contained[0].gender",
    ),
    "a contained resource of an unknown type": (
        patient(contained=[{"resourceType": "Doctor", "id": "p"}]),
        "structure",
        "Patient.contained[0].resourceType",
    ),
    "a contained thing that is no resource": (patient(contained=["x"]), "structure", "Patient.contained[0]"),
    "a resource contained in a contained one": (
        patient(contained=[{"resourceType": "Patient", "id": "p", "contained": [{"resourceType": "Patient", "id": "q"}]}]),
        "structure",
        "Patient.contained[0].contained",
    ),
    "security labels in a contained resource": (
        patient(contained=[{"resourceType": "Patient", "id": "p", "meta": {"security": [{"code": "x"}]}}]),
        "structure",
        "Patient.contained[0].meta.security",
    ),
    "one id for two contained resources": (
        patient(contained=[{"resourceType": "Patient", "id": "p"}, {"resourceType": "Practitioner", "id": "p"}]),
        "structure",
        "Patient.contained[1].id",
    ),
    "a fault in a Bundle entry": (
        {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": patient()}, {"resource": patient(name=[{"given": ["a", ""]}])}]},
        "value",
        "Bundle.entry[1].resource.name[0].given[1]",
    ),
    "a fault in an outcome of a Bundle": (
        {"resourceType": "Bundle", "type": "batch-response", "entry": [{"response": {"status": "400", "outcome": patient(x=1)}}]},
        "structure",
        "Bundle.entry[0].response.outcome.x",
    ),
    "a fault of a Bundle entry itself": (
        {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "get", "url": "Patient"}}]},
        "code-invalid",
        "Bundle.entry[0].request.method",
    ),
    "a fault in a parameter": (
        {"resourceType": "Parameters", "parameter": [{"name": "a", "part": [{"name": "b", "resource": patient(active=1)}]}]},
        "structure",
        "Parameters.parameter[0].part[0].resource.active",
    ),
}


@pytest.mark.parametrize("value", VALID)
def test_a_valid_resource_has_no_issue(value):
    assert validate(value) == []


@pytest.mark.parametrize("what", WRONG)
def test_each_fault_alone_is_one_issue_with_its_code_and_place(what):
    value, code, expression = WRONG[what]
    [issue] = validate(value)
    assert (issue.severity, issue.code, issue.expression) == ("error", code, expression)


def test_every_fault_is_found_in_one_pass():
    value = patient(
        id="a b",
        active="true",
        gender="f",
        birthDate="1970-02-30",
        shoe=1,
        name=[{"given": [None]}, {"family": " "}],
        contact=[],
        link=[{"type": "refer"}],
        deceasedBoolean=True,
        deceasedDateTime="2020",
        generalPractitioner=[{"reference": "Patient/1"}],
        text={"status": "generated", "div": "x"},
        contained=[{"resourceType": "Patient", "gender": "m"}],
    )
    assert sorted(found(value)) == sorted(
        [
            ("value", "Patient.id"),
            ("structure", "Patient.active"),
            ("code-invalid", "Patient.gender"),
            ("value", "Patient.birthDate"),
            ("structure", "Patient.shoe"),
            ("structure", "Patient.name[0].given[0]"),
            ("value", "Patient.name[1].family"),
            ("structure", "Patient.contact"),
            ("required", "Patient.link[0].other"),
            ("structure", "Patient.deceased"),
            ("invalid", "Patient.generalPractitioner[0].reference"),
            ("invalid", "Patient.text.div"),
            ("required", "Patient.contained[0].id"),
            ("code-invalid", "Patient.contained[0].gender"),
        ]
    )


def test_messages_say_what_to_do_and_keep_user_input_short_and_on_one_line():
    [issue] = validate(patient(gender="x`\n" * 100))
    assert issue.diagnostics.startswith("`x  x  x")
    assert issue.diagnostics.endswith("…` is not one of the codes allowed here: female, male, other, unknown")
    [issue] = validate(patient(birthdate="1970"))
    assert issue.diagnostics == "`birthdate` is not an element of Patient; did you mean `birthDate`?"
    [issue] = validate(observation(value=1))
    assert "`valueQuantity`" in issue.diagnostics


def test_the_expected_type_is_checked():
    assert found(patient(), type="Observation") == [("structure", "Observation.resourceType")]
    assert found(patient(), type="Patient") == []


def test_references_in_bundle_entries_see_only_what_their_own_entry_contains():
    practitioner = {"resourceType": "Practitioner", "id": "p"}
    first = patient(contained=[practitioner], generalPractitioner=[{"reference": "#p"}])
    second = patient(generalPractitioner=[{"reference": "#p"}])
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": first}, {"resource": second}]}
    assert found(bundle) == [("invalid", "Bundle.entry[1].resource.generalPractitioner[0].reference")]


def test_validation_leaves_the_resource_as_it_was():
    value = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient(contained=[{"resourceType": "Basic"}])}]}
    before = repr(value)
    validate(value)
    assert repr(value) == before


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_generated_resource_broken_by_a_rule_is_refused_at_that_place(kind):
    rng = random.Random(kind)
    code = MUTATIONS[kind][0]
    seen = 0
    for type_name in RESOURCE_TYPES:
        if broken := mutated(resource(type_name, rng, 0.4), kind, rng):
            value, expression, _ = broken
            assert (code, expression) in found(value), value
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize("richness", [0, 0.2, 0.9])
def test_a_generated_resource_of_every_type_is_valid(richness):
    rng = random.Random(richness)
    for type_name in RESOURCE_TYPES:
        value = resource(type_name, rng, richness)
        assert validate(value) == [], value


def _nested(levels, name):
    inner: dict = {}
    at = inner
    for _ in range(levels):
        at[name] = [{}]
        at = at[name][0]
    return inner


HOSTILE = {
    "extensions nested 100,000 deep": patient(extension=[_nested(100_000, "extension")]),
    "an unknown element nested 100,000 deep": patient(shoe=[_nested(100_000, "shoe")]),
    "100,000 unknown elements": patient(**{f"x{n}": n for n in range(100_000)}),
    "100,000 empty strings": patient(name=[{"given": [""] * 100_000}]),
    "100,000 nulls": patient(name=[{"given": [None] * 100_000}]),
    "100,000 contained nothings": patient(contained=[{}] * 100_000),
    "a fault after 100,000 good values": patient(name=[{"given": ["x"] * 100_000 + [""]}]),
    "a whole number with a giant exponent": patient(multipleBirthInteger=Decimal("1e999999999999")),
    "a whole number of 4,000 digits": patient(multipleBirthInteger=10**4000),
    "a megabyte of base64 with one wrong character": {"resourceType": "Binary", "contentType": "a/b", "data": "A" * 1_000_003 + "-"},
    "a megabyte of dots for a date": patient(birthDate="." * 1_000_000),
    "a megabyte of slashes for a reference": patient(generalPractitioner=[{"reference": "http://" + "a/" * 500_000}]),
    "a megabyte of spaces for a code": patient(language="a" + " " * 1_000_000),
}


@pytest.mark.parametrize("what", [w for w in HOSTILE if "slashes" not in w])
def test_a_hostile_resource_is_refused_in_bounded_time_with_a_bounded_list(what):
    validate(patient())
    began = time.process_time()
    issues = validate(HOSTILE[what])
    assert 0 < len(issues) <= MAX_ISSUES + 1
    assert all(len(issue.diagnostics) < 400 for issue in issues)
    assert time.process_time() - began < 2


def test_a_hostile_reference_is_read_in_linear_time():
    began = time.process_time()
    validate(HOSTILE["a megabyte of slashes for a reference"])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", ["Organization/a b", "a b", "../Organization/1", "Organization/é", "Organization//1"])
def test_a_text_that_is_no_reference_is_refused(text):
    (issue,) = validate({"resourceType": "Patient", "managingOrganization": {"reference": text}})
    assert (issue.code, issue.expression) == ("invalid", "Patient.managingOrganization.reference")
