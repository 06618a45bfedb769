"""Which resources meet the criteria of a conditional interaction.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from collections.abc import AsyncIterator, Iterator, Sequence

from msgspec import structs

from fhir_dmp.consent import companions
from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import enforcement, standing_in
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import Known
from fhir_dmp.interactions.search_plan import Alternatives, Plan, plan
from fhir_dmp.interactions.search_rows import limits_of, matching
from fhir_dmp.interactions.search_sight import UNRESTRICTED
from fhir_dmp.interactions.search_type import alternatives_of, entry_of, understood
from fhir_dmp.search.predicate import Has, TokenIs, walk
from fhir_dmp.search.query import Query
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON, version_id

# Resources of other depositors may have the same identifier: so many are judged at once, until all were that have it.
AT_ONCE = 100
# What resources are looked for by without saying in whose dossier.
ALONE = ("_id", "identifier")


async def run(
    context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int, *, feeding: bool = False
) -> list[tuple[str, str]]:
    """(id, versionId) of at most `most` resources that meet the criteria; each must be understood, and none may only shape an answer.

    feeding: what is not there is then created. To feed a dossier nobody needs to search it: where he may not, nothing meets the criteria.
    """
    if context.enforcer is not None:
        return await _seen(context, type_name, criteria, most, feeding=feeding)
    return [_matched(row) for row in await _alike(context, type_name, criteria, most)]


def _matched(row: Row) -> tuple[str, str]:
    return entry_of(row, "match").id, version_id(row.version)


async def _alike(context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int) -> list[Row]:
    """At most `most` rows that meet the criteria, whoever sees them."""
    query = strict(context, type_name, criteria)
    alternatives = await alternatives_of(context, query, None, UNRESTRICTED)
    found = plan(context, alternatives)
    rows: list[Row] = []
    if found.exact:
        for segment in found.segments:
            rows += await context.reads.find(**segment.asked(), limit=most)
    else:
        rows = [each.row for each in await matching(context, alternatives, UNRESTRICTED, limit=limits_of(context).candidates)]
    return rows[:most]


async def _seen(
    context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int, *, feeding: bool
) -> list[tuple[str, str]]:
    """The same of somebody who obeys the rules: what he sees in the dossier he names; without one, by identifier, what he may read."""
    from fhir_dmp.interactions import search_named

    if type_name in enforcement.PUBLIC:
        rows = await _alike(context.but(enforcer=None), type_name, criteria, most)
        return [_matched(row) for row in rows if row.dossier == COMMON and row.body is not None]
    met = await search_named.met(context, type_name, criteria)
    if met is not None:
        if search_named.refuses(met, type_name):
            # As a search is, whether or not anybody is so named.
            if feeding:
                return []
            raise enforcement.refused()
        named = criteria if type_name == "Patient" else search_named.by_id(criteria, met.patient)
        alternatives = await alternatives_of(context, strict(context, type_name, named), None, met.sight)
        rows = [each.row for each in await matching(context, alternatives, met.sight, limit=limits_of(context).candidates)]
        return [_matched(row) for row in rows[:most]]
    # Criteria that look at other resources would tell of them, whoever they belong to.
    if any(name not in ALONE for name, _ in criteria):
        raise enforcement.refused()
    return await _by_name(context, type_name, criteria, most)


async def _by_name(context: Context, type_name: str, criteria: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """What he may read of what has an id or identifier, in whatever dossier: however many others there are that he may not."""
    plain = context.but(enforcer=None)
    alternatives = await alternatives_of(plain, strict(plain, type_name, criteria), None, UNRESTRICTED)
    found = plan(plain, alternatives)
    if not found.exact or _open_ended(alternatives):
        raise enforcement.refused()
    met: list[bytes] = []
    nobody = True
    async for keys in _keys(context, found):
        nobody = False
        met += await _judged(context, type_name, keys)
        if len(met) >= most:
            break
    if nobody:
        # Something that nobody has is looked for, and judged: time shall not tell that somebody has.
        await _judged(context, type_name, [context.store.vault.locate(type_name, standing_in.PATIENT)])
    rows = await context.reads.load_many(met[:most]) if met else {}
    return [_matched(row) for row in rows.values() if row.body is not None and not row.deleted]


async def keys_of(context: Context, type_name: str, token: str) -> list[bytes]:
    """Keys of all that have an identifier, whoever sees them; none for a system alone, which all resources of a host may have."""
    alternatives = await alternatives_of(context, strict(context, type_name, (("identifier", token),)), None, UNRESTRICTED)
    found = plan(context, alternatives)
    if not found.exact or any(not test.code for test in _tokens(alternatives)):
        return []
    return [key async for keys in _keys(context, found) for key in keys]


def _tokens(alternatives: Alternatives) -> Iterator[TokenIs]:
    parts = (part for _, whole in alternatives for part in walk(whole))
    return (part.test for part in parts if isinstance(part, Has) and isinstance(part.test, TokenIs))


def _open_ended(alternatives: Alternatives) -> bool:
    """Whether a system alone is asked for, or a value alone: all documents of one software may have it, or a document of every one."""
    return any(not (test.system and test.code) for test in _tokens(alternatives))


async def _keys(context: Context, found: Plan) -> AsyncIterator[list[bytes]]:
    """Keys of all rows that the segments lead to, as they were at one moment."""
    moment, keys = Moment(), []
    for segment in found.segments:
        async for row in context.reads.scan(**segment.asked(), batch=AT_ONCE, bodies=False, moment=moment):
            keys.append(row.key)
            if len(keys) == AT_ONCE:
                yield keys
                keys = []
    if keys:
        yield keys


async def _judged(context: Context, type_name: str, keys: Sequence[bytes]) -> list[bytes]:
    """Those of some rows that he may read."""
    rows = await context.reads.load_many(keys, bodies=False)
    met: dict[int, Known] = {}
    return [key for key in keys if await _readable(context, type_name, rows.get(key), met)]


async def _readable(context: Context, type_name: str, row: Row | None, met: dict[int, Known]) -> bool:
    """Whether he may read it. A dossier in which he sees nothing that meets the criteria is not the one that he named: nothing is noted
    of it. That one does is told to nobody it is hidden from. met: dossiers met so far, each once whatever of it is judged.
    """
    authored = type_name in companions.SEEN_AS
    if row is None or row.deleted or row.type != type_name or row.dossier == COMMON:
        await enforcement.absent(enforcement.apart(context), authored=authored, body=False)
        return False
    if row.dossier not in met:
        met[row.dossier] = await enforcement.known(enforcement.apart(context), row.dossier, row=row, authored=authored)
    inside = met[row.dossier]
    if not inside.reading(row).permits:
        return False
    context.enforcer.ledger.add(inside.context.enforcer.ledger)
    enforcement.keep(structs.replace(inside, context=context), row)
    return True


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
