"""Requests made of tokens.

https://profiles.ihe.net/ITI/IUA/
"""

from fhir_dmp.consent.asking import asking, knowing
from fhir_dmp.consent.predicate import facts_of, row_of
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.identity.actor import parse
from tests.consent.worlds import hash64

REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CLAIMS = {
    "dmp_kind": "professional",
    "iss": "https://issuer.example.org",
    "sub": "somebody",
    "exp": 1,
    "SubjectNameID": "810001234567",
    "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
    "specialty": ["SM54"],
    "SubjectOrganizationID": "1750000001",
    "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4",
    "auth_mode": "CPS",
    "Acces_Regulation_Medicale": "VRAI",
    "extensions": {"ihe_iua": {"purpose_of_use": [{"system": REASON, "code": "ETREAT"}, {"system": "http://example.org", "code": "BTG"}]}},
}


def test_a_professional():
    request = asking(parse(CLAIMS), "search")
    assert (request.kind, request.action, request.person, request.organization) == (
        "professional", "search", "ps:810001234567", "org:1750000001",
    )  # fmt: skip
    assert request.professions == {"G15|10"}
    assert request.traits == {"SM54", "SA07"}
    assert request.purposes == {"ETREAT"}
    assert request.regulation and request.auth_mode == "CPS"


def test_the_same_code_in_training_is_another_profession():
    assert asking(parse({**CLAIMS, "codeCategorieProfessionnelle": "E"})).professions == {"G16|10"}


def test_the_holder_and_the_feed_are_nobodys_profession():
    roles = ["EXP_PATIENT", "ALIM_AM^1.2.250.1.213.1.1.4.6", "A00|EXP_PATIENT"]
    assert asking(parse({**CLAIMS, "SubjectRole": roles})).professions == frozenset()
    assert asking(parse({**CLAIMS, "SubjectRole": [*roles, *CLAIMS["SubjectRole"]]})).professions == {"G15|10"}


def test_spellings_of_one_professional_and_one_structure():
    other = asking(parse({**CLAIMS, "SubjectNameID": "10001234567", "SubjectOrganizationID": "750000001"}))
    assert (other.person, other.organization) == ("ps:810001234567", "org:1750000001")


def test_an_identifier_that_is_none_names_nobody():
    nobody = asking(parse({**CLAIMS, "SubjectNameID": "Dr Who", "SubjectOrganizationID": "hospital"}))
    assert (nobody.person, nobody.organization, nobody.unplaced) == ("", "", True)
    assert not asking(parse({**CLAIMS, "SubjectOrganizationID": ""})).unplaced


def test_a_structure_as_the_directory_numbers_it():
    for said, meant in (("F750000001", "org:1750000001"), ("R10100000056559", "org:R10100000056559")):
        request = asking(parse({**CLAIMS, "SubjectOrganizationID": said}))
        assert (request.organization, request.unplaced) == (meant, False)


def test_category_and_specialties_stand_where_pro_sante_connect_says_them():
    plain = {name: value for name, value in CLAIMS.items() if name != "specialty"}
    trained = {"codeProfession": "10", "codeCategorieProfessionnelle": "E", "codeSavoirFaire": "SM25"}
    other = {"codeProfession": "60", "codeCategorieProfessionnelle": "C", "codeSavoirFaire": "SM99"}
    request = asking(parse({**plain, "SubjectRefPro": {"exercices": [other, {**trained, "codeCategorieProfessionnelle": "C"}, trained]}}))
    assert (request.professions, request.traits) == ({"G16|10"}, {"SM25", "SA07"})
    assert asking(parse({**plain, "SubjectRefPro": {"exercices": [other]}})).professions == {"G15|10"}
    said = {**CLAIMS, "codeCategorieProfessionnelle": "C", "SubjectRefPro": {"exercices": [trained]}}
    assert (asking(parse(said)).professions, asking(parse(said)).traits) == ({"G15|10"}, {"SM25", "SM54", "SA07"})


def test_a_holder_known_by_his_ins_gets_the_id_that_was_found():
    claims = {"dmp_kind": "patient", "iss": "i", "sub": "s", "exp": 1, "ins": "urn:oid:1.2.250.1.213.1.4.10|279035121518989"}
    assert asking(parse(claims), patient="p1").patient == "p1"
    assert asking(parse({**claims, "with": "810001234567"}), patient="p1").beside == "ps:810001234567"


def test_a_loaded_document_tells_that_he_authored_here():
    request = asking(parse(CLAIMS))
    own = Facts(type="11488-4", authors=frozenset({"ps:810001234567"}))
    assert knowing(request, own).authored_here
    assert knowing(request, facts_of(row_of(own, hash64), hash64)).authored_here
    assert not knowing(request, Facts(type="11488-4")).authored_here
