"""`fhir-dmp bench timing`: whether time tells what is hidden from what is absent, on a real server in production mode.

https://profiles.ihe.net/ITI/PCF/ ; access-rules: no extra message or timing path. How durations are judged: bench.timing.
"""

import contextlib
import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fhir_dmp.bench import data, report
from fhir_dmp.bench.asking import Asker
from fhir_dmp.bench.bench import Options, forget_dead
from fhir_dmp.bench.host import MODES, issued, professional, serving
from fhir_dmp.bench.loading import loaded
from fhir_dmp.bench.timing import BOUND, Told, interleaved
from fhir_dmp.bench.world import World, encoded
from fhir_dmp.commands import Failed
from fhir_dmp.dmp.identity import RPPS
from fhir_dmp.dmp.visibility import MASKED, concept
from fhir_dmp.store.vault import Vault

NAME, MODE = "timing", "production"
# Ids of each sort, at most, asked for in turn.
IDS = 40
# A physician whom nothing relates to anybody.
STRANGER = "810009876543"
TEXT = "text/plain; charset=utf-8"
ARCHIVE = b'[{"op":"replace","path":"/status","value":"superseded"}]'
HEADS = ("request", "by", "median ms hidden", "median ms absent", "AUC", "95 % interval", "requests of each")


class Way(NamedTuple):
    """One way to ask. who: of whom. hidden, absent: complete requests. status: what both are answered."""

    name: str
    who: str
    hidden: Sequence[bytes]
    absent: Sequence[bytes]
    status: int


class Line(NamedTuple):
    """What was found of one way to ask."""

    name: str
    who: str
    told: Told


class Found(NamedTuple):
    """A run."""

    lines: list[Line]
    start: report.Start


def run(options: Options, requests: int, progress: Callable[[str, int, int], None]) -> Found:
    """Measure every way to ask. requests: of each way, half of them for something hidden."""
    runs = options.folder / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    store = loaded(options.size, options.folder, MODES[MODE].sandbox, progress)
    lines, start = [], report.Start.now(options)
    with serving(store, runs / f"{os.getpid()}-{NAME}", MODES[MODE], options.workers) as host:
        asker = Asker(host.address)
        with contextlib.closing(asker):
            ways = list(_ways(World(host), asker, min(IDS, requests // 20)))
            for number, way in enumerate(ways):
                progress(way.name, number, len(ways))
                _same(way, asker)
                lines.append(Line(way.name, way.who, interleaved(asker.ask, way.hidden, way.absent, requests // 2)))
    return Found(lines, start)


def _ways(world: World, asker: Asker, ids: int) -> Iterator[Way]:
    """Documents masked from the colleague, and dossiers that refuse a stranger, asked for in all ways. ids: of each sort."""
    colleague, stranger = world.host.colleague, issued(world.host.data, professional(STRANGER))
    number = len(world.patients) - 1
    holder = world.patients[number]
    # Of another establishment: a colleague in charge of the depositing one sees what is masked.
    author = issued(world.host.data, professional(data.DOCTOR, "1750000002"))
    made = [_deposited(world, asker, author, number, one) for one in range(ids)]
    hidden, versions, contents = ([one[place] for one in made] for place in range(3))
    absent, versions_, contents_, patients = (_drawn(world.host.data, ids) for _ in range(4))
    strangers = range(min(ids, number))
    others, known = [world.documents[one * data.DOCUMENTS] for one in strangers], [world.patients[one] for one in strangers]

    def ask(method: str, token: str, path: str, body: bytes = b"", accept: str = "application/fhir+json") -> bytes:
        more = f"Content-Type: application/json-patch+json\r\nContent-Length: {len(body)}\r\n" if body else ""
        always = f"Host: {world.host.address}\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n"
        return f"{method} /fhir/{path} HTTP/1.1\r\n{always}{more}\r\n".encode("ascii") + body

    def way(
        name: str, those: Sequence[str], none: Sequence[str], status: int, *, method: str = "GET", token: str = colleague, **more: object
    ) -> Way:
        asked = ([ask(method, token, one, **more) for one in paths] for paths in (those, none[: len(those)]))
        return Way(name, "colleague" if token == colleague else "stranger", *asked, status)

    def paths(pattern: str, ids: Sequence[str], versions: Sequence[str] = ()) -> list[str]:
        return [pattern.format(id, holder=holder, version=version) for id, version in zip(ids, versions or ids, strict=True)]

    document = "DocumentReference/{}"
    yield way("read", paths(document, hidden), paths(document, absent), 404)
    vread = "DocumentReference/{}/_history/{version}"
    yield way("vread", paths(vread, hidden, versions), paths(vread, absent, versions_), 404)
    history = "DocumentReference/{}/_history"
    yield way("history", paths(history, hidden), paths(history, absent), 404)
    search = "DocumentReference?patient={holder}&_id={}"
    yield way("search by _id", paths(search, hidden), paths(search, absent), 200)
    yield way("PATCH", paths(document, hidden), paths(document, absent), 404, method="PATCH", body=ARCHIVE)
    binary = "Binary/{}"
    for method in ("GET", "HEAD"):
        yield way(f"Binary, {method}", paths(binary, contents), paths(binary, contents_), 404, method=method, accept="text/plain")
    yield way("read in a dossier that refuses", paths(document, others), paths(document, absent), 404, token=stranger)
    dossier = "DocumentReference?patient={}"
    yield way("search in a dossier that refuses", paths(dossier, known), paths(dossier, patients), 403, token=stranger)


def _deposited(world: World, asker: Asker, author: str, patient: int, number: int) -> tuple[str, str, str]:
    """A new masked document with a content: its id, its version, and the id of the content."""
    value = data.document(patient, data.DOCUMENTS + number, f"Patient/{world.patients[patient]}", "")
    value |= {"status": "current", "author": [{"identifier": {"system": RPPS, "value": data.DOCTOR[1:]}}]}
    value["securityLabel"] = [*value["securityLabel"], concept(MASKED)]
    text = f"Observation simulée numéro {number}. ".encode()
    value["content"] = [{"attachment": {"contentType": TEXT, "data": b64encode(text).decode()}}]
    reply = asker.ask(world.post("DocumentReference", encoded(value), token=author))
    if reply.status != 201:
        raise Failed(f"a masked document was answered {reply.status}")
    found = json.loads(reply.body)
    return found["id"], found["meta"]["versionId"], found["content"][0]["attachment"]["url"].rpartition("/")[2]


def _drawn(place: Path, count: int) -> list[str]:
    """Ids in the form of this host, of nothing."""
    vault = Vault.load(place)
    return [vault.new_id(vault.new_dossier()) for _ in range(count)]


def _same(way: Way, asker: Asker) -> None:
    """What is compared is one answer: else time need not tell anything."""
    hidden, absent = (asker.ask(those[0]) for those in (way.hidden, way.absent))
    if not hidden.status == absent.status == way.status:
        raise Failed(f"{way.name}: {hidden.status} for what is hidden and {absent.status} for what is absent, {way.status} is wanted")


def table(found: Found) -> list[tuple[str, ...]]:
    """Cells."""
    rows = []
    for name, who, told in found.lines:
        low, high = told.interval
        judged = "" if told.holds else f" (bound {BOUND})"
        times = [f"{one:.2f}" for one in told.medians]
        rows.append((name, who, *times, f"{told.auc:.3f}{judged}", f"{low:.3f} to {high:.3f}", f"{told.requests:,}"))
    return [HEADS, *rows]


def told(found: Found) -> report.Told:
    """What was found."""
    lines = [{"name": one.name, "who": one.who, **one.told._asdict(), "interval": one.told.interval} for one in found.lines]
    return report.Told(NAME, ["One connection.", *found.start.lines], table(found), {**found.start.value, "bound": BOUND, "lines": lines})
