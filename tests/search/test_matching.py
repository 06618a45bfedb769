"""Tokens, strings, references, uris, composites and texts: what matches. https://hl7.org/fhir/R4/search.html#ptypes"""

from decimal import Decimal

import pytest

from fhir_dmp.fhir.json import parse_exact
from fhir_dmp.search.extract import extract, some
from fhir_dmp.search.predicate import matches
from fhir_dmp.search.query import parse
from fhir_dmp.search.terminology import terminology_of

LOINC = "http://loinc.org"
BASE = "https://dmp.example/fhir"
SHIPPED = terminology_of(
    [
        {
            "resourceType": "CodeSystem",
            "url": "http://h",
            "concept": [{"code": "Top", "concept": [{"code": "mid", "concept": [{"code": "low"}]}]}],
        },
        {"resourceType": "ValueSet", "url": "http://v", "compose": {"include": [{"system": LOINC, "concept": [{"code": "1-8"}]}]}},
    ]
)

PATIENT = {
    "resourceType": "Patient",
    "id": "Pa-1",
    "meta": {"profile": ["http://p.example/StructureDefinition/x|2.0"], "tag": [{"system": "http://t", "code": "red"}]},
    "identifier": [
        {"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "180Abc", "type": {"coding": [{"system": "http://v2", "code": "INS-NIR"}]}}
    ],
    "active": True,
    "name": [{"family": "Lefèvre-Durand", "given": ["Zoé", "Marie Anne"], "prefix": ["Dr"]}, {"text": "Cœur d'Or"}],
    "gender": "female",
    "birthDate": "1980-05-12",
    "address": [{"line": ["12 rue de l'Église"], "city": "Saint-Étienne", "postalCode": "42000"}],
    "telecom": [{"system": "phone", "value": "0477000000"}, {"system": "email", "value": "z@x.example"}],
    "generalPractitioner": [{"reference": f"{BASE}/Practitioner/dr1"}, {"identifier": {"system": "http://rpps", "value": "100"}}],
    "managingOrganization": {"reference": "Organization/o1/_history/3"},
    "text": {"status": "generated", "div": "<div>Fracture de l'&#233;paule <b>gauche</b></div>"},
}
OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": LOINC, "code": "85354-9", "display": "Blood pressure panel"}], "text": "Tension artérielle"},
    "component": [
        {"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}, "valueQuantity": {"value": Decimal(150), "unit": "mmHg"}},
        {"code": {"coding": [{"system": LOINC, "code": "8462-4"}]}, "valueQuantity": {"value": Decimal(90), "unit": "mmHg"}},
    ],
}
DOCUMENT = {
    "resourceType": "DocumentReference",
    "contained": [
        {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#p"}, "organization": {"reference": "#o"}},
        {"resourceType": "Practitioner", "id": "p", "name": [{"family": "Moreau", "given": ["Ève"]}], "identifier": [{"value": "810001"}]},
        {"resourceType": "Organization", "id": "o", "name": "Cabinet des Lilas"},
    ],
    "extension": [{"url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived", "valueBoolean": False}],
    "author": [{"reference": "#r"}, {"reference": "#p"}],
    "relatesTo": [
        {"code": "replaces", "target": {"reference": "DocumentReference/d1"}},
        {"code": "appends", "target": {"reference": "DocumentReference/d2"}},
    ],
    "content": [{"attachment": {"creation": "2025-04-25T09:30:00+01:00"}}],
    "context": {"period": {"start": "2025-04-20", "end": "2025-04-25"}},
}
VALUE_SET = {"resourceType": "ValueSet", "url": "http://a.example/fhir/ValueSet/v"}

CASES = [
    (PATIENT, "gender", "female", True),
    (PATIENT, "gender", "FEMALE", True),
    (PATIENT, "gender", "http://hl7.org/fhir/administrative-gender|female", True),
    (PATIENT, "gender", "http://other|female", False),
    (PATIENT, "gender:not", "male,other", True),
    (PATIENT, "gender:not", "female", False),
    (PATIENT, "deceased", "false", True),
    (PATIENT, "active", "true", True),
    (PATIENT, "identifier", "180abc", True),
    (PATIENT, "identifier", "urn:oid:1.2.250.1.213.1.4.10|180Abc", True),
    (PATIENT, "identifier", "urn:oid:1.2.250.1.213.1.4.10|", True),
    (PATIENT, "identifier", "|180Abc", False),
    (PATIENT, "identifier:of-type", "http://v2|INS-NIR|180Abc", True),
    (PATIENT, "identifier:of-type", "http://v2|MR|180Abc", False),
    (PATIENT, "_id", "Pa-1", True),
    (PATIENT, "_id", "pa-1", False),
    (PATIENT, "_tag", "http://t|red", True),
    (PATIENT, "_profile", "http://p.example/StructureDefinition/x", True),
    (PATIENT, "_profile", "http://p.example/StructureDefinition/x|2.0", True),
    (PATIENT, "_profile:below", "http://p.example/StructureDefinition", True),
    (PATIENT, "phone", "0477000000", True),
    (PATIENT, "phone", "z@x.example", False),
    (PATIENT, "email", "z@x.example", True),
    (PATIENT, "family", "lefevre", True),
    (PATIENT, "family", "LEFÈVRE DUR", True),
    (PATIENT, "family", "durand", False),
    (PATIENT, "family:contains", "durand", True),
    (PATIENT, "family:exact", "Lefèvre-Durand", True),
    (PATIENT, "family:exact", "Lefevre-Durand", False),
    (PATIENT, "name", "zoe", True),
    (PATIENT, "name", "coeur", True),
    (PATIENT, "name", "marieanne", True),
    (PATIENT, "given", "x,zoé", True),
    (PATIENT, "address", "42000", True),
    (PATIENT, "address-city", "saint etienne", True),
    (PATIENT, "address", "12 rue de l eglise", True),
    (PATIENT, "birthdate", "1980", True),
    (PATIENT, "birthdate", "1980-05-12", True),
    (PATIENT, "birthdate", "1980-05-13", False),
    (PATIENT, "birthdate", "lt1980-06", True),
    (PATIENT, "death-date:missing", "true", True),
    (PATIENT, "birthdate:missing", "true", False),
    (PATIENT, "general-practitioner", "dr1", True),
    (PATIENT, "general-practitioner", "Practitioner/dr1", True),
    (PATIENT, "general-practitioner", "Organization/dr1", False),
    (PATIENT, "general-practitioner", f"{BASE}/Practitioner/dr1", True),
    (PATIENT, "general-practitioner:Practitioner", "dr1", True),
    (PATIENT, "general-practitioner:Organization", "Practitioner/dr1", False),
    (PATIENT, "general-practitioner:identifier", "http://rpps|100", True),
    (PATIENT, "organization", "o1", True),
    (PATIENT, "organization", "Organization/o1/_history/3", True),
    (PATIENT, "organization", "Organization/o1/_history/4", False),
    (PATIENT, "_text", "fracture epaule", True),
    (PATIENT, "_text", '"epaule gauche"', True),
    (PATIENT, "_text", "epaule droite", False),
    (PATIENT, "_text", "droite OR gauche", True),
    (PATIENT, "_content", "etienne", True),
    (OBSERVATION, "code", "85354-9", True),
    (OBSERVATION, "code:text", "tension", True),
    (OBSERVATION, "code:text", "pressure", True),
    (OBSERVATION, "code:text", "essure", False),
    (OBSERVATION, "code:in", "http://v", False),
    (OBSERVATION, "code:not-in", "http://v", True),
    (OBSERVATION, "status:in", "http://hl7.org/fhir/ValueSet/observation-status", True),
    (OBSERVATION, "component-code-value-quantity", "8480-6$gt140", True),
    (OBSERVATION, "component-code-value-quantity", "8462-4$gt140", False),
    (OBSERVATION, "component-code-value-quantity", f"{LOINC}|8462-4$le90||mmHg", True),
    (OBSERVATION, "combo-code-value-quantity", "8480-6$150", True),
    (OBSERVATION, "combo-code-value-quantity", "85354-9$150", False),
    (OBSERVATION, "combo-code", "8480-6", True),
    (DOCUMENT, "isArchived", "false", True),
    (DOCUMENT, "creation", "2025-04-25", True),
    (DOCUMENT, "period-start", "2025-04-20", True),
    (DOCUMENT, "period-end", "gt2025-05", False),
    (DOCUMENT, "relationship", "replaces$DocumentReference/d1", True),
    (DOCUMENT, "relationship", "replaces$DocumentReference/d2", False),
    (DOCUMENT, "relationship", "DocumentReference/d1$replaces", True),
    (DOCUMENT, "relationship", "DocumentReference/d2$replaces", False),
    (DOCUMENT, "relationship", "d1$replaces", True),
    (DOCUMENT, "relationship", "appends$d2", True),
    (DOCUMENT, "relationship", "d1$appends,replaces$d2", False),
    (DOCUMENT, "relatesto", "d2", True),
    (VALUE_SET, "url", "http://a.example/fhir/ValueSet/v", True),
    (VALUE_SET, "url", "http://a.example/fhir", False),
    (VALUE_SET, "url:below", "http://a.example/fhir", True),
    (VALUE_SET, "url:below", "http://a.example/fhi", False),
    (VALUE_SET, "url:above", "http://a.example/fhir/ValueSet/v/_history/5", True),
    (PATIENT, "_filter", 'family sw "lef" and (gender eq male or birthdate lt 1990)', True),
    (PATIENT, "_filter", "gender eq female or gender eq male and active eq false", False),
    (PATIENT, "_filter", "gender eq female or (gender eq male and active eq false)", True),
    (PATIENT, "_filter", "not (gender eq female)", False),
    (PATIENT, "_filter", "gender eq male and birthdate lt 1990 or active eq true", True),
    (PATIENT, "_filter", 'given co "arie" and given ew "anne" and death-date pr false', True),
    (PATIENT, "_filter", 'family eq "lefevre durand"', True),
    (PATIENT, "_filter", "birthdate po 1980-05 and general-practitioner re Practitioner/dr1", True),
    (DOCUMENT, "_filter", "relationship[relation eq replaces].relatesto re DocumentReference/d1", True),
    (DOCUMENT, "_filter", "relationship[relation eq replaces].relatesto re DocumentReference/d2", False),
    (DOCUMENT, "_filter", 'relationship[relation eq "replaces" or relation eq signs].relatesto pr true', True),
    (DOCUMENT, "_filter", "relationship[relation eq signs].relatesto pr false", True),
    (OBSERVATION, "_filter", "code eq loinc|85354-9", True),
    (OBSERVATION, "_filter", "code eq snomed|85354-9", False),
    (OBSERVATION, "_filter", "component-code-value-quantity[component-code eq 8480-6].component-value-quantity gt 100", True),
    (OBSERVATION, "_filter", "component-code-value-quantity[component-code eq 8462-4].component-value-quantity gt 100", False),
]


@pytest.mark.parametrize(("resource", "name", "value", "answer"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_what_matches(resource, name, value, answer):
    index = extract(resource["resourceType"], resource, base_urls=(BASE,), texts=True)
    query = parse(resource["resourceType"], [(name, value)], now_ms=0, base_urls=(BASE,), terminology=SHIPPED)
    ((_, predicate),) = query.alternatives
    assert matches(predicate, index) is answer


def test_a_contained_resource_is_reached_under_the_reference_and_its_type():
    index = extract("DocumentReference", DOCUMENT)
    assert [value.raw for value in index["author>Practitioner.family"]] == ["Moreau"]
    assert [value.raw for value in index["author>PractitionerRole.practitioner>Practitioner.given"]] == ["Ève"]
    assert [value.raw for value in index["author>PractitionerRole.organization>Organization.name"]] == ["Cabinet des Lilas"]


def test_some_parameters_are_read_from_trees_whose_numbers_keep_their_text():
    tree = parse_exact(b'{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"},"valueQuantity":{"value":1.50,"unit":"mg"}}')
    found = some("Observation", tree, {"subject", "value-quantity"})
    assert set(found) == {"subject", "value-quantity"}
    assert (found["subject"][0].url, found["value-quantity"][0].lo) == ("urn:uuid:1", Decimal("1.50"))


def test_code_hierarchies_shipped_with_the_guide_answer_above_and_below():
    coded = {"resourceType": "Observation", "code": {"coding": [{"system": "http://h", "code": "mid"}]}}
    index = extract("Observation", coded)
    for name, value, answer in (
        ("code:below", "http://h|Top", True), ("code:below", "http://h|low", False),
        ("code:above", "http://h|low", True), ("code:above", "http://h|Top", False),
    ):  # fmt: skip
        ((_, predicate),) = parse("Observation", [(name, value)], now_ms=0, terminology=SHIPPED).alternatives
        assert matches(predicate, index) is answer, (name, value)


CODED = {
    "k1": {"resourceType": "Observation", "code": {"coding": [{"code": "A"}, {"code": "B"}]}},
    "k3": {"resourceType": "Observation", "code": {"text": "x"}},
    "k4": {"resourceType": "Observation", "code": {"coding": [{"code": "B"}]}},
    "k5": {"resourceType": "Observation", "code": {"coding": [{"code": "A"}]}},
}


@pytest.mark.parametrize(("text", "found"), [("code ne A", ["k1", "k4"]), ("not (code eq A)", ["k3", "k4"]), ("code eq A", ["k1", "k5"])])
def test_ne_asks_for_another_value_and_not_for_none(text, found):
    query = parse("Observation", [("_filter", text)], now_ms=0, base_urls=(BASE,), terminology=SHIPPED)
    ((_, predicate),) = query.alternatives
    assert [id for id, resource in CODED.items() if matches(predicate, extract("Observation", resource))] == found


LYON = {"resourceType": "Location", "position": {"longitude": 4.8357, "latitude": 45.764}}


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        ("48.8566|2.3522|391|km", False),
        ("48.8566|2.3522|392|km", True),
        ("48.8566|2.3522|244|[mi_i]", True),
        ("48.8566|2.3522|243|[mi_i]", False),
        ("45.764|4.8357|0|m", True),
        ("45.8|4.8", True),
        ("46|4.8", False),
        ("48.8566|2.3522|1|km,45.7|4.8|20|km", True),
        ("-45.764|-175.1643|20016|km", True),
    ],
)
def test_near_measures_along_the_earth(place, answer):
    query = parse("Location", [("near", place)], now_ms=0, base_urls=(BASE,), terminology=SHIPPED)
    ((_, predicate),) = query.alternatives
    assert matches(predicate, extract("Location", LYON)) is answer
    assert not matches(predicate, extract("Location", {"resourceType": "Location"}))


NAMED = {"resourceType": "Patient", "name": [{"family": "Essai (a+)+$", "given": ["Anna"]}]}


@pytest.mark.parametrize(
    ("text", "answer"), [("(a+)+$", True), ("(A+", True), ("essai a", True), ("a+b", False), ("^E", False), ("an*", False)]
)
def test_signs_are_meant_as_they_are_written(text, answer):
    query = parse("Patient", [("name:contains", text)], now_ms=0, base_urls=(BASE,), terminology=SHIPPED)
    ((_, predicate),) = query.alternatives
    assert matches(predicate, extract("Patient", NAMED)) is answer
