"""FHIR history of an instance, a type, the system. https://hl7.org/fhir/R4/http.html#history"""

import time
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest

from tests.interactions.making import basic, patient, refused, stored


def pages(fhir, path: str) -> list[dict]:
    """All pages from `path` on, links followed to the end."""
    found, url = [], path
    while url:
        answer = fhir.get(url)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        url = next((link["url"] for link in found[-1]["link"] if link["relation"] == "next"), None)
        assert len(found) < 200
    return found


def versions(found: list[dict]) -> list[str]:
    """W/"version" of each entry of pages, in order."""
    return [entry["response"]["etag"] for page in found for entry in page.get("entry", [])]


@pytest.fixture
def life(fhir):
    """A resource created, updated, patched, deleted, created again: its path, and its tags, newest first."""
    made = fhir.new(basic())
    answers = [
        fhir.put(made.path, basic(id=made.id, created="2026")),
        fhir.patch(made.path, [{"op": "add", "path": "/created", "value": "2027"}]),
        fhir.delete(made.path),
        fhir.put(made.path, basic(id=made.id)),
    ]
    return made.path, [*reversed([answer.headers["etag"] for answer in answers]), made.etag]


def test_every_version_newest_first(fhir, life):
    path, tags = life
    answer = fhir.get(f"{path}/_history")
    found = answer.json()
    assert (found["resourceType"], found["type"], found["total"]) == ("Bundle", "history", 5)
    assert versions([found]) == tags
    assert [e["request"]["method"] for e in found["entry"]] == ["PUT", "DELETE", "PATCH", "PUT", "POST"]
    assert [e["response"]["status"][:3] for e in found["entry"]][1] == "204"
    assert [e["request"]["url"] for e in found["entry"]] == [path] * 4 + ["Basic"]
    assert {e["fullUrl"] for e in found["entry"]} == {f"{fhir.base}/{path}"}
    assert ["resource" in e for e in found["entry"]] == [True, False, True, True, True]
    moments = [e["response"]["lastModified"] for e in found["entry"]]
    assert moments == sorted(moments, reverse=True) and len(set(moments)) == 5
    for entry in found["entry"]:
        if "resource" in entry:
            assert entry["resource"]["meta"]["versionId"] == entry["response"]["etag"][3:-1]
    assert found["link"][0] == {"relation": "self", "url": f"{fhir.base}/{path}/_history"}


def test_versions_in_a_history_are_those_of_vread_byte_for_byte(fhir):
    body = b'{"resourceType":"Observation","status":"final","code":{"text" : "a"},"valueQuantity":{"value":1.00}}'
    made = stored(fhir.post("Observation", body))
    read = fhir.get(f"{made.path}/_history/{made.version}").content
    assert b'"resource":' + read + b"," in fhir.get(f"{made.path}/_history").content


@pytest.mark.parametrize("count", [1, 2, 3, 5, 50])
def test_pages_by_count_hold_each_version_once(fhir, life, count):
    path, tags = life
    found = pages(fhir, f"{path}/_history?_count={count}")
    assert versions(found) == tags
    assert [len(page["entry"]) for page in found][:-1] == [count] * (len(found) - 1)
    assert {page["total"] for page in found} == {5}


def test_since_leaves_out_what_was_before(fhir):
    made = fhir.new(basic())
    time.sleep(0.002)
    second = fhir.put(made.path, basic(id=made.id))
    moment = second.json()["meta"]["lastUpdated"]
    found = fhir.get(f"{made.path}/_history?_since={quote(moment)}").json()
    assert versions([found]) == [second.headers["etag"]] and found["total"] == 1
    assert fhir.get(f"{made.path}/_history?_since=2999-01-01").json()["total"] == 0
    assert fhir.get(f"{made.path}/_history?_since=2000").json()["total"] == 2
    assert fhir.get(f"{made.path}/_history?_since=" + quote("2000-01-01T00:00:00+02:00")).json()["total"] == 2
    assert fhir.get(f"{made.path}/_history?_since=2000-01-01T00:00:00+02:00").json()["total"] == 2


def test_at_shows_what_was_current_then(fhir):
    made = fhir.new(basic())
    changes = [made.value]
    for _ in range(2):
        time.sleep(0.004)
        changes.append(fhir.put(made.path, basic(id=made.id)).json())
    first, second, third = (datetime.fromisoformat(one["meta"]["lastUpdated"]) for one in changes)
    tags = [f'W/"{one["meta"]["versionId"]}"' for one in changes]

    def at(moment: datetime | str, more: str = "") -> list[str]:
        asked = moment if isinstance(moment, str) else moment.isoformat(timespec="milliseconds")
        found = pages(fhir, f"{made.path}/_history?_at={quote(asked)}{more}")
        assert {page["total"] for page in found} == {len(versions(found))}
        return versions(found)

    a_ms = timedelta(milliseconds=1)
    assert at(first - a_ms) == []
    assert at(first) == at(second - a_ms) == tags[:1]
    assert at(second) == at(third - a_ms) == tags[1:2]
    assert at(third) == at("2999") == tags[2:]
    assert at(f"{third.year}") == at(f"{third.year}", "&_count=1") == tags[::-1]
    assert at(f"{third.year}", f"&_since={quote(changes[1]['meta']['lastUpdated'])}") == [tags[2], tags[1]]
    assert at("1999") == []
    assert refused(fhir.get(f"{made.path}/_history?_at=then")) == (400, "invalid")
    assert refused(fhir.get("Basic/_history?_at=2026")) == refused(fhir.get("_history?_at=2026")) == (400, "invalid")


def test_no_version_on_a_page_of_none(fhir, life):
    path, _ = life
    found = fhir.get(f"{path}/_history?_count=0").json()
    assert found["total"] == 5 and "entry" not in found


@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_since=", "_count=-1", "_count=a", "_count=1e3", "_count=%EF%BC%91", "name=x", "_page=x"]
)
def test_parameters_that_make_no_sense(fhir, life, query):
    path, _ = life
    assert refused(fhir.get(f"{path}/_history?{query}")) == (400, "invalid")


def test_unknown_parameters_are_passed_over_when_the_client_prefers_so(fhir, life):
    path, tags = life
    assert versions([fhir.get(f"{path}/_history?name=x", prefer="handling=lenient").json()]) == tags


def test_an_enormous_count_is_capped(fhir, life):
    path, tags = life
    assert versions([fhir.get(f"{path}/_history?_count=999999999").json()]) == tags


def test_the_page_of_one_history_opens_no_other(fhir, life):
    path, _ = life
    other = fhir.new(basic()).path
    next_page = pages_link(fhir, f"{path}/_history?_count=2")
    assert fhir.get(next_page).status_code == 200
    assert refused(fhir.get(next_page.replace(path, other))) == (400, "invalid")
    assert refused(fhir.get(next_page.replace("_count=2", "_count=3"))) == (400, "invalid")
    assert refused(fhir.get(next_page[:-2])) == (400, "invalid")


def pages_link(fhir, path: str) -> str:
    return next(link["url"] for link in fhir.get(path).json()["link"] if link["relation"] == "next")


def test_the_history_of_a_type_and_of_the_system(fhir):
    start = fhir.new(basic()).value["meta"]["lastUpdated"]
    time.sleep(0.002)
    person, note = fhir.new(patient()), fhir.new(basic())
    fhir.delete(note.path)
    since = f"_since={quote(person.value['meta']['lastUpdated'])}"
    of_type = pages(fhir, f"Basic/_history?{since}&_count=1")
    assert [e["request"]["method"] for page in of_type for e in page["entry"]] == ["DELETE", "POST"]
    assert {e["fullUrl"] for page in of_type for e in page["entry"]} == {f"{fhir.base}/{note.path}"}
    of_all = pages(fhir, f"_history?{since}&_count=2")
    assert [e["fullUrl"].removeprefix(f"{fhir.base}/") for page in of_all for e in page["entry"]] == [note.path, note.path, person.path]
    assert {page["total"] for page in of_all} == {3}
    assert fhir.get(f"Patient/_history?_since={quote(start)}").json()["total"] == 1


def test_histories_of_a_page_stay_apart_while_others_write(fhir):
    made = [fhir.new(basic()) for _ in range(6)]
    since = quote(made[0].value["meta"]["lastUpdated"])
    first = fhir.get(f"Basic/_history?_since={since}&_count=3").json()
    for one in made:
        fhir.put(one.path, basic(id=one.id))
    seen = versions([first, *pages(fhir, pages_next(first))])
    assert [tag for tag in seen if tag in {one.etag for one in made}] == [one.etag for one in reversed(made)]


def pages_next(page: dict) -> str:
    return next(link["url"] for link in page["link"] if link["relation"] == "next")


def test_the_history_of_what_never_was(fhir):
    assert refused(fhir.get("Basic/absent/_history")) == (404, "not-found")
    assert refused(fhir.get("Nothing/_history")) == (404, "not-found")
    assert refused(fhir.get(f"Patient/{fhir.new(basic()).id}/_history")) == (404, "not-found")


def test_the_history_of_a_deleted_resource_is_there(fhir):
    made = fhir.new(basic())
    fhir.delete(made.path)
    assert fhir.get(f"{made.path}/_history").json()["total"] == 2


def test_pretty_and_head(fhir, life):
    path, _ = life
    plain, pretty = fhir.get(f"{path}/_history"), fhir.get(f"{path}/_history?_pretty=true")
    assert b'\n  "type": "history"' in pretty.content and pretty.json()["entry"] == plain.json()["entry"]
    assert fhir.send("HEAD", f"{path}/_history").headers["content-length"] == plain.headers["content-length"]


def test_a_history_is_shaped_as_asked(fhir):
    made = fhir.new(patient("SHAPED", birthDate="1970-01-01"))
    fhir.patch(made.path, [{"op": "replace", "path": "/gender", "value": "male"}])
    whole = fhir.get(f"{made.path}/_history").json()
    assert [e["resource"]["gender"] for e in whole["entry"]] == ["male", "female"]
    parts = fhir.get(f"{made.path}/_history?_elements=gender").json()
    assert [set(e["resource"]) for e in parts["entry"]] == [{"resourceType", "id", "meta", "gender"}] * 2
    count = fhir.get(f"{made.path}/_history?_summary=count").json()
    assert count["total"] == 2 and "entry" not in count
    assert fhir.get(f"{made.path}/_history?_summary=some").status_code == 400
