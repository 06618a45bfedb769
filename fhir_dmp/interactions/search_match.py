"""Which resources meet the criteria of a conditional interaction.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from collections.abc import Sequence

from fhir_dmp.consent import companions
from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import enforcement, standing_in
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import plan
from fhir_dmp.interactions.search_rows import limits_of, matching
from fhir_dmp.interactions.search_sight import UNRESTRICTED
from fhir_dmp.interactions.search_type import alternatives_of, entry_of, understood
from fhir_dmp.search.query import Query
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON, version_id

# Resources of other depositors may have the same identifier; more than so many are not looked through.
MOST_ALIKE = 100
# What resources are looked for by without saying in whose dossier.
ALONE = ("_id", "identifier")


async def run(context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """(id, versionId) of at most `most` resources that meet the criteria; each must be understood, and none may only shape an answer."""
    if context.enforcer is not None:
        return await _seen(context, type_name, criteria, most)
    return [_matched(row) for row in await _alike(context, type_name, criteria, most)]


def _matched(row: Row) -> tuple[str, str]:
    return entry_of(row, "match").id, version_id(row.version)


async def _alike(context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int, *, bodies: bool = True) -> list[Row]:
    """At most `most` rows that meet the criteria, whoever sees them. bodies: False may leave them closed."""
    query = strict(context, type_name, criteria)
    alternatives = await alternatives_of(context, query, None, UNRESTRICTED)
    found = plan(context, alternatives)
    rows: list[Row] = []
    if found.exact:
        for segment in found.segments:
            rows += await context.reads.find(**segment.asked(), limit=most, bodies=bodies)
    else:
        rows = [each.row for each in await matching(context, alternatives, UNRESTRICTED, limit=limits_of(context).candidates)]
    return rows[:most]


async def _seen(context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """The same of somebody who obeys the rules: what he sees in the dossier he names; without one, by identifier, what he may read."""
    from fhir_dmp.interactions.search_access import patients_named

    if type_name not in enforcement.PUBLIC:
        named = await patients_named(context, type_name, criteria)
        if len(named) == 1:
            met = await enforcement.of_patient(context, named.pop())
            alternatives = await alternatives_of(context, strict(context, type_name, criteria), None, met.sight)
            rows = [each.row for each in await matching(context, alternatives, met.sight, limit=limits_of(context).candidates)]
            return [_matched(row) for row in rows[:most]]
        # Criteria that look at other resources would tell of them, whoever they belong to.
        if any(name not in ALONE for name, _ in criteria):
            raise enforcement.refused()
    alike = await _alike(context.but(enforcer=None), type_name, criteria, MOST_ALIKE, bodies=False)
    # Where nobody has one, something that nobody has is looked for, and judged: time shall not tell that somebody has.
    keys = [row.key for row in alike] or [context.store.vault.locate(type_name, standing_in.PATIENT)]
    rows = await context.reads.load_many(keys)
    found = []
    for key in keys:
        row = rows.get(key)
        if type_name in enforcement.PUBLIC:
            seen = row is not None and row.dossier == COMMON and not row.deleted and row.type == type_name
        else:
            seen = await _readable(context, type_name, row)
        if seen:
            found.append(_matched(row))
    return found[:most]


async def _readable(context: Context, type_name: str, row: Row | None) -> bool:
    """Whether he may read it. A dossier in which he sees nothing that meets the criteria is not the one that he named; that one does
    is told to nobody it is hidden from.
    """
    authored = type_name in companions.SEEN_AS
    if row is None or row.deleted or row.type != type_name or row.dossier == COMMON:
        await enforcement.absent(context, authored=authored)
        return False
    before = context.enforcer.ledger.patient
    met = await enforcement.known(context, row.dossier, row=row, authored=authored)
    if met.reading(row).permits:
        enforcement.keep(met, row)
        return True
    context.enforcer.ledger.patient = before
    return False


def strict(context: Context, type_name: str, criteria: Sequence[tuple[str, str]]) -> Query:
    """The query of criteria that say something, and only what to look for. Its one alternative is the predicate for `matches`."""
    query = understood(context, type_name, criteria, lenient=False)
    if query.controls:
        raise FhirError(
            "invalid", f"the criteria of a conditional interaction only say what to look for: `{query.controls[0][:80]}` does not"
        )
    if not query.understood:
        raise FhirError("precondition", "a conditional interaction needs at least one search parameter")
    return query
