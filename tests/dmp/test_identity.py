"""Identities in one spelling.

https://interop.esante.gouv.fr/ig/fhir/annuaire
"""

from fhir_dmp.dmp import identity
from fhir_dmp.dmp.identity import FINESS, IDNPS, IDNST, INS_NIR_TEST, RPPS, ins_of, is_qualified, known_as

PATIENT = {
    "resourceType": "Patient",
    "extension": [{"url": identity.RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": "QUAL"}}]}],
    "identifier": [
        {"system": INS_NIR_TEST, "value": "279035121518989", "use": "official"},
        {"system": INS_NIR_TEST, "value": "180035121518989", "use": "old"},
        {"system": "urn:oid:1.2.3", "value": "279035121518989"},
    ],
}


def test_ins_of_a_patient():
    assert ins_of(PATIENT) == ((INS_NIR_TEST, "279035121518989"),)
    assert is_qualified(PATIENT)
    assert not is_qualified({**PATIENT, "extension": []})
    assert not is_qualified({**PATIENT, "identifier": []})


def test_rpps_and_idnps_name_the_same_professional():
    rpps, idnps = {"system": RPPS, "value": "10001234567"}, {"system": IDNPS, "value": "810001234567"}
    assert known_as([rpps]) == known_as([idnps]) == known_as([rpps, idnps]) == {"ps:810001234567"}


def test_finess_and_idnst_name_the_same_structure():
    finess, idnst = {"system": FINESS, "value": "750000001"}, {"system": IDNST, "value": "1750000001"}
    assert known_as([finess]) == known_as([idnst]) == {"org:1750000001"}


def test_a_hospital_user_is_known_by_his_idnps():
    assert known_as([{"system": IDNPS, "value": "3750000001/42"}]) == {"ps:3750000001/42"}


def test_what_has_no_system_or_a_strange_one_names_nobody():
    for one in ({"value": "810001234567"}, {"system": "http://example.org", "value": "810001234567"}, {"system": RPPS, "value": "1"}):
        assert known_as([one]) == frozenset()
    for value in ("1000123456\uff11", "10001234567 ", "", "8" * 80):
        assert identity.professional(RPPS, value) == ""


def test_a_professional_and_a_structure_of_the_same_digits_are_two():
    assert known_as([{"system": IDNPS, "value": "0750000001"}]) == {"ps:0750000001"}
    assert known_as([{"system": IDNST, "value": "0750000001"}]) == {"org:0750000001"}


def test_whoever_a_structure_calls_by_a_number_of_its_own_is_its_own_however_the_structure_is_said():
    for internal, said in (
        ("1751234567/3", "0751234567"),
        ("3750000001/42", "F750000001"),
        ("512345678901234/1", "12345678901234"),
        ("610001234567/1", "410001234567"),
        ("61000123456701/1", "41000123456701"),
    ):
        assert identity.houses(known_as([{"system": IDNPS, "value": internal}])) == known_as([{"system": IDNST, "value": said}])
