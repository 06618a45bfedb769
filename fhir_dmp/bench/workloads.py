"""Workloads: which requests are sent, and what their answers must be. Those of several resources at once are in bench/deposits.py.

https://hl7.org/fhir/R4/http.html
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

from fhir_dmp.bench import data, deposits
from fhir_dmp.bench.asking import Reply
from fhir_dmp.bench.deposits import FULL
from fhir_dmp.bench.driver import FRESH
from fhir_dmp.bench.host import Mode
from fhir_dmp.bench.world import Ask, Asked, World, address_of, encoded

# Distinct requests of a run; they are sent in turn, again and again.
READS, WRITES = 10_000, 2_000
PAGE = 20
FORTNIGHT, YEAR = 14, 365
SANDBOX, RULED = "sandbox", "ruled"
CODES = [code for code, *_ in data.TYPES]

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
    path = address_of(reply.header("location"))
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
    """W4 in a sandbox: documents of one type and fourteen days, of whatever patient."""
    chance = Random("W4")
    made = []
    for _ in range(WRITES):
        type, first = chance.randrange(len(data.TYPES)), data.FIRST_DAY + timedelta(days=chance.randrange(data.DAYS - FORTNIGHT))
        made.append(Asked(world.get(type_and_date(type, first, FORTNIGHT)), partial(is_type_and_date, type, first, FORTNIGHT)))
    return made


def by_type_and_date_within(world: World) -> list[Asked]:
    """W4 under the rules, where a search names one dossier: documents of one type and one year of a large one, as many on a page."""
    chance, found = Random("W4"), deposits.large(world)
    # Type and day of what is in each.
    known = {
        number: [
            *((facts.type, facts.at.date()) for facts in (data.facts(number, k) for k in range(data.DOCUMENTS)) if facts.current),
            *((type_of(one), at(one).date()) for one in documents if one["status"] == "current"),
        ]
        for number, documents in found.items()
    }
    made = []
    for _ in range(WRITES):
        number, type = chance.choice(list(found)), chance.randrange(len(data.TYPES))
        first = data.FIRST_DAY + timedelta(days=chance.randrange(data.DAYS - YEAR))
        least = sum(each == type and first <= day < first + timedelta(days=YEAR) for each, day in known[number])
        subject = f"Patient/{world.patients[number]}"
        path = f"{type_and_date(type, first, YEAR)}&patient={subject}"
        made.append(Asked(world.get(path), partial(is_type_and_date, type, first, YEAR, subject=subject, least=least)))
    return made


def type_and_date(type: int, first, days: int) -> str:
    """Path of a search by type and date."""
    last = first + timedelta(days=days)
    return f"DocumentReference?type={data.LOINC}%7C{data.TYPES[type][0]}&date=ge{first}&date=lt{last}&_count={PAGE}"


def is_type_and_date(type: int, first, days: int, reply: Reply, ask: Ask, *, subject: str = "", least: int = 0) -> str:
    """Documents of that type, of those days and of that subject only; a page that is not full is the last one. least: of all pages."""
    if reply.status != 200:
        return f"search by type and date answered {reply.status}"
    found = json.loads(reply.body)
    # Without the OperationOutcome that warns whoever sees a masked document.
    documents = [entry["resource"] for entry in found.get("entry", ()) if entry["search"]["mode"] == "match"]
    for document in documents:
        inside = first <= at(document).date() < first + timedelta(days=days)
        if type_of(document) != type or not inside or document["subject"]["reference"] != (subject or document["subject"]["reference"]):
            return "search by type and date gave a document that was not asked for"
    total = found.get("total", 0)
    return "" if total >= least and len(documents) == min(total, PAGE) else "search by type and date gave a page that is not full"


def type_of(document: dict) -> int:
    """Row of data.TYPES."""
    return CODES.index(document["type"]["coding"][0]["code"])


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


# W10


def everything(world: World) -> list[Asked]:
    """W10: the whole of a dossier that was filled up."""
    return [
        Asked(world.get(f"Patient/{world.patients[number]}/$everything?_count={FULL}"), is_everything) for number in deposits.large(world)
    ]


def is_everything(reply: Reply, ask: Ask) -> str:
    """As many resources as there are."""
    if reply.status != 200:
        return f"$everything answered {reply.status}"
    found = len(json.loads(reply.body).get("entry", ()))
    return "" if found >= FULL else f"$everything gave {found} resources"


@dataclass(frozen=True, slots=True)
class Workload:
    """floor: what its figures are divided by, empty for nothing; F, I count requests, B resources. resources: in one request.

    connections: those it is measured at, whatever is asked for; empty for those asked for. where: the place that it is asked for in
    this form: a sandbox, whose tokens do everything, or under the rules; empty for both.
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
    Workload("W4", "type and 14 days, all patients, 20 a page", "F", by_type_and_date, where=SANDBOX),
    Workload("W4", "type and a year in a dossier of 500, 20 a page", "F", by_type_and_date_within, where=RULED),
    Workload("W8 read", "W2 by a colleague, among masked documents", "F", partial(read, colleague=True), where=RULED),
    Workload("W8 search", "W3 by a colleague, one document masked", "F", partial(dossier_search, colleague=True), where=RULED),
    Workload("W10", "$everything of 500 resources", "", everything, FULL, (1, 4)),
    Workload("W6", "80 % W2, 15 % W3, 5 % W1", "F", mix),
    Workload("W1", "create", "I", create),
    Workload("W5x3", "transaction of 3 (ITI-65)", "B", deposits.submissions, 3),
    Workload("W5x100", "transaction of 100", "B", partial(deposits.dossiers, entries=100), 100, (1, 4), SANDBOX),
    Workload("W5x100", "transaction of 99 (ITI-65)", "B", partial(deposits.large_submissions, entries=99), 99, (1, 4), RULED),
    Workload("W5x1000", "transaction of 1,000", "B", partial(deposits.dossiers, entries=1000), 1000, (1, 4), SANDBOX),
    Workload("W5x1000", "transaction of 999 (ITI-65)", "B", partial(deposits.large_submissions, entries=999), 999, (1, 4), RULED),
    Workload("W9 read", "Binary of 1 MB, read", "", deposits.read_binary, 1, (1, 4)),
    Workload("W9 write", "Binary of 1 MB, written", "", deposits.write_binary, 1, (1, 4), SANDBOX),
    Workload("W9 write", "document of 1 MB, deposited (ITI-65)", "", deposits.write_document, 1, (1, 4), RULED),
)


def of_mode(mode: Mode) -> list[Workload]:
    """Those that are asked for in a mode: each name once."""
    return [one for one in WORKLOADS if one.where in ("", SANDBOX if mode.sandbox else RULED)]
