"""References and their rewriting. https://hl7.org/fhir/R4/references.html"""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.fhir import references as module
from fhir_dmp.fhir.references import Ref, is_id, parse_reference, references, rewrite

BASES = ("https://dmp.example/fhir", "http://localhost:8080/fhir/")


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("Patient/1", Ref("local", "Patient", "1")),
        ("Patient/1/_history/2", Ref("local", "Patient", "1", "2")),
        ("Patient/1#x", Ref("local", "Patient", "1", fragment="x")),
        ("https://dmp.example/fhir/Patient/1", Ref("local", "Patient", "1", base="https://dmp.example/fhir")),
        ("http://localhost:8080/fhir/Patient/1/_history/2", Ref("local", "Patient", "1", "2", base="http://localhost:8080/fhir")),
        ("https://dmp.example/fhir2/Patient/1", Ref("absolute", "Patient", "1", base="https://dmp.example/fhir2")),
        ("https://other.example/a/b/Patient/1/_history/2", Ref("absolute", "Patient", "1", "2", base="https://other.example/a/b")),
        ("https://other.example/x", Ref("absolute")),
        ("https://other.example/Patient?identifier=1", Ref("absolute")),
        ("#", Ref("fragment")),
        ("#p1", Ref("fragment", fragment="p1")),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", Ref("urn")),
        ("urn:oid:1.2.3#x", Ref("urn", fragment="x")),
        ("Patient?identifier=urn:oid:1.2|3#4", Ref("conditional", "Patient", query="identifier=urn:oid:1.2|3#4")),
        ("https://dmp.example/fhir/Patient?a=b", Ref("conditional", "Patient", query="a=b", base="https://dmp.example/fhir")),
        ("", Ref("other")),
        ("Patient", Ref("other")),
        ("/Patient/1", Ref("other")),
        ("Patient/1/", Ref("other")),
        ("Patient/1/2", Ref("other")),
        ("Patient/../2", Ref("other")),
        ("patient/1", Ref("other")),
        ("Patient/１", Ref("other")),
        ("Patient/" + "1" * 65, Ref("other")),
        ("Patient/1\n", Ref("other")),
        ("x?y", Ref("other")),
    ],
)
def test_a_reference_says(text, ref):
    assert parse_reference(text, BASES) == ref


@given(st.text(max_size=40))
def test_any_text_has_an_answer(text):
    ref = parse_reference(text, BASES)
    assert ref.kind in ("local", "absolute", "fragment", "urn", "conditional", "other")
    assert not ref.id or is_id(ref.id)


def test_references_are_found_everywhere_with_their_place():
    resource = {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Practitioner", "extension": [{"valueReference": {"reference": "Organization/1"}}]}],
        "subject": {"reference": "Patient/1", "display": "x"},
        "performer": [{"display": "none"}, {"reference": "#p"}],
        "valueString": "Patient/2",
    }
    assert [(path, ref["reference"]) for path, ref in references(resource)] == [
        ("Observation.contained[0].extension[0].valueReference", "Organization/1"),
        ("Observation.subject", "Patient/1"),
        ("Observation.performer[1]", "#p"),
    ]


U1, U2 = "urn:uuid:00000000-0000-4000-8000-000000000001", "urn:oid:1.2.3.4"
MAP = {U1: "Patient/p1", U2: "Binary/b1", "http://source/fhir/Patient/9": "Patient/p9", "Patient?identifier=1": "Patient/p1"}


def test_links_are_rewritten_where_the_type_is_a_link_and_nowhere_else():
    resource = {
        "resourceType": "DocumentReference",
        "text": {"status": "generated", "div": f'<div><a href="{U1}#x">a</a><img src=\'{U2}\'/> {U1} <a href="#y">y</a></div>'},
        "contained": [{"resourceType": "Patient", "id": "c", "managingOrganization": {"reference": U1}}],
        "extension": [{"url": "e", "valueUri": U1}, {"url": "e", "valueString": U1}, {"url": "e", "valueCanonical": U1}],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": U1}],
        "subject": {"reference": U1, "display": U1, "identifier": {"value": U1}},
        "author": [{"reference": "http://source/fhir/Patient/9/_history/3"}, {"reference": "Patient?identifier=1"}],
        "authenticator": {"reference": U1 + "#part"},
        "description": U1,
        "content": [{"attachment": {"url": U2, "title": U2}}],
    }
    assert rewrite(resource, MAP) == {
        "resourceType": "DocumentReference",
        "text": {
            "status": "generated",
            "div": f'<div><a href="Patient/p1#x">a</a><img src=\'Binary/b1\'/> {U1} <a href="#y">y</a></div>',
        },
        "contained": [{"resourceType": "Patient", "id": "c", "managingOrganization": {"reference": "Patient/p1"}}],
        "extension": [
            {"url": "e", "valueUri": "Patient/p1"},
            {"url": "e", "valueString": U1},
            {"url": "e", "valueCanonical": U1},
        ],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": U1}],
        "subject": {"reference": "Patient/p1", "display": U1, "identifier": {"value": U1}},
        "author": [{"reference": "Patient/p9"}, {"reference": "Patient/p1"}],
        "authenticator": {"reference": "Patient/p1#part"},
        "description": U1,
        "content": [{"attachment": {"url": "Binary/b1", "title": U2}}],
    }


def test_extensions_of_primitives_and_nested_resources_are_reached():
    patient = {"resourceType": "Patient", "_birthDate": {"extension": [{"valueReference": {"reference": U1}}]}}
    resource = {"resourceType": "Parameters", "parameter": [{"part": [{"part": [{"resource": patient}]}]}]}
    found = rewrite(resource, MAP)["parameter"][0]["part"][0]["part"][0]["resource"]
    assert found["_birthDate"] == {"extension": [{"valueReference": {"reference": "Patient/p1"}}]}


def test_a_canonical_address_that_is_also_a_full_url_stays():
    url = "http://source/fhir/StructureDefinition/1"
    resource = {"resourceType": "StructureDefinition", "url": url, "baseDefinition": url}
    assert rewrite(resource, {url: "StructureDefinition/new"}) is resource


def test_relative_references_are_resolved_against_the_base_of_the_entry():
    resource = {"resourceType": "Observation", "subject": {"reference": "Patient/9"}, "encounter": {"reference": "Encounter/9"}}
    changed = rewrite(resource, MAP, base="http://source/fhir")
    assert changed["subject"] == {"reference": "Patient/p9"} and changed["encounter"] is resource["encounter"]


def test_a_member_called_resource_type_is_ordinary_outside_resources():
    resource = {
        "resourceType": "ExampleScenario",
        "instance": [{"resourceId": "1", "resourceType": "Patient", "containedInstance": [{"resourceId": "1"}], "description": U1}],
        "actor": [{"actorId": "x", "extension": [{"url": "u", "valueReference": {"reference": U1}}]}],
    }
    changed = rewrite(resource, MAP)
    assert changed["instance"] is resource["instance"]
    assert changed["actor"][0]["extension"][0]["valueReference"] == {"reference": "Patient/p1"}


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["subject", "reference", "contained", "url", "resourceType", "x", "_url"]), inner, max_size=4),
        ),
        max_leaves=12,
    )
)
def test_a_tree_without_links_is_returned_as_the_same_object(tree):
    for type_name in ("Observation", "Nothing", None, 3):
        resource = {"resourceType": type_name, "subject": tree, "contained": tree, "extension": [tree]}
        assert rewrite(resource, MAP) is resource
        assert all(isinstance(ref["reference"], str) for _, ref in references(resource))
