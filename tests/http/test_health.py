"""Health, counters, keys and the first page. https://prometheus.io/docs/instrumenting/exposition_formats/"""

import re
import time

import jiter
from joserfc import jwk, jws
from prometheus_client.parser import text_string_to_metric_families


def counted(server, interaction, status):
    """Answers counted so far, over all workers."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(server.client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "fhir_dmp_request_seconds_count" and sample.labels == {"interaction": interaction, "status": str(status)}
    )


def test_live_and_ready_answer_without_a_token(server):
    for name in ("live", "ready"):
        answer = server.client.get(f"/health/{name}")
        assert (answer.status_code, answer.json()) == (200, {"status": name})


def test_counters_count_the_answers_of_all_workers(server):
    before = counted(server, "live", 200)
    for _ in range(20):
        # A new connection each time, so that both workers get some.
        server.client.get("/health/live", headers={"Connection": "close"})
    assert counted(server, "live", 200) == before + 20
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "fhir_dmp_in_flight" in answer.text


def test_batches_of_the_store_are_counted(server):
    body = b'{"resourceType":"Basic","code":{"text":"x"}}'
    headers = {**server.auth, "Content-Type": "application/fhir+json"}
    assert server.client.post("/fhir/Basic", content=body, headers=headers).status_code == 201
    kinds = re.findall(r'fhir_dmp_batch_size_count{kind="(\w+)"}', server.client.get("/metrics").text)
    assert "create" in kinds


def test_counters_have_no_label_from_an_address_or_a_person(server):
    server.client.get("/fhir/Patient/abcdefghijkl?name=Durand", headers=server.auth)
    server.client.get("/unheard/of/address")
    text = server.client.get("/metrics").text
    assert set(re.findall(r"(\w+)=\"", text)) <= {"interaction", "status", "kind", "le"}
    for word in ("abcdefghijkl", "Durand", "unheard", "Patient"):
        assert word not in text


def test_tokens_can_be_verified_with_the_published_keys(server):
    for address in ("/auth/jwks", "/auth/jwks.json"):
        answer = server.client.get(address)
        keys = jwk.KeySet.import_key_set(answer.json())
        claims = jiter.from_json(jws.deserialize_compact(server.token, keys, ["ES256"]).payload)
        assert claims["dmp_kind"] == "system" and claims["exp"] > time.time()
        assert '"d"' not in answer.text


def test_first_page_says_what_this_is_in_two_languages_and_runs_nothing(server):
    answer = server.client.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script" not in answer.text.replace("Content-Security-Policy", "") and "http://" not in answer.text
    assert "Dossier Médical Partagé" in answer.text and "sandbox" in answer.text and 'lang="en"' in answer.text
    for address in re.findall(r'href="([^"]+)"', answer.text):
        # Before its first head is signed a new store has no checkpoint; the guide may still be on its way.
        early = 404 if address == "/journal/checkpoint" else 503 if address.startswith("/ig/") else 200
        assert server.client.get(address).status_code in (200, early), address
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
