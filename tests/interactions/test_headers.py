"""What holds for every answer: formats, preferences, methods, headers. https://hl7.org/fhir/R4/http.html#general"""

import gzip
import socket

import httpx
import pytest

from tests.interactions.making import FHIR_JSON, basic, dumped, issue, refused


@pytest.fixture(scope="module")
def made(fhir):
    return fhir.new(basic())


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, FHIR_JSON),
        ("*/*", FHIR_JSON),
        ("application/*", FHIR_JSON),
        ("application/fhir+json", FHIR_JSON),
        ("application/json", "application/json"),
        ("application/fhir+json; fhirVersion=4.0", FHIR_JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", FHIR_JSON),
        ("application/fhir+xml;q=0.9, application/fhir+json;q=0.5", FHIR_JSON),
        ("APPLICATION/FHIR+JSON", FHIR_JSON),
    ],
)
def test_formats_that_are_served(fhir, made, accept, given):
    answer = fhir.get(made.path, **({} if accept is None else {"accept": accept}))
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{given}; charset=utf-8")


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+xml",
        "application/xml",
        "text/turtle",
        "image/png",
        "application/fhir+json;q=0",
        "application/fhir+json; fhirVersion=3.0",
    ],
)
def test_formats_that_are_not(fhir, made, accept):
    answer = fhir.get(made.path, accept=accept)
    assert refused(answer) == (406, "not-supported") and "application/fhir+json" in answer.json()["issue"][0]["diagnostics"]


def test_the_query_overrides_accept(fhir, made):
    for format in ("json", "application/json", "application/fhir%2Bjson", "application/fhir+json", "text/json"):
        assert fhir.get(f"{made.path}?_format={format}", accept="application/fhir+xml").status_code == 200, format
    for format in ("xml", "application/fhir%2Bxml", "ttl", "html", "nonsense"):
        assert refused(fhir.get(f"{made.path}?_format={format}")) == (406, "not-supported"), format


def test_a_format_that_is_not_served_is_refused_before_anything_is_written(fhir):
    total = fhir.get("Basic/_history?_count=0").json()["total"]
    assert fhir.post("Basic", basic(), accept="application/fhir+xml").status_code == 406
    assert fhir.get("Basic/_history?_count=0").json()["total"] == total


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "LINK", "FLY"])
def test_methods_that_fhir_has_not(fhir, made, method):
    if method == "CONNECT":  # clients make a tunnel of it
        address = fhir.server.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as connection:
            connection.sendall(f"CONNECT /fhir/{made.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert connection.recv(100).split()[1][:1] == b"4"
        return
    answer = fhir.send(method, made.path)
    assert refused(answer) == (405, "not-supported") and "GET" in answer.headers["allow"]


def test_every_answer_has_a_request_id_of_the_client_or_of_the_server(fhir, made):
    assert fhir.get(made.path, x_request_id="abc-1").headers["x-request-id"] == "abc-1"
    assert len(fhir.get(made.path).headers["x-request-id"]) == 32
    for odd in ("a b", "a" * 129, "<script>"):
        assert len(fhir.get(made.path, x_request_id=odd).headers["x-request-id"]) == 32


def test_every_answer_carries_what_keeps_it_to_its_reader(fhir, made):
    for answer in (fhir.get(made.path), fhir.get("Basic/absent"), fhir.get("metadata"), fhir.post("Basic", b"{")):
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (answer.headers["referrer-policy"], answer.headers["x-sandbox"]) == ("no-referrer", "true")
        assert answer.headers["content-length"] == str(len(answer.content))


def test_addresses_below_the_base_that_are_nothing(fhir, made):
    for path in (f"{made.path}/nothing", "Basic//1", "_nothing", "Basic/_nothing", f"{made.path}/_history/1/2", "metadata/1"):
        answer = fhir.get(path)
        assert answer.status_code in (400, 404, 405) and issue(answer)[0] == "error", path


def test_a_final_slash_changes_nothing(fhir, made):
    assert fhir.get(made.path + "/").content == fhir.get(made.path).content


def test_links_name_the_address_the_client_used(fhir, made, server):
    port = server.url.rpartition(":")[2]
    answer = httpx.get(f"http://localhost:{port}/fhir/{made.path}", headers=server.auth)
    assert answer.headers["content-location"].startswith(f"http://localhost:{port}/fhir/")
    answer = fhir.get(made.path, host="dmp.example.org")
    assert answer.headers["content-location"].startswith("http://dmp.example.org/fhir/")
    assert refused(fhir.get(made.path, host="a b")) == (400, "invalid")


def test_a_token_in_the_query_is_no_token(fhir, made, server):
    answer = httpx.get(f"{fhir.url(made.path)}?access_token={server.token}")
    assert refused(answer) == (401, "login")


def test_scopes_narrow(fhir, made, server):
    read_only = {"Authorization": f"Bearer {server.new_token('system', '--scope', 'system/Basic.r')}", "content-type": FHIR_JSON}
    assert httpx.get(fhir.url(made.path), headers=read_only).status_code == 200
    assert refused(httpx.put(fhir.url(made.path), headers=read_only, content=b'{"resourceType":"Basic"}')) == (403, "forbidden")
    assert refused(httpx.delete(fhir.url(made.path), headers=read_only)) == (403, "forbidden")
    assert refused(httpx.get(fhir.url("Patient/absent"), headers=read_only)) == (403, "forbidden")
    body = b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Basic","code":{"text":"a"}},'
    body += b'"request":{"method":"POST","url":"Basic"}}]}'
    assert refused(httpx.post(fhir.base, headers=read_only, content=body)) == (403, "forbidden")


def test_gzip_bodies(fhir):
    assert fhir.post("Basic", gzip.compress(dumped(basic())), content_encoding="gzip").status_code == 201
    assert refused(fhir.post("Basic", b"not gzip", content_encoding="gzip")) == (400, "invalid")
    assert refused(fhir.post("Basic", gzip.compress(dumped(basic()))[:-3], content_encoding="gzip")) == (400, "invalid")
    assert refused(fhir.post("Basic", dumped(basic()), content_encoding="br")) == (415, "not-supported")
