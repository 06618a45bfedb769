"""Who a Patient of a source is: which numbers count, in which order, and what is doubt."""

import pytest

from fhir_dmp.dmp.identity import INS_C, INS_NIR_TEST, NIS, RELIABILITY
from fhir_dmp.exchange.people import identify
from fhir_dmp.exchange.rules import Rules

IPP = "urn:x-clinic:patient"
RULES = Rules(source="clinic", systems={"IPP": IPP})
NUMBERS = {
    "INS": {"system": INS_NIR_TEST, "value": "279035121518989"},
    "INS-C": {"system": INS_C, "value": "0123456789012345678942"},
    "NIS": {"system": NIS, "value": "1200300"},
    "IPP": {"system": IPP, "value": "77"},
}
STATUS = {"url": RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": "QUAL"}}]}


def person(*numbers: str, qualified: bool = True, **changes: object) -> dict:
    found = {"resourceType": "Patient", "name": [{"family": "OZENNE", "given": ["Brune"]}], "birthDate": "1979-03-15", "gender": "female"}
    told = [NUMBERS[name] | ({"use": "old"} if name in ("INS-C", "NIS") else {}) for name in numbers]
    return found | {"identifier": told, "extension": [STATUS] if qualified else []} | changes


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_finds_its_dossier(name):
    found = identify(person(name), [person(birthDate="1950-01-01"), person(name)], RULES)
    assert (found.place, found.why) == (1, name)


def test_the_stronger_number_decides():
    asked = person(*NUMBERS)
    for names in (("INS", "INS-C", "NIS", "IPP"), ("INS-C", "NIS", "IPP"), ("NIS", "IPP"), ("IPP",)):
        # One dossier for each of the numbers that are left, the strongest last.
        found = identify(asked, [person(name) for name in reversed(names)], RULES)
        assert (found.place, found.why) == (len(names) - 1, names[0])


@pytest.mark.parametrize(
    ("asked", "known", "why"),
    [
        (person("INS", qualified=False), [person("INS")], "the INS is not qualified"),
        (person("INS", birthDate="1901-01-01"), [person("INS")], "birthDate differ"),
        (person("NIS", name=[{"family": "AUTRE"}]), [person("NIS")], "that of a dossier"),
        (person("NIS"), [person("NIS"), person("NIS")], "2 dossiers have the same NIS"),
        (person(), [person("INS")], "only traits"),
        (person("IPP", birthDate="1901-01-01", name=[{"family": "AUTRE"}]), [], "has the dossier been opened"),
        (person("IPP"), [person(identifier=[{"system": "urn:x-other", "value": "77"}])], "only traits"),
    ],
)
def test_in_any_doubt_it_is_nobody(asked, known, why):
    found = identify(asked, known, RULES)
    assert found.place is None and why in found.why
    assert all(one.place < len(known) for one in found.candidates)


def test_dossiers_that_were_joined_are_of_one_person():
    twice = [person("NIS"), person("NIS"), person("NIS", birthDate="1901-01-01")]
    assert identify(person("NIS"), twice[:2], RULES, ["a", "a"]).place == 0
    assert "2 dossiers" in identify(person("NIS"), twice, RULES, ["a", "a", "b"]).why
