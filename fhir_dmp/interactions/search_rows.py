"""Rows that meet a predicate: by the index alone where it decides, otherwise opened and judged one by one.

https://hl7.org/fhir/R4/search.html
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions import search_shown
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import Alternatives, Plan, Segment, plan
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.shown import id_of, timed
from fhir_dmp.search.extract import extract, some
from fhir_dmp.search.limits import DEFAULTS, Limits
from fhir_dmp.search.parameters import TEXTS
from fhir_dmp.search.predicate import NOTHING, Has, Present, matches, walk
from fhir_dmp.search.values import Index
from fhir_dmp.store.reading import InDossier, Moment
from fhir_dmp.store.rows import Row

BATCH = 250


@dataclass(frozen=True, slots=True)
class Opened:
    """A row with the index of its opened body."""

    row: Row
    index: Index


@dataclass(slots=True)
class Seen:
    """How many rows were opened to find matches."""

    rows: int = 0


def id_in(row: Row) -> str:
    """The id that the body of a row says, "" when it has none."""
    return id_of(row.body) if row.body else ""


def public_id(context: Context, row: Row) -> str:
    """The id of a row, opened or closed; of a closed one in a sandbox, where ids may be chosen, only if it was given by the server."""
    return id_in(row) or context.store.vault.seal_id(row.key)


def limits_of(context: Context) -> Limits:
    """The limits of searches, as far as they are settings of this host."""
    settings = context.settings
    return _limits(settings.default_count, settings.max_count, settings.max_candidates)


@lru_cache(16)
def _limits(default_count: int, max_count: int, candidates: int) -> Limits:
    intermediates = min(candidates, DEFAULTS.intermediates)
    return Limits(default_count=default_count, max_count=max_count, candidates=candidates, intermediates=intermediates)


def opened(context: Context, row: Row, codes: Collection[str] | None = None) -> Opened:
    """The index of a row, extracted again from its body. codes: what of it is needed, None for all but the words of texts."""
    value = json.parse(row.body) if row.body is not None else {}
    base_urls = (context.base_url,)
    if codes is not None and any(code in TEXTS for code in codes):
        return Opened(row, extract(row.type, value, base_urls=base_urls, texts=True))
    if codes is None or any(">" in code for code in codes):
        return Opened(row, extract(row.type, value, base_urls=base_urls))
    return Opened(row, some(row.type, value, codes, base_urls=base_urls))


def codes_of(alternatives: Alternatives) -> set[str]:
    """Parameters that deciding these predicates reads."""
    return {part.code for _, whole in alternatives for part in walk(whole) if isinstance(part, Has | Present)}


def too_many(limit: int) -> FhirError:
    return FhirError("too-costly", f"more than {limit} resources would have to be examined: add criteria that narrow the search")


async def candidates(context: Context, found: Plan, *, limit: int, moment: Moment | None = None) -> AsyncIterator[Row]:
    """Every row the segments lead to, opened; 400 beyond the limit. Newest first within each segment."""
    async for row in _scanned(context, found.segments, limit, moment):
        if row.body is not None:
            yield row


async def shown(context: Context, found: Plan, *, limit: int, moment: Moment) -> InDossier:
    """The same, unopened, with their intervals, in no order. A dossier is read together with those of other searches, and sifted here."""
    first, *others = found.unsifted
    dossiers, outside = first.dossiers or (), tuple(token for each in others for token in each.outside)
    if len(dossiers) == 1 and all(each.outside for each in others):
        met = found.sight.met
        opener = met.opener if met is not None and met.number == dossiers[0] else None
        asked = {"types": first.types, "dossier": dossiers[0], "outside": outside, "limit": limit + 1, "moment": moment, "opener": opener}
        there = await context.reads.of_dossier(first.where, **asked)
        rows = there.rows
        if len(rows) <= limit:
            if found.sight is not UNRESTRICTED:
                rows = [row for row in rows if found.sight.sees(row)]
            if there.outside:
                left = limit - len(rows)
                rows += [row async for row in _scanned(context, found.segments[1:], left, moment, bodies=False, intervals=True)]
            return there._replace(rows=rows)
        if found.sight is UNRESTRICTED:
            raise too_many(limit)
    rows = [row async for row in _scanned(context, found.segments, limit, moment, bodies=False, intervals=True)]
    return InDossier(rows, False, None)


async def _scanned(
    context: Context, segments: Iterable[Segment], limit: int, moment: Moment | None, *, bodies: bool = True, intervals: bool = False
) -> AsyncIterator[Row]:
    seen = 0
    for segment in segments:
        async for row in context.reads.scan(
            **segment.asked(), batch=BATCH if bodies else limit + 1, bodies=bodies, intervals=intervals, moment=moment
        ):
            seen += 1
            if seen > limit:
                raise too_many(limit)
            yield row


async def matching(
    context: Context,
    alternatives: Alternatives,
    sight: Sight,
    *,
    limit: int,
    moment: Moment | None = None,
    reads: Collection[str] = (),
    seen: Seen | None = None,
) -> list[Opened]:
    """Every match, decided by the pure evaluator; not in the order of the search. reads: what the caller wants of each index."""
    if search_shown.depends(sight, alternatives, tuple(reads)):
        return await _matching_as_shown(context, alternatives, sight, limit=limit, moment=moment, reads=reads, seen=seen)
    found = plan(context, alternatives, sight)
    codes = set(reads) if found.exact else {*reads, *codes_of(alternatives)}
    hash64 = context.store.vault.hash64
    result: list[Opened] = []
    examined = 0
    async for row in candidates(context, found, limit=limit, moment=moment):
        examined += 1
        if examined % 50 == 0:
            await asyncio.sleep(0)  # extraction is work: let others through
        each = opened(context, row, codes) if codes else Opened(row, {})
        if found.exact or matches(found.judge(row.type), each.index, hash64):
            result.append(each)
    if seen is not None:
        seen.rows = examined
    return result


async def _matching_as_shown(
    context: Context,
    alternatives: Alternatives,
    sight: Sight,
    *,
    limit: int,
    moment: Moment | None,
    reads: Collection[str],
    seen: Seen | None,
) -> list[Opened]:
    """The same where it depends on what may be hidden in a row: each is judged without what the asker is not shown of it."""
    found, judges = plan(context, search_shown.loosened(alternatives, sight), sight), dict(alternatives)
    rows = [row async for row in candidates(context, found, limit=limit, moment=moment)]
    codes, hash64 = {*reads, *codes_of(alternatives)}, context.store.vault.hash64
    result: list[Opened] = []
    for at in range(0, len(rows), BATCH):
        part = rows[at : at + BATCH]
        for row, body in zip(part, await search_shown.as_shown(context, sight, part, codes), strict=True):
            index = opened(context, row.but(body=body), codes).index
            if matches(judges.get(row.type, judges.get(None, NOTHING)), index, hash64):
                result.append(Opened(timed(sight.met, row), index))
    if seen is not None:
        seen.rows = len(rows)
    return result


async def addressed(context: Context, type_name: str, alternatives: Alternatives, sight: Sight, *, limit: int) -> list[Row]:
    """Every match, bodies closed where the index decides: for chains."""
    found = plan(context, alternatives, sight)
    if not found.exact or search_shown.depends(sight, alternatives):
        return [each.row for each in await matching(context, alternatives, sight, limit=limit)]
    rows: list[Row] = []
    for segment in found.segments:
        rows += await context.reads.find(**segment.asked(), limit=limit + 1 - len(rows), bodies=False)
        if len(rows) > limit:
            raise FhirError("too-costly", f"a chain would go through more than {limit} resources of type {type_name}: narrow it")
    return rows
