"""Logs tell that the machine works, and nothing of people."""

import json
import logging
import time

from fhir_dmp.http.logs import Lines, fault

SECRETS = ("Durand-Tellier", "279035121518989", "abcdefghijklmnopqrstuvwxyz", "11488-4", "secretquery", "SM99", "cookievalue")


def test_no_id_name_query_body_or_token_is_logged(server):
    get = server.client.get
    get(f"/fhir/Patient/{SECRETS[2]}?family={SECRETS[0]}&secretquery=1", headers=server.auth)
    get(f"/fhir/Observation?code=http://loinc.org|{SECRETS[3]}&patient={SECRETS[2]}", headers=server.auth)
    get(f"/{SECRETS[0]}/{SECRETS[1]}", headers={"User-Agent": SECRETS[0], "Referer": f"http://x/{SECRETS[1]}", "Cookie": "a=cookievalue"})
    get("/fhir/Patient", headers={**server.auth, "X-Request-Id": SECRETS[1]})
    server.client.request("DURAND-TELLIER".title(), f"/fhir/{SECRETS[2]}", headers=server.auth)
    body = json.dumps({"resourceType": "Patient", "name": [{"family": SECRETS[0]}], "bogus": SECRETS[1]})
    server.client.post("/fhir/Patient", content=body, headers={**server.auth, "Content-Type": "application/fhir+json"})
    token = server.new_token("professional", "--rpps", "10001234567", "--profession", "10", "--specialty", "SM99")
    get("/fhir/Patient", headers={"Authorization": f"Bearer {token}"})
    get("/fhir/Patient", headers={"Authorization": "Bearer not.a.token"})
    time.sleep(0.2)
    logged = server.logged()
    for secret in (*SECRETS, server.token, token, "not.a.token", "10001234567"):
        assert secret not in logged, secret


def test_each_request_is_one_line_of_json_with_fixed_members(server):
    number = "0b6d7e6c-3f0a-4c57-9a53-0d4cf2f7a3f2"
    server.client.get("/fhir/Basic?_count=3", headers={**server.auth, "X-Request-Id": number})
    time.sleep(0.2)
    lines = [json.loads(line) for line in server.logged().splitlines()]
    (line,) = [one for one in lines if one.get("request") == number]
    assert set(line) == {"time", "level", "method", "route", "interaction", "status", "ms", "request", "actor"}
    assert (line["method"], line["status"], line["actor"], line["level"]) == ("GET", 200, "system", "info")
    assert "Basic" not in line["route"] and line["route"].startswith("/fhir")


def test_exception_is_logged_by_type_and_place_without_its_text():
    try:
        raise ValueError("Durand has 279035121518989")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, error.__traceback__))
        text = Lines().format(record)
        found = fault(error)
    assert "Durand" not in text and json.loads(text)["fault"] == "ValueError"
    assert found["places"][0].endswith("test_exception_is_logged_by_type_and_place_without_its_text")
