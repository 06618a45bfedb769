"""Searches as they come over HTTP: compartments, and what X-Explain tells to whom. https://hl7.org/fhir/R4/http.html#search"""

import json
from types import SimpleNamespace

import pytest

from fhir_dmp.http.fhir import explains
from fhir_dmp.identity.actor import Actor
from fhir_dmp.settings import Settings
from tests.serving import serving

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """A sandbox with a patient p1, two observations and a condition of hers, and an observation of another one."""
    with serving(tmp_path_factory.mktemp("ward")) as server:
        client, server.client = server.client, server.client
        client.headers.update(server.auth)
        about = {"subject": {"reference": "Patient/p1"}}
        code = {"code": {"text": "x"}}
        made = [
            {"resourceType": "Patient", "id": "p1", "gender": "female"},
            {"resourceType": "Observation", "id": "o1", "status": "final", **code, **about, "effectiveDateTime": "2024-01-01"},
            {"resourceType": "Observation", "id": "o2", "status": "final", **code, **about, "effectiveDateTime": "2025-01-01"},
            {"resourceType": "Condition", "id": "c1", **code, **about},
            {"resourceType": "Observation", "id": "o9", "status": "final", **code, "subject": {"reference": "Patient/p9"}},
        ]
        for resource in made:
            answer = client.put(f"{server.fhir}/{resource['resourceType']}/{resource['id']}", json=resource)
            assert answer.status_code == 201, answer.text
        yield server


def entries(answer) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.json().get("entry", ())}


def test_a_compartment_is_searched_whole_by_type_and_by_several_types(ward):
    get = ward.client.get
    every = {"Patient/p1", "Observation/o1", "Observation/o2", "Condition/c1"}
    assert entries(get(f"{ward.fhir}/Patient/p1/*")) == every
    assert entries(get(f"{ward.fhir}/Patient/p1/Observation")) == {"Observation/o1", "Observation/o2"}
    assert entries(get(f"{ward.fhir}/Patient/p1/*?_type=Condition,Patient")) == {"Patient/p1", "Condition/c1"}
    for address in ("Patient/p1/*/_search", "Patient/p1/_search"):
        assert entries(ward.client.post(f"{ward.fhir}/{address}", content="_type=Condition", headers=FORM)) == {"Condition/c1"}
    assert entries(ward.client.post(f"{ward.fhir}/Patient/p1/Observation/_search", content="date=2025", headers=FORM)) == {"Observation/o2"}
    links = {link["relation"]: link["url"] for link in get(f"{ward.fhir}/Patient/p1/*?_count=3").json()["link"]}
    assert links["self"] == f"{ward.fhir}/Patient/p1/*?_count=3"
    assert len(entries(get(links["next"]))) == 1
    assert get(f"{ward.fhir}/Patient/p1/Nothing").status_code == 404
    assert get(f"{ward.fhir}/Patient/*/Observation").status_code == 400


def test_the_plan_is_told_to_system_in_a_sandbox(ward):
    def plan(address: str, value: str = "true") -> dict | None:
        answer = ward.client.get(f"{ward.fhir}/{address}", headers={"X-Explain": value})
        assert answer.status_code == 200
        return json.loads(answer.headers["x-explain"]) if "x-explain" in answer.headers else None

    assert plan("Observation?patient=p1", "false") is None
    assert plan("Patient/p1") is None  # not a search
    told = plan("Observation?patient=p1&status=final")
    assert told["decided"] == "index" and told["results"] == 2
    (dossier, *_) = told["segments"]
    assert dossier["index"] == "dossier" and dossier["types"] == ["Observation"] and dossier["dossiers"] == 1 and dossier["exact"]
    assert dossier["rowsFound"] == 2 and 2 <= dossier["keysExamined"] <= 6 and dossier["batches"] == 1
    assert plan("Observation?patient=p1&_sort=-date")["decided"] == "rows"
    told = plan("Observation?patient=p1&code:text=x")
    assert told["decided"] == "bodies" and told["judged"] == 2 and not told["segments"][0]["exact"]
    assert plan("Patient/p1/*")["segments"][0]["types"] > 50


def test_the_plan_is_told_to_administrators_alone(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("host"), sandbox=False) as server:
        professional = ("--rpps", "10001234567", "--profession", "10", "--specialty", "SM54", "--organization", "1750000001")
        headers = {"Authorization": f"Bearer {server.new_token('professional', *professional)}", "X-Explain": "true"}
        assert "x-explain" not in server.client.get(f"{server.fhir}/Practitioner?name=x", headers=headers).headers
    host = SimpleNamespace(settings=Settings())
    asks = {"issuer": "i", "subject": "s", "expires": 0}
    assert explains(host, Actor(kind="operator", role="admin", **asks))
    assert not explains(host, Actor(kind="operator", role="physician", **asks))
    assert not explains(host, Actor(kind="system", **asks))
    sandbox = SimpleNamespace(settings=Settings(sandbox=True))
    kinds = ("system", "professional", "patient", "representative", "structure", "host", "support", "operator")
    assert [kind for kind in kinds if explains(sandbox, Actor(kind=kind, **asks))] == ["system"]
    assert explains(sandbox, Actor(kind="operator", role="admin", **asks))


def test_long_criteria_are_paged_to_the_end_or_refused_at_once(ward):
    def asked(length: int):
        codes = ",".join(["final", *("x" * length for _ in range(150))])
        return ward.client.post(f"{ward.fhir}/Observation/_search", content=f"_count=1&status={codes}", headers=FORM)

    found, answer = 0, asked(70)
    while True:
        assert answer.status_code == 200, answer.text
        found += len(answer.json()["entry"])
        links = {link["relation"]: link["url"] for link in answer.json()["link"]}
        if "next" not in links:
            break
        answer = ward.client.get(links["next"])
    assert found == answer.json()["total"] == 3
    refused = asked(125)
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "too-costly")


def test_what_refers_by_canonical_address_is_found_from_either_end(ward):
    form = {
        "resourceType": "Questionnaire",
        "id": "form",
        "url": "http://q.example/form",
        "version": "1.0",
        "status": "active",
        "title": "Titre",
    }
    answers = {
        "r1": "http://q.example/form|1.0",
        "r2": "http://q.example/form",
        "r3": "http://q.example/other",
        "r4": "http://q.example/form|2.0",
    }
    made = [{"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": url} for id, url in answers.items()]
    for resource in [form, *made]:
        assert ward.client.put(f"{ward.fhir}/{resource['resourceType']}/{resource['id']}", json=resource).status_code in (200, 201)

    def found(address: str) -> list[str]:
        entries = ward.client.get(f"{ward.fhir}/{address}").json().get("entry", [])
        return sorted(entry["resource"]["id"] for entry in entries)

    for id, questionnaires in (("r1", ["form"]), ("r2", ["form"]), ("r3", []), ("r4", [])):
        assert found(f"Questionnaire?_has:QuestionnaireResponse:questionnaire:_id={id}") == questionnaires
        assert found(f"Questionnaire?_id=form&_has:QuestionnaireResponse:questionnaire:_id={id}") == questionnaires
    assert found("Questionnaire?_id=form&_revinclude=QuestionnaireResponse:questionnaire") == ["form", "r1", "r2"]
    assert found("QuestionnaireResponse?questionnaire.title=titre") == ["r1", "r2"]
    assert found("QuestionnaireResponse?_id=r4&_include=QuestionnaireResponse:questionnaire") == ["r4"]
    assert found("QuestionnaireResponse?_id=r1&_include=QuestionnaireResponse:questionnaire") == ["form", "r1"]
