"""Refusals: always an OperationOutcome, never a word too many. https://hl7.org/fhir/R4/http.html#summary"""

import asyncio
import json
import struct

import pytest
from starlette.requests import Request

from fhir_dmp.errors import FhirError
from fhir_dmp.http import problems
from fhir_dmp.http.envelope import Envelope
from fhir_dmp.http.requests import read_body
from fhir_dmp.http.services import Services
from fhir_dmp.settings import load
from tests.http.conftest import issue

PROFESSIONAL = "professional --rpps 10001234567 --profession 10 --organization 1750000001 --purpose TREAT"
OTHERS = (
    PROFESSIONAL,
    f"{PROFESSIONAL} --regulation",
    "patient --patient p1",
    "representative --patient p1 --related-person r1",
    "mandataire --patient p1 --related-person r1",
    "structure --organization 1750000001",
    "host --host other",
    "feed",
    "support --level 2 --ticket T",
    "operator --role admin",
)


def test_unknown_address_and_method_are_outcomes(server):
    answer = server.client.get("/nowhere")
    assert (answer.status_code, issue(answer)) == (404, ("error", "not-found"))
    answer = server.client.post("/health/live")
    assert (answer.status_code, issue(answer), answer.headers["allow"]) == (405, ("error", "not-supported"), "GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/fhir/Patient", "/fhir/Patient/x", "/fhir/Nonsense", "/fhir", "/fhir/"])
def test_no_token_is_asked_for_one_before_anything_else(server, method, path):
    answer = server.client.request(method, path, content=b"{not json")
    assert (answer.status_code, issue(answer), answer.headers["www-authenticate"]) == (401, ("error", "login"), "Bearer")


@pytest.mark.parametrize("given", ["Basic YTpi", "Bearer", "bearer", "Token x", "Bearer,", ""])
def test_other_credentials_count_as_none(server, given):
    answer = server.client.get("/fhir/Patient", headers={"Authorization": given})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_unusable_token_says_so_in_the_challenge(server):
    for token in ("x", "a.b.c", server.token[:-4] + "AAAA", server.new_token("system", "--expires", "-120")):
        answer = server.client.get("/fhir/Patient", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, issue(answer)) == (401, ("error", "login"))
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_token_outside_the_header_is_not_looked_at(server):
    sent = {"Cookie": f"access_token={server.token}", "X-Access-Token": server.token}
    answer = server.client.get("/fhir/Patient", params={"access_token": server.token}, headers=sent)
    assert answer.status_code == 401


def test_two_authorization_headers_are_refused(server):
    twice = [("Authorization", f"Bearer {server.token}"), ("Authorization", f"Bearer {server.token}")]
    answer = server.client.get("/fhir/Patient", headers=twice)
    assert (answer.status_code, issue(answer)) == (400, ("error", "invalid"))


def test_scheme_is_read_in_any_case(server):
    assert server.client.get("/fhir/Basic", headers={"Authorization": f"bearer {server.token}"}).status_code == 200


def test_headers_that_claim_an_identity_or_a_method_change_nothing(server):
    claimed = {
        "X-Forwarded-User": "admin",
        "X-User-Role": "admin",
        "X-Patient": "p1",
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "for=127.0.0.1;host=evil.example;proto=https",
        "X-Forwarded-Host": "evil.example",
        "X-Original-URL": "/health/live",
        "X-Rewrite-URL": "/health/live",
    }
    answer = server.client.get("/fhir/Patient", headers=claimed)
    assert answer.status_code == 401
    answer = server.client.get("/fhir/Basic", headers={**claimed, **server.auth})
    assert answer.status_code == 200 and "evil.example" not in answer.text
    answer = server.client.post("/health/live", headers={"X-HTTP-Method-Override": "GET"})
    assert answer.status_code == 405


def test_a_dossier_that_is_not_there_is_refused_to_every_kind_in_the_same_words(server):
    bodies = set()
    for command in OTHERS:
        token = server.new_token(*command.split())
        for path in ("Patient", "Patient/absent", "Patient/absent/_history", "Observation?patient=absent", "Patient/absent/$everything"):
            answer = server.client.get(f"/fhir/{path}", headers={"Authorization": f"Bearer {token}"})
            assert (answer.status_code, issue(answer)) == (403, ("error", "forbidden"))
            bodies.add(answer.content)
    assert len(bodies) == 1


def test_system_tokens_do_not_work_outside_a_sandbox(tight):
    answer = tight.client.get("/fhir/Patient", headers=tight.auth)
    assert (answer.status_code, issue(answer)) == (401, ("error", "login"))


def test_scopes_narrow_what_a_token_may_do(server):
    narrow = {"Authorization": "Bearer " + server.new_token("system", "--scope", "system/Basic.rs")}
    assert server.client.get("/fhir/Basic", headers=narrow).status_code == 200
    for method, path, body in (
        ("GET", "/fhir/Patient", b""),
        ("POST", "/fhir/Basic", b'{"resourceType":"Basic","code":{"text":"x"}}'),
        ("DELETE", "/fhir/Basic/x", b""),
        ("GET", "/fhir/_history", b""),
    ):
        headers = {**narrow, "Content-Type": "application/fhir+json"}
        answer = server.client.request(method, path, headers=headers, content=body)
        assert (answer.status_code, issue(answer)) == (403, ("error", "forbidden")), (method, path)


def test_head_answers_like_get_without_a_body(server):
    for path in ("/health/live", "/", "/nowhere", "/fhir/Basic", "/fhir/Patient/absent", "/fhir/metadata"):
        get, head = (server.client.request(method, path, headers=server.auth) for method in ("GET", "HEAD"))
        assert head.content == b"" and head.status_code == get.status_code
        assert head.headers["content-type"] == get.headers["content-type"]


class Metrics:
    """Counts nothing."""

    class in_flight:
        set = staticmethod(lambda number: None)

    answered = staticmethod(lambda *arguments: None)


def enveloped(app, **settings):
    """An ASGI application as every request meets it."""
    return Envelope(app, Services(load(settings, {}).settings, None, Metrics))


async def call(app, **changes):
    """One request: status, headers, body."""
    scope = {"type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": []}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await app({**scope, **changes}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


async def test_fault_nobody_foresaw_is_500_and_shows_nothing(caplog):
    async def broken(scope, receive, send):
        raise RuntimeError("patient Durand has 279035121518989")

    status, headers, body = await call(enveloped(broken))
    outcome = json.loads(body)["issue"][0]
    assert (status, outcome["code"]) == (500, "exception")
    assert headers[b"x-request-id"].decode() in outcome["diagnostics"]
    assert b"Durand" not in body and "279035121518989" not in caplog.records[0].getMessage()


async def test_refusal_reaches_the_client_with_its_headers():
    async def busy(scope, receive, send):
        raise FhirError("throttled", "slower", headers={"Retry-After": "7"})

    status, headers, body = await call(enveloped(busy))
    assert (status, headers[b"retry-after"], json.loads(body)["issue"][0]["code"]) == (429, b"7", "throttled")


async def test_answer_that_began_is_cut_off_and_never_continued_by_another():
    async def halfway(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError

    with pytest.raises(ConnectionAbortedError):
        await call(enveloped(halfway))


async def test_requests_beyond_the_limit_wait_outside_and_health_never_does():
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send):
        entered.set()
        await leave.wait()
        await problems.answer(FhirError("not-found", "late"))(scope, receive, send)

    app = enveloped(slow, max_in_flight=1)
    first = asyncio.create_task(call(app))
    await entered.wait()
    status, headers, _ = await call(app)
    assert (status, headers[b"retry-after"]) == (503, b"1")
    health = asyncio.create_task(call(app, path="/health/live"))
    await asyncio.sleep(0)
    leave.set()
    assert (await first)[0] == (await health)[0] == 404
    assert (await call(app))[0] == 404


async def test_large_bodies_beyond_the_memory_for_them_wait_outside():
    async def reading(scope, receive, send):
        await read_body(Request(scope, receive), services)

    async def receive():
        return {"type": "http.request", "body": b" " * 2**20, "more_body": True}

    services = Services(load({"max_reading_bytes": 3 * 2**20}, {}).settings, None, Metrics)
    answered = []

    async def send(message):
        answered.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": []}
    await Envelope(reading, services)(scope, receive, send)
    assert answered[0]["status"] == 503 and services.reading_bytes == 0


def test_a_fault_in_a_page_around_the_base_is_an_outcome_too(server):
    broken = server.data / "tmp" / "metrics" / str(server.process.pid) / "counter_999999.db"
    broken.write_bytes(struct.pack("<iii", 48, 0, 16) + b"\xff" * 60)
    try:
        answer = server.client.get("/metrics")
    finally:
        broken.unlink()
    assert answer.status_code == 500
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.headers["x-request-id"] in answer.json()["issue"][0]["diagnostics"]
    assert server.client.get("/metrics").status_code == 200


def test_a_refusal_is_pretty_on_request(server):
    plain = server.client.get("/fhir/Patient/x")
    pretty = server.client.get("/fhir/Patient/x?_pretty=true")
    assert plain.json() == pretty.json() and b"\n" not in plain.content and b"\n" in pretty.content
