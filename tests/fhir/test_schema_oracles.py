"""Two other validators beside ours; where they differ, why. https://hl7.org/fhir/R4/validation.html"""

import json
import random
from pathlib import Path

import jsonschema
import pydantic
import pytest

from fhir_dmp.fhir import models
from fhir_dmp.fhir.json_schema import json_schema
from fhir_dmp.fhir.schema import RESOURCE_TYPES, validate, validator
from tests.fhir.generated import MUTATIONS, mutated, resource

# kind of fault -> types of the element -> why the oracle accepts what we refuse; and R4 types that R4B changed or dropped.
EXPLAINED = json.loads((Path(__file__).parent / "oracle_disagreements.json").read_text())

R4B_TYPES = [t for t in RESOURCE_TYPES if t not in EXPLAINED["types that R4B dropped"]["types"]]


def _fhir_resources_accepts(value):
    try:
        models.model(value["resourceType"]).model_validate(value)
    except (pydantic.ValidationError, TypeError):  # TypeError: it meets an object where it wants a url
        return False
    return True


def _explained(kind, spot):
    listed = EXPLAINED["accepted by fhir.resources, refused here"].get(kind, {}).get("types", {})
    return "*" in listed or spot.type in listed


def test_fhir_resources_lacks_only_the_types_that_r4b_dropped():
    for type_name in EXPLAINED["types that R4B dropped"]["types"]:
        with pytest.raises(ValueError):
            models.model(type_name)
    assert all(models.model(t) for t in R4B_TYPES)


@pytest.mark.parametrize("richness", [0, 0.2, 0.6])
def test_fhir_resources_accepts_every_generated_resource_but_those_of_types_that_r4b_changed(richness):
    rng = random.Random(richness)
    for type_name in R4B_TYPES:
        value = resource(type_name, rng, richness)
        assert validate(value) == []
        assert _fhir_resources_accepts(value) or type_name in EXPLAINED["types that R4B changed"]["types"], value


@pytest.mark.parametrize("kind", MUTATIONS)
def test_fhir_resources_refuses_what_we_refuse_or_the_difference_is_explained(kind):
    rng = random.Random(kind)
    for type_name in R4B_TYPES:
        if type_name in EXPLAINED["types that R4B changed"]["types"]:
            continue
        if broken := mutated(resource(type_name, rng, 0.4), kind, rng):
            value, expression, spot = broken
            assert validate(value), value
            assert not _fhir_resources_accepts(value) or _explained(kind, spot), (expression, spot.type, spot.owner)


def test_every_explanation_is_about_a_fault_that_is_made():
    assert set(EXPLAINED["accepted by fhir.resources, refused here"]) <= set(MUTATIONS)
    assert set(EXPLAINED["refused by jsonschema, accepted by jsonschema-rs"]) <= set(MUTATIONS)


@pytest.mark.parametrize("type_name", ["Bundle", "Observation", "StructureDefinition"])
def test_a_generated_schema_is_itself_a_valid_schema(type_name):
    jsonschema.Draft202012Validator.check_schema(json_schema(type_name))


@pytest.mark.parametrize("part", range(4))
def test_jsonschema_finds_faults_of_the_generated_schemas_at_the_same_places(part):
    rng = random.Random(part)
    for type_name in RESOURCE_TYPES[part::4]:
        schema = json_schema(type_name)
        oracle, ours = jsonschema.Draft202012Validator(schema), validator(type_name)
        value = resource(type_name, rng, 0.3)
        assert ours.is_valid(value) and oracle.is_valid(value)
        for kind in rng.sample(list(MUTATIONS), 5):
            if broken := mutated(value, kind, rng):
                theirs = {tuple(error.absolute_path) for error in oracle.iter_errors(broken[0])}
                own = {tuple(error.instance_path) for error in ours.iter_errors(broken[0])}
                assert own == theirs or kind in EXPLAINED["refused by jsonschema, accepted by jsonschema-rs"], (kind, own, theirs)


@pytest.mark.parametrize("kind", EXPLAINED["accepted by fhir.resources, refused here"])
def test_each_explained_difference_still_exists(kind):
    rng = random.Random(kind)
    waiting = set(EXPLAINED["accepted by fhir.resources, refused here"][kind]["types"])
    for round in range(12):
        for type_name in R4B_TYPES:
            if waiting and (broken := mutated(resource(type_name, rng, 0.1 * round), kind, rng)):
                value, _, spot = broken
                if waiting & {spot.type, "*"} and _fhir_resources_accepts(value):
                    waiting -= {spot.type, "*"}
    assert waiting == set()
