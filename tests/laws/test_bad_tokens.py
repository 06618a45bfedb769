"""Tokens that must open nothing, over HTTP, on a store for real use. Rows of the threat tables: B01 to B06 and B10.

https://www.rfc-editor.org/rfc/rfc8725 ; https://www.rfc-editor.org/rfc/rfc9068
"""

import base64
import hmac
import json
import os
import socket
import time

import httpx
import pytest

from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings
from tests.identity import making
from tests.identity.making import AGENT, AUDIENCE, es256, jwks, key, part, signed, unsigned
from tests.serving import serving

INS = "urn:oid:1.2.250.1.213.1.4.10"
HOSPITAL, FINESS, OTHER_FINESS = "https://hospital.example.org", "1750000001", "1750000002"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def private():
    return key("k1")


@pytest.fixture(scope="module")
def hospital():
    return key("h1")


@pytest.fixture(scope="module")
def server(tmp_path_factory, private, hospital):
    """A store for real use that trusts AGENT for every kind, and a hospital for its own users."""
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "jwks.json").write_text(jwks(private))
    (folder / "hospital.json").write_text(jwks(hospital))
    kinds = ["professional", "patient", "representative", "mandataire", "structure", "host", "feed", "support", "operator"]
    row = {"issuer": AGENT, "jwks": "jwks.json", "audience": AUDIENCE, "algorithms": ["ES256"], "kinds": kinds}
    own = {**row, "issuer": HOSPITAL, "jwks": "hospital.json", "kinds": ["professional"], "organizations": [FINESS]}
    (folder / "issuers.json").write_text(json.dumps([row, own]))
    with serving(folder, environment={"FHIR_DMP_ISSUERS": str(folder / "issuers.json")}, sandbox=False) as running:
        yield running


@pytest.fixture(scope="module")
def issue(server):
    """A token of the host's own issuer with these claims, without a process of its own."""
    tokens = Tokens.open(Settings(data=server.data))

    def made(kind, **claims):
        return tokens.issue(kind, claims, now_ms=time.time_ns() // 1_000_000, random=os.urandom)

    return made


@pytest.fixture(scope="module")
def holders(server, issue):
    """Two open dossiers: logical ids of their Patients."""
    opener = issue("structure", sub=FINESS, SubjectOrganizationID=FINESS)
    return [opened(server, opener, number) for number in ("279035121518989", "180067512345697")]


def opened(server, token, number):
    person = {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": INS, "value": number}],
        "name": [{"use": "official", "family": "ESSAI", "given": ["Camille"]}],
        "gender": "female" if number[0] == "2" else "male",
        "birthDate": "1979-03-15" if number[0] == "2" else "1980-06-07",
    }
    given = [{"name": "patient", "resource": person}, {"name": "evidence", "valueCode": "signed-form"}]
    body = {"resourceType": "Parameters", "parameter": given}
    answer = server.client.post("/fhir/Patient/$open", json=body, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def claims(**changes):
    """Claims of a professional, now; None takes a claim away."""
    now = int(time.time())
    said = making.professional(iat=now, exp=now + 600)
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


def asked(server, token, path="/fhir/Patient/x"):
    return server.client.get(path, headers=bearer(token))


def unusable(answer):
    """401 in the words of RFC 6750 and of FHIR."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["issue"][0]["code"] == "login"


def usable(answer):
    """Known at the door; what it may see is another question."""
    assert answer.status_code in (200, 403, 404), answer.text


def test_a_good_token_is_known_at_the_door(server, private):
    usable(asked(server, signed(claims(), private)))


# ---- B01


def test_B01_one_holder_reads_nothing_of_another(server, holders, issue):
    mine, other = holders
    token = issue("patient", patient=mine)
    assert asked(server, token, f"/fhir/Patient/{mine}").status_code == 200
    (consent, *_) = asked(server, issue("patient", patient=other), f"/fhir/Consent?patient={other}").json()["entry"]
    id = consent["resource"]["id"]
    for path, status in (
        (f"Patient/{other}", 403),
        (f"Patient/{other}/_history", 403),
        (f"Patient/{other}/$everything", 403),
        (f"Patient/{other}/Consent", 403),
        (f"Consent?patient={other}", 403),
        (f"Consent?patient=Patient/{other}&_include=Consent:patient", 403),
        (f"Consent?patient={mine},{other}", 403),
        (f"Consent?patient={mine}&patient={other}", 403),
        ("Consent", 403),
        ("Patient?family=ESSAI", 403),
        (f"Consent/{id}", 404),
        (f"Consent/{id}/_history", 404),
        (f"Consent?patient={mine}&_id={id}", 200),
        (f"Patient?_id={mine}&_revinclude=Consent:patient", 200),
    ):
        answer = asked(server, token, f"/fhir/{path}")
        assert (path, answer.status_code) == (path, status), answer.text[:500]
        if status == 200:
            assert id not in [entry["resource"]["id"] for entry in answer.json().get("entry", [])]
            assert other not in answer.text


def test_B01_whose_the_token_is_stands_in_the_token_alone(server, holders, issue):
    mine, other = holders
    token = issue("patient", patient=mine)
    for query in (f"?patient={other}", f"?access_token={issue('patient', patient=other)}"):
        answer = asked(server, token, f"/fhir/Patient/{other}{query}")
        assert answer.status_code in (400, 403) and "ESSAI" not in answer.text


# ---- B02


@pytest.mark.parametrize("audience", [None, "https://other.example", ["https://other.example"], [], AUDIENCE + "/", AUDIENCE[:-1], 7])
def test_B02_a_token_for_another_server(server, private, audience):
    unusable(asked(server, signed(claims(aud=audience), private)))


def test_B02_a_token_for_several_servers_one_of_them_this(server, private):
    usable(asked(server, signed(claims(aud=["https://other.example", AUDIENCE]), private)))


def test_B02_a_token_outside_its_time(server, private):
    now = int(time.time())
    for dates in ({"exp": now - 120}, {"exp": None}, {"exp": str(now + 600)}, {"nbf": now + 300}, {"iat": now + 300}, {"exp": -1}):
        unusable(asked(server, signed(claims(**dates), private)))


@pytest.mark.parametrize("issuer", [AGENT + "/", AGENT.upper(), AGENT + "/sub", AGENT[:-1], AGENT.replace("https", "http"), None, ""])
def test_B02_a_token_of_an_issuer_of_almost_the_same_name(server, private, issuer):
    unusable(asked(server, signed(claims(iss=issuer), private)))


def test_B02_a_token_ends_while_it_is_known(server, issue):
    tokens = Tokens.open(Settings(data=server.data))
    token = tokens.issue("feed", {}, now_ms=time.time_ns() // 1_000_000, random=os.urandom, seconds=2)
    usable(asked(server, token))
    time.sleep(2.1)
    unusable(asked(server, token))


# ---- B03


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", None, "HS256", "ES384", "RS256", "ES256K"])
def test_B03_no_signature_or_another_algorithm(server, algorithm):
    header = {"alg": algorithm, "typ": "at+jwt", "kid": "k1"}
    for signature in (b"", b"\0" * 64):
        unusable(asked(server, unsigned(header, claims(), signature)))
    unusable(asked(server, unsigned(header, claims()).rstrip(".")))


def test_B03_the_public_key_as_a_secret(server, private):
    published = server.client.get("/auth/jwks").json()["keys"][0]
    first = unsigned({"alg": "HS256", "typ": "at+jwt", "kid": "k1"}, claims()).rstrip(".")
    for secret in (private.as_pem(private=False), json.dumps(private.as_dict(private=False)).encode(), json.dumps(published).encode()):
        unusable(asked(server, f"{first}.{part(hmac.digest(secret, first.encode(), 'sha256'))}"))


def test_B03_a_signature_of_zeros(server):
    for r, s in ((0, 0), (0, 1), (1, 0)):
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        unusable(asked(server, unsigned({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}, claims(), signature)))


# ---- B04


@pytest.mark.parametrize("kid", ["../../dev/null", "/etc/passwd", {"$ne": ""}, ["k1"], "k1' OR '1'='1", "", None, "k" * 300, "k1\u0000"])
def test_B04_a_kid_that_is_a_path_or_an_operator(server, private, kid):
    unusable(asked(server, signed(claims(), private, kid=kid)))


def test_B04_keys_and_addresses_in_the_header_are_never_followed(server, private):
    thief = key("k1")
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        address = f"http://127.0.0.1:{trap.getsockname()[1]}/jwks"
        for signer, member in (
            (thief, {"jku": address}),
            (thief, {"x5u": address}),
            (thief, {"jwk": thief.as_dict(private=False)}),
            (thief, {"x5c": ["MIIB"]}),
            (private, {"jku": address}),
            (private, {"crit": ["x"], "x": 1}),
            (private, {"crit": []}),
            (private, {"zip": "DEF"}),
            (private, {"b64": False, "crit": ["b64"]}),
        ):
            unusable(asked(server, signed(claims(), signer, **member)))
        with pytest.raises(TimeoutError):
            trap.accept()


def test_B04_other_sorts_of_jwt(server, private):
    for kind in ("JWT", "id+jwt", "logout+jwt", "", None):
        unusable(asked(server, signed(claims(), private, typ=kind)))


def test_B04_claims_twice_or_unreadable(server, private):
    twice = json.dumps(claims())[:-1] + ', "SubjectNameID": "899999999999"}'
    for raw in (twice.encode(), b"[]", b"\xff", b"[" * 5000, b'{"exp": NaN}'):
        unusable(asked(server, signed(raw, private)))


# ---- B05

HEADERS = (
    {"X-Forwarded-User": "admin"},
    {"X-User-Role": "operator"},
    {"X-Patient": "{other}"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-HTTP-Method": "DELETE"},
    {"Forwarded": "for=127.0.0.1;host=localhost"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Original-URL": "/fhir/Patient/{other}"},
    {"X-Rewrite-URL": "/fhir/Patient/{other}"},
    {"Cookie": "access_token={token}"},
    {"Proxy-Authorization": "Bearer {token}"},
)


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: next(iter(headers)))
def test_B05_headers_that_claim_something_are_not_heard(server, holders, issue, headers):
    mine, other = holders
    words = {"other": other, "token": issue("patient", patient=other)}
    sent = {name: value.format(**words) for name, value in headers.items()}
    token = issue("patient", patient=mine)
    for path in (f"/fhir/Patient/{mine}", f"/fhir/Patient/{other}"):
        plain, claimed = asked(server, token, path), server.client.get(path, headers={**bearer(token), **sent})
        assert (claimed.status_code, claimed.content) == (plain.status_code, plain.content)
    alone = server.client.get(f"/fhir/Patient/{other}", headers=sent)
    assert alone.status_code == 401 and alone.headers["www-authenticate"] == "Bearer"


def test_B05_two_tokens_are_none(server, holders, issue):
    mine, other = (issue("patient", patient=one) for one in holders)
    for first, second in ((mine, other), (other, mine), (mine, mine)):
        headers = [("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")]
        answer = server.client.get(f"/fhir/Patient/{holders[1]}", headers=headers)
        assert answer.status_code == 400 and "ESSAI" not in answer.text
    joined = server.client.get(f"/fhir/Patient/{holders[1]}", headers={"Authorization": f"Bearer {mine}, Bearer {other}"})
    assert joined.status_code in (400, 401)


@pytest.mark.parametrize("given", ["", "Bearer", "Basic YTpi", "bearer\ttoken", "Token x", "Bearer a b"])
def test_B05_what_is_no_bearer_token(server, given):
    answer = httpx.get(f"{server.fhir}/Patient/x", headers={"Authorization": given})
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (401, "login") and "www-authenticate" in answer.headers


# ---- B06


def test_B06_a_claim_widened_after_it_was_signed(server, private):
    header, _, signature = signed(claims(), private).split(".")
    for change in ({"SubjectRole": ["21^1.2.250.1.213.1.1.5.5"]}, {"SubjectOrganizationID": OTHER_FINESS}, {"dmp_kind": "operator"}):
        unusable(asked(server, f"{header}.{part(json.dumps(claims(**change)).encode())}.{signature}"))


def test_B06_a_claim_widened_and_signed_by_the_client_itself(server):
    client = key("k1")
    unusable(asked(server, signed(claims(SubjectRole=["10^1.2.250.1.213.1.1.5.5"], Acces_Regulation_Medicale="VRAI"), client)))
    assertion = signed(claims(), client, typ="JWT")
    answer = server.client.post("/auth/token", data={"grant_type": GRANT, "assertion": assertion})
    unusable(answer)


def test_B06_a_structure_speaks_for_its_own_users_only(server, hospital):
    def of(organization, **changes):
        return claims(iss=HOSPITAL, auth_mode="AIR", SubjectOrganizationID=organization, **changes)

    for organization in (FINESS, f" {FINESS}"):  # blanks around a number say nothing, to no rule
        usable(asked(server, signed(of(organization), hospital)))
    for organization in (OTHER_FINESS, f" {OTHER_FINESS}", f"{FINESS} {OTHER_FINESS}", FINESS[1:], " ", "", None, [FINESS]):
        unusable(asked(server, signed(of(organization), hospital)))
    for kind in ("operator", "structure", "patient", "system"):
        unusable(asked(server, signed(of(FINESS, dmp_kind=kind, role="admin", patient="p"), hospital)))


def test_B06_no_token_speaks_for_a_conformance_suite_in_a_store_for_real_use(server, private):
    unusable(asked(server, server.new_token("system")))
    unusable(asked(server, signed(claims(dmp_kind="system", scope="system/*.cruds"), private)))


# ---- B10


def test_B10_an_emergency_claimed_in_a_token_opens_nothing(server, holders, private):
    reason = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    for purpose in ("BTG", "ETREAT", "TREAT"):
        said = {"extensions": {"ihe_iua": {"purpose_of_use": [{"system": reason, "code": purpose}]}}, "jti": "same"}
        for one in holders:
            assert asked(server, signed(claims(**said), private), f"/fhir/Patient/{one}").status_code == 403


def test_B10_a_broken_glass_is_one_physicians_one_dossiers(server, holders, issue):
    mine, other = holders

    def physician(number, **said):
        name = f"8{number}"
        role = ["10^1.2.250.1.213.1.1.5.5"]
        return issue("professional", **{"sub": name, "SubjectNameID": name, "SubjectRole": role, "auth_mode": "CPS", **said})

    first = physician("10001234567", client_id="cabinet-3", jti="one")
    given = {"resourceType": "Parameters", "parameter": [{"name": "justification", "valueString": "coma, antécédents inconnus"}]}
    broken = server.client.post(f"/fhir/Patient/{mine}/$break-glass", json=given, headers=bearer(first))
    assert broken.status_code == 200, broken.text
    assert asked(server, first, f"/fhir/Patient/{mine}").status_code == 200
    refused = {asked(server, first, f"/fhir/Patient/{other}").content}
    for number in ("10007654321", "10001234568"):
        stranger = asked(server, physician(number, client_id="cabinet-3", jti="one"), f"/fhir/Patient/{mine}")
        assert stranger.status_code == 403
        refused.add(stranger.content)
    assert len(refused) == 1, "one wording"
    structure = asked(server, issue("structure", SubjectOrganizationID=FINESS), f"/fhir/Patient/{mine}/$everything")
    assert structure.status_code == 403


def test_B10_what_was_exchanged_is_not_exchanged_again(server, private):
    assertion = signed(claims(jti="once", client_id="cabinet-3"), private, typ="JWT")
    form = {"grant_type": GRANT, "assertion": assertion}
    first = server.client.post("/auth/token", data=form)
    assert first.status_code == 200
    for again in (form, {**form, "client_id": "another"}):
        unusable(server.client.post("/auth/token", data=again))
    for change in ({"SubjectNameID": "899999999999"}, {"SubjectOrganizationID": OTHER_FINESS}, {"client_id": "another"}):
        other = signed(claims(jti="once", **{"client_id": "cabinet-3", **change}), private, typ="JWT")
        unusable(server.client.post("/auth/token", data={**form, "assertion": other}))


# ---- kinds and scopes

KINDS = {
    "professional": ("SubjectNameID", "SubjectRole"),
    "patient": ("patient",),
    "representative": ("patient", "related_person"),
    "mandataire": ("patient", "related_person"),
    "structure": ("SubjectOrganizationID",),
    "host": ("host",),
    "feed": (),
    "support": ("level", "ticket"),
    "operator": ("role",),
}
SAID = {
    "SubjectNameID": "810001234567",
    "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
    "patient": "p1",
    "related_person": "r1",
    "SubjectOrganizationID": FINESS,
    "host": "other",
    "level": 2,
    "ticket": "T1",
    "role": "admin",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_known_at_the_door_with_its_claims_and_not_without(server, private, kind):
    now = int(time.time())
    common = {"iss": AGENT, "aud": AUDIENCE, "exp": now + 600, "iat": now, "sub": "s", "dmp_kind": kind}
    whole = {**common, **{name: SAID[name] for name in KINDS[kind]}}
    usable(asked(server, signed(whole, private)))
    for absent in (*KINDS[kind], "sub", "dmp_kind", "exp", "aud", "iss"):
        if kind in ("representative", "mandataire") and absent == "patient":
            continue
        unusable(asked(server, signed({name: value for name, value in whole.items() if name != absent}, private)))


def test_scopes_narrow_what_a_kind_may_do(server, holders, issue):
    mine = holders[0]
    for scope, status in (
        ("patient/*.cruds", 200),
        ("patient/Patient.r", 200),
        ("user/Patient.r", 200),
        ("patient/Observation.rs", 403),
        ("patient/Patient.s", 403),
        ("system/*.cruds", 403),
        ("patient/*.dus", 403),
        ("patient/Patient.rs?active=true", 403),
        ("openid", 403),
        ("", 403),
    ):
        answer = asked(server, issue("patient", patient=mine, scope=scope), f"/fhir/Patient/{mine}")
        assert (scope, answer.status_code) == (scope, status)


def test_signing_by_hand_in_these_tests_is_right(server, private):
    """The same octets with a right signature are known, so that a refusal above is not a broken test."""
    first = f"{part(json.dumps({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'k1'}).encode())}.{part(json.dumps(claims()).encode())}"
    usable(asked(server, f"{first}.{part(es256(private, first.encode()))}"))
    assert base64.urlsafe_b64decode(first.split(".")[1] + "==")
