"""Workloads: which requests are sent, and what their answers must be.

https://hl7.org/fhir/R4/http.html ; W5x3 is IHE MHD Provide Document Bundle [ITI-65]
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import NamedTuple

from fhir_dmp.bench import data
from fhir_dmp.bench.asking import Asker, Reply
from fhir_dmp.bench.driver import FRESH
from fhir_dmp.bench.host import Host
from fhir_dmp.commands import Failed
from fhir_dmp.dmp.identity import RPPS

FHIR_JSON = "application/fhir+json"
# Distinct requests of a run; they are sent in turn, again and again.
READS, WRITES = 10_000, 2_000
PAGE = 20
# Resources of the dossier of W10.
FULL = 500
SANDBOX, RULED = "sandbox", "ruled"
MEGABYTE = 1 << 20

Ask = Callable[[bytes], Reply]


class Asked(NamedTuple):
    """One complete request. check(reply, ask): what is wrong with the answer, empty when it is right; ask sends another request."""

    request: bytes
    check: Callable[[Reply, Ask], str]


class World:
    """A host and what is stored in it, as requests are made of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.patients = host.loaded.ids("patients")
        self.documents = host.loaded.ids("documents")
        self.practitioners = host.loaded.ids("practitioners")

    @property
    def ruled(self) -> bool:
        """Whether who asks meets the rules."""
        return not self.host.mode.sandbox

    def get(self, path: str, accept: str = FHIR_JSON, *, colleague: bool = False) -> bytes:
        """GET below [base]. colleague: by the one from whom documents are masked."""
        return self._head("GET", path, f"Accept: {accept}\r\n", self.host.colleague if colleague else self.host.token)

    def post(self, path: str, body: bytes, media_type: str = FHIR_JSON, *, token: str = "") -> bytes:
        """POST below [base]. token: of somebody else than usual."""
        return self._head("POST", path, f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n", token) + body

    def _head(self, method: str, path: str, more: str, token: str = "") -> bytes:
        target = f"/fhir/{path}" if path else "/fhir"
        always = f"Host: {self.host.address}\r\nAuthorization: Bearer {token or self.host.token}\r\n"
        return f"{method} {target} HTTP/1.1\r\n{always}{more}\r\n".encode("ascii")

    def popular(self, chance: Random, count: int) -> int:
        """One of `count` numbers; the r-th most wanted is wanted 1/r as often as the first (Zipf), and the wanted ones lie scattered."""
        rank = int((count + 1) ** chance.random()) - 1
        return rank * 2_654_435_761 % count

    def new_document(self, chance: Random, number: int, subject: str | None = None) -> dict:
        """A document that is not stored yet, whenever it is sent. subject: reference, None for a stored patient."""
        # Of all patients alike: the dossiers that are read most would be other ones at the end than at the beginning.
        patient = chance.randrange(len(self.patients))
        author = f"Practitioner/{self.practitioners[number % len(self.practitioners)]}"
        document = data.document(patient, data.DOCUMENTS + number, subject or f"Patient/{self.patients[patient]}", author)
        document["masterIdentifier"]["value"] = document["masterIdentifier"]["value"][: -len(FRESH)] + FRESH
        # Where the rules hold, who deposits is an author.
        return {**document, "author": [{"identifier": {"system": RPPS, "value": data.DOCTOR[1:]}}]} if self.ruled else document


def encoded(resource: dict) -> bytes:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


# W1


def create(world: World) -> list[Asked]:
    """W1: one document."""
    chance = Random("W1")
    made = []
    for number in range(WRITES):
        document = world.new_document(chance, number)
        made.append(Asked(world.post("DocumentReference", encoded(document)), partial(is_created, world, document)))
    return made


def is_created(world: World, sent: dict, reply: Reply, ask: Ask) -> str:
    """201, and what is read back is what was sent."""
    if reply.status != 201:
        return f"create answered {reply.status}"
    path = reply.header("location").partition("/fhir/")[2].partition("/_history/")[0]
    again = ask(world.get(path))
    if again.status != 200:
        return f"what was created is read with {again.status}"
    found = json.loads(again.body)
    own = found["masterIdentifier"]["value"][-len(FRESH) :]
    same = {name: found.get(name) for name in sent} == json.loads(json.dumps(sent).replace(FRESH, own)) and path.endswith(found["id"])
    return "" if same else "what was created reads otherwise"


# W2


def read(world: World, *, colleague: bool = False) -> list[Asked]:
    """W2: documents by id, some much more often than others. colleague: by somebody from whom some are masked, the others."""
    chance = Random("W2")
    made = []
    for _ in range(READS):
        number = world.popular(chance, len(world.documents))
        if colleague and number % data.DOCUMENTS == data.MASKED:
            number -= 1
        asked = world.get(f"DocumentReference/{world.documents[number]}", colleague=colleague)
        made.append(Asked(asked, partial(is_document, world, number)))
    return made


def is_document(world: World, number: int, reply: Reply, ask: Ask) -> str:
    """The document of that number."""
    if reply.status != 200:
        return f"read answered {reply.status}"
    found, patient = json.loads(reply.body), number // data.DOCUMENTS
    expected = data.facts(patient, number % data.DOCUMENTS)
    same = (found["id"], found["subject"]["reference"], at(found)) == (
        world.documents[number],
        f"Patient/{world.patients[patient]}",
        expected.at,
    )
    return "" if same else "read gave another document"


def at(document: dict) -> datetime:
    return datetime.strptime(document["date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


# W3


def dossier_search(world: World, *, colleague: bool = False) -> list[Asked]:
    """W3: the current documents of a patient, newest first. colleague: by somebody from whom one is masked."""
    chance = Random("W3")
    made = []
    for _ in range(READS):
        patient = world.popular(chance, len(world.patients))
        path = f"DocumentReference?patient=Patient/{world.patients[patient]}&status=current&_sort=-date&_count={PAGE}"
        made.append(Asked(world.get(path, colleague=colleague), partial(is_dossier, world, patient, colleague)))
    return made


def is_dossier(world: World, patient: int, colleague: bool, reply: Reply, ask: Ask) -> str:
    """Every current document that was loaded (others may have been added since), of that patient alone, newest first."""
    if reply.status != 200:
        return f"dossier search answered {reply.status}"
    found = json.loads(reply.body)
    # Without the OperationOutcome that warns whoever sees a masked document.
    documents = [entry["resource"] for entry in found.get("entry", ()) if entry["search"]["mode"] == "match"]
    if colleague and any(one["id"] == world.documents[patient * data.DOCUMENTS + data.MASKED] for one in documents):
        return "dossier search gave a masked document"
    least = sum(data.facts(patient, k).current for k in range(data.DOCUMENTS) if not (colleague and k == data.MASKED))
    dates = [at(document) for document in documents]
    if found.get("total", least) < least or len(documents) != min(found.get("total", PAGE), PAGE) or dates != sorted(dates, reverse=True):
        return "dossier search gave other documents than are stored, or in another order"
    subject = f"Patient/{world.patients[patient]}"
    right = all(document["status"] == "current" and document["subject"]["reference"] == subject for document in documents)
    return "" if right else "dossier search gave documents that were not asked for"


# W4


def by_type_and_date(world: World) -> list[Asked]:
    """W4: documents of one type and fourteen days, of whatever patient."""
    chance = Random("W4")
    made = []
    for _ in range(WRITES):
        type, first = chance.randrange(len(data.TYPES)), data.FIRST_DAY + timedelta(days=chance.randrange(data.DAYS - 14))
        made.append(Asked(world.get(type_and_date(type, first, 14)), partial(is_type_and_date, type, first, 14)))
    return made


def type_and_date(type: int, first, days: int) -> str:
    """Path of a search by type and date."""
    last = first + timedelta(days=days)
    return f"DocumentReference?type={data.LOINC}%7C{data.TYPES[type][0]}&date=ge{first}&date=lt{last}&_count={PAGE}"


def is_type_and_date(type: int, first, days: int, reply: Reply, ask: Ask) -> str:
    """Documents of that type and of those days only; a page that is not full is the last one."""
    if reply.status != 200:
        return f"search by type and date answered {reply.status}"
    found = json.loads(reply.body)
    documents = [entry["resource"] for entry in found.get("entry", ())]
    for document in documents:
        if document["type"]["coding"][0]["code"] != data.TYPES[type][0] or not first <= at(document).date() < first + timedelta(days=days):
            return "search by type and date gave a document that was not asked for"
    return "" if len(documents) == min(found.get("total", 0), PAGE) else "search by type and date gave a page that is not full"


# W5


def submission(world: World) -> list[Asked]:
    """W5x3: a document with its content and its submission set."""
    chance = Random("W5x3")
    made = []
    for number in range(WRITES // 4):
        content, document, lot = (f"urn:uuid:{data.uuid(f'{chance.getrandbits(128):032x}')}" for _ in range(3))
        reference = world.new_document(chance, number)
        text = f"Observation simulée numéro {number}. ".encode() * 60
        reference["content"][0]["attachment"] |= {"url": content, "size": len(text), "contentType": "text/plain; charset=utf-8"}
        binary = {"resourceType": "Binary", "contentType": "text/plain; charset=utf-8", "data": b64encode(text).decode()}
        submitted = {
            "resourceType": "List",
            "status": "current",
            "mode": "working",
            "code": {"coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "submissionset"}]},
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": lot}],
            "subject": reference["subject"],
            "date": reference["date"],
            "source": reference["author"][0],
            "entry": [{"item": {"reference": document}}],
        }
        made.append(transaction(world, [(lot, submitted), (document, reference), (content, binary)]))
    return made


def dossiers(world: World, entries: int) -> list[Asked]:
    """W5xN: patients, each followed by seven documents of theirs."""
    chance = Random(f"W5x{entries}")
    made = []
    for number in range(max(4, 4000 // entries)):
        listed: list[tuple[str, dict]] = []
        while len(listed) < entries:
            holder = f"urn:uuid:{data.uuid(f'{chance.getrandbits(128):032x}')}"
            person = number * entries + len(listed)
            listed.append((holder, data.patient(500_000 + person)))
            for k in range(data.DOCUMENTS):
                listed.append((f"urn:uuid:{data.uuid(f'{chance.getrandbits(128):032x}')}", world.new_document(chance, k, holder)))
        made.append(transaction(world, listed[:entries]))
    return made


def transaction(world: World, entries: list[tuple[str, dict]]) -> Asked:
    """A transaction that creates all of these: (fullUrl, resource)."""
    listed = [
        {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}} for url, resource in entries
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": listed}
    return Asked(world.post("", encoded(bundle)), partial(is_processed, len(entries)))


def is_processed(entries: int, reply: Reply, ask: Ask) -> str:
    """Everything was created."""
    if reply.status != 200:
        return f"transaction answered {reply.status}"
    found = [entry["response"]["status"][:3] for entry in json.loads(reply.body)["entry"]]
    return "" if found == ["201"] * entries else "transaction created something else than was sent"


# W6


def mix(world: World) -> list[Asked]:
    """W6: 80 % W2, 15 % W3, 5 % W1."""
    kinds = ((0.80, read(world)), (0.95, dossier_search(world)), (1.0, create(world)))
    chance = Random("W6")
    made = []
    for _ in range(READS):
        drawn = chance.random()
        made.append(chance.choice(next(asked for limit, asked in kinds if drawn < limit)))
    return made


# W9


def octets(number: int) -> bytes:
    """A content of one megabyte."""
    return Random(f"W9 {number}").randbytes(MEGABYTE)


def write_content(world: World) -> list[Asked]:
    """W9 write: a Binary of one megabyte, sent as itself."""
    made = []
    for number in range(4):
        body = octets(number)
        made.append(Asked(world.post("Binary", body, "application/pdf"), partial(is_stored, world, body)))
    return made


def is_stored(world: World, body: bytes, reply: Reply, ask: Ask) -> str:
    """201, and the same octets when it is read."""
    if reply.status != 201:
        return f"create of a Binary answered {reply.status}"
    path = reply.header("location").partition("/fhir/")[2].partition("/_history/")[0]
    return is_content(body, ask(world.get(path, "application/pdf")), ask)


def read_content(world: World) -> list[Asked]:
    """W9 read: a Binary of one megabyte, as itself."""
    asker = Asker(world.host.address)
    made = []
    for number in range(8):
        body = octets(number)
        reply = asker.ask(world.post("Binary", body, "application/pdf"))
        path = reply.header("location").partition("/fhir/")[2].partition("/_history/")[0]
        made.append(Asked(world.get(path, "application/pdf"), partial(is_content, body)))
    asker.close()
    return made


def is_content(body: bytes, reply: Reply, ask: Ask) -> str:
    """Those octets."""
    if reply.status != 200:
        return f"read of a Binary answered {reply.status}"
    return "" if reply.body == body else "a Binary reads otherwise than it was written"


# W10


def everything(world: World) -> list[Asked]:
    """W10: the whole of a dossier that is filled up for it."""
    asker, number = Asker(world.host.address), len(world.patients) - 1
    subject = f"Patient/{world.patients[number]}"
    for more in range(FULL - 1 - data.DOCUMENTS):
        reply = asker.ask(world.post("DocumentReference", encoded(world.new_document(Random(f"W10 {more}"), more, subject))))
        if reply.status != 201:
            raise Failed(f"a document for W10 was answered {reply.status}")
    asker.close()
    return [Asked(world.get(f"{subject}/$everything?_count={FULL}"), is_everything)]


def is_everything(reply: Reply, ask: Ask) -> str:
    """As many resources as there are."""
    if reply.status != 200:
        return f"$everything answered {reply.status}"
    found = len(json.loads(reply.body).get("entry", ()))
    return "" if found >= FULL else f"$everything gave {found} resources"


@dataclass(frozen=True, slots=True)
class Workload:
    """floor: what its figures are divided by, empty for nothing; F, I count requests, B resources. resources: in one request.

    connections: those it is measured at, whatever is asked for; empty for those asked for. where: the only place where it can be asked
    for: a sandbox, whose tokens do everything, or under the rules; empty for both.
    """

    name: str
    title: str
    floor: str
    asked: Callable[[World], list[Asked]]
    resources: int = 1
    connections: tuple[int, ...] = ()
    where: str = ""


# In the order in which they are measured: what reads comes before what adds.
WORKLOADS = (
    Workload("W2", "read by id", "F", read),
    Workload("W3", "dossier search, newest first", "F", dossier_search),
    Workload("W4", "type and 14 days, 20 a page", "F", by_type_and_date, where=SANDBOX),
    Workload("W8 read", "W2 by a colleague, among masked documents", "F", partial(read, colleague=True), where=RULED),
    Workload("W8 search", "W3 by a colleague, one document masked", "F", partial(dossier_search, colleague=True), where=RULED),
    Workload("W10", "$everything of 500 resources", "", everything, FULL, (1, 4)),
    Workload("W6", "80 % W2, 15 % W3, 5 % W1", "F", mix),
    Workload("W1", "create", "I", create),
    Workload("W5x3", "transaction of 3 (ITI-65)", "B", submission, 3),
    Workload("W5x100", "transaction of 100", "B", partial(dossiers, entries=100), 100, (1, 4), SANDBOX),
    Workload("W5x1000", "transaction of 1,000", "B", partial(dossiers, entries=1000), 1000, (1, 4), SANDBOX),
    Workload("W9 read", "Binary of 1 MB, read", "", read_content, 1, (1, 4), SANDBOX),
    Workload("W9 write", "Binary of 1 MB, written", "", write_content, 1, (1, 4), SANDBOX),
)
