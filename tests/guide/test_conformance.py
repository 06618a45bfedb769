"""The TestScripts and their runner: they pass against this server, and fail against one that is wrong.

https://hl7.org/fhir/R4/testscript.html
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fhir_dmp.guide.sources import PROFILES, ROOT
from tests.serving import serving

INS = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"
DOCTOR = (
    "professional",
    "--rpps",
    "10001234567",
    "--profession",
    "10",
    "--specialty",
    "SM54",
    "--organization",
    "750000001",
    "--purpose",
    "TREAT",
)
STRANGER = (
    "professional",
    "--rpps",
    "10009876543",
    "--profession",
    "10",
    "--specialty",
    "SM04",
    "--organization",
    "750000002",
    "--purpose",
    "TREAT",
)
SCRIPTS = sorted(PROFILES.glob("TestScript-*.json"))


def load(name):
    """A script of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


conformance = load("conformance")


def play(base, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / "conformance.py"), base, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("conformance"), sandbox=False) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(server):
    return [server.new_token(*DOCTOR), server.new_token("patient", "--ins", INS), server.new_token(*STRANGER)]


def test_what_is_named_as_a_program_is_one():
    begins = {path: path.read_bytes()[:2] == b"#!" for path in (ROOT / "scripts").iterdir() if path.is_file()}
    assert {path.name for path, program in begins.items() if program != os.access(path, os.X_OK)} == set()


def test_every_script_passes_here_twice(server, tokens, tmp_path):
    for _ in range(2):
        done = play(server.fhir, *tokens, "--report", str(tmp_path / "report"))
        assert done.returncode == 0, done.stdout + done.stderr
    reports = [json.loads(line) for line in (tmp_path / "report").read_text("utf-8").splitlines()]
    assert [one["result"] for one in reports] == ["pass"] * len(SCRIPTS)
    assert len(SCRIPTS) >= 13


def test_reports_are_fhir(server, tokens, tmp_path):
    play(server.fhir, *tokens, "--only", "refusals", "--report", str(tmp_path / "report"))
    from fhir_dmp.fhir import schema

    report = json.loads((tmp_path / "report").read_text("utf-8"))
    assert schema.validate(report) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_fhir(path):
    from fhir_dmp.fhir import schema

    # Slots of fixtures stand for values: with one in each, every fixture is a resource.
    filled = conformance.SLOT.sub("1", path.read_text("utf-8"))
    assert schema.validate(json.loads(filled)) == []


def test_the_files_are_what_the_script_writes():
    made = load("generate_test_scripts").files()
    assert {path.name: path.read_text("utf-8") for path in SCRIPTS} == made


class Wrong(BaseHTTPRequestHandler):
    """A server that finds everything good."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [{"resource": {"id": "a", "active": true}}]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


def test_no_script_passes_against_a_server_that_finds_everything_good():
    with ThreadingHTTPServer(("127.0.0.1", 0), Wrong) as wrong:
        threading.Thread(target=wrong.serve_forever, daemon=True).start()
        done = play(f"http://127.0.0.1:{wrong.server_port}/fhir", "a", "b", "c", "--set", "idnps1=8", "--set", "idnps3=8")
        wrong.shutdown()
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and [line for line in lines if line.startswith("pass")] == []
    assert lines[-1] == f"0 of {len(SCRIPTS)} scripts pass"


def test_a_server_that_does_not_answer_is_a_failure_in_words():
    done = play("http://127.0.0.1:9/fhir", "a", "--only", "traces")
    assert done.returncode == 1 and "does not answer" in done.stdout and "Traceback" not in done.stderr


def test_an_unknown_script_is_a_wrong_command():
    assert play("http://127.0.0.1:9/fhir", "a", "--only", "nothing-like-it").returncode == 2


BUNDLE = {
    "resourceType": "Bundle",
    "total": 2,
    "entry": [{"resource": {"id": "a", "n": 1}}, {"resource": {"id": "b", "n": 2, "flag": False}}],
}


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("Bundle.total", [2]),
        ("Patient.total", []),
        ("entry.resource.id", ["a", "b"]),
        ("Bundle.entry[1].resource.id", ["b"]),
        ("Bundle.entry.resource.where(n = 2).id", ["b"]),
        ("Bundle.entry.resource.where(n > 1 and id = 'b').exists()", [True]),
        ("Bundle.entry.resource.all(n > 1)", [False]),
        ("Bundle.entry.resource.id.all($this.startsWith('a') or $this = 'b')", [True]),
        ("Bundle.entry.count() > 1", [True]),
        ("Bundle.nothing.where(a = 'b').empty()", [True]),
        ("Bundle.entry.resource.flag.not()", [True]),
        ("Bundle.entry.last().resource.id", ["b"]),
        ("'a' in Bundle.entry.resource.id", [True]),
        ("Bundle.total != 2", [False]),
    ],
)
def test_expressions(expression, selected):
    assert conformance.Expression(expression).of(BUNDLE) == selected


@pytest.mark.parametrize("expression", ["Bundle.", "Bundle.total = ", "Bundle.total)", "#", "Bundle.children()"])
def test_an_expression_that_is_not_understood_is_a_failure(expression):
    with pytest.raises(conformance.Failed):
        assert conformance.Expression(expression).of(BUNDLE) is None
