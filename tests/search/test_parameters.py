"""Every search parameter of R4 and of PDSm, compiled. https://hl7.org/fhir/R4/searchparameter-registry.html"""

import json
from random import Random

import pytest

from fhir_dmp.fhir import tables
from fhir_dmp.search import parameters as registry
from fhir_dmp.search.expressions import ExpressionError, branches
from fhir_dmp.search.extract import extract
from fhir_dmp.search.own import OWN
from fhir_dmp.search.parameters import parameters
from tests.search.building import resource_with


def test_every_official_expression_compiles_for_every_type_it_names():
    found = 0
    for row in tables.search_parameters():
        if not row.expression:
            assert row.code in ("_text", "_content", "_query")
            continue
        for base in row.base:
            for type_name in ("Patient",) if base in ("Resource", "DomainResource") else (base,):
                assert branches(row.expression, type_name), (row.url, type_name)
                found += 1
    assert (len(tables.search_parameters()), found) == (1375, 1703)


def test_each_parameter_is_found_in_a_resource_that_has_it_and_not_in_one_that_has_not():
    random, checked = Random(1), 0
    for type_name in tables.RESOURCE_TYPES:
        bare = set(extract(type_name, {"resourceType": type_name}))
        assert bare == ({"deceased"} if type_name == "Patient" else set())  # `exists() and != false` is never without an answer
        for code, parameter in parameters(type_name).items():
            for _ in range(40):  # some branches end in a data type the parameter cannot search, e.g. a date in words
                made = resource_with(type_name, code, random)
                if code in extract(type_name, made):
                    break
            else:
                pytest.fail(f"{type_name}.{code}: nothing found in {made} by {parameter.branches}")
            checked += 1
    assert checked == sum(len(parameters(name)) for name in tables.RESOURCE_TYPES) > 2500


def test_parameters_beside_those_of_r4_are_there():
    assert {row.code for row in OWN} == {
        "isArchived", "creation", "period-start", "period-end", "designationType", "sourceId", "authorOrg", "intendedRecipient", "purpose",
    }  # fmt: skip
    published = [(json.loads(file.read_bytes()), file) for file in registry.PROFILES.glob("SearchParameter-*.json")]
    derived = {one.get("derivedFrom", one["url"]): file for one, file in published}
    for row in OWN:
        # Published under an address of ours, that names the original it comes from, where there is one.
        ours = registry.row_of(json.loads(derived[row.url].read_bytes()))
        assert ours._replace(url=row.url) == row
        for base in row.base:
            assert parameters(base)[row.code].url == ours.url


def test_search_parameter_resources_of_a_folder_are_read(tmp_path):
    published = {
        "resourceType": "SearchParameter", "url": "http://x.example/sp", "code": "nickname", "type": "string", "base": ["Patient"],
        "expression": "Patient.name.where(use='nickname').given",
    }  # fmt: skip
    (tmp_path / "SearchParameter-nickname.json").write_text(json.dumps(published))
    (row,) = registry.published(tmp_path)
    (branch,) = branches(row.expression, "Patient")
    assert (row.code, row.type, branch.type) == ("nickname", "string", "string")


@pytest.mark.parametrize(
    "expression", ["Patient.shoe", "Patient.name.first()", "Patient.name.", "Patient.name.where(use='a'", "Patient name"]
)
def test_an_expression_that_is_not_understood_is_refused(expression):
    with pytest.raises(ExpressionError):
        branches(expression, "Patient")


def test_a_parameter_of_the_patient_compartment_refers_to_patients_only():
    assert parameters("Observation")["patient"].targets == ("Patient",)
    assert parameters("AllergyIntolerance")["patient"].targets == ("Patient",)
    assert parameters("Observation")["subject"].targets == ("Device", "Group", "Location", "Patient")


def test_the_two_parts_of_relationship_are_read_the_right_way_round():
    parts = parameters("DocumentReference")["relationship"].components
    assert [(part.type, part.expression) for part in parts] == [("token", "code"), ("reference", "target")]
