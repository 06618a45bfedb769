"""$statistics: how the dossiers of this host are used, for its operator; no figure that fewer than five stand behind.

Seed 002 (experimentation of 2006) names the figures. The period concerns the traces; dossiers and documents are counted as they are now.
"""

from collections import Counter
from collections.abc import Mapping

from fhir_dmp.audit.figures import ACTIONS, Figures
from fhir_dmp.dmp.paris import span
from fhir_dmp.dmp.spaces import type_token, types
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.store import counting
from fhir_dmp.store.vault import COMMON

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-statistics"
PARAMETERS = (Parameter("start", "dateTime"), Parameter("end", "dateTime"))
LEAST = 5
MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
BATCH = 500
OTHER = "other"


async def run(context: Context, url: Url, given: Given) -> Answer:
    """The figures as Parameters. For this host's administrators."""
    admit(context, None, "s")
    actor = context.actor
    if not ((actor.kind == "operator" and actor.role == "admin") or (context.sandbox and actor.kind == "system")):
        raise enforcement.refused()
    start, end = given.one("start"), given.one("end")
    lo, hi = span(start)[0] if start else None, span(end)[1] if end else None
    if lo is not None and hi is not None and lo >= hi:
        raise FhirError("invalid", "`start` is after `end`")
    figures = await summed(context, lo, hi)
    every, closed = await counting.dossiers(context.store), await counting.closed(context.store)
    documents = await counting.per_dossier(context.store, "DocumentReference")
    shown = await by_type(context, figures.documents)
    period = {name: text for name, text in (("start", start), ("end", end)) if text}
    told = [{"name": "period", "valuePeriod": period}] if period else []
    return Answer(
        200, json.dump({"resourceType": "Parameters", "parameter": told + parts(figures, every - closed, closed, documents, shown)})
    )


async def summed(context: Context, lo: int | None, hi: int | None) -> Figures:
    """Sums over the traces of this host from `lo` to before `hi`."""
    store, figures = context.store, Figures()
    within = {name: moment for name, moment in (("$gte", lo), ("$lt", hi)) if moment is not None}
    own = store.record.identity
    async for row in store.scan({"l": within} if within else None, types=["AuditEvent"], batch=BATCH):
        if row.dossier == COMMON or row.body is None:
            continue
        event = json.parse(row.body)
        # Traces that other hosts left are told by them.
        if event.get("source", {}).get("observer", {}).get("identifier", {}).get("value") == own:
            figures.add(row.dossier, event)
    return figures


async def by_type(context: Context, documents: Mapping[str, int]) -> Counter[str]:
    """How often documents of each type were shown. documents: "DocumentReference/id" -> how often."""
    vault, listed, found = context.store.vault, list(documents), Counter[str]()
    for start in range(0, len(listed), BATCH):
        keys = {vault.locate("DocumentReference", one.partition("/")[2]): one for one in listed[start : start + BATCH]}
        rows = await context.store.load_many(keys)
        for key, one in keys.items():
            row = rows.get(key)
            found[type_of(row.body) if row is not None and row.body is not None else OTHER] += documents[one]
    return found


def type_of(body: bytes) -> str:
    """Code of a DMP document type, OTHER for any other."""
    for coding in (json.parse(body).get("type") or {}).get("coding") or ():
        token = type_token(coding.get("system"), coding.get("code") or "")
        if token in types():
            return token
    return OTHER


def parts(figures: Figures, opened: int, closed: int, documents: Mapping[int, int], shown: Mapping[str, int]) -> list[dict]:
    """The figures. opened, closed: dossiers. documents: number of documents -> number of dossiers. shown: reads of each document type.

    Means and shares are masked with the counts they are made of. perHundredConnections: as the experimentation told what patients do.
    """
    fed, held = sum(documents.values()), sum(number * dossiers for number, dossiers in documents.items())
    shared, pairs = len(figures.professionals), sum(len(those) for those in figures.professionals.values())
    connected, sessions = len(figures.connected), len(figures.sessions)
    told = [
        count("dossiersOpen", opened),
        count("dossiersClosed", closed),
        count("dossiersFed", fed),
        count("dossiersActive", len(figures.active)),
        mean("documentsPerDossier", held, fed),
        mean("professionalsPerDossier", pairs, shared),
        count("dossiersReadByProfessionals", len(figures.read_by)),
        count("dossiersFedByProfessionals", len(figures.fed_by)),
        share("patientsWhoConsulted", len(figures.consulted), opened + closed),
        mean("connectionsPerPatient", sessions, connected),
    ]
    told += [
        {"name": "reads", "part": [{"name": "type", "valueCode": name}, count("count", n)]} for name, n in sorted(figures.reads.items())
    ]
    for code, number in sorted(shown.items()):
        display = [{"name": "display", "valueString": types()[code].display}] if code in types() else []
        told.append({"name": "documentReads", "part": [{"name": "type", "valueCode": code}, *display, count("count", number)]})
    for name in ACTIONS:
        number = figures.actions[name]
        per_hundred = (
            mean("perHundredConnections", 100 * number, sessions) if number >= LEAST else masked("perHundredConnections", "Decimal")
        )
        told.append({"name": "patientActions", "part": [{"name": "action", "valueCode": name}, count("count", number), per_hundred]})
    return told


def count(name: str, number: int) -> dict:
    """A count, masked below five.

    >>> count("a", 5), "_valueInteger" in count("a", 4)
    ({'name': 'a', 'valueInteger': 5}, True)
    """
    return masked(name, "Integer") if number < LEAST else {"name": name, "valueInteger": number}


def mean(name: str, total: int, of: int, digits: int = 2) -> dict:
    """A mean, masked when it is one of fewer than five or over fewer than five."""
    return masked(name, "Decimal") if of < LEAST or total < LEAST else {"name": name, "valueDecimal": round(total / of, digits)}


def share(name: str, part: int, whole: int) -> dict:
    """A share in percent, masked like the count it is made of."""
    return masked(name, "Decimal") if part < LEAST else {"name": name, "valueDecimal": round(100 * part / max(part, whole), 1)}


def masked(name: str, kind: str) -> dict:
    """In place of a figure."""
    return {"name": name, f"_value{kind}": MASKED}
