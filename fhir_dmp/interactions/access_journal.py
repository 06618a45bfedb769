"""Patient/[id]/$access-journal: who saw or changed what in a dossier, for people, newest first.

CSP R1111-43; Regulation (EU) 2025/327 art. 9; the traces themselves are read as AuditEvent.
"""

from collections.abc import Iterable

from fhir_dmp.audit.told import Text, Told, named_in, told
from fhir_dmp.consent.decide import Decision
from fhir_dmp.dmp.paris import span
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import directory, enforcement, read, sets, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_plan import Compartment, inside
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.search.predicate import EVERYTHING, DateIs, Has, Predicate
from fhir_dmp.search.values import BEGINNING_MS, END_MS

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-access-journal"
NAME = "$access-journal"
PARAMETERS = (Parameter("start", "dateTime"), Parameter("end", "dateTime"))
TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """The journal as Parameters, one `entry` for each trace. Texts are French, with their English translation."""
    return Answer(200, json.dump(parameters(await lines(context, url, given, sight))))


async def sight_of(context: Context, url: Url, given: Given) -> Sight:
    """Which traces of a dossier the asker may read; refused where he may read none."""
    if context.enforcer is None:
        return UNRESTRICTED
    met = await enforcement.of_patient(context, url.id)
    if isinstance(met.left("AuditEvent"), Decision):
        raise enforcement.refused()
    return met.sight


async def lines(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> list[Told]:
    """The traces of a dossier that the asker may read, as lines. start, end: included, days are those of Europe/Paris."""
    admit(context, "AuditEvent", "s")
    row = await context.reads.load(context.store.vault.locate("Patient", url.id))
    if row is None or row.type != "Patient" or row.deleted or row.erased:
        raise read.absent()
    wanted = inside([("AuditEvent", within(given))], Compartment("Patient", url.id))
    rows = await shown.rows(context, sight, await sets.all_rows(context, wanted, sight))
    events = [json.parse(each.body) for each in rows if each.body is not None]
    names = await directory.names(context, {name for event in events for name in named_in(event)}, sight)
    return sorted((told(event, names) for event in events), key=lambda line: (line.when, line.id), reverse=True)


def within(given: Given) -> Predicate:
    """Events recorded from `start` to `end`."""
    start, end = given.one("start"), given.one("end")
    if start is None and end is None:
        return EVERYTHING
    lo, hi = span(start)[0] if start else BEGINNING_MS, span(end)[1] if end else END_MS
    if lo >= hi:
        raise FhirError("invalid", "`start` is after `end`")
    return Has("date", DateIs("ap", lo, hi))


def parameters(listed: Iterable[Told]) -> dict:
    """Lines as a Parameters resource."""
    entries = [{"name": "entry", "part": _parts(line)} for line in listed]
    return {"resourceType": "Parameters"} | ({"parameter": entries} if entries else {})


def _parts(line: Told) -> list[dict]:
    parts = [{"name": "when", "valueInstant": line.when}, _text("who", line.who)]
    if line.role.fr:
        parts.append(_text("role", line.role))
    if line.establishment:
        parts.append({"name": "establishment", "valueString": line.establishment})
    parts.append(_text("what", line.what))
    parts += [{"name": "document", "valueReference": {"reference": one}} for one in line.documents]
    parts.append({"name": "failed", "valueBoolean": line.failed})
    parts.append({"name": "trace", "valueReference": {"reference": f"AuditEvent/{line.id}"}})
    return parts


def _text(name: str, text: Text) -> dict:
    if text.fr == text.en:
        return {"name": name, "valueString": text.fr}
    english = [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": text.en}]
    return {"name": name, "valueString": text.fr, "_valueString": {"extension": [{"url": TRANSLATION, "extension": english}]}}
