"""Composition/[id]/$document. https://hl7.org/fhir/R4/composition-operation-document.html"""

import json

import pytest

from tests.interactions.making import INSTANT, issues, observation, patient, places, refused, scoped


@pytest.fixture(scope="module")
def letter(fhir):
    """A Composition and what it tells of."""
    made = {"practice": fhir.new({"resourceType": "Organization", "name": "Cabinet"})}
    made["doctor"] = fhir.new({"resourceType": "Practitioner", "name": [{"family": "PLUME"}]})
    role = {"practitioner": {"reference": made["doctor"].path}, "organization": {"reference": made["practice"].path}}
    made["role"] = fhir.new({"resourceType": "PractitionerRole", **role})
    made["patient"] = fhir.new(patient("LETTRE"))
    made["result"] = fhir.new(observation(made["patient"].path, performer=[{"reference": made["practice"].path}]))
    made["other"] = fhir.new(observation(made["patient"].path))
    made["composition"] = fhir.new(composition(made["patient"].path, made["role"].path, made["result"].path))
    return made


def composition(subject, author, *entries, **fields):
    sections = [{"title": "Résultats", **({"entry": [{"reference": each} for each in entries]} if entries else {"code": {"text": "x"}})}]
    about = {"subject": {"reference": subject}, "author": [{"reference": author}]}
    kind = {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}
    made = {"resourceType": "Composition", "status": "final", "type": kind, "date": "2026-11-01", "title": "Lettre"}
    return {**made, **about, "section": sections, **fields}


def held(answer):
    """Type/id of the entries."""
    return [entry["fullUrl"].split("/fhir/")[1] for entry in answer.json()["entry"]]


def test_the_composition_first_then_all_it_leads_to(fhir, letter):
    answer = fhir.get(f"{letter['composition'].path}/$document")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["type"] == "document" and INSTANT.fullmatch(document["timestamp"])
    assert document["identifier"]["system"] == "urn:ietf:rfc:3986" and document["identifier"]["value"].startswith("urn:uuid:")
    assert held(answer)[0] == letter["composition"].path
    assert sorted(held(answer)) == sorted(letter[n].path for n in ("composition", "patient", "role", "doctor", "practice", "result"))
    assert all(set(entry) == {"fullUrl", "resource"} for entry in document["entry"])
    checked = fhir.post("Bundle/$validate", answer.content)
    assert [issue["severity"] for issue in issues(checked)] == ["information"]


def test_the_address_may_name_it_by_parameter(fhir, letter):
    path = letter["composition"].path
    expected = held(fhir.get(f"{path}/$document"))
    for query in (f"id={letter['composition'].id}", f"id={path}", f"id={fhir.base}/{path}"):
        assert held(fhir.get(f"Composition/$document?{query}")) == expected
    given = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueUri": path}]}
    assert held(fhir.post("Composition/$document", given)) == expected
    assert refused(fhir.get("Composition/$document")) == (400, "invalid")
    assert refused(fhir.get(f"{path}/$document?id={path}")) == (400, "invalid")
    assert refused(fhir.get("Composition/$document?id=https://elsewhere.example/fhir/Composition/1")) == (400, "not-supported")


def test_persisted_it_is_a_bundle_of_its_own_once(fhir, letter):
    first = fhir.get(f"{letter['composition'].path}/$document?persist=true")
    assert first.status_code == 200 and "/Bundle/" in first.headers["location"]
    stored = fhir.get(f"Bundle/{first.json()['id']}")
    assert stored.content == first.content and stored.headers["etag"] == first.headers["etag"]
    again = fhir.get(f"{letter['composition'].path}/$document?persist=true")
    assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
    found = fhir.get(f"Bundle?identifier={first.json()['identifier']['value']}").json()
    assert found["total"] == 1
    fly = fhir.get(f"{letter['composition'].path}/$document?persist=false").json()
    assert fly["identifier"] == first.json()["identifier"] and "id" not in fly


def test_another_state_is_another_document(fhir, letter):
    result = fhir.new(observation(letter["patient"].path))
    made = fhir.new(composition(letter["patient"].path, letter["role"].path, result.path))
    first = fhir.get(f"{made.path}/$document?persist=true").json()
    fhir.put(result.path, {**result.value, "valueInteger": 2})
    second = fhir.get(f"{made.path}/$document?persist=true").json()
    assert first["identifier"] != second["identifier"] and first["id"] != second["id"]
    assert json.loads(fhir.get(f"Bundle/{first['id']}").content) == first


def test_what_the_composition_names_must_be_there(fhir, letter):
    gone = fhir.new(observation(letter["patient"].path))
    made = fhir.new(composition(letter["patient"].path, "https://elsewhere.example/fhir/Practitioner/1", gone.path, "Observation/never"))
    fhir.delete(gone.path)
    answer = fhir.get(f"{made.path}/$document")
    assert refused(answer) == (422, "not-found")
    assert sorted(places(answer)) == ["Composition.author[0]", "Composition.section[0].entry[0]", "Composition.section[0].entry[1]"]


def test_a_version_that_is_no_longer_current_is_not_replaced_in_silence(fhir, letter):
    result = fhir.new(observation(letter["patient"].path))
    pinned = f"{result.path}/_history/{result.version}"
    made = fhir.new(composition(letter["patient"].path, letter["role"].path, pinned))
    assert result.path in held(fhir.get(f"{made.path}/$document"))
    fhir.put(result.path, {**result.value, "valueInteger": 2})
    answer = fhir.get(f"{made.path}/$document")
    assert refused(answer) == (422, "not-found") and places(answer) == ["Composition.section[0].entry[0]"]


def test_a_document_does_not_lead_into_another_dossier(fhir, letter):
    stranger = fhir.new(patient("ETRANGER"))
    linked = fhir.new(patient("LIE", link=[{"other": {"reference": stranger.path}, "type": "seealso"}]))
    made = fhir.new(composition(linked.path, letter["doctor"].path))
    assert sorted(held(fhir.get(f"{made.path}/$document"))) == sorted([made.path, linked.path, letter["doctor"].path])
    theirs = fhir.new(composition(linked.path, letter["doctor"].path, fhir.new(observation(stranger.path)).path))
    assert refused(fhir.get(f"{theirs.path}/$document")) == (422, "not-found")


def test_what_is_not_served_is_said(fhir, letter):
    path = letter["composition"].path
    assert refused(fhir.get(f"{path}/$document?graph=http://a.example/graph")) == (400, "not-supported")
    assert refused(fhir.get(f"{path}/$document?persist=perhaps")) == (400, "value")
    assert refused(fhir.get(f"{path}/$document?mode=x")) == (400, "not-supported")
    assert refused(fhir.get("Composition/nothing/$document")) == (404, "not-found")
    made = fhir.new(composition(letter["patient"].path, letter["doctor"].path))
    fhir.delete(made.path)
    assert refused(fhir.get(f"{made.path}/$document")) == (410, "deleted")


def test_scopes_narrow_it(fhir, server, letter):
    token = scoped(server, "system/*.rs")
    assert fhir.get(f"{letter['composition'].path}/$document", **token).status_code == 200
    assert fhir.get(f"{letter['composition'].path}/$document?persist=true", **token).status_code == 403
