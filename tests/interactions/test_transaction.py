"""FHIR transaction. https://hl7.org/fhir/R4/http.html#trules"""

import asyncio
import base64
import json

import pytest

from tests.interactions.making import (
    FHIR_JSON,
    basic,
    bundle,
    dumped,
    entry,
    identified,
    issues,
    located,
    observation,
    patient,
    places,
    refused,
    statuses,
    stored,
    unique,
)

A, B, C = (f"urn:uuid:{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")


def transaction(fhir, *entries: dict, **headers: str):
    return fhir.post("", bundle("transaction", *entries), **headers)


def json_patch(*operations: dict) -> dict:
    return {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": base64.b64encode(json.dumps(operations).encode()).decode(),
    }


def test_references_between_entries_lead_to_what_was_stored(fhir):
    answer = transaction(
        fhir,
        entry("POST", "Observation", observation(A, derivedFrom=[{"reference": B}]), B.replace("b", "d")),
        entry("POST", "Observation", observation(A), B),
        entry("POST", "Patient", patient(), A),
    )
    assert statuses(answer) == ["201", "201", "201"] and answer.json()["type"] == "transaction-response"
    first, second, person = located(answer)
    assert fhir.get(first).json()["subject"]["reference"] == person
    assert fhir.get(first).json()["derivedFrom"] == [{"reference": second}]
    assert fhir.get(second).json()["subject"]["reference"] == person


def test_circular_references_and_a_reference_to_itself(fhir):
    answer = transaction(
        fhir,
        entry("POST", "Observation", observation(derivedFrom=[{"reference": B}]), A),
        entry("POST", "Observation", observation(derivedFrom=[{"reference": A}, {"reference": B}]), B),
    )
    first, second = located(answer)
    assert fhir.get(first).json()["derivedFrom"] == [{"reference": second}]
    assert fhir.get(second).json()["derivedFrom"] == [{"reference": first}, {"reference": second}]


def test_links_in_narratives_and_urls_are_rewritten_identifiers_are_not(fhir):
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{B}">b</a></div>'
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "text": {"status": "generated", "div": div},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": B}],
        "content": [{"attachment": {"contentType": "text/plain", "url": B}}],
    }
    octets = {"resourceType": "Binary", "contentType": "text/plain", "data": "YQ=="}
    answer = transaction(fhir, entry("POST", "DocumentReference", document, A), entry("POST", "Binary", octets, B))
    found, binary = fhir.get(located(answer)[0]).json(), located(answer)[1]
    assert found["content"][0]["attachment"]["url"] == binary and f'href="{binary}"' in found["text"]["div"]
    assert found["identifier"][0]["value"] == B


def test_what_an_entry_stores_is_exact(fhir):
    body = (
        b'{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"%s","resource":{"status":"final","resourceType":"Observation",'
        % A.encode()
    )
    body += (
        b'"code":{"text":"\xc3\xa9"},"valueQuantity":{"value":1.00},"derivedFrom":[{"reference":"%s"}],"component":[{"code":{"text":"z"},'
        % A.encode()
    )
    body += b'"valueQuantity":{"value":123456789012345678901234567890.5E-3}}]},"request":{"method":"POST","url":"Observation"}}]}'
    path = located(fhir.post("", body))[0]
    found = fhir.get(path).content
    assert b'"value":1.00}' in found and b'"value":123456789012345678901234567890.5E-3}' in found and "é".encode() in found
    assert list(fhir.get(path).json()) == ["status", "resourceType", "id", "meta", "code", "valueQuantity", "derivedFrom", "component"]


def test_the_answers_are_in_the_order_of_the_entries_the_work_in_that_of_the_specification(fhir):
    kept, gone = fhir.new(basic()), fhir.new(basic())
    answer = transaction(
        fhir,
        entry("GET", kept.path),
        entry("PUT", kept.path, basic(id=kept.id, created="2026")),
        entry("POST", "Patient", patient()),
        entry("GET", gone.path),
        entry("DELETE", gone.path),
    )
    assert refused(answer) == (410, "deleted") and places(answer) == ["Bundle.entry[3]"]  # a read that fails fails the whole
    answer = transaction(
        fhir,
        entry("GET", kept.path),
        entry("PUT", kept.path, basic(id=kept.id, created="2026")),
        entry("POST", "Patient", patient()),
        entry("DELETE", gone.path),
    )
    assert statuses(answer) == ["200", "200", "201", "204"]
    assert answer.json()["entry"][0]["resource"]["created"] == "2026"
    assert ["resource" in entry for entry in answer.json()["entry"]] == [True, False, False, False]


def test_put_patch_and_delete_inside(fhir):
    one, two, three, id = fhir.new(basic()), fhir.new(basic()), fhir.new(basic()), unique()
    answer = transaction(
        fhir,
        entry("PUT", one.path, basic(id=one.id, created="2026"), ifMatch=one.etag),
        entry("PATCH", two.path, json_patch({"op": "add", "path": "/created", "value": "2027"})),
        entry("DELETE", three.path),
        entry("PUT", f"Basic/{id}", basic(id=id)),
    )
    assert statuses(answer) == ["200", "200", "204", "201"]
    assert (fhir.get(one.path).json()["created"], fhir.get(two.path).json()["created"]) == ("2026", "2027")
    assert fhir.get(three.path).status_code == 410 and fhir.get(f"Basic/{id}").status_code == 200
    assert answer.json()["entry"][0]["response"]["etag"] == fhir.get(one.path).headers["etag"]


def test_fhirpath_patch_inside_with_a_reference_to_another_entry(fhir):
    made = fhir.new(observation())
    parts = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Observation"},
        {"name": "name", "valueString": "subject"},
        {"name": "value", "valueReference": {"reference": A}},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = transaction(fhir, entry("PATCH", made.path, patch), entry("POST", "Patient", patient(), A))
    assert statuses(answer) == ["200", "201"]
    assert fhir.get(made.path).json()["subject"]["reference"] == located(answer)[1]


def test_every_fault_of_every_entry_is_told_and_nothing_is_stored(fhir):
    made, id = fhir.new(basic()), unique()
    answer = transaction(
        fhir,
        entry("PUT", f"Basic/{id}", basic(id=id)),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "f", "birthDate": "2026-13-01"}),
        entry("PUT", made.path, basic(id=made.id, created="x")),
        entry("POST", "Observation", {"resourceType": "Observation"}),
    )
    assert answer.status_code == 422
    assert set(places(answer)) == {
        "Bundle.entry[1].resource.gender",
        "Bundle.entry[1].resource.birthDate",
        "Bundle.entry[2].resource.created",
        "Bundle.entry[3].resource.status",
        "Bundle.entry[3].resource.code",
    } or {place for place in places(answer) if place.startswith("Bundle.entry[3]")} <= {"Bundle.entry[3].resource"}
    assert fhir.get(f"Basic/{id}").status_code == 404 and fhir.get(made.path).headers["etag"] == made.etag


def test_faults_of_every_kind_are_told_together(fhir):
    value, missing = unique(), unique()
    for _ in range(2):
        fhir.new(identified("Basic", value))
    answer = transaction(
        fhir,
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "f"}),
        entry("POST", "Observation", observation(f"Patient?identifier=urn:x-test|{missing}")),
        entry("DELETE", f"Basic?identifier=urn:x-test|{value}"),
        entry("PATCH", f"Basic?identifier=urn:x-test|{missing}", json_patch()),
    )
    assert answer.status_code in (404, 412)
    assert set(places(answer)) == {
        "Bundle.entry[0].resource.gender",
        "Bundle.entry[1].resource.subject.reference",
        "Bundle.entry[2]",
        "Bundle.entry[3]",
    }
    wrong = entry("POST", "Patient", {"resourceType": "Patient", "gender": "f"})
    answer = transaction(fhir, wrong, entry("POST", "Observation", observation(B)))
    assert answer.status_code == 422
    assert set(places(answer)) == {"Bundle.entry[0].resource.gender", "Bundle.entry[1].resource.subject.reference"}


@pytest.mark.parametrize(
    ("entries", "status", "place"),
    [
        ([entry("POST", "Basic", basic(), A), entry("POST", "Basic", basic(), A)], 422, "Bundle.entry[1].fullUrl"),
        ([entry("POST", "Observation", observation(B), A)], 422, "Bundle.entry[0].resource.subject.reference"),
        ([entry("PUT", "Basic/a", basic(id="b"))], 400, "Bundle.entry[0].resource.id"),
        ([entry("POST", "Basic", patient())], 400, "Bundle.entry[0].resource.resourceType"),
        ([entry("POST", "Basic")], 400, "Bundle.entry[0].resource"),
        ([entry("POST", "Nothing", {"resourceType": "Nothing"})], 422, "Bundle.entry[0].request.url"),
        ([entry("PUT", "Basic/a", basic(id="a")), entry("DELETE", "Basic/a")], 422, "Bundle.entry[1]"),
        ([entry("PUT", "Basic/..", basic())], 400, "Bundle.entry[0].request.url"),
        ([entry("PUT", "https://elsewhere.example/fhir/Basic/a", basic(id="a"))], 400, "Bundle.entry[0].request.url"),
        ([entry("DELETE", "Basic/absent-in-transaction", ifMatch='W/"1"')], 412, "Bundle.entry[0]"),
        ([entry("PATCH", "Basic/absent-in-transaction", json_patch())], 404, "Bundle.entry[0]"),
        ([{"resource": basic()}], 400, "Bundle.entry[0].request"),
        ([{}], 400, "Bundle.entry[0].request"),
    ],
)
def test_what_fails_a_transaction(fhir, entries, status, place):
    id = unique()
    answer = transaction(fhir, *entries, entry("PUT", f"Basic/{id}", basic(id=id)))
    assert answer.status_code == status, answer.text
    assert place in places(answer), answer.text
    assert fhir.get(f"Basic/{id}").status_code == 404


def test_preconditions_fail_the_whole(fhir):
    made, id = fhir.new(basic()), unique()
    fhir.put(made.path, basic(id=made.id))
    for bad in (
        entry("PUT", made.path, basic(id=made.id), ifMatch=made.etag),
        entry("DELETE", made.path, ifMatch=made.etag),
        entry("PATCH", made.path, json_patch(), ifMatch=made.etag),
        entry("PUT", made.path, basic(id=made.id), ifNoneMatch="*"),
    ):
        answer = transaction(fhir, entry("PUT", f"Basic/{id}", basic(id=id)), bad)
        assert refused(answer) == (412, "conflict") and places(answer) == ["Bundle.entry[1]"]
    assert fhir.get(f"Basic/{id}").status_code == 404


def test_a_search_and_a_history_inside_see_what_was_written(fhir):
    value, made = unique(), fhir.new(basic())
    answer = transaction(
        fhir,
        entry("GET", f"Patient?identifier=urn:x-test|{value}"),
        entry("GET", f"{made.path}/_history"),
        entry("POST", "Patient", identified("Patient", value)),
        entry("PUT", made.path, basic(id=made.id)),
    )
    assert statuses(answer) == ["200", "200", "201", "200"]
    searched, history = (answer.json()["entry"][index]["resource"] for index in (0, 1))
    assert [hit["resource"]["identifier"][0]["value"] for hit in searched["entry"]] == [value]
    assert history["total"] == 2


def test_conditional_create_inside(fhir, vault):
    value = unique()
    same = entry("POST", "Patient", identified("Patient", value), A, ifNoneExist=f"identifier=urn:x-test|{value}")
    about = entry("POST", "Observation", observation(A))
    first, second = transaction(fhir, same, about), transaction(fhir, about, same)
    assert statuses(first) == ["201", "201"] and statuses(second) == ["201", "200"]
    assert located(first)[0] == located(second)[1]
    assert len(dossiers(vault, *located(first), *located(second))) == 1
    assert fhir.get(located(second)[0]).json()["subject"]["reference"] == located(first)[0]
    assert fhir.get(f"Patient?identifier=urn:x-test|{value}").json()["total"] == 1


def dossiers(vault, *paths: str) -> set[bytes]:
    """Dossiers that the ids of these resources are sealed into."""
    return {vault.locate(*path.split("/"))[:8] for path in paths}


def test_two_creates_on_the_same_condition_make_one(fhir, vault):
    value = unique()
    one = entry("POST", "Patient", identified("Patient", value), A, ifNoneExist=f"identifier=urn:x-test|{value}")
    two = entry("POST", "Patient", identified("Patient", value), B, ifNoneExist=f"identifier=urn:x-test|{value}")
    answer = transaction(fhir, one, two, entry("POST", "Observation", observation(B)))
    assert statuses(answer) == ["201", "200", "201"]
    assert located(answer)[0] == located(answer)[1] == fhir.get(located(answer)[2]).json()["subject"]["reference"]
    assert len(dossiers(vault, *located(answer))) == 1
    assert fhir.get(f"Patient?identifier=urn:x-test|{value}").json()["total"] == 1


def test_two_updates_on_the_same_condition_fail_the_whole(fhir):
    value = unique()
    one = entry("PUT", f"Basic?identifier=urn:x-test|{value}", identified("Basic", value))
    answer = transaction(fhir, one, one)
    assert refused(answer)[0] == 422 and places(answer) == ["Bundle.entry[1]"]
    assert statuses(transaction(fhir, one)) == ["201"]


def test_conditional_update_patch_and_delete_inside(fhir):
    values = [unique() for _ in range(4)]
    made = [fhir.new(identified("Basic", value)) for value in values[:3]]
    answer = transaction(
        fhir,
        entry("PUT", f"Basic?identifier=urn:x-test|{values[0]}", identified("Basic", values[0], created="2026")),
        entry("PATCH", f"Basic?identifier=urn:x-test|{values[1]}", json_patch({"op": "add", "path": "/created", "value": "2027"})),
        entry("DELETE", f"Basic?identifier=urn:x-test|{values[2]}"),
        entry("PUT", f"Basic?identifier=urn:x-test|{values[3]}", identified("Basic", values[3])),
        entry("DELETE", f"Basic?identifier=urn:x-test|{unique()}"),
    )
    assert statuses(answer) == ["200", "200", "204", "201", "204"]
    assert [fhir.get(one.path).status_code for one in made] == [200, 200, 410]
    assert [fhir.get(one.path).json()["created"] for one in made[:2]] == ["2026", "2027"]
    assert fhir.get(located(answer)[3]).json()["identifier"][0]["value"] == values[3]


def test_two_conditions_that_lead_to_one_resource_fail_the_whole(fhir):
    value = unique()
    made = fhir.new(identified("Basic", value))
    answer = transaction(fhir, entry("PUT", f"Basic?identifier=urn:x-test|{value}", identified("Basic", value)), entry("DELETE", made.path))
    assert refused(answer)[0] == 422 and places(answer) == ["Bundle.entry[1]"]
    assert fhir.get(made.path).headers["etag"] == made.etag


def test_conditional_references(fhir, vault):
    value, missing = unique(), unique()
    person = fhir.new(identified("Patient", value))
    answer = transaction(fhir, entry("POST", "Observation", observation(f"Patient?identifier=urn:x-test|{value}")))
    assert fhir.get(located(answer)[0]).json()["subject"]["reference"] == person.path
    assert len(dossiers(vault, person.path, *located(answer))) == 1
    answer = transaction(fhir, entry("POST", "Observation", observation(f"Patient?identifier=urn:x-test|{missing}")))
    assert refused(answer) == (412, "conflict") and places(answer) == ["Bundle.entry[0].resource.subject.reference"]
    fhir.new(identified("Patient", value))
    answer = transaction(fhir, entry("POST", "Observation", observation(f"Patient?identifier=urn:x-test|{value}")))
    assert refused(answer) == (412, "multiple-matches")


def test_several_matches_fail_the_whole(fhir):
    value = unique()
    fhir.new(identified("Basic", value)), fhir.new(identified("Basic", value))
    query = f"Basic?identifier=urn:x-test|{value}"
    for bad in (
        entry("POST", "Basic", basic(), ifNoneExist=query),
        entry("PUT", query, basic()),
        entry("PATCH", query, json_patch()),
        entry("DELETE", query),
    ):
        answer = transaction(fhir, bad)
        assert refused(answer) == (412, "multiple-matches") and places(answer) == ["Bundle.entry[0]"]


def test_relative_references_are_resolved_against_the_full_url(fhir, vault):
    base = "https://elsewhere.example/fhir"
    answer = transaction(
        fhir,
        entry("POST", "Patient", patient(), f"{base}/Patient/7"),
        entry("POST", "Observation", observation("Patient/7"), f"{base}/Observation/8"),
        entry("POST", "Observation", observation(f"{base}/Patient/7"), A),
    )
    person, first, second = located(answer)
    assert fhir.get(first).json()["subject"]["reference"] == person == fhir.get(second).json()["subject"]["reference"]
    # Their ids are of the patient's dossier, and so is what these point to.
    assert len(dossiers(vault, person, first, second)) == 1
    document = {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": "Patient/7"}}
    document["content"] = [{"attachment": {"contentType": "text/plain", "url": "Binary/9"}}]
    answer = transaction(
        fhir,
        entry("POST", "Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": "YQ=="}, f"{base}/Binary/9"),
        entry("POST", "DocumentReference", document, f"{base}/DocumentReference/8"),
        entry("POST", "Patient", patient(), f"{base}/Patient/7"),
    )
    paths = located(answer)
    assert fhir.get(paths[1]).json()["content"][0]["attachment"]["url"] == paths[0]
    assert len(dossiers(vault, *paths)) == 1


def test_the_dossier_of_an_entry_is_that_of_its_patient(fhir, vault):
    answer = transaction(
        fhir,
        entry("POST", "Observation", observation(A), B),
        entry("POST", "Patient", patient(), A),
        entry("POST", "Organization", {"resourceType": "Organization", "name": "o"}),
    )
    first, person, organization = ([*one.split("/")] for one in located(answer))
    dossier = vault.dossier_of_patient(person[1])
    assert vault.locate(*first)[:8] == vault.locate(*person)[:8] == dossier.to_bytes(8, "big", signed=True)
    assert vault.locate(*organization)[:8] == bytes(8)


def test_prefer_representation_shows_what_was_written(fhir):
    answer = transaction(fhir, entry("POST", "Basic", basic()), prefer="return=representation")
    assert answer.json()["entry"][0]["resource"] == fhir.get(located(answer)[0]).json()


def test_an_empty_transaction(fhir):
    assert statuses(transaction(fhir)) == []


def test_entries_of_one_resource_written_twice(fhir):
    id = unique()
    answer = transaction(fhir, entry("PUT", f"Basic/{id}", basic(id=id)), entry("PUT", f"Basic/{id}", basic(id=id)))
    assert answer.status_code == 422 and "already" in issues(answer)[0]["diagnostics"]


async def test_concurrent_transactions_on_one_resource_lose_nothing(fhir, crowd):
    made = fhir.new(basic(identifier=[{"value": unique()}]))

    async def add(number: int) -> int:
        patch = entry("PATCH", made.path, json_patch({"op": "add", "path": "/identifier/-", "value": {"value": str(number)}}))
        body = dumped(bundle("transaction", patch, entry("POST", "Basic", basic())))
        return (await crowd.post(fhir.base, content=body, headers={"content-type": FHIR_JSON})).status_code

    outcomes = await asyncio.gather(*(add(number) for number in range(16)))
    assert set(outcomes) <= {200, 409, 412, 503} and outcomes.count(200) >= 4
    assert len(fhir.get(made.path).json()["identifier"]) == 1 + outcomes.count(200)


async def test_of_many_transactions_with_one_condition_one_creates(fhir, crowd):
    value = unique()
    create = entry("POST", "Patient", identified("Patient", value), A, ifNoneExist=f"identifier=urn:x-test|{value}")
    body = dumped(bundle("transaction", create, entry("POST", "Observation", observation(A))))
    answers = await asyncio.gather(*(crowd.post(fhir.base, content=body, headers={"content-type": FHIR_JSON}) for _ in range(16)))
    assert sorted(status for answer in answers for status in statuses(answer)) == ["200"] * 15 + ["201"] * 17
    assert len({located(answer)[0] for answer in answers}) == 1
    assert fhir.get(f"Observation?subject={located(answers[0])[0]}").json()["total"] == 16


async def test_of_many_transactions_with_one_if_match_one_wins(fhir, crowd):
    made = fhir.new(basic())
    body = dumped(bundle("transaction", entry("PUT", made.path, basic(id=made.id), ifMatch=made.etag), entry("POST", "Basic", basic())))
    answers = await asyncio.gather(*(crowd.post(fhir.base, content=body, headers={"content-type": FHIR_JSON}) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 15
    assert fhir.get(f"{made.path}/_history").json()["total"] == 2


def test_thousand_entries(fhir):
    entries = [
        entry("POST", "Observation", observation(A, derivedFrom=[{"reference": f"urn:uuid:{(n + 1) % 999}"}]), f"urn:uuid:{n}")
        for n in range(999)
    ]
    answer = transaction(fhir, entry("POST", "Patient", patient(), A), *entries)
    assert set(statuses(answer)) == {"201"}
    paths = located(answer)
    assert fhir.get(paths[999]).json()["derivedFrom"] == [{"reference": paths[1]}]
    assert stored(fhir.put(paths[1], observation(paths[0], id=paths[1].split("/")[1]))).path == paths[1]


def test_deleting_what_never_was_fails_no_transaction(fhir):
    id = unique()
    answer = transaction(fhir, entry("DELETE", "Basic/never-in-transaction"), entry("PUT", f"Basic/{id}", basic(id=id)))
    assert statuses(answer) == ["204", "201"]


def test_a_reference_to_a_version_of_what_keeps_its_id_stays_one(fhir):
    one, other = unique(), unique()
    version = f"{fhir.base}/Basic/{one}/_history/1"
    linked = basic(id=other, subject={"reference": version})
    answer = transaction(
        fhir,
        entry("PUT", f"Basic/{one}", basic(id=one), f"{fhir.base}/Basic/{one}"),
        entry("PUT", f"Basic/{other}", linked, f"{fhir.base}/Basic/{other}"),
    )
    assert statuses(answer) == ["201", "201"]
    assert fhir.get(f"Basic/{other}").json()["subject"] == {"reference": version}
