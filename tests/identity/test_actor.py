"""Kinds of bearers and their claims. IHE IUA https://profiles.ihe.net/ITI/IUA/"""

import dataclasses

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.identity.actor import KINDS, parse
from fhir_dmp.identity.scopes import Scope
from fhir_dmp.identity.scopes import parse as parse_scopes

COMMON = {"iss": "i", "sub": "s", "exp": 1}
PROFESSIONAL = {"dmp_kind": "professional", "SubjectNameID": "810001234567", "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"]}
INS = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"


def actor(**claims):
    return parse({**COMMON, **{name: value for name, value in claims.items() if value is not None}})


def refused(**claims):
    with pytest.raises(FhirError) as caught:
        actor(**claims)
    assert caught.value.status == 401
    assert 'error="invalid_token"' in caught.value.headers["WWW-Authenticate"]


def test_every_claim_of_a_professional_is_read():
    found = actor(
        **PROFESSIONAL,
        specialty=["SM54"],
        SubjectOrganizationID="1750000001",
        Secteur_Activite="SA07^1.2.250.1.71.4.2.4",
        auth_mode="AIR",
        Acces_Regulation_Medicale="VRAI",
        secret_session=True,
        codeCategorieProfessionnelle="E",
        client_id="c",
        software="soft",
        jti="j",
        extensions={"ihe_iua": {"purpose_of_use": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]}},
    )
    assert found.professions == ("10",)
    assert found.roles == ("10^1.2.250.1.213.1.1.5.5",)
    assert (found.specialties, found.organization, found.sector, found.auth_mode) == (("SM54",), "1750000001", "SA07", "AIR")
    assert (found.regulation, found.secret_session, found.category) == (True, True, "E")
    assert found.purposes == (("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT"),)
    assert (found.client_id, found.software, found.jti) == ("c", "soft", "j")


def test_an_actor_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        actor(dmp_kind="feed").kind = "system"


@pytest.mark.parametrize(
    "claims",
    [
        {"SubjectNameID": None},
        {"SubjectNameID": " "},
        {"SubjectNameID": 810001234567},
        {"SubjectRole": None},
        {"SubjectRole": []},
        {"SubjectRole": [""]},
        {"SubjectRole": [10]},
        {"auth_mode": "PASSWORD"},
        {"Acces_Regulation_Medicale": "vrai"},
        {"Acces_Regulation_Medicale": True},
        {"secret_session": "true"},
        {"secret_session": 1},
        {"extensions": "TREAT"},
        {"extensions": {"ihe_iua": {"purpose_of_use": ["TREAT"]}}},
        {"extensions": {"ihe_iua": {"purpose_of_use": [{"system": "s"}]}}},
        {"SubjectOrganizationID": "a\nb"},
        {"auth_mode": "AIR", "SubjectOrganizationID": None},
        {"auth_mode": "AIR", "SubjectOrganizationID": " "},
        {"SubjectRefPro": {"exercices": "E"}},
        {"SubjectRefPro": {"exercices": [1]}},
        {"SubjectRefPro": "E"},
        {"SubjectOrganizationID": "x" * 2000},
        {"sub": ""},
        {"sub": None},
        {"dmp_kind": None},
        {"dmp_kind": "Professional"},
        {"dmp_kind": ["professional"]},
        {"scope": ["user/*.r"]},
    ],
)
def test_claims_of_the_wrong_shape_make_the_token_unusable(claims):
    absent = {name for name, value in claims.items() if value is None}
    whole = {**COMMON, **PROFESSIONAL, **claims}
    with pytest.raises(FhirError) as caught:
        parse({name: value for name, value in whole.items() if name not in absent})
    assert caught.value.status == 401


def test_holder_is_named_by_ins_or_by_id():
    assert actor(dmp_kind="patient", ins=INS).ins == ("urn:oid:1.2.250.1.213.1.4.10", "279035121518989")
    assert actor(dmp_kind="patient", patient="p1").patient == "p1"
    assert actor(dmp_kind="patient", patient="p1", **{"with": "810001234567"}).with_professional == "810001234567"
    for ins in ("", "279035121518989", "|279035121518989", "urn:oid:1|"):
        refused(dmp_kind="patient", ins=ins)


def test_a_login_says_what_it_came_from():
    assert actor(dmp_kind="patient", patient="p1", dmp_session="4f.1795000000000").session == ("4f", 1_795_000_000_000)
    assert actor(dmp_kind="representative", patient="p1", related_person="r", dmp_session="4f.1").session == ("4f", 1)
    assert actor(dmp_kind="patient", patient="p1").session is None
    for said in ("4f", "4f.", ".1", "4f.-1", "4f.x", "4f.\u0661", "4f." + "1" * 17, ["4f.1"], 1):
        refused(dmp_kind="patient", patient="p1", dmp_session=said)


@pytest.mark.parametrize("kind", ["representative", "mandataire"])
def test_relatives_name_both_persons_or_neither(kind):
    assert actor(dmp_kind=kind, patient="p", related_person="r").related_person == "r"
    assert actor(dmp_kind=kind).patient == ""
    refused(dmp_kind=kind, patient="p")
    refused(dmp_kind=kind, related_person="r")


def test_structure_host_support_and_operator_name_what_they_need():
    assert actor(dmp_kind="structure", SubjectOrganizationID="1750000001").organization == "1750000001"
    assert actor(dmp_kind="host", host="h").host == "h"
    assert (actor(dmp_kind="support", level=2, ticket="T1").level, actor(dmp_kind="operator", role="admin").role) == (2, "admin")
    assert actor(dmp_kind="operator", role="physician", ticket="T").ticket == "T"
    refused(dmp_kind="structure")
    refused(dmp_kind="host")
    for level in (0, 3, True, "1", None, 1.5):
        refused(dmp_kind="support", level=level, ticket="T")
    refused(dmp_kind="support", level=1)
    for role in ("root", "", None):
        refused(dmp_kind="operator", role=role)


def test_every_kind_of_the_contract_is_known():
    assert set(KINDS) == set(
        ["professional", "patient", "representative", "mandataire", "structure", "host", "feed", "system", "support", "operator"]
    )


@pytest.mark.parametrize(
    "claim, scopes",
    [
        ("system/*.cruds", (Scope("system", "*", "cruds"),)),
        ("patient/Observation.rs user/*.c", (Scope("patient", "Observation", "rs"), Scope("user", "*", "c"))),
        ("user/Patient.read", (Scope("user", "Patient", "rs"),)),
        ("user/Patient.write", (Scope("user", "Patient", "cud"),)),
        ("user/*.*", (Scope("user", "*", "cruds"),)),
        ("system/*.dus", ()),
        ("system/*.sr", ()),
        ("system/*.rr", ()),
        ("system/*.CRUDS", ()),
        ("system/*.", ()),
        ("system/*", ()),
        ("system/patient.r", ()),
        ("system/.r", ()),
        ("admin/*.cruds", ()),
        ("system/*.cruds?x=1", ()),
        ("user/Observation.rs?category=laboratory", ()),
        ("system/Patient.r,system/*.cruds", ()),
        ("system/*.cruds\tsystem/*.r", ()),
        ("\uff53ystem/*.cruds", ()),
        ("openid fhirUser launch/patient offline_access", ()),
        ("", ()),
    ],
)
def test_scopes_are_read_as_smart_writes_them(claim, scopes):
    assert parse_scopes(claim) == scopes


def test_scopes_narrow_and_never_widen():
    wide = actor(dmp_kind="system")
    assert wide.allows("Observation", "d") and wide.allows("*", "s")
    narrow = actor(dmp_kind="system", scope="system/Observation.rs system/Patient.c")
    assert [narrow.allows("Observation", letter) for letter in "cruds"] == [False, True, False, False, True]
    assert narrow.allows("Patient", "c") and not narrow.allows("Patient", "r") and not narrow.allows("Condition", "r")
    assert not narrow.allows("*", "s")
    nothing = actor(dmp_kind="system", scope="")
    assert not any(nothing.allows("Patient", letter) for letter in "cruds")


@pytest.mark.parametrize("kind, other", [("system", "user/*.cruds"), ("feed", "patient/*.cruds"), ("system", "patient/*.cruds")])
def test_scopes_of_another_context_grant_nothing(kind, other):
    assert not actor(dmp_kind=kind, scope=other).allows("Patient", "r")
    assert not actor(**PROFESSIONAL, scope="system/*.cruds").allows("Patient", "r")


def test_a_ticket_of_blanks_is_none_and_many_scopes_are_read():
    assert actor(dmp_kind="operator", role="physician", ticket=" ").ticket == ""
    scope = " ".join(f"user/{name}.cruds" for name in ["DocumentReference"] * 80)
    assert actor(**PROFESSIONAL, scope=scope).allows("DocumentReference", "r")
    refused(**PROFESSIONAL, scope=scope * 8)


TRAINING = {"codeProfession": "10", "codeCategorieProfessionnelle": "E"}


@pytest.mark.parametrize(
    ("claims", "category", "specialties"),
    [
        ({"SubjectRefPro": None}, "", ()),
        ({"SubjectRefPro": {"exercices": None}}, "", ()),
        (
            {"SubjectRefPro": {"exercices": [{"codeProfession": "10", "codeCategorieProfessionnelle": None, "codeSavoirFaire": None}]}},
            "",
            (),
        ),
        ({"SubjectRefPro": {"exercices": [{**TRAINING, "codeCategorieProfessionnelle": " c"}]}}, "C", ()),
        (
            {
                "SubjectRefPro": {
                    "exercices": [{**TRAINING, "codeCategorieProfessionnelle": "C"}, {**TRAINING, "codeCategorieProfessionnelle": "e "}]
                }
            },
            "E",
            (),
        ),
        ({"SubjectRefPro": {"exercices": [TRAINING]}, "codeCategorieProfessionnelle": " "}, "E", ()),
        ({"SubjectRefPro": {"exercices": [TRAINING]}, "SubjectRole": ["G15|10"]}, "E", ()),
        ({"SubjectRefPro": {"exercices": [{"codeCategorieProfessionnelle": "E"}]}}, "E", ()),
        ({"SubjectRefPro": {"exercices": [{**TRAINING, "codeProfession": "60"}]}}, "", ()),
        (
            {"SubjectRefPro": {"exercices": [{"codeProfession": "10", "codeSavoirFaire": "SM25"}]}, "specialty": ["SM54"]},
            "",
            ("SM54", "SM25"),
        ),
    ],
)
def test_what_a_directory_says_of_a_professional_is_read_however_it_is_written(claims, category, specialties):
    found = parse({**COMMON, **PROFESSIONAL, **claims})
    assert (found.category, found.specialties) == (category, specialties)


@pytest.mark.parametrize(
    "claims",
    [
        {"specialty": None},
        {"specialty": ""},
        {"specialty": [" "]},
        {"codeCategorieProfessionnelle": None},
        {"SubjectOrganizationID": None},
        {"Secteur_Activite": None},
        {"auth_mode": None},
        {"Acces_Regulation_Medicale": None},
        {"secret_session": None},
        {"extensions": None},
    ],
)
def test_what_is_said_as_null_or_in_blanks_is_not_said(claims):
    assert parse({**COMMON, **PROFESSIONAL, **claims}) == parse({**COMMON, **PROFESSIONAL})


def test_a_structure_of_blanks_is_none():
    assert actor(**PROFESSIONAL, SubjectOrganizationID=" ").organization == ""
