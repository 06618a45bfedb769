"""FHIR Binary and MHD Retrieve Document [ITI-68]. https://hl7.org/fhir/R4/binary.html"""

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.interactions.making import FHIR_JSON, bundle, entry, located, observation, patient, refused, statuses, stored, unique
from tests.serving import children

LARGE = os.urandom(5_000_011)
SMALL = b"%PDF-1.7 \x00\xff a small one"
SIZES = [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large"), pytest.param(LARGE[: 512 * 1024 + 1], id="just-large")]


def binary(octets: bytes, content_type: str = "application/pdf", **fields: object) -> dict:
    return {"resourceType": "Binary", "contentType": content_type, "data": base64.b64encode(octets).decode(), **fields}


def pieces(octets: bytes, size: int = 100_003):
    """A body of unknown length."""
    for start in range(0, len(octets), size):
        yield octets[start : start + size]


def content_ids(rows, vault, path: str) -> list[bytes]:
    """Contents the current row of a Binary refers to."""
    row = rows["resources"].find_one({"_id": vault.locate(*path.split("/"))})
    return [bytes(item["i"]) for item in row.get("f", ())]


@pytest.mark.parametrize("octets", SIZES)
def test_octets_sent_as_themselves_come_back_as_themselves(fhir, octets):
    answer = fhir.post("Binary", pieces(octets), content_type="application/pdf")
    made = stored(answer)
    assert answer.status_code == 201 and answer.headers["etag"] == made.etag
    found = fhir.get(made.path)
    assert found.status_code == 200 and found.content == octets
    assert found.headers["content-type"] == "application/pdf"
    assert (found.headers["content-length"], found.headers["accept-ranges"]) == (str(len(octets)), "bytes")
    assert found.headers["content-location"] == answer.headers["location"]
    assert fhir.get(f"{made.path}/_history/{made.version}").content == octets


@pytest.mark.parametrize("octets", SIZES)
def test_octets_sent_as_themselves_come_back_as_a_resource(fhir, octets):
    made = stored(fhir.post("Binary", octets, content_type="image/png"))
    for found in (fhir.get(made.path, accept=FHIR_JSON), fhir.get(f"{made.path}?_format=json")):
        value = found.json()
        assert list(value) == ["resourceType", "id", "meta", "contentType", "data"]
        assert (value["contentType"], base64.b64decode(value["data"])) == ("image/png", octets)
        assert found.headers["content-type"].startswith(FHIR_JSON)
        assert found.headers["content-length"] == str(len(found.content))


@pytest.mark.parametrize("octets", SIZES)
def test_a_resource_comes_back_as_a_resource_and_as_octets(fhir, octets):
    answer = fhir.post("Binary", binary(octets))
    made = stored(answer)
    assert answer.status_code == 201
    assert fhir.get(made.path).content == octets
    found = fhir.get(made.path, accept="application/fhir+json").json()
    assert {name: value for name, value in found.items() if name not in ("id", "meta")} == binary(octets)


def test_a_large_content_is_kept_apart_and_sealed(fhir, rows, vault):
    made = stored(fhir.post("Binary", LARGE, content_type="application/pdf"))
    (content,) = content_ids(rows, vault, made.path)
    chunks = list(rows["contents.chunks"].find({"files_id": content}))
    assert len(chunks) > 10 and not any(LARGE[:64] in bytes(chunk["data"]) for chunk in chunks)


@pytest.mark.parametrize("octets", SIZES)
def test_ranges(fhir, octets):
    path = stored(fhir.post("Binary", octets, content_type="application/pdf")).path
    size = len(octets)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=3-9", 3, 10),
        ("bytes=5-", 5, size),
        ("bytes=-4", size - 4, size),
        (f"bytes=0-{size + 5}", 0, size),
        (f"bytes=-{size + 5}", 0, size),
        (f"bytes={size // 2 - 1}-{size // 2 + 1}", size // 2 - 1, size // 2 + 2),
    ):
        answer = fhir.get(path, range=asked)
        assert (answer.status_code, answer.content) == (206, octets[start:end]), asked
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - start)


def test_ranges_that_cannot_be_answered(fhir):
    path = stored(fhir.post("Binary", SMALL, content_type="application/pdf")).path
    for asked in (f"bytes={len(SMALL)}-", "bytes=999-1000", "bytes=-0", "bytes=" + ",".join(["0-0"] * 10_000)[:20_000]):
        answer = fhir.get(path, range=asked)
        assert refused(answer) == (416, "invalid") and answer.headers["content-range"] == f"bytes */{len(SMALL)}"
    for whole in ("bytes=0-1,3-4", "items=0-1", "bytes=b-a", "bytes=5-2", "bytes", "bytes=-", "bytes=\xb2-3".encode("latin-1")):
        answer = fhir.http.get(fhir.url(path), headers={"range": whole})
        assert (answer.status_code, answer.content) == (200, SMALL), whole


def test_a_part_goes_only_to_who_has_the_other_parts_of_that_version(fhir):
    made = stored(fhir.post("Binary", LARGE, content_type="application/pdf"))
    date = fhir.get(made.path).headers["last-modified"]
    for same in (made.etag, f'"{made.version}"', date):
        assert fhir.get(made.path, range="bytes=0-9", if_range=same).status_code == 206
    for other in ('W/"other"', '"other"', "Sat, 01 Jan 2000 00:00:00 GMT", "nonsense"):
        answer = fhir.get(made.path, range="bytes=0-9", if_range=other)
        assert (answer.status_code, answer.content) == (200, LARGE)


def test_head_of_a_large_content(fhir):
    path = stored(fhir.post("Binary", LARGE, content_type="application/pdf")).path
    answer = fhir.send("HEAD", path)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(len(LARGE)))
    assert answer.headers["content-type"] == "application/pdf"


def test_not_modified(fhir):
    made = stored(fhir.post("Binary", LARGE, content_type="application/pdf"))
    answer = fhir.get(made.path, if_none_match=made.etag)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", made.etag)
    assert fhir.get(made.path, if_none_match='"other"').status_code == 200


def test_what_a_browser_gets_runs_nothing(fhir):
    page = b"<!DOCTYPE html><script>alert(1)</script>"
    for content_type in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/pdf", "application/javascript"):
        path = stored(fhir.post("Binary", page, content_type=content_type)).path
        answer = fhir.get(path, accept="text/html,application/xhtml+xml,*/*;q=0.8")
        assert answer.content == page and answer.headers["content-type"] == content_type
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"] and "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_format_the_content_has_not(fhir):
    path = stored(fhir.post("Binary", SMALL, content_type="application/pdf")).path
    assert refused(fhir.get(path, accept="image/png")) == (406, "not-supported")
    assert refused(fhir.get(path, accept="application/fhir+xml")) == (406, "not-supported")
    assert fhir.get(path, accept="image/png, application/*;q=0.1").content == SMALL
    assert refused(fhir.get(f"{path}?_format=xml")) == (406, "not-supported")


def test_replaced_by_octets_and_by_a_resource(fhir):
    made = stored(fhir.post("Binary", SMALL, content_type="application/pdf"))
    second = fhir.put(made.path, LARGE, content_type="image/png", if_match=made.etag)
    assert (second.status_code, fhir.get(made.path).content) == (200, LARGE)
    assert fhir.put(made.path, binary(SMALL, "text/plain", id=made.id)).status_code == 200
    answer = fhir.get(made.path)
    assert (answer.content, answer.headers["content-type"]) == (SMALL, "text/plain")
    assert refused(fhir.put(made.path, LARGE, content_type="image/png", if_match=made.etag)) == (412, "conflict")
    assert fhir.get(f"{made.path}/_history/{made.version}").content == SMALL
    assert fhir.get(f"{made.path}/_history/{stored(second).version}").content == LARGE
    id = unique()
    assert fhir.put(f"Binary/{id}", LARGE, content_type="image/png").status_code == 201
    assert fhir.get(f"Binary/{id}").content == LARGE
    assert fhir.delete(f"Binary/{id}").status_code == 204 and refused(fhir.get(f"Binary/{id}")) == (410, "deleted")


def test_a_patch_keeps_a_large_content_or_replaces_it(fhir):
    made = stored(fhir.post("Binary", LARGE, content_type="image/png"))
    assert fhir.patch(made.path, [{"op": "replace", "path": "/contentType", "value": "image/tiff"}]).status_code == 200
    answer = fhir.get(made.path)
    assert (answer.headers["content-type"], answer.content) == ("image/tiff", LARGE)
    assert fhir.patch(made.path, [{"op": "add", "path": "/data", "value": "YQ=="}]).status_code == 200
    assert fhir.get(made.path).content == b"a"
    assert fhir.get(made.path, accept=FHIR_JSON).json()["data"] == "YQ=="
    assert fhir.get(f"{made.path}/_history/{made.version}").content == LARGE
    large = stored(fhir.post("Binary", LARGE, content_type="image/png")).path
    assert fhir.patch(large, [{"op": "remove", "path": "/data"}]).status_code == 200
    assert fhir.get(large).content == b""


def test_a_patch_in_a_transaction_keeps_a_large_content_or_replaces_it(fhir):
    path = stored(fhir.post("Binary", LARGE, content_type="image/png")).path

    def patched(*operations: dict) -> list[str]:
        data = base64.b64encode(json.dumps(operations).encode()).decode()
        change = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
        return statuses(fhir.post("", bundle("transaction", entry("PATCH", path, change))))

    assert patched({"op": "replace", "path": "/contentType", "value": "image/tiff"}) == ["200"]
    assert fhir.get(path).content == LARGE and fhir.get(path).headers["content-type"] == "image/tiff"
    assert patched({"op": "remove", "path": "/data"}) == ["200"]
    assert fhir.get(path).content == b""


def test_a_binary_without_data(fhir):
    made = stored(fhir.post("Binary", b"", content_type="text/plain"))
    answer = fhir.get(made.path)
    assert (answer.status_code, answer.content) == (200, b"") and "data" not in fhir.get(made.path, accept=FHIR_JSON).json()
    assert refused(fhir.get(made.path, range="bytes=0-0")) == (416, "invalid")


def test_types_of_content(fhir):
    for content_type in (
        "text/plain; charset=iso-8859-1",
        "application/dicom",
        "application/xml",
        "application/fhir+xml",
        "application/hl7-cda+xml",
    ):
        path = stored(fhir.post("Binary", b"\xe9", content_type=content_type)).path
        assert fhir.get(path).headers["content-type"] == content_type
    assert refused(fhir.post("Binary", b"x", content_type="")) == (415, "not-supported")
    assert refused(fhir.post("Binary", b"x", content_type="nonsense")) == (415, "not-supported")
    assert refused(fhir.post("Binary", b"{}", content_type="application/json")) == (400, "invalid")


def test_base64_with_spaces_stays_as_it_was_written(fhir):
    text = "YWJj\nZGVm"
    made = stored(fhir.post("Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": text}))
    assert fhir.get(made.path, accept=FHIR_JSON).json()["data"] == text and fhir.get(made.path).content == b"abcdef"


def test_a_content_beyond_the_bound_leaves_nothing(fhir, server, rows):
    before = rows["contents.files"].estimated_document_count()
    endless = (bytes(1_000_000) for _ in range(80))
    try:
        answer = fhir.post("Binary", endless, content_type="application/pdf")
        assert refused(answer) == (413, "too-long")
    except Exception as cut:  # the server may close before the client has sent it all
        assert "Broken" in repr(cut) or "Write" in repr(cut) or "Read" in repr(cut), cut
    assert fhir.alive() and rows["contents.files"].estimated_document_count() == before


def test_large_contents_are_streamed_not_held(fhir, server):
    def resident() -> int:
        """Megabytes of the server's processes."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in [server.process.pid, *children(server.process.pid)])
        return pages * 4096 // 1_000_000

    digest, block = hashlib.sha256(), os.urandom(1_000_000)

    def body():
        for _ in range(60):
            digest.update(block)
            yield block

    path = stored(fhir.post("Binary", body(), content_type="application/pdf")).path
    before, most, found = resident(), 0, hashlib.sha256()
    with fhir.http.stream("GET", fhir.url(path)) as answer:
        for number, piece in enumerate(answer.iter_bytes(1_000_000)):
            found.update(piece)
            if number % 10 == 0:
                most = max(most, resident())
    assert found.digest() == digest.digest() and most - before < 40


def test_the_dossier_of_a_binary_is_that_of_its_document(fhir, rows, vault):
    person, document, first, second = (f"urn:uuid:0000000{n}-0000-4000-8000-000000000000" for n in range(4))
    reference = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": person},
        "content": [{"attachment": {"contentType": "application/pdf", "url": url}} for url in (first, second)],
    }
    answer = fhir.post(
        "",
        bundle(
            "transaction",
            entry("POST", "Binary", binary(SMALL), first),
            entry("POST", "DocumentReference", reference, document),
            entry("POST", "Patient", patient(), person),
            entry("POST", "Binary", binary(LARGE), second),
        ),
    )
    assert statuses(answer) == ["201"] * 4, answer.text
    paths = located(answer)
    dossier = vault.dossier_of_patient(paths[2].split("/")[1])
    for path, octets in ((paths[0], SMALL), (paths[3], LARGE)):
        row = rows["resources"].find_one({"_id": vault.locate(*path.split("/"))})
        assert row["d"] == dossier and vault.locate(*path.split("/"))[:8] == dossier.to_bytes(8, "big", signed=True)
        assert fhir.get(path).content == octets
        for content in content_ids(rows, vault, path):
            assert rows["contents.files"].find_one({"_id": content})["metadata"]["d"] == dossier
    assert [part["attachment"]["url"] for part in fhir.get(paths[1]).json()["content"]] == [paths[0], paths[3]]
    # And it stays there whoever changes it, in whatever way.
    for path in (paths[0], paths[3]):
        id = path.split("/")[1]
        changes = [{"op": "replace", "path": "/contentType", "value": "image/png"}]
        for answer in (
            fhir.put(path, LARGE, content_type="image/png"),
            fhir.put(path, binary(SMALL, id=id)),
            fhir.put(path, binary(LARGE, id=id)),
            fhir.patch(path, changes),
            fhir.post("", bundle("transaction", entry("PUT", path, binary(LARGE, id=id)))),
        ):
            assert answer.status_code == 200, answer.text
            assert rows["resources"].find_one({"_id": vault.locate(*path.split("/"))})["d"] == dossier
            for content in content_ids(rows, vault, path):
                assert rows["contents.files"].find_one({"_id": content})["metadata"]["d"] == dossier


def test_the_dossier_of_a_binary_sent_alone_is_that_of_its_security_context(fhir, rows, vault):
    person = fhir.new(patient())
    about = fhir.new(observation(person.path))
    dossier = vault.dossier_of_patient(person.id)
    for answer in (
        fhir.post("Binary", LARGE, content_type="image/png", x_security_context=person.path),
        fhir.post("Binary", binary(LARGE, securityContext={"reference": person.path})),
        fhir.post("Binary", SMALL, content_type="image/png", x_security_context=about.path),
        fhir.post("Binary", SMALL, content_type="image/png", x_security_context=f"{fhir.base}/{person.path}"),
    ):
        path = stored(answer).path
        assert rows["resources"].find_one({"_id": vault.locate(*path.split("/"))})["d"] == dossier
    assert fhir.get(path, accept=FHIR_JSON).json()["securityContext"] == {"reference": f"{fhir.base}/{person.path}"}


def test_large_contents_in_histories_batches_and_answers(fhir):
    made = fhir.post("Binary", binary(LARGE), prefer="return=representation")
    assert base64.b64decode(made.json()["data"]) == LARGE
    path = stored(made).path
    read = fhir.post("", bundle("batch", entry("GET", path))).json()["entry"][0]["resource"]
    assert base64.b64decode(read["data"]) == LARGE
    history = fhir.get(f"{path}/_history").json()["entry"][0]["resource"]
    assert base64.b64decode(history["data"]) == LARGE
    found = fhir.get(f"Binary?_id={path.split('/')[1]}").json()["entry"][0]["resource"]
    assert base64.b64decode(found["data"]) == LARGE


def test_a_refusal_before_a_large_body_is_read_spoils_no_later_request(fhir):
    made = stored(fhir.post("Binary", SMALL, content_type="image/png"))
    for _ in range(5):
        assert fhir.put(made.path, LARGE, content_type="image/png", if_match='W/"other"').status_code == 412
        assert fhir.get(made.path).content == SMALL


@pytest.mark.parametrize("content_type", ["not a mime", "é/à", "text/plain, text/html", "text/html\u202e"])
def test_what_is_no_media_type_is_served_as_octets(fhir, content_type):
    made = fhir.new({"resourceType": "Binary", "contentType": content_type, "data": "QQ=="})
    answer = fhir.get(made.path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"A", "application/octet-stream")
    assert fhir.get(made.path, accept="application/fhir+json").json()["contentType"] == content_type
