"""Parts of the benchmark: cutting a stream into answers, drawing wanted numbers, refusing what cannot be measured."""

import shutil
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from random import Random

import pytest
from click.testing import CliRunner

from fhir_dmp.bench import data
from fhir_dmp.bench.driver import FRESH, NAMES, choose, read_requests, write_requests
from fhir_dmp.bench.sockets import Answers
from fhir_dmp.bench.timing import judged
from fhir_dmp.bench.world import World
from fhir_dmp.cli import cli
from fhir_dmp.commands import Failed
from fhir_dmp.fhir.schema import validate

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(("sent", "status", "body"), [(WHOLE, 200, b"hello"), (CHUNKED, 201, b"hello"), (EMPTY, 304, b"")])
def test_answers_are_cut_wherever_the_stream_is(sent, status, body):
    for cut in range(1, len(sent)):
        answers = Answers()
        first, second = answers.take(sent[:cut]), answers.take(sent[cut:])
        assert first is None
        assert (second[0], second[2]) == (status, body)


def test_answers_to_head_have_no_body():
    answers = Answers(heads=True)
    assert answers.take(WHOLE.removesuffix(b"hello"))[0] == 200 and answers.take(EMPTY)[0] == 304


def test_durations_are_judged_as_the_books_say():
    """Two samples apart by half of their spread; with as many again the interval is narrower by the square root of two."""
    one, other = [float(n) for n in range(100)], [float(n) - 25 for n in range(100)]
    told, more = judged(one, other), judged(one * 2, other * 2)
    assert told.auc == pytest.approx(1 - 0.75**2 / 2, abs=0.01) and judged(other, one).auc == told.auc
    low, high = told.interval
    assert low < told.auc < high and (high - low) / (more.interval[1] - more.interval[0]) == pytest.approx(2**0.5, abs=0.01)
    assert judged(one, one).auc == 0.5 and judged(one, one).holds and not told.holds


def test_a_driver_replays_requests_byte_for_byte(tmp_path):
    requests = [b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\x00\xff"]
    write_requests(tmp_path / "requests", requests)
    assert read_requests(tmp_path / "requests") == requests


@pytest.mark.parametrize("name", [name for name in NAMES if name != "wrk" or shutil.which(name)])
def test_what_is_sent_again_has_a_number_of_its_own(tmp_path, name):
    """One identifier twice would be one creation and one repetition."""
    requests = [f"POST /{n} HTTP/1.1\r\nContent-Length: 26\r\n\r\na{FRESH}-{FRESH}".encode() for n in range(3)]
    write_requests(tmp_path / "requests", [*requests, b"GET /same HTTP/1.1\r\n\r\n"])
    received: list[bytes] = []

    class Collecting(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                length = 0
                while (header := self.rfile.readline()).strip():
                    length = int(header.split(b":")[1]) if header.startswith(b"Content-Length") else length
                received.append(line.split()[1] + b" " + self.rfile.read(length))
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Collecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver = choose(name)
        outcome = driver.finish(driver.start(f"127.0.0.1:{server.server_address[1]}", tmp_path / "requests", 1, 1, 0), 1)
        server.shutdown()
    assert outcome.requests > 8 and not outcome.errors
    bodies = [one.split(b" ")[1] for one in received if not one.startswith(b"/same")]
    assert len(set(bodies)) == len(bodies) > 6 and all(FRESH.encode() not in one for one in bodies)
    assert all(one[1:13] == one[14:] and len(one) == 26 for one in bodies)


def test_few_numbers_are_wanted_often_and_all_are_in_range():
    world, chance = World.__new__(World), Random(1)
    drawn = Counter(world.popular(chance, 1000) for _ in range(20_000))
    assert min(drawn) >= 0 and max(drawn) < 1000
    assert sum(count for _, count in drawn.most_common(10)) > 5_000 and len(drawn) > 900


def test_resources_are_valid_and_always_the_same():
    made = [data.patient(7), data.practitioner(7), data.document(7, 3, "Patient/p", "Practitioner/q")]
    assert [validate(resource) for resource in made] == [[], [], []]
    assert made == [data.patient(7), data.practitioner(7), data.document(7, 3, "Patient/p", "Practitioner/q")]
    number = data.ins(12, 1, data.FIRST_DAY)
    assert len(number) == 15 and 97 - int(number[:13]) % 97 == int(number[13:])


def test_an_unreachable_server_is_an_error_not_a_rate(tmp_path):
    write_requests(tmp_path / "requests", [b"GET / HTTP/1.1\r\n\r\n"])
    driver = choose("sockets")
    outcome = driver.finish(driver.start("127.0.0.1:1", tmp_path / "requests", 2, 0.1, 0), 0.1)
    assert (outcome.requests, outcome.errors) == (0, {"connect": 2})


@pytest.mark.parametrize("wrong", [["W99"], ["--connections", "0"], ["--connections", "a,b"], ["--size", "huge"]])
def test_what_cannot_be_measured_is_refused(wrong):
    assert CliRunner().invoke(cli, ["bench", *wrong]).exit_code == 2


def test_another_database_is_refused(tmp_path):
    done = CliRunner().invoke(cli, ["bench", "W2", "--mongodb-uri", "mongodb://127.0.0.1:1", "--data", str(tmp_path)])
    assert isinstance(done.exception, Failed) and "embedded" in str(done.exception)


def test_the_driver_prints_nothing_but_figures(tmp_path):
    write_requests(tmp_path / "requests", [b"GET / HTTP/1.1\r\n\r\n"])
    command = [sys.executable, "-m", "fhir_dmp.bench.sockets", "127.0.0.1:1", str(tmp_path / "requests"), "1", "0.1", "5"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith('{"requests": 0')
