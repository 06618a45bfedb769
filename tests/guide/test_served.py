"""The guide as it is served: files of the list and nothing else, headers, conditions, and built by `serve` when it is missing.

https://www.rfc-editor.org/rfc/rfc9110
"""

import os
import subprocess
import sys
import time

import httpx
import pytest

from fhir_dmp.guide import sources
from tests.laws.attacking import raw
from tests.serving import alive, children, clean, serving


@pytest.fixture(scope="module")
def server(guide, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


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


def test_serve_builds_it_when_it_is_missing_and_takes_the_builder_along(tmp_path):
    """In a copy of the sources, where no guide was ever built."""
    for name in ("fhir_dmp", "profiles", "ig", "tests", "capability_statement.json", "CHANGELOG.md", "requirements.lock"):
        (tmp_path / name).symlink_to(sources.ROOT / name)
    # A change of one page is another guide.
    (tmp_path / "CHANGELOG.md").unlink()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\nA copy.\n", "utf-8")
    (tmp_path / "fhir_dmp").unlink()
    subprocess.run(["cp", "-r", str(sources.ROOT / "fhir_dmp"), str(tmp_path / "fhir_dmp")], check=True)
    environment = clean({"FHIR_DMP_MONGOD_CACHE_GB": "0.25", "PYTHONPATH": str(tmp_path)})
    command = [sys.executable, "-m", "fhir_dmp", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        url = next(word for word in process.stdout.readline().split() if word.startswith("http://")).removesuffix("/fhir")
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("/health/ready").status_code == 200
            end = time.monotonic() + 240
            while (answer := client.get("/ig/changelog.html")).status_code == 503 and time.monotonic() < end:
                assert answer.headers["retry-after"] == "5" and "Le guide arrive" in answer.text
            assert answer.status_code == 200 and "A copy." in answer.text, (tmp_path / "log").read_text("utf-8")[-2000:]
        # The builder, its server and their database go by themselves.
        end = time.monotonic() + 60
        while (building := [pid for pid in children(process.pid) if b"\0ig\0" in command_of(pid)]) and time.monotonic() < end:
            time.sleep(0.1)
        assert building == []
    finally:
        below = children(process.pid)
        process.terminate()
        process.wait(40)
        process.stdout.close()
        log.close()
    assert not [pid for pid in below if alive(pid)]


def test_a_server_that_stops_takes_a_builder_at_work_along(tmp_path):
    environment = clean({"FHIR_DMP_MONGOD_CACHE_GB": "0.25", "PYTHONPATH": str(tmp_path)})
    subprocess.run(["cp", "-r", str(sources.ROOT / "fhir_dmp"), str(tmp_path / "fhir_dmp")], check=True)
    for name in ("profiles", "ig", "tests", "capability_statement.json", "requirements.lock"):
        (tmp_path / name).symlink_to(sources.ROOT / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\nAnother copy.\n", "utf-8")
    command = [sys.executable, "-m", "fhir_dmp", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
        process.stdout.readline()
        end = time.monotonic() + 60
        # The server of the builder has a database of its own.
        while sum(b"mongod" in command_of(pid) for pid in children(process.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        below = children(process.pid)
        assert sum(b"mongod" in command_of(pid) for pid in below) == 2
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()
    end = time.monotonic() + 20
    while (left := [pid for pid in below if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == []
    assert [path for path in (tmp_path / "build" / "ig").iterdir() if path.is_dir()] == []


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
