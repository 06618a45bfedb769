"""`fhir-dmp bench traces`: reads under the rules with traces and without, on one store, side by side in one run.

Target: at least half. A store for real use, dossiers opened and fed over HTTP, read by their médecin traitant.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fhir_dmp.bench.asking import Asker, Reply
from fhir_dmp.bench.bench import Options, forget_dead
from fhir_dmp.bench.data import LOINC
from fhir_dmp.bench.driver import write_requests
from fhir_dmp.bench.host import plain, started
from fhir_dmp.bench.measuring import Point, Target, measure, warm
from fhir_dmp.bench.workloads import FHIR_JSON, Ask, Asked
from fhir_dmp.commands import Failed
from fhir_dmp.dmp.identity import IDNPS, INS_NIR_TEST, RPPS
from fhir_dmp.store.embedded import Embedded

NAME = "traces"
TARGET = 0.5
DOSSIERS, DOCUMENTS = 20, 20
DOCTOR = "10001234567"
WITHOUT, WITH = "without traces", "with traces"
MODULES = {WITHOUT: "fhir_dmp.bench.untraced", WITH: "fhir_dmp"}
WORK = ("read", "search")


class Line(NamedTuple):
    """One comparison. rates: requests per second by repetition. p50_ms: the median of theirs."""

    work: str
    connections: int
    rates: dict[str, tuple[float, ...]]
    p50_ms: dict[str, float]
    errors: dict[str, int]

    @property
    def share(self) -> float:
        """Of the speed without traces that is left with them: of repetitions beside each other, the median."""
        return median(one / other for one, other in zip(self.rates[WITH], self.rates[WITHOUT], strict=True))


def run(options: Options, progress: Callable[[str, int, int], None]) -> list[Line]:
    """Prepare a store and measure both servers in turn."""
    runs = options.folder / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    place = runs / f"{os.getpid()}-traces"
    place.mkdir(mode=0o700)
    try:
        mongod = Embedded.start(place / "data")
        try:
            with contextlib.ExitStack() as servers:
                hosts = {name: servers.enter_context(server(name, place, options.workers)) for name in (WITH, WITHOUT)}
                return list(compared(options, hosts, mongod.process.pid, place, progress))
        finally:
            mongod.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def server(name: str, place: Path, workers: int) -> Iterator[tuple[str, int]]:
    """One of the two: its address and process id."""
    command = [sys.executable, "-m", MODULES[name], "serve", "--data", str(place / "data"), "--port", "0", "--workers", str(workers)]
    with (place / f"{name}.log").open("wb") as log, started(command, place, log) as process:
        line = process.stdout.readline()
        if not line:
            raise Failed(f"the server {name} did not start: {(place / f'{name}.log').read_text('utf-8')[-1000:]}")
        address = next(word for word in line.split() if word.startswith("http://")).removeprefix("http://").partition("/")[0]
        yield address, process.pid


def compared(
    options: Options, hosts: dict[str, tuple[str, int]], mongod: int, place: Path, progress: Callable[[str, int, int], None]
) -> Iterator[Line]:
    progress("dossiers", 0, 1)
    token = issued(place / "data")
    dossiers = filled(hosts[WITH][0], token)
    total, done = len(WORK) * len(options.connections) * options.repetitions * len(hosts), 0
    for work in WORK:
        for connections in options.connections:
            points: dict[str, list[Point]] = {name: [] for name in hosts}
            for repetition in range(1, options.repetitions + 1):
                # Without and with, then with and without: what the machine does meanwhile falls on both.
                for name in sorted(hosts, reverse=bool(repetition % 2)):
                    progress(f"{work} at {connections}", done, total)
                    address, pid = hosts[name]
                    asked = list(requests(work, address, token, dossiers))
                    target = Target(f"{work} {name}", address, place / f"{work}.requests", {"server": pid, "mongod": mongod}, asked)
                    write_requests(target.file, (one.request for one in asked))
                    if repetition == 1:
                        warm(target, connections, options.seconds)
                    points[name].append(measure(options.driver, target, connections, options.seconds, repetition))
                    done += 1
            yield line(work, connections, points)


def line(work: str, connections: int, points: dict[str, list[Point]]) -> Line:
    """The comparison of what was measured."""
    errors: dict[str, int] = {}
    for name, found in points.items():
        for point in found:
            errors |= {f"{name}: {what}": number for what, number in point.errors.items()}
    rates = {name: tuple(point.outcome.rate for point in found) for name, found in points.items()}
    return Line(work, connections, rates, {name: median(point.outcome.p50_ms for point in found) for name, found in points.items()}, errors)


def issued(data: Path) -> str:
    """A token of the médecin traitant of all dossiers."""
    who = ("--rpps", DOCTOR, "--profession", "10", "--organization", "1750000001", "--purpose", "TREAT")
    command = [sys.executable, "-m", "fhir_dmp", "token", "professional", *who, "--data", str(data), "--expires", "86400"]
    done = subprocess.run(command, env=plain(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"no token: {done.stderr.strip()}")
    return done.stdout.strip()


def filled(address: str, token: str) -> dict[str, list[str]]:
    """Open the dossiers and feed them: id of the Patient -> ids of its documents."""

    def one(number: int) -> tuple[str, list[str]]:
        asker = Asker(address)
        patient = created(asker.ask(post(address, token, "Patient/$open", opening(number))), "Patient")
        documents = [
            created(asker.ask(post(address, token, "DocumentReference", document(patient, each))), "DocumentReference")
            for each in range(DOCUMENTS)
        ]
        asker.close()
        return patient, documents

    with ThreadPoolExecutor(4) as pool:
        return dict(pool.map(one, range(DOSSIERS)))


def created(reply: Reply, type_name: str) -> str:
    if reply.status != 201:
        raise Failed(f"{type_name} was answered {reply.status}: {reply.body[:300].decode('utf-8', 'replace')}")
    return reply.header("location").partition(f"/{type_name}/")[2].partition("/")[0]


def opening(number: int) -> dict:
    """Input of $open for an invented person."""
    person = {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": INS_NIR_TEST, "value": f"2{number:012d}89"}],
        "name": [{"use": "official", "family": "MESURE", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1970-01-01",
        "generalPractitioner": [{"identifier": {"system": IDNPS, "value": f"8{DOCTOR}"}}],
    }
    given = [{"name": "patient", "resource": person}, {"name": "evidence", "valueCode": "signed-form"}]
    return {"resourceType": "Parameters", "parameter": given}


def document(patient: str, number: int) -> dict:
    """A laboratory report with a small content."""
    text = base64.b64encode(f"compte rendu {number}".encode() * 20).decode()
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": "11488-4", "display": "CR ou fiche de consultation ou de visite"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": f"2026-01-{number % 28 + 1:02d}T08:00:00+01:00",
        "author": [{"identifier": {"system": RPPS, "value": DOCTOR}}],
        "description": f"consultation {number}",
        "securityLabel": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}],
        "content": [{"attachment": {"contentType": "text/plain", "data": text}}],
    }


def requests(work: str, address: str, token: str, dossiers: dict[str, list[str]]) -> Iterator[Asked]:
    """Reads by id of every document, or a page of documents of every dossier."""
    for patient, documents in dossiers.items():
        if work == "search":
            yield Asked(get(address, token, f"DocumentReference?patient={patient}&_count=20"), partial(is_page, len(documents)))
            continue
        for id in documents:
            yield Asked(get(address, token, f"DocumentReference/{id}"), partial(is_read, id))


def is_read(id: str, reply: Reply, ask: Ask) -> str:
    return "" if reply.status == 200 and json.loads(reply.body)["id"] == id else f"a document was answered {reply.status}"


def is_page(number: int, reply: Reply, ask: Ask) -> str:
    found = json.loads(reply.body).get("total") if reply.status == 200 else None
    return "" if found == number else f"a page was answered {reply.status}, total {found}"


def get(address: str, token: str, path: str) -> bytes:
    return f"GET /fhir/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept: {FHIR_JSON}\r\n\r\n".encode("ascii")


def post(address: str, token: str, path: str, value: dict) -> bytes:
    body = json.dumps(value).encode()
    head = f"POST /fhir/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: {FHIR_JSON}\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body


def text(lines: list[Line]) -> str:
    """A table for people."""
    rows = [("work", "conns", "req/s without", "req/s with", "left", "p50 ms without", "p50 ms with", "errors")]
    for one in lines:
        rates = [" / ".join(f"{rate:,.0f}" for rate in one.rates[name]) for name in (WITHOUT, WITH)]
        times = [f"{one.p50_ms[name]:.2f}" for name in (WITHOUT, WITH)]
        rows.append(
            (one.work, str(one.connections), *rates, f"{one.share:.0%} (target {TARGET:.0%})", *times, str(sum(one.errors.values())))
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def value(lines: list[Line]) -> list[dict]:
    """The same for programs."""
    return [{**one._asdict(), "share": one.share} for one in lines]
