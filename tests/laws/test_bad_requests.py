"""What must never get through, never crash the server, and never cost more than it should: requests.

Rows of the threat tables: C08 to C11 and B17 to B20.
Each is answered by a refusal in plain words or kept exactly as it was sent; never by a 5xx, and the server serves on.

https://hl7.org/fhir/R4/http.html#Status-Codes
"""

import contextlib
import gzip
import io
import re
import socket
import threading
import zlib
from urllib.parse import quote

import pytest

from tests.interactions.making import (
    FHIR_JSON,
    basic,
    bundle,
    dumped,
    entry,
    identified,
    located,
    observation,
    patient,
    stored,
    unique,
)
from tests.laws.attacking import MEGABYTE, asked, clear, raw, resident

pytestmark = pytest.mark.usefixtures("survives")


def test_C08_a_gzip_body_that_unfolds_into_a_gigabyte(fhir, server):
    zeros, packed = bytes(MEGABYTE), io.BytesIO()
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for _ in range(1000):
        packed.write(squeezer.compress(zeros))
    packed.write(squeezer.flush())
    before = resident(server)
    for path, content_type in (("Basic", FHIR_JSON), ("", FHIR_JSON), ("Basic/_search", "application/x-www-form-urlencoded")):
        clear(fhir.post(path, packed.getvalue(), content_type=content_type, content_encoding="gzip"), 413)
    assert resident(server) - before < 400 * MEGABYTE


def test_C08_gzip_in_gzip_and_gzip_with_a_tail(fhir):
    twice = gzip.compress(gzip.compress(dumped(basic())))
    clear(fhir.post("Basic", twice, content_encoding="gzip"), 400)
    clear(fhir.post("Basic", twice, content_encoding="gzip, gzip"), 415)
    clear(fhir.post("Basic", gzip.compress(dumped(basic())) + b"tail", content_encoding="gzip"), 400)
    clear(fhir.post("Basic", dumped(basic()), content_encoding="deflate"), 415)


def test_C08_a_chunked_body_without_end(server):
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /fhir/Basic HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: {FHIR_JSON}\r\n"
    before, sent = resident(server), 0
    chunk = b"%x\r\n" % MEGABYTE + b" " * MEGABYTE + b"\r\n"
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            while sent < 1000:
                connection.sendall(chunk)
                sent += 1
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(1000)
    assert sent < 1000 and (not answer or answer.split()[1] == b"413")
    assert resident(server) - before < 400 * MEGABYTE


def test_C08_a_body_announced_as_enormous_or_as_nonsense(server):
    head = f"POST /fhir/Basic HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: {FHIR_JSON}\r\n"
    for announced in ("99999999999", "18446744073709551615", "184467440737095516150", "-1", "1e9", "0x10", "\uff11"):
        answer = raw(server, f"{head}Content-Length: {announced}\r\n\r\n{{}}".encode())
        assert answer.split()[1] in (b"400", b"413", b"431"), (announced, answer)
    both = raw(server, f"{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode())
    assert both.split()[1] in (b"400", b"413")


def test_C08_a_multipart_body_of_a_million_parts(fhir):
    body = b"--b\r\n\r\n\r\n" * 1_000_000
    clear(fhir.post("Basic", body, content_type="multipart/form-data; boundary=b"), 415)
    clear(fhir.post("Basic/_search", body, content_type="multipart/form-data; boundary=b"), 415)


def test_C08_headers_of_ten_megabytes(server, fhir):
    head = b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\n"
    one = raw(server, head + b"X-A: " + b"a" * 10 * MEGABYTE + b"\r\n\r\n")
    many = raw(server, head + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(100_000)) + b"\r\n")
    for answer in (one, many):
        assert not answer or answer.split()[1] in (b"400", b"431")
    assert fhir.get("metadata", **{f"x_{n}": "a" for n in range(120)}).status_code == 431
    clear(fhir.get("metadata", x_a="a" * 40_000), 431)


def test_C08_addresses_beyond_the_bound(fhir, server):
    clear(fhir.get("Basic?_id=" + "a" * 20_000), 414)
    answer = raw(server, b"GET /fhir/" + b"a" * MEGABYTE + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not answer or answer.split()[1] in (b"400", b"414", b"431")


def test_C08_a_form_of_many_parameters(fhir):
    form = {"content_type": "application/x-www-form-urlencoded"}
    clear(fhir.post("Basic/_search", b"a=1&" * 50_000, **form), 400)
    clear(fhir.post("Basic/_search", b"_id=" + b"a" * 300_000, **form), 413)
    clear(fhir.post("Basic/_search", b"_id=\xff", **form), 400)


def test_C09_ten_thousand_ranges(fhir):
    path = stored(fhir.post("Binary", bytes(100_000), content_type="application/pdf")).path
    for ranges in (",".join(f"{n}-" for n in range(5_000)), ",".join(["0-"] * 7_000), ",".join(["0-0"] * 10_000)):
        clear(fhir.get(path, range=f"bytes={ranges}"), 416, 431)
    assert fhir.get(path, range="bytes=0-0,-1").status_code in (200, 206, 416)


def test_C10_more_entries_than_a_bundle_may_have(fhir):
    body = b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join([b"{}"] * 20_001) + b"]}"
    clear(fhir.post("", body), 413)


def test_C10_references_to_itself_and_full_urls_used_twice(fhir):
    answer = fhir.post(
        "", bundle("transaction", entry("POST", "Observation", observation(hasMember=[{"reference": "urn:uuid:1"}]), "urn:uuid:1"))
    )
    path = located(answer)[0]
    assert fhir.get(path).json()["hasMember"] == [{"reference": path}]
    id = unique()
    assert fhir.put(f"Observation/{id}", observation(id=id, hasMember=[{"reference": f"Observation/{id}"}])).status_code == 201
    found = fhir.get(f"Observation?_id={id}&_include:iterate=Observation:has-member&_revinclude:iterate=Observation:has-member")
    assert [hit["resource"]["id"] for hit in found.json()["entry"]] == [id]
    twice = [entry("POST", "Basic", basic(), "urn:uuid:1"), entry("POST", "Basic", basic(), "urn:uuid:1")]
    clear(fhir.post("", bundle("transaction", *twice)), 422)


def test_C10_a_bundle_in_a_bundle_in_a_bundle(fhir):
    inner: dict = bundle("transaction", entry("POST", "Basic", basic()))
    for _ in range(10):
        inner = bundle("transaction", entry("POST", "Bundle", inner))
    answer = fhir.post("", inner)
    assert answer.status_code in (200, 400, 422)


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("_count=1000000000", (200,)),
        ("_count=1e9", (400,)),
        ("_count=-1", (400,)),
        ("_count=99999999999999999999999", (200, 400)),
        ("identifier=" + ",".join(f"a{n}" for n in range(500)), (200, 400)),
        ("code=" + ",".join(f"a{n}" for n in range(500)), (200, 400)),
        ("&".join(["code=a"] * 200), (200, 400)),
        ("&".join(["_include=Observation:subject"] * 20), (200, 400)),
        ("&".join(["_include:iterate=*"] * 20), (200, 400)),
        ("_revinclude=*:*", (200, 400)),
        ("&".join(["_has:Observation:derived-from:code=a"] * 10), (200, 400)),
        ("_has:Observation:derived-from:" * 10 + "code=a", (200, 400)),
        ("subject" + ":Patient.link" * 20 + ":Patient.name=a", (400,)),
        ("subject.organization.partof" + ".partof" * 30 + ".name=a", (400,)),
        ("_sort=" + ",".join(["-date", "code"] * 100), (200, 400)),
        ("_elements=" + ",".join(["code"] * 1000), (200, 400)),
        ("_filter=" + "not(" * 300 + "code eq a" + ")" * 300, (400,)),
        ("date=" + "9" * 1000, (400,)),
        ("value-quantity=" + "1" * 1000, (200, 400)),
        ("_lastUpdated=gt9999999-01-01", (400,)),
        ("_page=" + "A" * 4000, (400,)),
    ],
)
def test_C11_searches_that_ask_for_too_much(fhir, query, statuses):
    answer = fhir.get(f"Observation?{query}")
    if answer.status_code != 200:
        clear(answer, *statuses)
    assert answer.status_code in statuses, answer.text[:300]


def test_C11_pages_are_capped(fhir):
    value = unique()
    fhir.post("", bundle("batch", *(entry("POST", "Basic", identified("Basic", value)) for _ in range(1010))))
    found = fhir.get(f"Basic?identifier=urn:x-test|{value}&_count=1000000000").json()
    assert (found["total"], len(found["entry"])) == (1010, 1000)


def test_B17_no_address_in_a_resource_is_ever_fetched(fhir):
    met = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)

        def listen() -> None:
            with contextlib.suppress(TimeoutError, OSError):
                while True:
                    met.append(trap.accept())

        listener = threading.Thread(target=listen)
        listener.start()
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/fhir"
        fhir.new(observation(f"{url}/Patient/1", meta={"profile": [f"{url}/StructureDefinition/x"]}, implicitRules=f"{url}/rules"))
        attachment = {"contentType": "application/pdf", "url": f"{url}/Binary/1"}
        fhir.new({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]})
        fhir.new(
            {
                "resourceType": "ValueSet",
                "status": "active",
                "url": f"{url}/ValueSet/1",
                "compose": {"include": [{"valueSet": [f"{url}/ValueSet/2"]}]},
            }
        )
        fhir.post("", bundle("transaction", entry("POST", "Observation", observation(f"{url}/Patient/1"), f"{url}/Observation/1")))
        for query in (f"subject={url}/Patient/1", f"code:in={url}/ValueSet/1", f"subject={url}/Patient/1&_include=Observation:subject"):
            assert fhir.get(f"Observation?{query}").status_code in (200, 400)
        listener.join()
    assert met == []


IDS = [
    "..%2f..",
    "%2e%2e",
    "..",
    ".",
    "a%2fb",
    "%00",
    "a%00",
    "a" * 65,
    "%EF%BC%91",
    "%D9%A1",
    "a_b",
    "a%20b",
    "%20",
    "a%0d%0ab",
    "a'b",
    "%",
    "%zz",
    "$where",
    "a;b",
    "%C0%AE",
]


@pytest.mark.parametrize("id", IDS)
def test_B18_ids_that_are_none(server, id):
    for target in (f"/fhir/Basic/{id}", f"/fhir/Basic/{id}/_history", f"/fhir/Basic/1/_history/{id}", f"/fhir/Basic/{id}/_history/1"):
        assert asked(server, "GET", target) in (400, 404, 405), target
    assert asked(server, "DELETE", f"/fhir/Basic/{id}") in (400, 404, 405)


@pytest.mark.parametrize(
    "path",
    [
        "Basic/1/../2",
        "Basic/1/../../../etc/passwd",
        "../fhir/Basic/1",
        "./Basic/1",
        "%2e%2e/health/live",
        "Basic//",
        "//Basic/1",
        "Basic/%2F",
    ],
)
def test_B18_paths_that_climb(server, path):
    assert asked(server, "GET", f"/fhir/{path}") in (400, 404, 405)


def test_B18_ids_in_bodies(fhir):
    for id in ("../..", "a" * 65, "\uff11", "a_b", "", " ", "a\u0000", 1, None, {"$ne": 1}, ["a"]):
        clear(fhir.put("Basic/1", basic(id=id)), 400, 422)
        clear(fhir.post("", bundle("transaction", entry("PUT", f"Basic/{id}", basic(id=id)))), 400, 422)
        answer = fhir.post("Basic", basic(id=id))
        assert answer.status_code in (400, 422), id


OPERATORS = [
    "identifier[$ne]=x",
    "_id[$gt]=",
    "name[$regex]=^a",
    "$where=1",
    "_id=$where",
    "identifier=%7B%22$ne%22:null%7D",
    "identifier[]=x",
    "a.b=1",
    "%00=1",
    "_id=%00",
    "__proto__=1",
    "d=1",
    "x=1",
]


@pytest.mark.parametrize("query", OPERATORS)
def test_B19_operators_of_the_database_in_a_search(fhir, query):
    fhir.new(patient())
    for answer in (
        fhir.get(f"Patient?{query}"),
        fhir.post("Patient/_search", query.encode(), content_type="application/x-www-form-urlencoded"),
    ):
        if answer.status_code == 200:
            assert answer.json()["total"] == 0
        else:
            clear(answer, 400)
    assert fhir.delete(f"Patient?{query}").status_code in (204, 400, 412)


def test_B19_json_in_place_of_a_form(fhir):
    for body in (
        b'{"$where":"sleep(1000)"}',
        b'{"identifier":{"$ne":null}}',
        b'{"resourceType":"Parameters","parameter":[{"name":"$where"}]}',
    ):
        clear(fhir.post("Patient/_search", body), 415)
        answer = fhir.post("Patient/_search", body, content_type="application/x-www-form-urlencoded")
        clear(answer, 400)


def test_B19_operators_as_members_and_values_are_refused_or_kept(fhir, mongod):
    for name in ("$where", "a.b", "$set", "", "a\u0000b", "__proto__", "_id"):
        clear(fhir.post("Basic", basic(**{name: 1})), 400, 422)
        clear(fhir.post("Basic", basic(extension=[{"url": "u", name: "v"}])), 400, 422)
    for value in ("$where", "a.b", "{$ne: null}", "'; return true; //", "\\u0000", "%00"):
        made = fhir.new(
            basic(extension=[{"url": value.replace(" ", "").replace("{", "").replace("}", ""), "valueString": value}], code={"text": value})
        )
        assert fhir.get(made.path).json()["code"]["text"] == value
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "$where", "valueString": "sleep(1000)"}]}
    assert fhir.get(fhir.new(parameters).path).json()["parameter"] == parameters["parameter"]


PATTERNS = ["(a+)+$", "^.*$", "[", "(", "\\", "*", "a{1,99999}", "(?=a)", ".", "a" * 500 + "!", "(z|zz)+y", ".{1,50}"]


@pytest.mark.parametrize("text", PATTERNS)
def test_B20_patterns_in_a_search_are_plain_text(fhir, text):
    prey = fhir.new(patient("z" * 26 + "!"))
    literal = fhir.new(patient(text))
    escaped = re.sub(r"([\\\\,$|])", r"\\\1", text)  # these have a meaning in a search
    for modifier in (":contains", "", ":exact"):
        answer = fhir.get(f"Patient?family{modifier}={quote(escaped)}&_count=1000")
        if answer.status_code != 200:
            clear(answer, 400)
            continue
        found = {hit["resource"]["id"] for hit in answer.json().get("entry", ())}
        assert prey.id not in found
        if modifier == ":exact":
            assert literal.id in found


# Last: ten thousand resources that refer to one another make every later search on them longer.
def test_C10_ten_thousand_entries_that_refer_to_one_another(fhir, server):
    before = resident(server)
    count = 10_000
    entries = [
        entry("POST", "Observation", observation(derivedFrom=[{"reference": f"urn:uuid:{(n + 1) % count}"}]), f"urn:uuid:{n}")
        for n in range(count)
    ]
    answer = fhir.post("", bundle("transaction", *entries))
    if answer.status_code != 200:
        clear(answer, 413, 422)
        return
    paths = located(answer)
    assert len(set(paths)) == count
    assert fhir.get(paths[-1]).json()["derivedFrom"] == [{"reference": paths[0]}]
    assert resident(server) - before < 1000 * MEGABYTE
