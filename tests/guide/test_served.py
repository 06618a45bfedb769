"""The guide as it is served: files of the list and nothing else, headers, conditions, and built by `serve` when it is missing.

https://www.rfc-editor.org/rfc/rfc9110
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.guide import copies
from tests.laws.attacking import raw
from tests.serving import alive, children, clean, serving


@pytest.fixture(scope="module")
def server(guide, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


# Seconds: no test waits so long, but a machine that does other things at once.
PATIENCE = 120
KINDS = {
    "": "text/html; charset=utf-8",
    "index.html": "text/html; charset=utf-8",
    "en/": "text/html; charset=utf-8",
    "masking": "text/html; charset=utf-8",
    "assets/guide.css": "text/css; charset=utf-8",
    "assets/guide.js": "text/javascript; charset=utf-8",
    "assets/icon.svg": "image/svg+xml",
    "search.fr.json": "application/json",
    "conversations/10-opening.http": "text/plain; charset=utf-8",
    "package.tgz": "application/gzip",
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_each_file_has_its_type_and_headers(server, name, kind):
    answer = server.client.get(f"/ig/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "public, max-age=300"
    head = server.client.head(f"/ig/{name}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


def test_what_is_known_is_not_sent_again(server):
    first = server.client.get("/ig/masking.html")
    again = server.client.get("/ig/masking.html", headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert server.client.get("/ig/masking.html", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(("asked", "place"), [("/ig", "/ig/"), ("/ig/en", "/ig/en/")])
def test_a_folder_without_its_slash_leads_to_it(server, asked, place):
    answer = server.client.get(asked)
    assert (answer.status_code, answer.headers["location"]) == (308, place)


@pytest.mark.parametrize(
    "target",
    [
        "/ig/../fhir/metadata",
        "/ig/../../etc/passwd",
        "/ig/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/ig/..%2f..%2f..%2fetc%2fpasswd",
        "/ig//etc/passwd",
        "/ig/%2fetc%2fpasswd",
        "/ig/..\\..\\etc\\passwd",
        "/ig/en/../../../../etc/passwd",
        "/ig/index.html%00.css",
        "/ig/nothing",
        "/ig/" + "a/" * 500,
    ],
)
def test_nothing_else_of_the_disk_is_served(server, target):
    answer = raw(server, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int(answer.split()[1])
    assert status in (400, 401, 404) and b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_only_read(server, method):
    answer = server.client.request(method, "/ig/index.html")
    assert answer.status_code == 405 and "GET" in answer.headers["allow"]


def test_the_first_page_leads_to_it(server):
    assert 'href="/ig/"' in server.client.get("/").text


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """The copy in this folder, served: (process, the line it says when it is ready). Stopped afterwards, whatever happens."""
    environment = clean({"FHIR_DMP_MONGOD_CACHE_GB": "0.25", "PYTHONPATH": str(folder)})
    command = [sys.executable, "-m", "fhir_dmp", "serve", "--data", str(folder / "data"), "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield process, process.stdout.readline()
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.stdout.close()


def until(wanted: Callable[[], object]) -> object:
    """What comes when it is true, or the last that came."""
    end = time.monotonic() + PATIENCE
    while not (found := wanted()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def test_serve_builds_it_when_it_is_missing_and_takes_the_builder_along(tmp_path):
    """In a copy of the sources, where no guide was ever built."""
    copies.small(tmp_path)
    with served(tmp_path) as (process, line):
        url = next(word for word in line.split() if word.startswith("http://")).removesuffix("/fhir")
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("/health/ready").status_code == 200
            end = time.monotonic() + 2 * PATIENCE
            while (answer := client.get("/ig/changelog.html")).status_code == 503 and time.monotonic() < end:
                assert answer.headers["retry-after"] == "5" and "Le guide arrive" in answer.text
            assert answer.status_code == 200 and "A copy." in answer.text, (tmp_path / "log").read_text("utf-8")[-2000:]
        # The builder, its server and their database go by themselves.
        assert until(lambda: not [pid for pid in children(process.pid) if b"\0ig\0" in command_of(pid)])
        below = children(process.pid)
    assert not [pid for pid in below if alive(pid)]


def test_a_server_that_stops_takes_a_builder_at_work_along(tmp_path):
    copies.small(tmp_path, copies.ENDLESS)
    with served(tmp_path) as (process, _):
        # The server of the builder has a database of its own.
        assert until(lambda: len(databases(children(process.pid))) == 2)
        below = children(process.pid)
    assert process.returncode == 0
    assert until(lambda: not [pid for pid in below if alive(pid)])
    assert [path for path in (tmp_path / "build" / "ig").iterdir() if path.is_dir()] == []


def databases(pids: list[int]) -> list[int]:
    """Those of some processes that are a mongod."""
    return [pid for pid in pids if b"--dbpath" in command_of(pid)]


def command_of(pid: int) -> bytes:
    """The command line of a process, b"" when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_the_command_builds_to_a_named_folder_and_spares_what_is_no_guide(guide, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("mine", "utf-8")
    command = [sys.executable, "-m", "fhir_dmp", "ig", "--out", str(tmp_path / "letters")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 1 and "something else" in done.stderr and (tmp_path / "letters" / "dear.txt").exists()
