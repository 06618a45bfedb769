"""Patient login over HTTP: two secrets, a short-lived token, and nothing for whoever guesses.

https://pages.nist.gov/800-63-4/sp800-63b.html ; https://www.rfc-editor.org/rfc/rfc6238
"""

import asyncio
import base64
import itertools
import json
import re
import statistics
import time
from typing import NamedTuple

import httpx
import pyotp
import pytest

from tests.http.conftest import issue
from tests.interactions.making import Fhir, unique
from tests.serving import serving

# Spans that no slow machine outlasts: when they end is tested with a clock of its own.
ATTEMPTS, FROM_ONE_ADDRESS, FAILURES, LOCK, WINDOW = 12, 30, 5, 600, 300
SETTINGS = {
    "FHIR_DMP_LOGIN_ATTEMPTS": str(ATTEMPTS),
    "FHIR_DMP_LOGIN_ADDRESS_ATTEMPTS": str(FROM_ONE_ADDRESS),
    "FHIR_DMP_LOGIN_FAILURES": str(FAILURES),
    "FHIR_DMP_LOGIN_LOCK_SECONDS": str(LOCK),
    "FHIR_DMP_LOGIN_WINDOW_SECONDS": str(WINDOW),
    "FHIR_DMP_TRUSTED_PROXIES": "127.0.0.1",
}
WRONG = ("error", "login")
_addresses = itertools.count(1)


class Sheet(NamedTuple):
    """What a sheet says, as its reader types it. patient: the id of the dossier's Patient."""

    patient: str
    identifier: str
    password: str
    codes: list[str]
    totp: pyotp.TOTP

    @property
    def secrets(self) -> dict[str, str]:
        return {"identifier": self.identifier, "password": self.password}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two workers, which must count together, behind what they take for a proxy."""
    with serving(tmp_path_factory.mktemp("login"), "--workers", "2", environment=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def fhir(server):
    return Fhir(server)


@pytest.fixture
def client(server):
    """A client with a network address of its own."""
    with coming_from(server, f"192.0.2.{next(_addresses)}") as http:
        yield http


def coming_from(server, address):
    return httpx.Client(base_url=server.url, timeout=60, headers={"X-Forwarded-For": address})


def sheet_of(fhir, patient, **related):
    query = "".join(f"?relatedPerson={id}" for id in related.values())
    text = fhir.send("POST", f"Patient/{patient}/$access-sheet{query}").text
    word = {name: re.search(rf"\({name}\): (\S+)", text)[1] for name in ("identifier", "password")}
    codes = re.findall(r"\b\d+\. (\d{8})\b", text)
    return Sheet(patient, word["identifier"], word["password"], codes, pyotp.parse_uri(re.search(r"otpauth://\S+", text)[0]))


@pytest.fixture
def sheet(fhir):
    """The sheet of a holder of full age."""
    return sheet_of(fhir, fhir.new({"resourceType": "Patient", "birthDate": "1979-03-15"}).id)


def begun(client, sheet):
    """A challenge."""
    answer = client.post("/auth/login", json=sheet.secrets)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"challenge"}
    return answer.json()["challenge"]


def finished(client, challenge, code):
    return client.post("/auth/login/code", json={"challenge": challenge, "code": code})


def claims_of(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def comparable(answer):
    """What must not differ between refusals: everything but date and request id."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, headers, answer.content


def test_two_secrets_give_a_short_lived_token_of_the_holder(server, client, sheet):
    answer = finished(client, begun(client, sheet), sheet.totp.now())
    assert answer.status_code == 200 and set(answer.json()) == {"access_token", "expires_in"}
    assert answer.headers["cache-control"] == "no-store" and answer.json()["expires_in"] == 900
    claims = claims_of(answer.json()["access_token"])
    assert (claims["dmp_kind"], claims["patient"], claims["exp"] - claims["iat"]) == ("patient", sheet.patient, 900)
    assert claims["amr"] == ["pwd", "otp"] and claims["jti"]
    used = server.client.get(f"/fhir/Patient/{sheet.patient}", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
    assert used.status_code != 401


def test_each_code_of_the_sheet_serves_once(client, sheet):
    assert len(set(sheet.codes)) == 20
    for code in sheet.codes[:3]:
        assert finished(client, begun(client, sheet), f"{code[:4]} {code[4:]}").status_code == 200
        again = finished(client, begun(client, sheet), code)
        assert (again.status_code, issue(again)) == (401, WRONG)


def test_a_code_is_sent_for_one_challenge(server, client, sheet):
    """In a sandbox the code is printed on the terminal of the server."""
    before = len(sent(server))
    challenge = begun(client, sheet)
    first = newest(server, before)
    other = begun(client, sheet)
    second = newest(server, before + 1)
    assert first != second
    assert finished(client, other, first).status_code == 401
    assert finished(client, challenge, first).status_code == 200


def sent(server):
    return re.findall(r"usage unique: (\d{6}) ", server.logged())


def newest(server, before):
    end = time.monotonic() + 120
    while len(found := sent(server)) <= before:
        assert time.monotonic() < end, "no code was sent"
        time.sleep(0.02)
    return found[before]


def test_nobody_is_sent_a_code_for_a_wrong_password(server, client, sheet):
    before = len(sent(server))
    client.post("/auth/login", json={**sheet.secrets, "password": "wrong"})
    begun(client, sheet)
    newest(server, before)
    time.sleep(0.2)
    assert len(sent(server)) == before + 1


def test_a_representative_logs_in_as_himself(fhir, client):
    child = fhir.new({"resourceType": "Patient", "birthDate": "2020-03-15"}).id
    mother = fhir.new(related(child, "MTH")).id
    sheet = sheet_of(fhir, child)
    token = finished(client, begun(client, sheet), sheet.totp.now()).json()["access_token"]
    claims = claims_of(token)
    assert (claims["dmp_kind"], claims["patient"], claims["related_person"]) == ("representative", child, mother)
    assert claims["sub"] == mother


def related(patient, code):
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}
    return {"resourceType": "RelatedPerson", "patient": {"reference": f"Patient/{patient}"}, "relationship": [{"coding": [coding]}]}


def test_a_new_sheet_ends_the_former_at_once(fhir, client, sheet):
    challenge = begun(client, sheet)
    latest = sheet_of(fhir, sheet.patient)
    assert finished(client, challenge, sheet.totp.now()).status_code == 401
    assert finished(client, challenge, latest.totp.now()).status_code == 401
    assert client.post("/auth/login", json=sheet.secrets).status_code == 401
    assert client.post("/auth/login", json={**latest.secrets, "password": sheet.password}).status_code == 401
    challenge = begun(client, latest)
    assert finished(client, challenge, sheet.codes[0]).status_code == 401
    assert finished(client, challenge, latest.codes[0]).status_code == 200


def test_unknown_wrong_and_locked_get_the_same_bytes(client, fhir, sheet):
    wrong = comparable(client.post("/auth/login", json={**sheet.secrets, "password": "wrong-word"}))
    unknown = comparable(client.post("/auth/login", json={"identifier": unique(), "password": "wrong-word"}))
    for _ in range(FAILURES):
        client.post("/auth/login", json={**sheet.secrets, "password": "wrong-word"})
    locked = comparable(client.post("/auth/login", json=sheet.secrets))
    assert wrong == unknown == locked and wrong[0] == 401
    other = sheet_of(fhir, fhir.new({"resourceType": "Patient"}).id)
    code = comparable(finished(client, begun(client, other), "00000000"))
    forged = comparable(finished(client, "A" * 150, "00000000"))
    assert code == forged == wrong


def test_unknown_and_wrong_take_the_same_time(server, fhir, sheet):
    times = {"unknown": [], "wrong": []}
    for number in range(12):
        with coming_from(server, f"198.51.100.{number}") as client:
            known = sheet_of(fhir, sheet.patient).identifier
            for name, identifier in (("unknown", unique()), ("wrong", known)):
                begun_at = time.perf_counter()
                client.post("/auth/login", json={"identifier": identifier, "password": "wrong-word"})
                times[name].append(time.perf_counter() - begun_at)
    unknown, wrong = statistics.median(times["unknown"]), statistics.median(times["wrong"])
    # A lookup that stopped before the password is hashed would take a tenth of it.
    assert 0.4 < unknown / wrong < 2.5, times


def test_failures_lock_an_identifier(client, sheet):
    for _ in range(FAILURES - 1):
        assert client.post("/auth/login", json={**sheet.secrets, "password": "wrong"}).status_code == 401
    assert begun(client, sheet)
    assert client.post("/auth/login", json={**sheet.secrets, "password": "wrong"}).status_code == 401
    assert client.post("/auth/login", json=sheet.secrets).status_code == 401


def test_wrong_codes_lock_as_wrong_passwords_do(client, sheet):
    challenge = begun(client, sheet)
    for _ in range(3):
        assert finished(client, challenge, "12345678").status_code == 401
    assert finished(client, challenge, sheet.codes[0]).status_code == 401, "a challenge takes three codes"
    challenge = begun(client, sheet)
    for _ in range(FAILURES - 3):
        assert finished(client, challenge, "12345678").status_code == 401
    assert finished(client, challenge, sheet.codes[0]).status_code == 401, "locked"
    assert client.post("/auth/login", json=sheet.secrets).status_code == 401


def test_success_forgets_failures(client, sheet):
    for round in range(2):
        for _ in range(FAILURES - 1):
            client.post("/auth/login", json={**sheet.secrets, "password": "wrong"})
        assert finished(client, begun(client, sheet), sheet.codes[round]).status_code == 200


@pytest.mark.parametrize("exists", [True, False])
def test_too_many_requests_for_one_identifier_are_told_to_wait(client, fhir, sheet, exists):
    wrong = {"identifier": sheet.identifier if exists else unique(), "password": "wrong"}
    statuses = [client.post("/auth/login", json=wrong).status_code for _ in range(ATTEMPTS + 2)]
    assert statuses == [401] * ATTEMPTS + [429] * 2
    told = client.post("/auth/login", json=wrong)
    assert issue(told) == ("error", "throttled") and 1 <= int(told.headers["retry-after"]) <= WINDOW
    other = sheet_of(fhir, fhir.new({"resourceType": "Patient"}).id)
    assert begun(client, other), "others are not stopped"


def test_too_many_requests_from_one_address_are_told_to_wait(server):
    address = "203.0.113.5"
    with coming_from(server, address) as client:
        statuses = [client.post("/auth/login", json={"identifier": unique(), "password": "x"}).status_code for _ in range(FROM_ONE_ADDRESS)]
        assert set(statuses) == {401}
        assert client.post("/auth/login", json={"identifier": unique(), "password": "x"}).status_code == 429
        told = finished(client, "A" * 80, "123456")
        assert (told.status_code, "retry-after" in told.headers) == (429, True)
        # What the client itself writes before the address that the proxy adds is not believed.
        forged = {"X-Forwarded-For": f"203.0.113.77, {address}"}
        assert client.post("/auth/login", json={"identifier": unique(), "password": "x"}, headers=forged).status_code == 429
    with coming_from(server, "203.0.113.6") as client:
        assert client.post("/auth/login", json={"identifier": unique(), "password": "x"}).status_code == 401


def test_one_network_of_ipv6_is_one_client(server):
    statuses = []
    for number in range(FROM_ONE_ADDRESS + 1):
        with coming_from(server, f"2001:db8:0:7::{number + 1:x}") as client:
            statuses.append(client.post("/auth/login", json={"identifier": unique(), "password": "x"}).status_code)
    assert statuses == [401] * FROM_ONE_ADDRESS + [429]


def test_a_challenge_serves_once(client, sheet):
    challenge = begun(client, sheet)
    assert finished(client, challenge, sheet.codes[0]).status_code == 200
    assert finished(client, challenge, sheet.codes[1]).status_code == 401


def test_a_code_of_the_application_serves_once_in_whatever_challenge(client, sheet):
    one, two = begun(client, sheet), begun(client, sheet)
    code = sheet.totp.now()
    assert finished(client, one, code).status_code == 200
    assert finished(client, two, code).status_code == 401
    before = sheet.totp.at(int(time.time()) - 30)
    assert finished(client, two, before).status_code == 401, "nor an earlier one"


async def test_one_code_at_the_same_moment_opens_one_session(server, client, sheet):
    challenges = [begun(client, sheet) for _ in range(4)]
    limits, headers = httpx.Limits(max_connections=8), {"X-Forwarded-For": "198.51.100.200"}
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits, headers=headers) as crowd:
        for code, asked in ((sheet.codes[0], challenges), (sheet.codes[1], challenges[:1] * 4)):
            sent = [crowd.post("/auth/login/code", json={"challenge": one, "code": code}) for one in asked]
            statuses = [answer.status_code for answer in await asyncio.gather(*sent)]
            assert statuses.count(200) <= 1 and set(statuses) <= {200, 401}
            if asked is challenges:
                assert statuses.count(200) == 1


def test_what_is_no_challenge_is_refused(server, client, fhir, sheet):
    challenge = begun(client, sheet)
    other = sheet_of(fhir, fhir.new({"resourceType": "Patient"}).id)
    changed = challenge[:20] + ("A" if challenge[20] != "A" else "B") + challenge[21:]
    page = fhir.get("Patient?_count=1").json()["link"]
    cursor = next(link["url"].rpartition("=")[2] for link in page if link["relation"] == "next")
    for wrong in (changed, challenge + "A", challenge.upper(), cursor, server.token, "é", "x" * 4000):
        answer = finished(client, wrong, sheet.codes[0])
        assert (answer.status_code, issue(answer)) == (401, WRONG)
    assert finished(client, challenge, other.codes[0]).status_code == 401
    assert finished(client, challenge, sheet.codes[0]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"x"',
        b"{}",
        b'{"identifier":"a"}',
        b'{"identifier":"a","password":"b","role":"admin"}',
        b'{"identifier":"a","password":"b","identifier":"c"}',
        b'{"identifier":"a","password":1}',
        b'{"identifier":["a"],"password":"b"}',
        b'{"identifier":{"$ne":""},"password":{"$ne":""}}',
        b'{"identifier":"","password":""}',
        b'{"identifier":"a","password":"' + b"x" * 201 + b'"}',
        b'{"identifier":"\xff","password":"b"}',
        b'{"identifier":"a","password":NaN}',
    ],
)
def test_a_body_of_another_form_is_refused(client, body):
    answer = client.post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, issue(answer)) == (400, ("error", "invalid"))


def test_login_has_one_method_one_format_and_a_bound(client):
    for path in ("/auth/login", "/auth/login/code", "/auth/token"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    form = client.post("/auth/login", data={"identifier": "a", "password": "b"})
    assert (form.status_code, issue(form)) == (415, ("error", "not-supported"))
    large = client.post("/auth/login", json={"identifier": "a", "password": "b" * 10_000})
    assert (large.status_code, issue(large)) == (413, ("error", "too-long"))


@pytest.mark.parametrize("text", ["\u0000", "a\u0000b", "𝒶", "😀", "' || 1==1", "${jndi:x}", "  "])
def test_odd_texts_are_only_wrong(client, text):
    answer = client.post("/auth/login", json={"identifier": text, "password": text})
    assert (answer.status_code, issue(answer)) == (401, WRONG)


def test_the_log_says_nothing_of_who_logs_in(server, client, sheet):
    challenge = begun(client, sheet)
    token = finished(client, challenge, sheet.codes[0]).json()["access_token"]
    logged = server.logged()
    for secret in (sheet.identifier, sheet.identifier.replace("-", ""), sheet.password, challenge, token, sheet.patient, sheet.codes[0]):
        assert secret not in logged
    assert '"interaction":"login"' in logged and '"interaction":"login-code"' in logged


def test_the_addresses_are_published(client):
    told = client.get("/fhir/.well-known/smart-configuration").json()
    for name, path in (("token_endpoint", "/auth/token"), ("login_endpoint", "/auth/login"), ("login_code_endpoint", "/auth/login/code")):
        assert told[name].endswith(path)
        assert client.post(told[name]).status_code in (400, 415)
    assert told["grant_types_supported"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
