"""Chains, reverse chains and lists, looked up: a predicate that rows of one type can answer by themselves.

https://hl7.org/fhir/R4/search.html#chaining, #has and #list
"""

from collections.abc import Callable

from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import Alternatives
from fhir_dmp.interactions.search_rows import addressed, limits_of, matching
from fhir_dmp.search.predicate import (
    EVERYTHING,
    NOTHING,
    All,
    AnyOf,
    Chain,
    Has,
    IdIn,
    Listed,
    Not,
    Predicate,
    ReferenceTo,
    ReverseChain,
    under,
)
from fhir_dmp.search.values import Reference

# What the asker may see of a type: joins every lookup, so that a chain tells nothing of what is hidden.
Residual = Callable[[str], Predicate]


def unrestricted(type_name: str) -> Predicate:
    """The residual of who may see everything."""
    return EVERYTHING


async def resolved(context: Context, alternatives: Alternatives, residual: Residual = unrestricted) -> Alternatives:
    """Alternatives without chains, reverse chains and lists."""
    return [(name, await _resolved(context, name, part, residual)) for name, part in alternatives]


async def _resolved(context: Context, type_name: str | None, predicate: Predicate, residual: Residual) -> Predicate:
    match predicate:
        case Not(part):
            return Not(await _resolved(context, type_name, part, residual))
        case All(parts):
            return All(tuple([await _resolved(context, type_name, part, residual) for part in parts]))
        case AnyOf(parts):
            return AnyOf(tuple([await _resolved(context, type_name, part, residual) for part in parts]))
        case Chain(code, targets):
            return AnyOf(tuple([each for target, part in targets for each in await _steps(context, code, target, part, residual)]))
        case ReverseChain(source, code, part):
            return Has("_id", IdIn(await _referred(context, type_name, source, code, part, residual)))
        case Listed(list_id):
            return await _listed(context, type_name, list_id, residual)
    return predicate


async def _steps(context: Context, code: str, target: str, part: Predicate, residual: Residual) -> list[Predicate]:
    """Through the store, and through what the resource contains."""
    inner = await _resolved(context, target, part, residual)
    rows = await addressed(context, target, [(target, All((inner, residual(target))))], limit=limits_of(context).intermediates)
    dossiers = frozenset(row.dossier for row in rows) if target == "Patient" else None
    stored = Has(code, ReferenceTo(frozenset(row.self64 for row in rows), dossiers))
    contained = await _resolved(context, None, under(part, f"{code}>{target}."), residual)
    return [stored, contained]


async def _referred(context: Context, type_name: str | None, source: str, code: str, part: Predicate, residual: Residual) -> frozenset[str]:
    """Ids of the resources of a type that matches of the source refer to by a parameter."""
    inner = await _resolved(context, source, part, residual)
    found = await matching(context, [(source, All((inner, residual(source))))], limit=limits_of(context).intermediates)
    return frozenset(
        value.id
        for each in found
        for value in each.index.get(code, ())
        if isinstance(value, Reference) and value.type == type_name and value.id is not None
    )


async def _listed(context: Context, type_name: str | None, list_id: str, residual: Residual) -> Predicate:
    lists = await matching(context, [("List", All((Has("_id", IdIn(frozenset([list_id]))), residual("List"))))], limit=1)
    if not lists or lists[0].row.body is None:
        return NOTHING
    ids: set[str] = set()
    for entry in json.parse(lists[0].row.body).get("entry", ()):
        item = entry.get("item") if not entry.get("deleted") else None
        said = parse_reference((item or {}).get("reference") or "", (context.base_url,))
        if said.kind == "local" and type_name in (None, said.type):
            ids.add(said.id)
    return Has("_id", IdIn(frozenset(ids)))
