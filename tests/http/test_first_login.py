"""From the opening of a dossier to the holder's first look, on a store for real use: who is given a sheet, and what is traced.

https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006190273 (CSP L1111-14 to L1111-19)
"""

import os
import re
import time
from datetime import date

import pyotp
import pytest

from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings
from tests.http.conftest import issue
from tests.serving import serving

INS = "urn:oid:1.2.250.1.213.1.4.10"
FINESS = "1750000001"
REFUSED = (403, ("error", "forbidden"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("first"), sandbox=False) as running:
        yield running


@pytest.fixture(scope="module")
def token(server):
    """Headers of a token of the host's own issuer."""
    tokens = Tokens.open(Settings(data=server.data))

    def made(kind, **claims):
        text = tokens.issue(kind, claims, now_ms=time.time_ns() // 1_000_000, random=os.urandom)
        return {"Authorization": f"Bearer {text}"}

    return made


@pytest.fixture(scope="module")
def structure(token):
    return token("structure", sub=FINESS, SubjectOrganizationID=FINESS)


def opened(server, headers, number, born, *people):
    """Logical id of the Patient of a new dossier. number: INS without its key."""
    whole = number + f"{97 - int(number) % 97:02d}"
    person = {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": INS, "value": whole}],
        "name": [{"use": "official", "family": "ESSAI", "given": ["Camille"]}],
        "gender": "female",
        "birthDate": born,
    }
    given = [{"name": "patient", "resource": person}, {"name": "evidence", "valueCode": "signed-form"}]
    given += [{"name": "relatedPerson", "resource": one} for one in people]
    answer = server.client.post("/fhir/Patient/$open", json={"resourceType": "Parameters", "parameter": given}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def parent(code):
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}
    return {"resourceType": "RelatedPerson", "active": True, "relationship": [{"coding": [coding]}]}


@pytest.fixture(scope="module")
def holder(server, structure):
    """An adult's dossier, opened by a structure."""
    return opened(server, structure, "2790351215189", "1979-03-15")


def sheet(server, patient, headers):
    return server.client.post(f"/fhir/Patient/{patient}/$access-sheet", headers=headers)


def logged_in(server, text):
    """Headers of the token that a sheet leads to."""
    word = {name: re.search(rf"\({name}\): (\S+)", text)[1] for name in ("identifier", "password")}
    challenge = server.client.post("/auth/login", json=word).json()["challenge"]
    code = pyotp.parse_uri(re.search(r"otpauth://\S+", text)[0]).now()
    answer = server.client.post("/auth/login/code", json={"challenge": challenge, "code": code})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_the_opener_hands_a_sheet_and_the_holder_looks(server, structure, holder):
    given = sheet(server, holder, structure)
    assert given.status_code == 200, given.text
    headers = logged_in(server, given.text)
    read = server.client.get(f"/fhir/Patient/{holder}", headers=headers)
    assert (read.status_code, read.json()["birthDate"]) == (200, "1979-03-15")
    again = sheet(server, holder, headers)
    assert again.status_code == 200, "the holder has a new one issued himself"


def test_nobody_else_is_given_a_sheet(server, token, holder):
    professional = {"SubjectNameID": "810009999999", "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"], "auth_mode": "CPS"}
    before = sheet(server, holder, token("patient", patient=holder)).text
    for headers in (
        token("professional", sub="p", **professional),
        token("professional", sub="p", **professional, SubjectOrganizationID="1750000002"),
        token("structure", SubjectOrganizationID="1750000002"),
        token("patient", patient="nobody"),
        token("representative"),
        token("representative", patient=holder, related_person="nobody"),
        token("mandataire", patient=holder, related_person="nobody"),
        token("host", host="other"),
        token("feed"),
        token("support", level=2, ticket="T1"),
        token("operator", role="admin"),
        token("operator", role="physician", ticket="T1"),
    ):
        answer = sheet(server, holder, headers)
        assert (answer.status_code, issue(answer)) == REFUSED
    assert logged_in(server, before), "what was refused replaced nothing"


def test_a_refusal_tells_nothing_of_the_dossier(server, token, holder):
    headers = token("structure", SubjectOrganizationID="1750000002")
    unrelated, unknown = sheet(server, holder, headers), sheet(server, "a" * 26, headers)
    assert (unrelated.status_code, unrelated.content) == (unknown.status_code, unknown.content) == (403, unknown.content)


def test_a_professional_who_opened_is_an_opener(server, token):
    said = {"sub": "810001234567", "SubjectNameID": "810001234567", "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"], "auth_mode": "CPS"}
    physician = token("professional", **said)
    patient = opened(server, physician, "2850675123456", "1985-06-07")
    assert sheet(server, patient, physician).status_code == 200
    colleague = token("professional", **{**said, "sub": "x", "SubjectNameID": "810007654321"})
    assert sheet(server, patient, colleague).status_code == 403


def test_who_opened_hands_over_the_first_sheet_alone(server, structure):
    """Once it was used, whoever opened the dossier would log in as its holder."""
    patient = opened(server, structure, "2880375123456", "1988-03-04")
    assert sheet(server, patient, structure).status_code == 200
    text = sheet(server, patient, structure).text  # the first one was lost
    headers = logged_in(server, text)
    assert sheet(server, patient, structure).status_code == 403
    assert sheet(server, patient, headers).status_code == 200
    assert sheet(server, patient, structure).status_code == 403


def test_a_session_ends_with_its_sheet(server, structure, token):
    """Whoever found a sheet does not answer the one that replaces it with another."""
    patient = opened(server, structure, "2910375123456", "1991-03-04")
    found = sheet(server, patient, structure).text
    thief, holder = logged_in(server, found), token("patient", patient=patient)
    assert server.client.get(f"/fhir/Patient/{patient}", headers=thief).status_code == 200
    latest = sheet(server, patient, holder)
    assert latest.status_code == 200
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": f"Patient/{patient}"}}]}
    for answer in (
        sheet(server, patient, thief),
        server.client.get(f"/fhir/Patient/{patient}", headers=thief),
        server.client.get(f"/fhir/DocumentReference?patient={patient}", headers=thief),
        server.client.post("/fhir", json=batch, headers=thief),
    ):
        assert (answer.status_code, issue(answer)) == (401, ("error", "login"))
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    session = logged_in(server, latest.text)
    assert server.client.get(f"/fhir/Patient/{patient}", headers=session).status_code == 200
    assert server.client.get(f"/fhir/Patient/{patient}", headers=holder).status_code == 200, "a token from elsewhere has no sheet"
    assert sheet(server, patient, session).status_code == 200
    assert sheet(server, patient, session).status_code == 401, "nor does the session go on that asked for the next one"


def test_once_one_parent_logged_in_the_other_is_given_no_sheet_by_who_opened(server, structure, token):
    born = date.today().replace(day=1, month=1).replace(year=date.today().year - 6).isoformat()
    child = opened(server, structure, "2200275123456", born, parent("MTH"), parent("FTH"))
    physician = token("operator", role="physician", ticket="T1")
    found = server.client.get(f"/fhir/RelatedPerson?patient={child}", headers=physician).json()["entry"]

    def given(related: str):
        said = {"resourceType": "Parameters", "parameter": [{"name": "relatedPerson", "valueString": related}]}
        return server.client.post(f"/fhir/Patient/{child}/$access-sheet", json=said, headers=structure)

    first, other = (one["resource"]["id"] for one in found)
    assert logged_in(server, given(first).text)
    assert given(other).status_code == 403


def test_a_parent_logs_in_for_a_child(server, structure, token):
    born = date.today().replace(day=1, month=1).replace(year=date.today().year - 6).isoformat()
    child = opened(server, structure, "2200175123456", born, parent("MTH"))
    headers = logged_in(server, sheet(server, child, structure).text)
    assert server.client.get(f"/fhir/Patient/{child}", headers=headers).status_code == 200
    assert sheet(server, child, headers).status_code == 200
    holder = sheet(server, child, token("patient", patient=child))
    assert (holder.status_code, issue(holder)) == REFUSED, "the child itself is given none"


def test_logins_and_refusals_are_in_the_journal_of_the_dossier(server, structure):
    patient = opened(server, structure, "2900275123456", "1990-02-03")
    text = sheet(server, patient, structure).text
    headers = logged_in(server, text)
    identifier = re.search(r"\(identifier\): (\S+)", text)[1]
    assert server.client.post("/auth/login", json={"identifier": identifier, "password": "wrong"}).status_code == 401
    found = server.client.get(f"/fhir/AuditEvent?patient={patient}&_count=100", headers=headers)
    assert found.status_code == 200, found.text
    events = [entry["resource"] for entry in found.json()["entry"]]
    logins = [one for one in events if one["subtype"][0]["code"] == "110122"]
    assert sorted(one["outcome"] for one in logins) == ["0", "4"]
    (success,) = [one for one in logins if one["outcome"] == "0"]
    (failure,) = [one for one in logins if one["outcome"] == "4"]
    assert failure["outcomeDesc"] == "wrong password, or locked"
    assert any(agent["who"].get("reference") == f"Patient/{patient}" for agent in success["agent"])
    assert all(agent["network"]["address"] for one in logins for agent in one["agent"] if "network" in agent)
    assert identifier not in found.text
    assert any(one["subtype"][0]["code"] == "operation" for one in events)
