"""What a client may not make the server hold: large, endless, folded, slow. C08 of the attack list; CWE-400."""

import gzip
import os
import socket
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http.conftest import issue
from tests.serving import children

JSON = {"Content-Type": "application/fhir+json"}
PATIENT = b'{"resourceType":"Basic","code":{"text":"x"}}'


def resident(server):
    """Memory of the workers and their parent, in MiB; MongoDB left out."""
    total = 0
    for pid in [server.process.pid, *children(server.process.pid)]:
        status = (Path("/proc") / str(pid) / "status").read_text()
        if "mongod" not in status.splitlines()[0]:
            total += int(status.split("VmRSS:")[1].split()[0])
    return total // 1024


def exchange(server, head, body=(), seconds=20):
    """Send octets as they are; what came back until the server closed or fell silent."""
    host = urlsplit(server.url)
    with socket.create_connection((host.hostname, host.port), timeout=seconds) as connection:
        connection.sendall(head)
        try:
            for piece in body:
                connection.sendall(piece)
        except OSError:
            pass  # the server has closed: what it said before is still to be read
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
                if b"\r\n\r\n" in received and received.endswith(b"}"):
                    break
        except OSError:
            pass
        return received


def status(received):
    return int(received.split(b" ")[1]) if received else None


def head(server, *lines):
    first = (
        f"POST /fhir/Basic HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/fhir+json\r\n"
    )
    return (first + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


def test_body_that_announces_too_much_is_refused_before_it_is_sent(server):
    begun = time.monotonic()
    received = exchange(server, head(server, "Content-Length: 10000000000"))
    assert status(received) == 413 and b'"too-long"' in received
    assert time.monotonic() - begun < 5


def test_endless_chunked_body_is_stopped_at_the_limit(server):
    before = resident(server)
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    received = exchange(server, head(server, "Transfer-Encoding: chunked"), (piece for _ in range(1000)))
    assert status(received) in (413, None)
    assert resident(server) - before < 300
    assert server.client.get("/health/live").status_code == 200


def test_endless_chunked_body_is_answered_when_the_client_listens(server):
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    received = exchange(server, head(server, "Transfer-Encoding: chunked"), (piece for _ in range(65)))
    assert status(received) == 413 and b'"too-long"' in received


def test_small_gzip_body_that_unfolds_into_a_huge_one_is_stopped(server):
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(squeeze.compress(b" " * 2**20) for _ in range(256)), squeeze.flush()])
    assert len(bomb) < 2**19
    before = resident(server)
    answer = server.client.post("/fhir/Basic", content=bomb, headers={**server.auth, **JSON, "Content-Encoding": "gzip"})
    assert (answer.status_code, issue(answer)) == (413, ("error", "too-long"))
    assert resident(server) - before < 300


def test_gzip_body_is_read(server):
    folded = {**server.auth, **JSON, "Content-Encoding": "gzip"}
    answer = server.client.post("/fhir/Basic", content=gzip.compress(PATIENT), headers=folded)
    assert answer.status_code == 201, answer.text


FOLDED = gzip.compress(PATIENT, mtime=0)


@pytest.mark.parametrize("body", [b"not gzip", FOLDED[:-9], FOLDED + b"x", FOLDED * 2, b""])
def test_damaged_gzip_body_is_refused(server, body):
    answer = server.client.post("/fhir/Basic", content=body, headers={**server.auth, **JSON, "Content-Encoding": "gzip"})
    assert (answer.status_code, issue(answer)) == (400, ("error", "invalid"))


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "x"])
def test_other_codings_are_refused(server, coding):
    answer = server.client.post("/fhir/Basic", content=PATIENT, headers={**server.auth, **JSON, "Content-Encoding": coding})
    assert (answer.status_code, issue(answer)) == (415, ("error", "not-supported"))


def test_header_of_ten_megabytes_is_refused_and_costs_nothing(server):
    before = resident(server)
    received = exchange(server, b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: ", (b"a" * 2**20 for _ in range(10)))
    assert status(received) in (431, None)
    assert resident(server) - before < 100
    assert server.client.get("/health/live").status_code == 200


def test_headers_over_the_limit_are_refused_with_an_outcome(server):
    answer = server.client.get("/fhir/Patient", headers={"X-Long": "a" * 40_000})
    assert (answer.status_code, issue(answer)) == (431, ("error", "too-long"))


def test_too_many_headers_are_refused(server):
    answer = server.client.get("/fhir/Patient", headers={f"X-{number}": "a" for number in range(150)})
    assert answer.status_code == 431


def test_long_address_is_refused(tight):
    answer = tight.client.get("/fhir/Patient?name=" + "a" * 2000)
    assert (answer.status_code, issue(answer)) == (414, ("error", "too-long"))


def test_size_limit_of_the_settings_holds_with_and_without_length(tight):
    # A real store refuses system tokens, so the limit is met by nobody without a usable token: the body is not even read.
    received = exchange(tight, head(tight, "Content-Length: 300000"), [b" " * 300_000])
    assert status(received) in (401, None)


def test_body_that_falls_silent_is_given_up(tmp_path_factory):
    from tests.serving import serving

    with serving(tmp_path_factory.mktemp("slow"), environment={"FHIR_DMP_BODY_SECONDS": "1"}) as slow:
        begun = time.monotonic()
        received = exchange(slow, head(slow, "Content-Length: 100") + b"{")
        assert status(received) == 408 and b'"timeout"' in received
        assert 0.8 < time.monotonic() - begun < 6


def test_head_of_a_request_that_falls_silent_is_given_up(tight):
    begun = time.monotonic()
    received = exchange(tight, b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert status(received) in (None, 408)
    assert time.monotonic() - begun < 6


def test_many_silent_connections_leave_the_server_answering(server):
    host = urlsplit(server.url)
    held = [socket.create_connection((host.hostname, host.port)) for _ in range(300)]
    try:
        for connection in held:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        begun = time.monotonic()
        for _ in range(20):
            assert server.client.get("/health/live", headers={"Connection": "close"}).status_code == 200
        assert time.monotonic() - begun < 5
    finally:
        for connection in held:
            connection.close()


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "18446744073709551617", "+5", "0x10"])
def test_length_that_is_no_number_is_refused(server, length):
    received = exchange(server, head(server, f"Content-Length: {length}") + b"{}", seconds=3)
    assert status(received) in (400, 413)


def test_length_and_chunks_together_are_not_a_way_to_smuggle(server):
    lines = ("Content-Length: 4", "Transfer-Encoding: chunked")
    received = exchange(server, head(server, *lines) + b"0\r\n\r\nGET /fhir/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", seconds=3)
    assert received.count(b"HTTP/1.1 ") == 1 or b"HTTP/1.1 400" in received


def test_random_octets_get_no_more_than_a_refusal(server):
    for _ in range(20):
        received = exchange(server, os.urandom(2000) + b"\r\n\r\n", seconds=2)
        assert status(received) in (400, None) if received.startswith(b"HTTP/") else not received
    assert server.client.get("/health/live").status_code == 200


def test_a_request_framed_twice_is_refused(server):
    host = server.url.removeprefix("http://")
    head = f"POST /fhir/Basic HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/fhir+json\r\n"
    with socket.create_connection(host.split(":")) as connection:
        connection.settimeout(20)
        connection.sendall((head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n").encode())
        answer = connection.recv(65536)
    assert answer.split(b"\r\n")[0].split(b" ")[1] == b"400"
