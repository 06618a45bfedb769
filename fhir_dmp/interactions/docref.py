"""Operation DocumentReference/$docref: the documents of a patient.

International Patient Access, Fetch DocumentReference: https://hl7.org/fhir/uv/ipa/OperationDefinition-docref.html
IHE MHD Find Document References [ITI-67] for what is found; this server keeps documents and makes none on demand.
"""

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Hit, Url, searchset
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.fhir.references import is_id
from fhir_dmp.interactions import care_dates, octets, search_shown, search_walk, sets, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_pages import by_decision, by_index
from fhir_dmp.interactions.search_plan import plan
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import alternatives_of, entry_of, understood
from fhir_dmp.search.predicate import All, AnyOf, Has, Not, Predicate, TokenIs, UriIs, simplified
from fhir_dmp.search.query import CURSOR

URL = "http://hl7.org/fhir/uv/ipa/OperationDefinition/docref"
PARAMETERS = (
    Parameter("patient", "string"),
    Parameter("patient.identifier", "token"),
    Parameter("start", "dateTime"),
    Parameter("end", "dateTime"),
    Parameter("type", "token", many=True),
    Parameter("on-demand", "boolean"),
    Parameter("profile", "uri", many=True),
    Parameter("_count", "positiveInt"),
    Parameter(CURSOR),
)
TYPE = "DocumentReference"


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """Documents of care between start and end; with neither date the current ones. A patient nobody knows has none."""
    admit(context, TYPE, "s")
    if given.flag("on-demand"):
        raise FhirError("not-supported", "this server keeps documents and makes none on demand: leave `on-demand` out")
    pairs = _criteria(given) + [(name, text) for name, text in given.pairs if name == "_count"]
    query = understood(context, TYPE, pairs, False)
    walk = sets.opened_walk(context, url, given.pairs, sight)
    alternatives = [(name, simplified(All((part, _wanted(given))))) for name, part in await alternatives_of(context, query, None, sight)]
    found = plan(context, alternatives, await search_walk.sight_of(walk, sight))
    if found.exact and not search_shown.depends(sight, alternatives):
        page = await by_index(context, query, found, walk.cursor)
    else:
        page = await by_decision(context, query, alternatives, found, walk.cursor)
    budget = octets.Budget(context)
    entries = [entry_of(row, "match") for row in await shown.rows(context, sight, page.rows)]
    hits = [Hit(f"{context.base_url}/{TYPE}/{entry.id}", await sets.hit_body(budget, entry.row)) for entry in entries]
    links = [("self", sets.address(context, url, given.pairs, given.one(CURSOR)))]
    for relation, place in (("next", page.next), ("previous", page.previous)):
        if place is not None:
            links.append((relation, sets.address(context, url, given.pairs, sets.sealed(context, url, given.pairs, walk, place))))
    return Answer(200, searchset(hits, total=page.total, links=links))


def _criteria(given: Given) -> list[tuple[str, str]]:
    """Of whom and of which types, as a search would ask."""
    patient, identifier = given.one("patient"), given.one("patient.identifier")
    if (patient is None) == (identifier is None):
        raise FhirError("invalid", "`$docref` needs to know of whom: either `patient` or `patient.identifier`")
    if patient is not None and not is_id(patient.removeprefix("Patient/")):
        raise FhirError("invalid", f"parameter `patient`: `{patient[:60]}` is not the id of a Patient")
    pairs = [("patient", f"Patient/{patient.removeprefix('Patient/')}")] if patient else [("patient.identifier", identifier or "")]
    if types := given.all("type"):
        pairs.append(("type", ",".join(types)))
    return pairs


def _wanted(given: Given) -> Predicate:
    start, end = given.one("start"), given.one("end")
    if start is None and end is None:
        dated: Predicate = Has("status", TokenIs(None, "current"))
    else:
        dated = All((care_dates.within(TYPE, start, end, undated=False), Not(Has("status", TokenIs(None, "entered-in-error")))))
    profiles = given.listed("profile")
    if not profiles:
        return dated
    conforming = [part for each in profiles for part in (Has("_profile", UriIs(each)), Has("format", TokenIs(None, each.casefold())))]
    return All((dated, AnyOf(tuple(conforming))))
