"""Good examples follow their profiles, bad ones break the rule they name and no other. https://hl7.org/fhir/R4/profiling.html"""

import pytest

from fhir_dmp.fhir.profiles import claimed, definitions, faults, known, profiles_for
from fhir_dmp.fhir.schema import validate
from tests.profiles.reading import BAD, GOOD, PROFILES, bad, read


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_example_breaks_nothing(path):
    resource = read(path)
    assert validate(resource) == []
    urls = claimed(resource)
    assert urls and f"{resource['resourceType']}-{resource['id']}" == path.stem
    for url in urls:
        assert faults(resource, url) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_example_breaks_the_rule_it_names_and_no_other(name):
    resource, expected = bad(name), BAD[name]
    assert validate(resource) == [], "what R4 itself refuses shows nothing about a profile"
    found = faults(resource, expected["profile"])
    assert [(f.rule, f.element, f.expression, f.severity) for f in found] == [
        (expected["rule"], expected["element"], expected["expression"], expected["severity"])
    ]
    assert expected["en"] != expected["fr"]


def test_there_are_enough_of_both_and_each_profile_has_one():
    assert len(GOOD) >= 60 and len(BAD) >= 30
    shown = {url for path in GOOD for url in claimed(read(path))}
    assert shown == {url for url, one in definitions().items() if not one["abstract"] and one["type"] != "Extension"}


def test_every_bad_file_is_in_the_index():
    assert {path.name for path in (PROFILES / "examples" / "bad").glob("*.json")} == {*BAD, "index.json"}


def test_a_bad_example_claims_the_profile_it_breaks():
    for name, expected in BAD.items():
        resource = bad(name)
        assert expected["profile"] in claimed(resource) and known(expected["profile"])
        assert expected["profile"] in profiles_for(resource["resourceType"], "professional")


def test_each_kind_of_rule_is_broken_by_some_example():
    rules = {one["rule"] for one in BAD.values()}
    assert {"min", "max", "absent", "fixed", "pattern", "type", "binding", "extensible", "target"} <= rules
    assert len({rule for rule in rules if rule.startswith("dmp-")}) >= 20
