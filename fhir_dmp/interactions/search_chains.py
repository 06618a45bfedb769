"""Chains, reverse chains and lists, looked up: a predicate that rows of one type can answer by themselves.

https://hl7.org/fhir/R4/search.html#chaining, #has and #list

Two ways, the same answer. From the far end: which resources of the whole store meet the rest of the chain, then who refers to them.
From the near end, where the other criteria leave few resources (those of a dossier): where do their references lead, and is it right.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import search_shown, shown
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import Alternatives, plan
from fhir_dmp.interactions.search_rows import Opened, addressed, candidates, codes_of, limits_of, matching, opened
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.search.parameters import TEXTS, parameters
from fhir_dmp.search.predicate import (
    NOTHING,
    All,
    AnyOf,
    Chain,
    CurrentlyListed,
    Has,
    IdIn,
    Listed,
    Not,
    Predicate,
    Present,
    ReferenceIs,
    ReferenceTo,
    ReferenceToDefinition,
    ReverseChain,
    TokenIn,
    TokenIs,
    UriIs,
    matches,
    under,
)
from fhir_dmp.search.query import needs_resolving
from fhir_dmp.search.values import BEGINNING_MS, DateRange, Reference, Token, Uri
from fhir_dmp.store.rows import Row


async def resolved(context: Context, alternatives: Alternatives, sight: Sight = UNRESTRICTED) -> Alternatives:
    """Alternatives without chains, reverse chains and lists."""
    return [(name, await _whole(context, name, part, sight)) for name, part in alternatives]


async def looked_up(context: Context, type_name: str, predicate: Predicate, sight: Sight) -> Predicate:
    """The same for resources that are nowhere by themselves: always from the far end."""
    return await _Lookup(context, sight, None).of(type_name, predicate)


async def _whole(context: Context, type_name: str | None, predicate: Predicate, sight: Sight) -> Predicate:
    if not needs_resolving(predicate):
        return predicate
    limits = limits_of(context)
    if type_name is not None and plan(context, [(type_name, predicate)], sight).anchored:
        near = await _near(context, type_name, predicate, sight, min(limits.followed, limits.candidates))
        if near is not None:
            return await _Lookup(context, sight, near).of(type_name, predicate)
    try:
        return await _Lookup(context, sight, None).of(type_name, predicate)
    except FhirError as error:
        near = await _near(context, type_name, predicate, sight, limits.candidates) if error.kind == "too-costly" and type_name else None
        if near is None:
            raise
    return await _Lookup(context, sight, near).of(type_name, predicate)


async def _near(context: Context, type_name: str, predicate: Predicate, sight: Sight, limit: int) -> list[Opened] | None:
    """What the other criteria leave, opened; None when that is more than the limit."""
    try:
        rows = [row async for row in candidates(context, plan(context, [(type_name, predicate)], sight), limit=limit)]
    except FhirError as error:
        if error.kind != "too-costly":
            raise
        return None
    return await _opened(context, rows, sight)


async def _opened(context: Context, rows: Sequence[Row], sight: Sight, *, texts: bool = False) -> list[Opened]:
    """Rows with the index of what the asker is shown of them: without references to what is hidden, dated as he sees them."""
    codes = TEXTS if texts else None
    if sight.met is None or sight.met.policy is None:
        return [opened(context, row, codes) for row in rows]
    bodies = await search_shown.as_shown(context, sight, rows, codes or ())
    return [opened(context, row.but(body=body), codes) for row, body in zip(rows, bodies, strict=True)]


@dataclass(frozen=True, slots=True)
class _Lookup:
    """near: resources of the type asked for among which all matches are; None when they are too many to follow."""

    context: Context
    sight: Sight
    near: list[Opened] | None

    async def of(self, type_name: str | None, predicate: Predicate) -> Predicate:
        match predicate:
            case Not(part):
                return Not(await self.of(type_name, part))
            case All(parts):
                return All(tuple([await self.of(type_name, part) for part in parts]))
            case AnyOf(parts):
                return AnyOf(tuple([await self.of(type_name, part) for part in parts]))
            case Chain(code, targets):
                led = [(target, part) for target, part in targets if self.may_search(target)]
                return AnyOf(tuple([each for target, part in led for each in await self.chain(type_name, code, target, part)]))
            case ReverseChain(source, code, part):
                return await self.referred(type_name, source, code, part) if self.may_search(source) else NOTHING
            case Listed(list_id):
                return await self.listed(type_name, list_id) if self.may_search("List") else NOTHING
            case CurrentlyListed(codes):
                return await self.currently_listed(type_name, codes) if self.may_search("List") else NOTHING
        return predicate

    def may_search(self, type_name: str) -> bool:
        """Whether the token's scopes leave this type: what they leave out is not there for a chain either."""
        return self.context.actor.allows(type_name, "s")

    async def chain(self, type_name: str | None, code: str, target: str, part: Predicate) -> list[Predicate]:
        """Through the store, and through what the resource contains."""
        if self.near is None:
            inner = await _whole(self.context, target, part, self.sight)
            rows = await addressed(self.context, target, [(target, inner)], self.sight, limit=limits_of(self.context).intermediates)
            urls = await self.urls(type_name, code, target, inner)
        else:
            rows, urls = await self.followed(code, target, part), []
        dossiers = frozenset(row.dossier for row in rows) if target == "Patient" else None
        inner = await self.of(None, under(part, f"{code}>{target}."))
        contained = All((Present(f"{code}>{target}"), inner))
        return [Has(code, ReferenceTo(frozenset(row.self64 for row in rows), dossiers)), *(Has(code, url) for url in urls), contained]

    async def followed(self, code: str, target: str, part: Predicate) -> list[Row]:
        """Resources of the target that the near ones refer to and that are right."""
        vault = self.context.store.vault
        keys = {vault.locate(target, value.id): None for value in self.references(code, target)}
        texts = not TEXTS.isdisjoint(codes_of([(target, part)]))
        found = await _opened(self.context, await alive(self.context, keys, target, self.sight), self.sight, texts=texts)
        inner = await _Lookup(self.context, self.sight, found).of(target, part)
        return [each.row for each in found if matches(inner, each.index, vault.hash64)]

    def references(self, code: str, target: str) -> list[Reference]:
        return [
            value
            for each in self.near or ()
            for value in each.index.get(code, ())
            if isinstance(value, Reference) and value.type == target and value.id is not None
        ]

    async def urls(self, type_name: str | None, code: str, target: str, inner: Predicate) -> list[ReferenceToDefinition]:
        """Canonical addresses of the matches of the target, where the reference is one."""
        if not is_canonical(type_name, code, target):
            return []
        found = await matching(
            self.context, [(target, inner)], self.sight, limit=limits_of(self.context).intermediates, reads=("url", "version")
        )
        return [test for each in found for test in meaning(each)]

    async def referred(self, type_name: str | None, source: str, code: str, part: Predicate) -> Predicate:
        """The resources of a type that matches of the source refer to by a parameter, by id or by canonical address."""
        inner, canonical = part, is_canonical(source, code, type_name)
        if self.near is not None:
            rows = [each.row for each in self.near]
            dossiers = frozenset(row.dossier for row in rows) if type_name == "Patient" else None
            to = [Has(code, ReferenceTo(frozenset(row.self64 for row in rows), dossiers))]
            if canonical:
                to += [Has(code, test) for each in self.near for test in meaning(each)]
            inner = All((AnyOf(tuple(to)), part))
        inner = await _whole(self.context, source, inner, self.sight)
        found = await matching(self.context, [(source, inner)], self.sight, limit=limits_of(self.context).intermediates, reads=(code,))
        values = [value for each in found for value in each.index.get(code, ()) if isinstance(value, Reference)]
        ids = frozenset(value.id for value in values if value.type == type_name and value.id is not None)
        ways: dict[Predicate, None] = {Has("_id", IdIn(ids)): None}
        if canonical:
            ways |= {named(value): None for value in values if value.url}
        return AnyOf(tuple(ways))

    async def listed(self, type_name: str | None, list_id: str) -> Predicate:
        lists = await matching(self.context, [("List", Has("_id", IdIn(frozenset([list_id]))))], self.sight, limit=1)
        return Has("_id", IdIn(await self.entries(type_name, lists)))

    async def currently_listed(self, type_name: str | None, codes: frozenset) -> Predicate:
        """In the newest of the current Lists of each patient, by their date, then by when they were stored."""
        asked = All((Has("code", TokenIn(codes)), Has("status", TokenIs(None, "current"))))
        if self.near is not None:
            # Only patients whose Lists name one of these can have them in their newest one.
            naming = Has("item", ReferenceTo(frozenset(each.row.self64 for each in self.near)))
            patients = self.patients(await self.lists(All((asked, naming))))
            asked = All((asked, AnyOf(tuple(Has("subject", ReferenceIs("Patient", id_)) for id_ in patients))))
        found = await self.lists(asked)
        newest: dict[str, tuple[tuple, Opened]] = {}
        for each in found:
            rank = (max((v.lo_ms for v in each.index.get("date", ()) if isinstance(v, DateRange)), default=BEGINNING_MS), each.row.place)
            for id_ in self.patients([each]):
                newest[id_] = max(newest.get(id_, (rank, each)), (rank, each), key=lambda pair: pair[0])
        return Has("_id", IdIn(await self.entries(type_name, [each for _, each in newest.values()])))

    async def lists(self, asked: Predicate) -> list[Opened]:
        limit = limits_of(self.context).intermediates
        return await matching(self.context, [("List", asked)], self.sight, limit=limit, reads=("subject", "date"))

    def patients(self, lists: list[Opened]) -> dict[str, None]:
        """Ids of whom Lists are about."""
        subjects = [value for each in lists for value in each.index.get("subject", ()) if isinstance(value, Reference)]
        return dict.fromkeys(value.id for value in subjects if value.type == "Patient" and value.id is not None)

    async def entries(self, type_name: str | None, lists: list[Opened]) -> frozenset[str]:
        """Ids of the resources of a type that Lists name, as they are shown, as far as they were not struck out."""
        ids: set[str] = set()
        rows = await shown.unhiding(self.context, self.sight.met, [each.row for each in lists])
        for entry in (entry for row in rows if row.body is not None for entry in json.parse(row.body).get("entry", ())):
            item = entry.get("item") if not entry.get("deleted") else None
            said = parse_reference((item or {}).get("reference") or "", (self.context.base_url,))
            if said.kind == "local" and type_name in (None, said.type):
                ids.add(said.id)
        return frozenset(ids)


def is_canonical(type_name: str | None, code: str, target: str | None) -> bool:
    """Whether a parameter of the type refers by canonical address, and the target has one."""
    parameter = parameters(type_name).get(code) if type_name else None
    if parameter is None or target is None or "url" not in parameters(target):
        return False
    return any(branch.type in ("canonical", "uri") for branch in parameter.branches)


def meaning(each: Opened) -> list[ReferenceToDefinition]:
    """Canonical references that mean this resource."""
    versions = [value.code for value in each.index.get("version", ()) if isinstance(value, Token)] or [None]
    return [
        ReferenceToDefinition(value.value, version) for value in each.index.get("url", ()) if isinstance(value, Uri) for version in versions
    ]


def named(value: Reference) -> Predicate:
    """What has the canonical address of a reference, and its version when it names one."""
    address = Has("url", UriIs(value.url))
    return address if value.version is None else All((address, Has("version", TokenIs(None, value.version))))


async def alive(context: Context, keys: Iterable[bytes], type_name: str, sight: Sight) -> list[Row]:
    """The resources of a type at these keys that exist, can be read and may be seen."""
    loaded = await context.reads.load_many(list(keys), bodies=sight.sees)
    return [row for row in loaded.values() if row.type == type_name and not row.deleted and row.body is not None and sight.sees(row)]
