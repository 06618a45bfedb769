"""Searches for contained resources: `_contained` and `_containedType`.

https://hl7.org/fhir/R4/search.html#contained

A row shows the types of what it contains, with their identifiers and codes. That narrows; each contained resource of the candidates is
then judged by itself. Its references lead to what is stored, or to what the same container holds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_chains import looked_up
from fhir_dmp.interactions.search_pages import Page, cut
from fhir_dmp.interactions.search_plan import Alternatives, Plan, plan
from fhir_dmp.interactions.search_rows import Seen, candidates, codes_of, limits_of, matching, opened, public_id
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search.extract import HELD, each_contained, held
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.parameters import TEXTS
from fhir_dmp.search.predicate import (
    NOTHING,
    All,
    AnyOf,
    CurrentlyListed,
    Has,
    Listed,
    Predicate,
    Present,
    ReverseChain,
    matches,
    under,
    walk,
)
from fhir_dmp.search.query import Query
from fhir_dmp.search.sorting import DEFAULT, sort_values
from fhir_dmp.search.values import DateRange, Index
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Row


@dataclass(frozen=True, slots=True)
class Held:
    """A match and the row it was found in. body, type, fragment: of the contained resource that matches, where that is answered.

    at: number of the match in its row.
    """

    row: Row
    type: str = ""
    fragment: str = ""
    body: bytes = b""
    at: int = 0


async def by_containers(
    context: Context, query: Query, alternatives: Alternatives, sight: Sight, cursor: Cursor | None
) -> tuple[Page, Plan]:
    """A page of Held. alternatives: of the types asked for, chains not yet looked up."""
    if any(name is None for name, _ in alternatives):
        raise FhirError("invalid", "search parameter `_contained` needs a resource type, in the address or in `_type`")
    if query.answers_contained and (query.includes or query.revincludes):
        raise FhirError("not-supported", "search parameter `_containedType`: nothing can be included beside contained resources")
    if any(isinstance(part, ReverseChain | Listed | CurrentlyListed) for _, whole in alternatives for part in walk(whole)):
        raise FhirError("not-supported", "search parameter `_contained`: nothing outside refers to a contained resource, nor lists it")
    asked = [(name, await looked_up(context, name, part, sight)) for name, part in alternatives]
    moment, limit, seen = Moment(cursor.moment if cursor else None), limits_of(context).candidates, Seen()
    keys = query.sort or DEFAULT
    found = plan(context, [(None, AnyOf(tuple(_narrowed(name, part) for name, part in asked)))], sight)
    places: dict[bytes, tuple] = {}
    async for row in candidates(context, found, limit=limit, moment=moment):
        seen.rows += 1
        for at, (held_, index) in enumerate(_met(context, query, asked, row)):
            index["_lastUpdated"] = (DateRange(row.updated_ms, row.updated_ms + 1),)
            values = sort_values(index, keys)
            place = row.key + at.to_bytes(2, "big") if query.answers_contained else row.key
            places.setdefault(place, (values, replace(held_, at=at)))
    if query.contained == "both":
        inner = Seen()
        own = await matching(context, asked, sight, limit=limit - seen.rows, moment=moment, reads={key.code for key in keys}, seen=inner)
        seen.rows += inner.rows
        for each in own:
            values = sort_values(each.index, query.sort) if query.sort else (each.row.updated_ms,)
            places[each.row.key] = (values, Held(each.row))
    page = await cut(
        query, list(places.values()), moment, cursor, partial(_current, context, query, asked, sight), partial(_names, context)
    )
    return replace(page, examined=seen.rows, decided="bodies"), found


def _narrowed(type_name: str, predicate: Predicate) -> Predicate:
    """What the row of a container shows: that it has such a resource, and what is asked of its identifiers and codes."""
    parts = predicate.parts if isinstance(predicate, All) else (predicate,)
    shown = [part for part in parts if all(isinstance(each, Has | AnyOf) for each in walk(part)) and codes_of([(None, part)]) <= HELD]
    return All((Present(held(type_name)), *(under(part, f"{held(type_name)}.") for part in shown if codes_of([(None, part)]))))


def _met(context: Context, query: Query, asked: Alternatives, row: Row) -> Iterator[tuple[Held, Index]]:
    """The contained resources of a row that match, in their order."""
    predicates = dict(asked)
    texts = any(code in TEXTS for code in codes_of(asked))
    tree = json.parse(row.body)
    for at, type_name, index in each_contained(tree, base_urls=(context.base_url,), texts=texts):
        if type_name in predicates and matches(predicates[type_name], index, context.store.vault.hash64):
            if query.answers_contained:
                inner = json.parse_exact(row.body)["contained"][at]
                yield Held(row, type_name, str(inner.get("id", "")), json.dump(inner)), index
            else:
                yield Held(row), index


async def _names(context: Context, found: Sequence[Held]) -> list[str]:
    """Ids of containers, then the places in them."""
    return [f"{public_id(context, each.row)}#{each.at:04}" for each in found]


async def _current(context: Context, query: Query, asked: Alternatives, sight: Sight, found: Sequence[Held]) -> list[Held]:
    """The same as they are now, without what was deleted, hidden or changed into something else since."""
    now = await context.reads.load_many([each.row.key for each in found], bodies=sight.sees)
    result = []
    for each in found:
        row = now.get(each.row.key)
        if row is None or row.deleted or row.body is None or not sight.sees(row):
            continue
        if row.version == each.row.version:
            result.append(each)
            continue
        fragment = each.fragment
        again = [each for each, _ in _met(context, query, asked, row) if each.fragment == fragment]
        if not again and query.contained == "both" and not fragment:
            index = opened(context, row, codes_of(asked)).index
            again = [Held(row)] if matches(dict(asked).get(row.type, NOTHING), index, context.store.vault.hash64) else []
        result += again[:1]
    return result
