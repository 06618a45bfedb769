"""Definition tables. https://hl7.org/fhir/R4/definitions.html"""

import importlib.util
from pathlib import Path

import pytest

from fhir_dmp.fhir import tables

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT.parent / "shared" / "fhir-r4"
DEFINITIONS = ROOT / "fhir_dmp" / "fhir" / "definitions"


def _script():
    spec = importlib.util.spec_from_file_location("generate_definitions", ROOT / "scripts" / "generate_definitions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", [SOURCE] if SOURCE.is_dir() else [])
def test_generating_the_tables_again_gives_the_same_bytes(source):
    made = _script().generate(source)
    assert set(made) == {p.name for p in DEFINITIONS.iterdir()}
    for name, content in made.items():
        assert (DEFINITIONS / name).read_bytes() == content, name


def test_every_file_stays_small():
    assert all(p.stat().st_size < 1_000_000 for p in DEFINITIONS.iterdir())


def test_all_types_of_r4_are_there():
    assert (len(tables.RESOURCE_TYPES), len(tables.DATA_TYPES), len(tables.PRIMITIVE_TYPES)) == (146, 39, 20)
    assert all(tables.elements(t) for t in (*tables.RESOURCE_TYPES, *tables.DATA_TYPES))


def test_every_element_leads_somewhere():
    for path in tables.paths():
        for element in tables.elements(path).values():
            for type_name in element.types:
                inner = tables.child_path(element, type_name)
                assert type_name in tables.PRIMITIVE_TYPES or type_name == "Resource" or tables.elements(inner), (path, element.name)


def test_every_required_value_set_is_listed_or_known_to_be_endless():
    urls = {e.binding for p in tables.paths() for e in tables.elements(p).values() if e.binding}
    assert urls == set(tables.value_sets())
    assert {url for url in urls if tables.codes(url) is None} == {
        "http://hl7.org/fhir/ValueSet/mimetypes",
        "http://hl7.org/fhir/ValueSet/ucum-units",
        "http://loinc.org/vs/LL379-9",
    }


def test_a_content_reference_leads_to_the_elements_it_names():
    assert tables.element("Observation.component.referenceRange.low").types == ("SimpleQuantity",)
    assert tables.element("Questionnaire.item.item.item.type").binding == "http://hl7.org/fhir/ValueSet/item-type"


def test_a_resource_id_is_an_id_and_an_element_id_a_string():
    assert tables.element_type("Patient.id") == ("id",)
    assert tables.element_type("Patient.contact.id") == tables.element_type("HumanName.id") == ("string",)


def test_an_unknown_path_has_no_element():
    assert tables.element("Patient") is None
    assert tables.element("Nothing.at.all") is None
    assert tables.element("Patient.birthDate.foo") is None
    assert tables.element_type("Patient.name.shoe") == ()


def test_summary_and_mandatory_elements_are_those_of_the_standard():
    assert {"id", "meta", "status", "_status", "valueQuantity"} <= tables.summary_elements("Observation")
    assert "note" not in tables.summary_elements("Observation")
    assert tables.mandatory_elements("Observation") == {"status", "code", "_status", "_code"}


def test_all_search_parameters_of_r4_are_there():
    assert len(tables.search_parameters()) == 1375
    family = tables.search_parameters_of("Patient")["family"]
    assert (family.type, family.expression) == ("string", "Patient.name.family | Practitioner.name.family")
    assert {"_id", "_lastUpdated", "_text", "identifier"} <= set(tables.search_parameters_of("Patient"))
    assert "_text" not in tables.search_parameters_of("Bundle")
    composite = tables.search_parameters_of("Observation")["code-value-quantity"]
    assert composite.components == (
        ("http://hl7.org/fhir/SearchParameter/clinical-code", "code"),
        ("http://hl7.org/fhir/SearchParameter/Observation-value-quantity", "value.as(Quantity)"),
    )


def test_the_five_compartments_are_there():
    assert tables.compartment("Patient")["DocumentReference"] == ("subject", "author")
    assert len(tables.compartment("Patient")) == 66
    assert all(tables.compartment(name) for name in ("Encounter", "Practitioner", "Device", "RelatedPerson"))
