"""Headers of every answer: request id, caching, browsers. https://hl7.org/fhir/R4/security.html"""

import re

import pytest

from tests.http.conftest import ORIGIN

PATHS = ("/health/live", "/metrics", "/nowhere", "/fhir/Patient", "/fhir/metadata", "/")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_marked_guarded_and_numbered(server, path):
    headers = server.client.get(path).headers
    assert headers["x-sandbox"] == "true"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])


def test_answers_about_people_stay_in_no_cache(server):
    for path, sent in (("/fhir/Patient", {}), ("/fhir/Patient", server.auth), ("/fhir/Patient/x", server.auth)):
        headers = server.client.get(path, headers=sent).headers
        assert headers["cache-control"] == "no-store"
        assert "sandbox" in headers["content-security-policy"]


def test_store_for_real_use_is_not_marked_as_a_sandbox(tight):
    for path in PATHS:
        assert "x-sandbox" not in tight.client.get(path).headers


def test_request_id_of_the_client_comes_back(server):
    for given in ("0b6d7e6c-3f0a-4c57-9a53-0d4cf2f7a3f1", "a", "A.b:c_d-9", "x" * 128):
        assert server.client.get("/fhir/Patient", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "a,b", 'a"b', "é".encode()])
def test_request_id_of_another_form_is_replaced(server, given):
    answer = server.client.get("/health/live", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_browsers_of_other_origins_get_no_permission(server, tight):
    for one, origin in ((server, ORIGIN), (tight, "https://evil.example"), (tight, "null")):
        headers = one.client.get("/fhir/metadata", headers={"Origin": origin}).headers
        assert "access-control-allow-origin" not in headers
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        assert "access-control-allow-origin" not in one.client.options("/fhir/Patient", headers=asked).headers


def test_origin_of_the_settings_may_call_from_a_browser(tight):
    headers = tight.client.get("/fhir/metadata", headers={"Origin": ORIGIN}).headers
    assert headers["access-control-allow-origin"] == ORIGIN
    assert "ETag" in headers["access-control-expose-headers"] and "access-control-allow-credentials" not in headers
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}
    answer = tight.client.options("/fhir/Patient/x", headers=asked)
    assert answer.status_code == 200 and "PATCH" in answer.headers["access-control-allow-methods"]
