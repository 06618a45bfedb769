"""`_include` and `_revinclude`: what the matches refer to, and what refers to them.

https://hl7.org/fhir/R4/search.html#include
"""

from collections.abc import Iterator, Sequence

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import tables
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_chains import is_canonical, meaning, named
from fhir_dmp.interactions.search_rows import limits_of, matching, opened
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.interactions.shown import timed
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.predicate import AnyOf, Has, Predicate, ReferenceTo
from fhir_dmp.search.query import Include, Query
from fhir_dmp.search.values import Index, Reference
from fhir_dmp.store.rows import Row


async def included(context: Context, query: Query, found: Sequence[Row], sight: Sight) -> list[Row]:
    """What `_include` and `_revinclude` add to a page, each resource once, matches excepted. Beyond the limit: 400, never a part of it."""
    limits = limits_of(context)
    known = {row.key for row in found}
    added: list[Row] = []
    fresh: Sequence[Row] = found
    forward, backward = query.includes, query.revincludes
    rounds = 0
    while fresh and (forward or backward):
        rounds += 1
        if rounds > limits.include_rounds:
            raise FhirError("too-costly", f"`:iterate` goes through more than {limits.include_rounds} references: include less")
        step = [*await _referred(context, forward, fresh, sight), *await _referring(context, backward, fresh, sight)]
        fresh = []
        for row in step:
            if row.key not in known and context.actor.allows(row.type, "r"):
                known.add(row.key)
                fresh.append(row)
        added += fresh
        if len(added) > limits.included:
            raise FhirError("too-costly", f"`_include` and `_revinclude` add more than {limits.included} resources: ask for smaller pages")
        forward = tuple(include for include in query.includes if include.iterate)
        backward = tuple(include for include in query.revincludes if include.iterate)
    return added


async def _referred(context: Context, includes: Sequence[Include], rows: Sequence[Row], sight: Sight) -> list[Row]:
    keys: dict[bytes, str] = {}
    urls: dict[str, dict[Predicate, None]] = {}
    for row in rows:
        if wanted := [include for include in includes if include.type in ("*", row.type)]:
            for reference in _references(row.type, opened(context, row, _codes(row.type, wanted)).index, wanted):
                if reference.id is not None:
                    keys[context.store.vault.locate(reference.type, reference.id)] = reference.type
                else:
                    urls.setdefault(reference.type, {})[named(reference)] = None
    loaded = await context.reads.load_many(keys, bodies=sight.sees) if keys else {}
    shown = [row for key, row in loaded.items() if not row.deleted and row.body is not None and row.type == keys[key]]
    return [*(row for row in shown if sight.sees(row)), *await _named(context, urls, sight)]


def _codes(type_name: str, includes: Sequence[Include]) -> set[str]:
    """Reference parameters that the includes follow from a type."""
    known = parameters(type_name)
    if any(include.code == "*" for include in includes):
        return {code for code, parameter in known.items() if parameter.type == "reference"}
    return {include.code for include in includes}


async def _named(context: Context, urls: dict[str, dict[Predicate, None]], sight: Sight) -> list[Row]:
    """Definitions by canonical address. urls: type -> what each reference names."""
    found = []
    for type_name, tests in urls.items():
        asked = [(type_name, AnyOf(tuple(tests)))]
        found += [each.row for each in await matching(context, asked, sight, limit=limits_of(context).included)]
    return found


def _references(type_name: str, index: Index, includes: Sequence[Include]) -> list[Reference]:
    """References that one of the includes follows: to local resources, and canonical ones, with the types these may be of."""
    found: dict[Reference, None] = {}
    for code, parameter in parameters(type_name).items():
        if parameter.type != "reference":
            continue
        for include in includes:
            if include.code in ("*", code):
                for value in index.get(code, ()):
                    if isinstance(value, Reference) and value.id and value.type and include.target in ("", value.type):
                        found[value] = None
                    elif isinstance(value, Reference) and value.url and any(b.type == "canonical" for b in parameter.branches):
                        for target in (include.target,) if include.target else parameter.targets:
                            if "url" in parameters(target):
                                found[Reference(target, version=value.version, url=value.url)] = None
    return [value for value in found if tables.known_type(value.type)]


async def _referring(context: Context, includes: Sequence[Include], rows: Sequence[Row], sight: Sight) -> list[Row]:
    by_type: dict[str, dict[Predicate, None]] = {}
    for include in includes:
        for type_name, code in _references_to(include, frozenset(row.type for row in rows)):
            targets = [row for row in rows if row.type in parameters(type_name)[code].targets and include.target in ("", row.type)]
            tests = by_type.setdefault(type_name, {})
            tests |= dict.fromkeys(_tests(code, targets))
            for row in targets:
                if is_canonical(type_name, code, row.type):
                    tests |= {Has(code, test): None for test in meaning(opened(context, row, {"url", "version"}))}
    alternatives = [(type_name, AnyOf(tuple(tests))) for type_name, tests in by_type.items() if tests]
    if not alternatives:
        return []
    found = [each.row for each in await matching(context, alternatives, sight, limit=limits_of(context).candidates)]
    # Newest first as the asker sees them: the order would tell him when what came late to him was stored.
    return sorted(found, key=lambda row: (timed(sight.met, row).updated_ms, row.key), reverse=True)


def _references_to(include: Include, targets: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(type, parameter) of the references that lead to resources of these types. Traces name everything: they are asked for by name."""
    every = (each for each in tables.RESOURCE_TYPES if each != "AuditEvent")
    for type_name in every if include.type == "*" else (include.type,):
        for code, parameter in parameters(type_name).items():
            if parameter.type == "reference" and include.code in ("*", code) and targets.intersection(parameter.targets):
                yield type_name, code


def _tests(code: str, targets: Sequence[Row]) -> list[Has]:
    patients = [row for row in targets if row.type == "Patient"]
    others = frozenset(row.self64 for row in targets if row.type != "Patient")
    tests = [Has(code, ReferenceTo(others))] if others else []
    if patients:
        dossiers = frozenset(row.dossier for row in patients)
        tests.append(Has(code, ReferenceTo(frozenset(row.self64 for row in patients), dossiers)))
    return tests
