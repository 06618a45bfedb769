"""Typed building of server-made resources. https://hl7.org/fhir/R4/resource.html"""

import doctest
import json

import pydantic
import pytest

from fhir_dmp.fhir import models, narrative, primitives, rules, schema, tables


def test_a_built_resource_is_its_json():
    made = models.build("OperationOutcome", issue=[{"severity": "error", "code": "invalid", "diagnostics": "é"}])
    assert json.loads(made) == {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": "é"}],
    }


def test_a_member_the_model_does_not_know_is_refused():
    with pytest.raises(pydantic.ValidationError):
        models.build("OperationOutcome", issue=[{"severity": "error", "code": "invalid", "shoe": 1}])


def test_what_the_model_lets_through_the_schema_refuses():
    with pytest.raises(models.NotBuilt) as caught:
        models.build("OperationOutcome", issue=[{"severity": "bogus", "code": "invalid"}])
    assert caught.value.issues[0].expression == "OperationOutcome.issue[0].severity"


@pytest.mark.parametrize("module", [models, narrative, primitives, rules, schema, tables], ids=lambda m: m.__name__)
def test_the_examples_in_the_documentation_are_true(module):
    assert doctest.testmod(module).failed == 0
