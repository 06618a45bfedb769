"""FHIR read. https://hl7.org/fhir/R4/http.html#read"""

import json
from email.utils import format_datetime, parsedate_to_datetime

from fhir_dmp.fhir import json as exact
from tests.interactions.making import FHIR_JSON, INSTANT, basic, issue, patient, refused, stored, unique

TEXT = """{
  "resourceType" : "Observation",
  "extension": [ {"valueDecimal" : 0.010, "url": "https://example.org/second-field-first"} ],
  "status": "final",   "code": { "text" : "taille  \\u00e9tendue \\/ \\"inner\\" spaces" },
  "valueQuantity": {"unit":"m", "value":1.00},
  "component": [
    {"code":{"text":"e\\u0301 and \u00e9 stay apart"}, "valueQuantity":{"value":123456789012345678901234567890.120}},
    {"code":{"text":"small"}, "valueQuantity":{"value":-0.0000000000000000000000000000010}},
    {"code":{"text":"exponent"}, "valueQuantity":{"value":1.10E+2}}
  ]
}"""


def test_what_was_received_is_read_byte_for_byte_apart_from_id_and_meta(fhir):
    made = fhir.post("Observation", TEXT.encode())
    assert made.status_code == 201, made.text
    answer = fhir.get(stored(made).path)
    assert answer.content == made.content
    found, sent = exact.members(answer.content), exact.members(TEXT.encode())
    assert list(found) == ["resourceType", "id", "meta", *list(sent)[1:]]
    assert {name: bytes(value) for name, value in found.items() if name not in ("id", "meta")} == {
        name: bytes(value) for name, value in sent.items()
    }


def test_id_and_meta_stay_where_the_client_put_them(fhir):
    id = unique()
    sent = b'{"meta":{"tag":[{"code" : "x"}],"versionId":"mine"},"code":{"text":"a"},"id":"%s","resourceType":"Basic"}' % id.encode()
    version = stored(fhir.put(f"Basic/{id}", sent)).version
    answer = fhir.get(f"Basic/{id}")
    assert list(exact.members(answer.content)) == ["meta", "code", "id", "resourceType"]
    meta = answer.json()["meta"]
    assert list(meta) == ["tag", "versionId", "lastUpdated"] and meta["versionId"] == version


def test_headers_of_a_read(fhir):
    made = fhir.new(basic())
    answer = fhir.get(made.path)
    meta = answer.json()["meta"]
    assert (answer.status_code, answer.headers["etag"]) == (200, f'W/"{meta["versionId"]}"')
    assert answer.headers["content-type"] == f"{FHIR_JSON}; charset=utf-8"
    assert answer.headers["content-location"] == f"{fhir.base}/{made.path}/_history/{made.version}"
    assert "location" not in answer.headers
    assert INSTANT.fullmatch(meta["lastUpdated"])
    modified = parsedate_to_datetime(answer.headers["last-modified"])
    assert modified.isoformat().replace("+00:00", "") == meta["lastUpdated"][:19]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-sandbox"] == "true"


def test_head_answers_the_headers_of_get_and_nothing_else(fhir):
    made = fhir.new(basic())
    get, head = fhir.get(made.path), fhir.send("HEAD", made.path)
    same = ("etag", "last-modified", "content-type", "content-length", "content-location")
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in same} == {name: get.headers[name] for name in same}


def test_absent_unknown_and_impossible_ids(fhir):
    assert refused(fhir.get("Patient/absent")) == (404, "not-found")
    assert issue(fhir.get("Patient/absent")) == ("error", "not-found")
    assert refused(fhir.get("Patient/" + "a" * 64)) == (404, "not-found")
    assert fhir.get("Patient/" + "a" * 65).status_code == 400
    assert refused(fhir.get("Nothing/1")) == (404, "not-found")
    assert refused(fhir.get("patient/1")) == (404, "not-found")
    assert fhir.send("HEAD", "Patient/absent").status_code == 404


def test_an_id_belongs_to_its_type(fhir):
    made = fhir.new(basic())
    assert refused(fhir.get(f"Patient/{made.id}")) == (404, "not-found")
    assert fhir.get(f"Patient/{made.id}").content == fhir.get("Patient/absent").content


def test_a_deleted_resource_is_gone_and_tells_the_version_of_its_deletion(fhir):
    made = fhir.new(basic())
    deleted = fhir.delete(made.path)
    answer = fhir.get(made.path)
    assert refused(answer) == (410, "deleted")
    assert answer.headers["etag"] == deleted.headers["etag"] != made.etag


def test_not_modified_by_version(fhir):
    made = fhir.new(basic())
    answer = fhir.get(made.path, if_none_match=made.etag)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", made.etag)
    assert fhir.get(made.path, if_none_match=f'W/"other", {made.etag}').status_code == 304
    assert fhir.get(made.path, if_none_match='W/"other"').status_code == 200
    assert fhir.get(made.path, if_none_match="*").status_code == 304
    fhir.put(made.path, basic(id=made.id, created="2026-01-01"))
    assert fhir.get(made.path, if_none_match=made.etag).status_code == 200


def test_not_modified_by_date(fhir):
    made = fhir.new(basic())
    date = fhir.get(made.path).headers["last-modified"]
    assert fhir.get(made.path, if_modified_since=date).status_code == 304
    assert fhir.get(made.path, if_modified_since=format_datetime(parsedate_to_datetime("Sat, 01 Jan 2000 00:00:00 GMT"))).status_code == 200
    assert fhir.get(made.path, if_modified_since="nonsense").status_code == 200
    # A version given by tag counts alone. https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
    assert fhir.get(made.path, if_modified_since=date, if_none_match='W/"other"').status_code == 200


def test_pretty_indents_and_changes_no_number(fhir):
    path = stored(fhir.post("Observation", TEXT.encode())).path
    plain, pretty = fhir.get(path), fhir.get(f"{path}?_pretty=true")
    assert b'\n  "status": "final"' in pretty.content and b"0.010" in pretty.content and b"1.10E+2" in pretty.content
    assert exact.dump(exact.parse_exact(pretty.content)) == exact.dump(exact.parse_exact(plain.content))
    assert pretty.headers["content-length"] == str(len(pretty.content))
    assert fhir.get(f"{path}?_pretty=false").content == plain.content


def test_summaries(fhir):
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    made = fhir.new(patient(text=narrative, photo=[{"title": "t"}], contact=[{"gender": "male"}]))
    assert set(fhir.get(f"{made.path}?_summary=true").json()) == {"resourceType", "id", "meta", "name", "gender"}
    assert set(fhir.get(f"{made.path}?_summary=text").json()) == {"resourceType", "id", "meta", "text"}
    assert set(fhir.get(f"{made.path}?_summary=data").json()) == {"resourceType", "id", "meta", "name", "gender", "photo", "contact"}
    for mode in ("true", "text", "data"):
        assert fhir.get(f"{made.path}?_summary={mode}").json()["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert fhir.get(f"{made.path}?_summary=false").json() == fhir.get(made.path).json()
    assert refused(fhir.get(f"{made.path}?_summary=maybe")) == (400, "invalid")


def test_elements(fhir):
    made = fhir.new(patient(birthDate="1980-02-29", _birthDate={"extension": [{"url": "urn:x", "valueString": "y"}]}))
    found = fhir.get(f"{made.path}?_elements=birthDate,nothing").json()
    assert set(found) == {"resourceType", "id", "meta", "birthDate", "_birthDate"}
    assert found["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert set(fhir.get(f"{made.path}?_elements=Patient.gender").json()) == {"resourceType", "id", "meta", "gender"}


def test_unicode_is_served_as_utf8(fhir):
    made = fhir.new(patient("Éluard–Ньютон–牛顿 👩🏽‍⚕️"))
    answer = fhir.get(made.path)
    assert json.loads(answer.content.decode())["name"][0]["family"] == "Éluard–Ньютон–牛顿 👩🏽‍⚕️"
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_read_without_token_is_refused_whatever_it_asks_for(fhir):
    made = fhir.new(basic())
    for path in (made.path, "Basic/absent", "Nothing/1", ""):
        answer = fhir.get(path, authorization="")
        assert refused(answer) == (401, "login")
        assert answer.headers["www-authenticate"].startswith("Bearer")
