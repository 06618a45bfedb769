"""Start, stop, and what is left after kill -9 of any part."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.serving import alive, children, run, serving, wait_ready

JSON = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module")
def wounded(tmp_path_factory):
    """A server of which a test kills or stops a part that comes back, or beside which another one is started: each leaves it ready."""
    with serving(tmp_path_factory.mktemp("wounded")) as running:
        yield running


def parts(server):
    """Process ids: mongod, and the workers."""
    names = {}
    for pid in children(server.process.pid):
        with contextlib.suppress(OSError):  # one that was killed may be gone by now
            names[pid] = Path(f"/proc/{pid}/comm").read_text()
    return [pid for pid, name in names.items() if "mongod" in name], [pid for pid, name in names.items() if "mongod" not in name]


def gone(pids, seconds=10):
    """Wait until none of these runs."""
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def create(server):
    """A resource that was acknowledged: its address."""
    body = b'{"resourceType":"Basic","code":{"text":"kept"}}'
    answer = server.client.post("/fhir/Basic", content=body, headers={**server.auth, **JSON})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].split("/fhir/")[1].split("/_history")[0]


def test_ready_line_says_where_what_and_how(server):
    assert server.ready_line.startswith(f"fhir-dmp serves {server.url}/fhir from {server.data} (sandbox); tokens: ")
    assert server.ready_line.count("\n") == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_answers_what_is_under_way_and_leaves_nothing_behind(tmp_path, how):
    with serving(tmp_path, "--workers", "2") as server:
        mongod, workers = parts(server)
        assert len(mongod) == 1 and len(workers) == 2
        head = f"POST /fhir/Basic HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: application/fhir+json\r\n"
        body = b'{"resourceType":"Basic","code":{"text":"late"}}'
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
            time.sleep(0.3)
            begun = time.monotonic()
            server.process.send_signal(how)
            time.sleep(0.3)
            connection.sendall(body[10:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 201")
        assert server.process.wait(20) == 0
        assert time.monotonic() - begun < 10
        assert gone([*mongod, *workers], 2)
        assert "Traceback" not in server.logged() and '"error"' not in server.logged()


def test_ctrl_c_in_a_terminal_reaches_everyone_and_still_ends_well(tmp_path):
    """A terminal sends SIGINT to the whole foreground group, not to the parent alone."""
    command = [sys.executable, "-m", "fhir_dmp", "serve", "--data", str(tmp_path / "d"), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline()
    below = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0 and said == "" and gone(below, 2)


def kept_by(server, paths):
    """Whether all of these are there."""
    return all(server.client.get(f"/fhir/{path}", headers=server.auth).status_code == 200 for path in paths)


def test_killed_parent_leaves_no_worker_and_no_mongod_and_everything_killed_at_once_recovers(tmp_path):
    with serving(tmp_path, "--workers", "2") as server:
        kept = [create(server)]
        mongod, workers = parts(server)
        server.process.kill()
        assert gone(workers, 5) and gone(mongod, 15)
    with serving(tmp_path, "--workers", "2") as server:
        assert kept_by(server, kept)
        kept += [create(server) for _ in range(5)]
        mongod, workers = parts(server)
        for pid in (*mongod, server.process.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        assert gone([*mongod, *workers])
    with serving(tmp_path) as again:
        assert kept_by(again, kept)


def test_killed_mongod_comes_back_and_nothing_acknowledged_is_lost(wounded):
    kept = [create(wounded) for _ in range(5)]
    (mongod,), workers = parts(wounded)
    os.kill(mongod, signal.SIGKILL)
    assert gone([mongod])
    wait_ready(wounded.client)
    assert kept_by(wounded, kept)
    create(wounded)
    assert parts(wounded)[1] == workers


def test_killed_worker_is_replaced(tmp_path):
    with serving(tmp_path, "--workers", "2") as server:
        _, workers = parts(server)
        os.kill(workers[0], signal.SIGKILL)
        end = time.monotonic() + 120
        while len(now := parts(server)[1]) < 2 or workers[0] in now:
            assert time.monotonic() < end
            time.sleep(0.1)
        answers = []
        while time.monotonic() < end and len(answers) < 10:
            try:
                answers.append(httpx.get(f"{server.url}/health/ready", timeout=5).status_code)
            except httpx.TransportError:
                time.sleep(0.1)  # a connection that was waiting for the worker that died
        assert answers == [200] * 10
        assert set(server.client.get("/metrics").text.split()) & {"fhir_dmp_in_flight"}


def test_ready_says_503_while_the_database_is_away(wounded):
    (mongod,), _ = parts(wounded)
    os.kill(mongod, signal.SIGSTOP)
    try:
        answer = wounded.client.get("/health/ready")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert wounded.client.get("/health/live").status_code == 200
    finally:
        os.kill(mongod, signal.SIGCONT)
    wait_ready(wounded.client)


def test_port_that_is_taken_is_said_in_clear_words(server, tmp_path):
    port = server.url.rpartition(":")[2]
    done = run("serve", "--data", str(tmp_path / "d"), "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fhir-dmp: port {port} of 127.0.0.1 is taken by another program; choose another one with --port\n"


@pytest.mark.parametrize(
    "options, word",
    [
        (("--host", "no.such.host.invalid"), "not an address"),
        (("--host", "192.0.2.1"), "cannot listen"),
        (("--mongodb-uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"), "MongoDB"),
        (("--mongodb-uri", "nonsense"), "mongodb"),
    ],
)
def test_start_that_cannot_work_is_said_in_one_line(tmp_path, options, word):
    done = run("serve", "--data", str(tmp_path / "d"), "--port", "0", *options)
    assert done.returncode == 1 and done.stdout == ""
    assert word.lower() in done.stderr.lower() and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_journal_of_acts_that_cannot_be_written_stops_the_start_in_words(tmp_path):
    (tmp_path / "d" / "journal" / "acts.log").mkdir(parents=True)
    done = run("serve", "--data", str(tmp_path / "d"), "--port", "0")
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert "journal/acts.log" in done.stderr and "Make room" in done.stderr


def test_wrong_issuers_file_stops_the_start(tmp_path):
    (tmp_path / "issuers.json").write_text("{}")
    done = run("serve", "--data", str(tmp_path / "d"), "--port", "0", environment={"FHIR_DMP_ISSUERS": str(tmp_path / "issuers.json")})
    assert done.returncode == 1 and "trusted issuers" in done.stderr and done.stderr.count("\n") == 1


def test_store_is_a_sandbox_or_not_for_life(wounded):
    done = run("serve", "--data", str(wounded.data), "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "sandbox" in done.stderr.splitlines()[-1]


def test_data_folder_is_for_its_owner_alone(server):
    for path in (server.data, *server.data.rglob("*")):
        if not path.is_socket() and not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0 or (server.data / "mongodb") in path.parents, path
    assert (server.data / "mongodb").stat().st_mode & 0o077 == 0


def test_two_servers_share_a_data_folder_and_the_second_may_leave(wounded):
    kept = create(wounded)
    with serving(wounded.data.parent) as two:
        assert two.data == wounded.data and kept_by(two, [kept])
    assert kept_by(wounded, [kept])
