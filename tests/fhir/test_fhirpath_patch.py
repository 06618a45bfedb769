"""FHIRPath Patch. https://hl7.org/fhir/R4/fhirpatch.html"""

import copy
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import patch_path
from fhir_dmp.fhir.fhirpath_patch import apply
from fhir_dmp.fhir.json import dump, parse_exact


def operation(kind, path, *, name=None, value=None, **numbers):
    """value: a dict of members of the `value` part, e.g. {"valueString": "x"} or {"part": [...]}."""
    parts = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    if name is not None:
        parts.append({"name": "name", "valueString": name})
    if value is not None:
        parts.append({"name": "value", **value})
    return {"name": "operation", "part": parts + [{"name": n, "valueInteger": i} for n, i in numbers.items()]}


def patch(*operations):
    return {"resourceType": "Parameters", "parameter": list(operations)}


def patched(resource, *operations):
    before = copy.deepcopy(resource)
    result = apply(resource, patch(*operations))
    assert resource == before
    return result


def patient(**members):
    return {"resourceType": "Patient", **members}


def identifiers(*values):
    return [{"system": "urn:oid:1.2", "value": value} for value in values]


def part(name, **value):
    return {"name": name, **value}


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(patch_path).failed == 0


CASES = {
    "replace a primitive": (
        patient(birthDate="1920-01-01"),
        [operation("replace", "Patient.birthDate", value={"valueDate": "1930-01-01"})],
        patient(birthDate="1930-01-01"),
    ),
    "delete a primitive": (patient(birthDate="1920-01-01"), [operation("delete", "Patient.birthDate")], patient()),
    "add a primitive": (
        patient(),
        [operation("add", "Patient", name="birthDate", value={"valueDate": "1930-01-01"})],
        patient(birthDate="1930-01-01"),
    ),
    "delete what is not there": (patient(active=True), [operation("delete", "Patient.birthDate")], patient(active=True)),
    "replace a nested primitive": (
        patient(contact=[{"name": {"text": "a"}, "gender": "male"}]),
        [operation("replace", "Patient.contact[0].name.text", value={"valueString": "b"})],
        patient(contact=[{"name": {"text": "b"}, "gender": "male"}]),
    ),
    "what a deletion leaves empty goes too": (
        patient(contact=[{"name": {"text": "a"}}], active=True),
        [operation("delete", "Patient.contact[0].name.text")],
        patient(active=True),
    ),
    "add a nested primitive": (
        patient(contact=[{"name": {"text": "a"}}]),
        [operation("add", "Patient.contact[0]", name="gender", value={"valueCode": "male"})],
        patient(contact=[{"name": {"text": "a"}, "gender": "male"}]),
    ),
    "add a complex value": (
        patient(),
        [operation("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": {"text": "m"}})],
        patient(maritalStatus={"text": "m"}),
    ),
    "replace a complex value": (
        patient(maritalStatus={"id": "1", "text": "m"}),
        [operation("replace", "Patient.maritalStatus", value={"valueCodeableConcept": {"id": "2", "text": "n"}})],
        patient(maritalStatus={"id": "2", "text": "n"}),
    ),
    "delete a complex value": (patient(maritalStatus={"text": "m"}), [operation("delete", "Patient.maritalStatus")], patient()),
    "add a backbone element in parts": (
        patient(),
        [operation("add", "Patient", name="contact", value={"part": [part("name", valueHumanName={"text": "a"})]})],
        patient(contact=[{"name": {"text": "a"}}]),
    ),
    "replace a backbone element in parts": (
        patient(contact=[{"gender": "male"}, {"gender": "male"}]),
        [operation("replace", "Patient.contact[1]", value={"part": [part("gender", valueCode="female")]})],
        patient(contact=[{"gender": "male"}, {"gender": "female"}]),
    ),
    "add to a list": (
        patient(identifier=identifiers("1")),
        [operation("add", "Patient", name="identifier", value={"valueIdentifier": identifiers("2")[0]})],
        patient(identifier=identifiers("1", "2")),
    ),
    "insert at the start": (
        patient(identifier=identifiers("1", "2")),
        [operation("insert", "Patient.identifier", index=0, value={"valueIdentifier": identifiers("3")[0]})],
        patient(identifier=identifiers("3", "1", "2")),
    ),
    "insert at the end": (
        patient(identifier=identifiers("1", "2")),
        [operation("insert", "Patient.identifier", index=2, value={"valueIdentifier": identifiers("3")[0]})],
        patient(identifier=identifiers("1", "2", "3")),
    ),
    "insert into an absent list": (
        patient(),
        [operation("insert", "Patient.identifier", index=0, value={"valueIdentifier": identifiers("3")[0]})],
        patient(identifier=identifiers("3")),
    ),
    "delete from a list": (
        patient(identifier=identifiers("1", "2", "3")),
        [operation("delete", "Patient.identifier[1]")],
        patient(identifier=identifiers("1", "3")),
    ),
    "move backwards": (
        patient(identifier=identifiers("1", "2", "3", "4")),
        [operation("move", "Patient.identifier", source=3, destination=1)],
        patient(identifier=identifiers("1", "4", "2", "3")),
    ),
    "move forwards": (
        patient(identifier=identifiers("1", "2", "3", "4")),
        [operation("move", "Patient.identifier", source=0, destination=3)],
        patient(identifier=identifiers("2", "3", "4", "1")),
    ),
    "reverse by moves": (
        patient(identifier=identifiers("1", "2", "3", "4")),
        [operation("move", "Patient.identifier", source=3, destination=i) for i in range(3)],
        patient(identifier=identifiers("4", "3", "2", "1")),
    ),
    "replace the narrative with a string": (
        patient(text={"status": "generated", "div": "<div>a</div>"}),
        [operation("replace", "Patient.text.div", value={"valueString": "<div>b</div>"})],
        patient(text={"status": "generated", "div": "<div>b</div>"}),
    ),
    "filters": (
        patient(identifier=[{"use": "usual", "value": "1"}, {"use": "official", "value": "2", "period": {"start": "2020"}}]),
        [
            operation(
                "add", "Patient.identifier.where(use = 'official' and period.exists()).period", name="end", value={"valueDate": "2021"}
            )
        ],
        patient(identifier=[{"use": "usual", "value": "1"}, {"use": "official", "value": "2", "period": {"start": "2020", "end": "2021"}}]),
    ),
    "paths without the type": (
        patient(active=True),
        [operation("replace", "active", value={"valueBoolean": False})],
        patient(active=False),
    ),
    "first and last": (
        patient(name=[{"given": ["a", "b", "c"]}]),
        [operation("delete", "Patient.name.first().given.last()"), operation("delete", "Patient.name.given.first()")],
        patient(name=[{"given": ["b"]}]),
    ),
    "a choice is named without type": (
        patient(deceasedBoolean=False, active=True),
        [operation("replace", "Patient.deceased", value={"valueDateTime": "2020-01-01"})],
        patient(deceasedDateTime="2020-01-01", active=True),
    ),
    "add a choice": (
        patient(),
        [operation("add", "Patient", name="deceased", value={"valueBoolean": True})],
        patient(deceasedBoolean=True),
    ),
    "a choice by its type": (
        {"resourceType": "Observation", "valueQuantity": {"value": 1}},
        [operation("replace", "Observation.value.ofType(Quantity).value", value={"valueDecimal": 2})],
        {"resourceType": "Observation", "valueQuantity": {"value": 2}},
    ),
    "a choice by as": (
        {"resourceType": "Observation", "valueQuantity": {"value": 1}},
        [operation("delete", "(Observation.value as Quantity).value")],
        {"resourceType": "Observation"},
    ),
    "a choice of another type is not there": (
        {"resourceType": "Observation", "valueQuantity": {"value": 1}},
        [operation("delete", "Observation.value.ofType(string)")],
        {"resourceType": "Observation", "valueQuantity": {"value": 1}},
    ),
    "add an extension in parts": (
        patient(),
        [
            operation(
                "add", "Patient", name="extension", value={"part": [part("url", valueUri="http://e"), part("value", valueBoolean=True)]}
            )
        ],
        patient(extension=[{"url": "http://e", "valueBoolean": True}]),
    ),
    "an extension by its url": (
        patient(extension=[{"url": "http://a", "valueString": "1"}, {"url": "http://b", "valueString": "2"}]),
        [operation("replace", "Patient.extension('http://b').value", value={"valueBoolean": True})],
        patient(extension=[{"url": "http://a", "valueString": "1"}, {"url": "http://b", "valueBoolean": True}]),
    ),
    "an extension of a primitive": (
        patient(birthDate="2020-01-01"),
        [
            operation(
                "add", "Patient.birthDate", name="extension", value={"part": [part("url", valueUri="u"), part("value", valueString="v")]}
            )
        ],
        patient(birthDate="2020-01-01", _birthDate={"extension": [{"url": "u", "valueString": "v"}]}),
    ),
    "an extension of a repeating primitive": (
        patient(name=[{"given": ["a", "b"]}]),
        [
            operation(
                "insert",
                "Patient.name.given[1].extension",
                index=0,
                value={"part": [part("url", valueUri="u"), part("value", valueString="v")]},
            )
        ],
        patient(name=[{"given": ["a", "b"], "_given": [None, {"extension": [{"url": "u", "valueString": "v"}]}]}]),
    ),
    "delete the extension of a primitive": (
        patient(name=[{"given": ["a", "b"], "_given": [None, {"extension": [{"url": "u", "valueString": "v"}]}]}]),
        [operation("delete", "Patient.name.given[1].extension('u')")],
        patient(name=[{"given": ["a", "b"]}]),
    ),
    "one of several extensions of primitives": (
        patient(name=[{"given": ["a", "b"], "_given": [{"id": "x"}, {"id": "y"}]}]),
        [operation("delete", "Patient.name.given[0].id")],
        patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "y"}]}]),
    ),
    "extensions move and go with their primitive": (
        patient(name=[{"given": ["a", "b", "c"], "_given": [None, {"id": "b"}]}]),
        [operation("move", "Patient.name.given", source=1, destination=0), operation("delete", "Patient.name.given[1]")],
        patient(name=[{"given": ["b", "c"], "_given": [{"id": "b"}, None]}]),
    ),
    "a primitive is replaced with its extensions": (
        patient(birthDate="2020-01-01", _birthDate={"id": "x"}),
        [operation("replace", "Patient.birthDate", value={"valueDate": "2021-01-01"})],
        patient(birthDate="2021-01-01"),
    ),
    "a value of extensions only": (
        patient(birthDate="2020-01-01"),
        [operation("replace", "Patient.birthDate", value={"_valueDate": {"extension": [{"url": "absent", "valueCode": "unknown"}]}})],
        patient(_birthDate={"extension": [{"url": "absent", "valueCode": "unknown"}]}),
    ),
    "an age is a quantity": (
        {"resourceType": "Condition", "onsetAge": {"value": 1}},
        [operation("replace", "Condition.onset", value={"valueAge": {"value": 2}})],
        {"resourceType": "Condition", "onsetAge": {"value": 2}},
    ),
    "nested parts with a choice and lists": (
        {"resourceType": "Specimen"},
        [
            operation(
                "add",
                "Specimen",
                name="processing",
                value={
                    "part": [
                        part("description", valueString="d"),
                        part("time", valueDateTime="2021"),
                        part("additive", valueReference={"reference": "Substance/1"}),
                        part("additive", valueReference={"reference": "Substance/2"}),
                    ]
                },
            )
        ],
        {
            "resourceType": "Specimen",
            "processing": [
                {"description": "d", "timeDateTime": "2021", "additive": [{"reference": "Substance/1"}, {"reference": "Substance/2"}]}
            ],
        },
    ),
    "inside contained resources": (
        {"resourceType": "DocumentReference", "contained": [{"resourceType": "Patient", "id": "p", "active": True}]},
        [operation("replace", "DocumentReference.contained.where(id = 'p').active", value={"valueBoolean": False})],
        {"resourceType": "DocumentReference", "contained": [{"resourceType": "Patient", "id": "p", "active": False}]},
    ),
    "add a contained resource": (
        patient(),
        [operation("add", "Patient", name="contained", value={"resource": {"resourceType": "Organization", "id": "o"}})],
        patient(contained=[{"resourceType": "Organization", "id": "o"}]),
    ),
    "through content references": (
        {"resourceType": "Questionnaire", "item": [{"linkId": "1", "item": [{"linkId": "2"}]}]},
        [operation("add", "Questionnaire.item[0].item[0]", name="item", value={"part": [part("linkId", valueString="3")]})],
        {"resourceType": "Questionnaire", "item": [{"linkId": "1", "item": [{"linkId": "2", "item": [{"linkId": "3"}]}]}]},
    ),
    "supersede a document": (
        {"resourceType": "DocumentReference", "status": "current"},
        [operation("replace", "DocumentReference.status", value={"valueCode": "superseded"})],
        {"resourceType": "DocumentReference", "status": "superseded"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_do_what_the_standard_says(name):
    resource, operations, result = CASES[name]
    assert patched(resource, *operations) == result


def test_an_empty_patch_returns_the_same_object():
    resource = patient(active=True)
    assert apply(resource, {"resourceType": "Parameters"}) is resource


def test_numbers_and_untouched_parts_stay_as_they_are():
    body = b'{"resourceType":"Observation","referenceRange":[{"low":{"value":1.00}}],"valueQuantity":{"value":1E2,"unit":"g"}}'
    resource = parse_exact(body)
    operations = parse_exact(dump(patch(operation("replace", "Observation.value.unit", value={"valueString": "kg"}))))
    result = apply(resource, operations)
    assert dump(result) == body.replace(b'"g"', b'"kg"') and result["referenceRange"] is resource["referenceRange"]


TARGET = patient(name=[{"family": "a"}, {"family": "b"}], birthDate="2020-01-01", deceasedBoolean=True, identifier=identifiers("1", "2"))
UNPROCESSABLE = [
    (operation("replace", "Patient.gender", value={"valueCode": "male"}), "no element found"),
    (operation("replace", "Patient.name", value={"valueHumanName": {}}), "2 elements found"),
    (operation("replace", "Patient", value={"valueHumanName": {}}), "whole resource cannot be replaced"),
    (operation("delete", "Patient"), "whole resource cannot be deleted"),
    (operation("delete", "Patient.name"), "2 elements found"),
    (operation("delete", "Patient.shoe"), "`Patient` has no element `shoe`"),
    (operation("delete", "Patient.birthDate.day"), "has no element `day`"),
    (operation("delete", "Observation.status"), "the resource is a Patient, not a Observation"),
    (operation("delete", "Patient.name.exists()"), "names a value, not an element"),
    (operation("delete", "Patient.name.single()"), "single\\(\\) found several"),
    (operation("add", "Patient.name", name="family", value={"valueString": "x"}), "2 elements found"),
    (operation("add", "Patient.name[0]", name="family", value={"valueString": "x"}), "there is a `family` already"),
    (operation("add", "Patient", name="deceased", value={"valueDateTime": "2020"}), "there is a `deceased` already"),
    (operation("add", "Patient", name="shoe", value={"valueString": "x"}), "has no element `shoe`"),
    (operation("add", "Patient", name="resourceType", value={"valueString": "x"}), "has no element"),
    (operation("add", "Patient.maritalStatus", name="text", value={"valueString": "x"}), "no element found"),
    (operation("add", "Patient", name="gender", value={"valueBoolean": True}), "`gender` is code, not boolean"),
    (operation("add", "Patient", name="active", value={"valueString": "true"}), "`active` is boolean, not string"),
    (operation("add", "Patient", name="maritalStatus", value={"valueCoding": {}}), "not Coding"),
    (operation("add", "Patient", name="multipleBirth", value={"valueString": "x"}), "`multipleBirth` is boolean or integer, not string"),
    (operation("add", "Patient", name="gender", value={"part": [part("x", valueString="y")]}), "cannot be given in parts"),
    (operation("add", "Patient", name="gender", value={"resource": {}}), "cannot be a resource"),
    (
        operation("add", "Patient", name="contact", value={"part": [part("gender", valueCode="a"), part("gender", valueCode="b")]}),
        "`gender` cannot repeat",
    ),
    (operation("insert", "Patient.identifier", index=3, value={"valueIdentifier": {}}), "index 3 lies outside the list of 2"),
    (operation("insert", "Patient.identifier", index=-1, value={"valueIdentifier": {}}), "index -1 lies outside"),
    (operation("insert", "Patient.identifier[0]", index=0, value={"valueIdentifier": {}}), "must name a list"),
    (operation("insert", "Patient.birthDate", index=0, value={"valueDate": "2020"}), "`birthDate` is not a list"),
    (operation("move", "Patient.identifier", source=2, destination=0), "source 2 lies outside"),
    (operation("move", "Patient.identifier", source=0, destination=2), "destination 2 lies outside"),
    (operation("move", "Patient.contact", source=0, destination=0), "source 0 lies outside"),
]


@pytest.mark.parametrize(("sent", "words"), UNPROCESSABLE, ids=range(len(UNPROCESSABLE)))
def test_what_does_not_fit_is_unprocessable_and_names_its_operation(sent, words):
    with pytest.raises(FhirError, match=words) as caught:
        apply(TARGET, patch(operation("delete", "Patient.gender"), sent))
    assert caught.value.status == 422
    assert caught.value.where == "Parameters.parameter[1]" and caught.value.message.startswith("operation 1 (")


INVALID = [
    {"resourceType": "Patient"},
    {"resourceType": "Parameters", "parameter": {}},
    patch("x"),
    patch({"name": "other", "part": []}),
    patch({"name": "operation"}),
    patch({"name": "operation", "part": [{"name": "type", "valueCode": "delete"}]}),
    patch({"name": "operation", "part": [{"valueCode": "delete"}]}),
    patch(operation("erase", "Patient.name")),
    patch(operation("add", "Patient", value={"valueString": "x"})),
    patch(operation("add", "Patient", name="gender")),
    patch(operation("replace", "Patient.gender")),
    patch(operation("insert", "Patient.name", value={"valueHumanName": {}})),
    patch(operation("insert", "Patient.name", index="1", value={"valueHumanName": {}})),
    patch(operation("move", "Patient.name", source=1)),
    *(
        patch(operation("delete", path))
        for path in (
            "", ".", "Patient.", "Patient..name", "Patient.name[", "Patient.name[-1]", "Patient.name[x]", "Patient.name[1.0]",
            "Patient.name.where(", "Patient.name.where()", "Patient.name.where(use='a'", "Patient.name.where(use=)", "Patient name",
            "Patient.name.resolve()", "Patient.name.matches('(a+)+$')", "Patient.name | Patient.contact", "Patient.extension(url)",
            "Patient.name.ofType('x')", "'x", "Patient.name;", "(" * 1000, "Patient" + ".name" * 200, "Patient.name[" + "9" * 20 + "]",
            "x" * 3000, "Patient.name.where(" * 30 + "true" + ")" * 30,
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("parameters", INVALID, ids=range(len(INVALID)))
def test_malformed_patches_are_invalid(parameters):
    with pytest.raises(FhirError) as caught:
        apply(TARGET, parameters)
    assert caught.value.status == 400, caught.value.message


def test_a_value_needs_exactly_one_type():
    for value in ({}, {"valueString": "a", "valueCode": "b"}, {"valueShoe": "x"}):
        with pytest.raises(FhirError, match="exactly one value"):
            apply(patient(), patch(operation("add", "Patient", name="gender", value=value)))


def test_too_many_operations_and_too_deep_results_are_refused():
    with pytest.raises(FhirError) as caught:
        apply(patient(), patch(*[operation("delete", "Patient.gender")] * 1001))
    assert caught.value.kind == "too-costly"
    extension = {"part": [part("url", valueUri="u")]}
    deep = patch(*(operation("add", "Patient" + ".extension[0]" * n, name="extension", value=extension) for n in range(40)))
    with pytest.raises(FhirError, match="nested more than 64 levels"):
        apply(patient(), deep)


@pytest.mark.parametrize(
    ("criterion", "found"),
    [
        ("use = 'official'", ["1"]),
        ("use != 'official'", ["2"]),
        ("use.exists() and value = '1'", ["1"]),
        ("use.empty() or value = '2'", ["2", "3"]),
        ("use.exists().not()", ["3"]),
        ("(value = '1' or value = '2') and use = 'usual'", ["2"]),
        ("$this.value = '3'", ["3"]),
        ("period.exists(start = @2020)", ["1"]),
        ("%resource.active = true and value = '2'", ["2"]),
        ("value is string", ["1", "2", "3"]),
        ("rank = 1", []),
        ("value = 'it\\'s'", []),
        ("`use` = 'usual'", ["2"]),
        ("false", []),
    ],
)
def test_criteria(criterion, found):
    resource = patient(
        active=True,
        identifier=[{"use": "official", "value": "1", "period": {"start": "2020"}}, {"use": "usual", "value": "2"}, {"value": "3"}],
    )
    path = f"Patient.identifier.where({criterion})"
    if "rank" in criterion:
        with pytest.raises(FhirError, match="no element `rank`"):
            patch_path.evaluate(patch_path.parse_path(path), resource)
    else:
        nodes = patch_path.evaluate(patch_path.parse_path(path), resource)
        assert [node.value["value"] for node in nodes] == found


def test_numbers_in_criteria_are_compared_by_value():
    resource = parse_exact(b'{"resourceType":"Observation","component":[{"valueQuantity":{"value":1.50}},{"valueQuantity":{"value":2}}]}')
    found = patch_path.evaluate(patch_path.parse_path("Observation.component.where(value.value = 1.5)"), resource)
    assert [node.at for node in found] == [("component", 0)]


@given(
    st.lists(
        st.sampled_from(
            [
                "Patient",
                "name",
                "given",
                ".",
                "[",
                "]",
                "0",
                "1",
                "(",
                ")",
                "where",
                "first",
                "'x'",
                "=",
                "and",
                "$this",
                "extension",
                "ofType",
                " ",
                "é",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_any_path_is_understood_or_refused(path):
    resource = patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "x"}]}])
    for kind in ("delete", "move", "replace"):
        try:
            apply(resource, patch(operation(kind, path, value={"valueString": "v"}, source=0, destination=1)))
        except FhirError as error:
            assert error.status in (400, 422)


@given(st.permutations(range(5)), st.integers(0, 4), st.integers(0, 4))
def test_moves_are_removals_and_insertions(values, source, destination):
    resource = patient(name=[{"given": [str(v) for v in values], "_given": [{"id": str(v)} for v in values]}])
    name = apply(resource, patch(operation("move", "Patient.name.given", source=source, destination=destination)))["name"][0]
    expected = list(values)
    expected.insert(destination, expected.pop(source))
    assert name["given"] == [str(v) for v in expected] and [extra["id"] for extra in name["_given"]] == name["given"]
