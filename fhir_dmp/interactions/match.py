"""FHIR operation Patient/$match: which stored patients are probably this person; never an arbitrary pick.

https://hl7.org/fhir/R4/patient-operation-match.html
"""

import asyncio
from collections.abc import Iterable

from fhir_dmp.dmp import matching as scoring
from fhir_dmp.errors import FhirError, Issue, outcome
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Hit, Url, searchset
from fhir_dmp.fhir.instants import interval
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_access import of_staff
from fhir_dmp.interactions.search_rows import limits_of, matching
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import Entry, entry_of
from fhir_dmp.search.predicate import All, AnyOf, DateIs, Has, Predicate, StringStarts, TokenIs, simplified
from fhir_dmp.search.spelling import fold
from fhir_dmp.store.rows import Row

PARAMETERS = (
    Parameter("resource", "Resource", required=True),
    Parameter("onlyCertainMatches", "boolean"),
    Parameter("count", "positiveInt"),
)
GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
MOST = 20


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """A searchset from the most to the least likely, each with score and grade. Nobody found: an empty one."""
    admit(context, "Patient", "s")
    asked, _ = given.resources["resource"]
    if asked.get("resourceType") != "Patient":
        raise FhirError("invalid", "what is matched is a Patient", "Parameters.parameter.resource")
    rows = await candidates(context, asked, sight)
    if judges(context):
        rows = await _readable(context, rows)
    ranked = scoring.ranked(asked, [json.parse(row.body) for row in rows])
    if judges(context):
        await _note(context, [rows[one.place] for one in ranked])
    said: list[Issue] = []
    if given.flag("onlyCertainMatches"):
        certain = [each for each in ranked if each.match.grade == scoring.CERTAIN]
        if ranked and not certain:
            said.append(Issue("information", "informational", "there are matches, none of them certain"))
        ranked = certain
    most = min(given.number("count", MOST), context.settings.max_count)
    if len(ranked) > most:
        said.append(Issue("warning", "incomplete", f"{len(ranked) - most} less likely matches are left out: tell more of the patient"))
        ranked = ranked[:most]
    hits = []
    for place, match in ranked:
        entry = _to_staff(context, entry_of(rows[place], "match"))
        extra = {"extension": [{"url": GRADE, "valueCode": match.grade}], "score": match.score}
        hits.append(Hit(f"{context.base_url}/Patient/{entry.id}", entry.body, "match", json.dump(extra)))
    total = len(hits)
    if said:
        hits.append(Hit("", outcome(said), "outcome"))
    return Answer(200, searchset(hits, total=total, links=[("self", f"{context.base_url}/Patient/$match")]))


def _to_staff(context: Context, entry: Entry) -> Entry:
    """Who may not read the dossier is told which one it is and no more; that he was told is traced in it."""
    if context.enforcer is None or judges(context) or entry.row is None:
        return entry
    enforcement.note(context, entry.row, entry.id, entry.id)
    value = json.parse_exact(entry.body)
    return entry._replace(body=json.dump({name: value[name] for name in ("resourceType", "id", "identifier", "active") if name in value}))


def judges(context: Context) -> bool:
    """Whether the asker may match among those patients alone whose dossier he reads."""
    return context.enforcer is not None and context.enforcer.request.kind == "professional"


async def sight_of(context: Context, url: Url, given: Given) -> Sight:
    """Staff and importing systems match among all; a professional too, but is shown those he reads; nobody else."""
    return UNRESTRICTED if judges(context) else await of_staff(context, url, given)


async def _readable(context: Context, rows: list[Row]) -> list[Row]:
    """Those of the candidates whom the asker reads; nothing is noted of any. The others neither bound nor rank what he is told.

    Each is judged by what was read with his row. Where there is none, somebody whom nobody knows is: time shall not tell that he is known.
    """
    if not rows:
        await enforcement.absent(context)
    found = []
    for place, row in enumerate(rows, 1):
        met = await enforcement.known(enforcement.apart(context), row.dossier, row=row, authored=False)
        if met.reading(row).permits:
            found.append(row)
        if place % 50 == 0:
            await asyncio.sleep(0)
    return found


async def _note(context: Context, rows: Iterable[Row]) -> None:
    """What the asker reads, noted as shown to him."""
    ledger = context.enforcer.ledger
    for row in rows:
        before = ledger.patient, ledger.purposes
        met = await enforcement.known(context, row.dossier, row=row)
        ledger.patient, ledger.purposes = before
        enforcement.note(context, row, shown.id_of(row.body), met.patient)


async def candidates(context: Context, asked: dict, sight: Sight) -> list[Row]:
    """Everybody who could be meant: an identifier in common, or two of family name, given name and birth date."""
    parts = [*_by_identifier(asked), *_by_traits(asked)]
    if not parts:
        raise FhirError("invalid", "too little to match: an identifier, or two of family name, given name and birth date", "Patient")
    found = await matching(context, [("Patient", simplified(AnyOf(tuple(parts))))], sight, limit=limits_of(context).candidates)
    return sorted((each.row for each in found), key=lambda row: row.key)


def _by_identifier(asked: dict) -> list[Predicate]:
    found = asked.get("identifier")
    listed = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    told = [(one.get("system"), one.get("value")) for one in listed if one.get("use") != "old"]
    return [Has("identifier", TokenIs(s, v.casefold())) for s, v in told if isinstance(s, str) and isinstance(v, str) and s and v]


def _by_traits(asked: dict) -> list[Predicate]:
    families, givens = scoring.names(asked, "family")[:5], scoring.names(asked, "given")[:5]
    family = AnyOf(tuple(Has("family", StringStarts(fold(name))) for name in families)) if families else None
    given = AnyOf(tuple(Has("given", StringStarts(fold(name))) for name in givens)) if givens else None
    born = None
    if isinstance(asked.get("birthDate"), str):
        try:
            born = Has("birthdate", DateIs("eq", *interval(asked["birthDate"])))
        except FhirError as error:
            raise FhirError("invalid", error.message, "Patient.birthDate") from None
    pairs = ((family, born), (family, given), (given, born))
    return [All(pair) for pair in pairs if None not in pair]
