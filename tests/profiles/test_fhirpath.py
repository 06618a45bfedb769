"""FHIRPath as invariants use it, held against fhirpathpy. http://hl7.org/fhirpath/N1/"""

import json as plain

import pytest
from fhirpathpy import compile as library
from fhirpathpy.models import models

from fhir_dmp.fhir.fhirpath import PathError, compiled, invariant
from fhir_dmp.fhir.fhirpath_functions import truth
from tests.profiles.reading import BAD, GOOD, PROFILES, artefacts

R4 = models["r4"]
# Not in the library: what a reference leads to.
ALONE = ("resolve()",)


def rules():
    """(key, path of the element, expression) of every invariant of every profile."""
    found = {}
    for one in artefacts("StructureDefinition").values():
        for element in one["differential"]["element"]:
            for rule in element.get("constraint", ()):
                if not any(word in rule["expression"] for word in ALONE):
                    found[rule["key"], element["path"]] = rule["expression"]
    return found


def examples():
    paths = [*GOOD, *(PROFILES / "examples" / "bad" / name for name in BAD)]
    return [plain.loads(path.read_bytes()) for path in paths]


def inside(resource, path):
    """Values at the path of an element, choices expanded."""
    found = [resource]
    for part in path.split(".")[1:]:
        name = part.removesuffix("[x]")
        members = [pair for one in found if isinstance(one, dict) for pair in one.items()]
        named = [value for key, value in members if key == name or (key.startswith(name) and key[len(name)].isupper())]
        found = [value for one in named for value in (one if isinstance(one, list) else [one])]
    return found


@pytest.mark.parametrize(("rule", "expression"), rules().items(), ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_every_invariant_agrees_with_the_library_on_every_example(rule, expression):
    _, path = rule
    judge, ours, asked = library(expression, R4), invariant(expression), 0
    for resource in examples():
        if resource["resourceType"] != path.partition(".")[0]:
            continue
        for value in inside(resource, path):
            theirs = judge(value, {"resource": resource})
            assert ours(value, resource) is (theirs == [True]), (resource.get("id"), value)
            asked += 1
    assert asked


PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "name": [{"use": "official", "family": "Essai", "given": ["A", "B"]}, {"use": "usual", "given": ["C"]}],
    "multipleBirthInteger": 2,
    "extension": [{"url": "http://x.example/a", "valueString": "oui"}, {"url": "http://x.example/b", "valueInteger": 3}],
}


@pytest.mark.parametrize(
    "expression",
    [
        "name.given",
        "name.given.count() = 3",
        "name.where(use = 'official').given.first()",
        "name.exists(use = 'usual')",
        "name.all(given.exists())",
        "name.select(family)",
        "Patient.name.family",
        "Observation.name",
        "active = true",
        "active and name.exists()",
        "active implies name.family.exists()",
        "active xor name.empty()",
        "name.family.empty() or active.not()",
        "extension('http://x.example/a').value = 'oui'",
        "extension('http://x.example/b').value > 2",
        "multipleBirth = 2",
        "name.given | name.family",
        "name.given.distinct().count()",
        "name.given.isDistinct()",
        "'B' in name.given",
        "name.given contains 'D'",
        "name.given[1]",
        "name.given.last()",
        "name.given.tail()",
        "name.given.skip(1).take(1)",
        "name.family.matches('^E.*i$')",
        "name.family.startsWith('Es')",
        "name.family.endsWith('z')",
        "name.family.substring(2)",
        "name.family.length() >= 5",
        "name.family.toString() + '!'",
        "name.given.first().toString().matches('^A')",
        "contact.toString()",
        "name.family + '!' = 'Essai!'",
        "name.family & name.suffix",
        "2 + 3 - 1 = 4",
        "name.family ~ 'ESSAI'",
        "name.family != 'Essai'",
        "iif(active, name.family, 'nobody')",
        "name.given.subsetOf(name.given | 'Z')",
        "name.where(period.empty()).count()",
        "birthDate.exists().not()",
        "(name.given.count() > 2) and (name.given.count() < 4)",
        "name.first().`given`",
    ],
)
def test_expressions_agree_with_the_library(expression):
    theirs = library(expression, R4)(plain.loads(plain.dumps(PATIENT)), {})
    assert compiled(expression)([PATIENT], PATIENT) == theirs


def test_a_boolean_as_text_is_spelt_as_in_json():
    assert compiled("active.toString()")([{"active": True}], {}) == ["true"]
    assert compiled("active.toString()")([{"active": False}, {"active": True}], {}) == []


def test_a_choice_is_read_by_its_type():
    observation = {"resourceType": "Observation", "valueQuantity": {"value": 3, "code": "kg"}}
    assert compiled("value.ofType(Quantity).code")([observation], observation) == ["kg"]
    assert compiled("value.ofType(string)")([observation], observation) == []
    assert compiled("value.code = 'kg'")([observation], observation) == [True]


def test_references_are_followed_inside_the_resource_alone():
    contained = {"contained": [{"resourceType": "Patient", "id": "a"}], "subject": {"reference": "#a"}}
    assert compiled("subject.resolve().id")([contained], contained) == ["a"]
    bundle = {"entry": [{"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "b"}}]}
    assert compiled("'urn:uuid:1'.resolve().id")([bundle], bundle) == ["b"]
    assert compiled("'Patient/1'.resolve()")([bundle], bundle) == []


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "name.",
        "name(",
        "name.shoe(1)",
        "name..given",
        "a b",
        "name.where()",
        "@2020",
        "name.all()",
        "$index",
        "name]",
        "'open",
        "%other",
    ],
)
def test_what_is_not_understood_is_refused_when_it_is_compiled(expression):
    with pytest.raises(PathError):
        compiled(expression)


@pytest.mark.parametrize("value", [None, "", 3, [], [None, {}], {"a": [{"b": None}]}, "text", True, {"name": {"given": [None]}}])
def test_evaluation_is_total(value):
    for expression in rules().values():
        assert truth(compiled(expression)([value], {})) in (True, False, None)


def test_a_pattern_does_not_let_a_line_break_through():
    assert invariant("$this.matches('^[0-9]{11}$')")("10001234567", {})
    assert not invariant("$this.matches('^[0-9]{11}$')")("10001234567\n", {})
