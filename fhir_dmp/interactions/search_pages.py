"""One page of a search, and the places its neighbours begin at.

https://hl7.org/fhir/R4/http.html#paging

All pages of one search are read at the moment of the first, so that a reader meets every entry once while others write; what is shown
is the current content. When that moment is too far back for the database, the reader is told to begin again.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import Alternatives, Plan, Segment
from fhir_dmp.interactions.search_rows import Seen, codes_of, limits_of, matching, opened, shown
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.predicate import matches
from fhir_dmp.search.query import Query
from fhir_dmp.search.sorting import DEFAULT, Shown, compare, in_order, shown_values, sort_values
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Row


@dataclass(frozen=True, slots=True)
class Page:
    """rows: current ones, in order (of a search for contained resources: Held). total: None when not counted.

    decided: by the index alone, by what rows show, or by opened bodies. examined: how many of those.
    """

    rows: tuple
    total: int | None
    next: Cursor | None = None
    previous: Cursor | None = None
    examined: int = 0
    decided: str = "index"


async def by_index(context: Context, query: Query, plan: Plan, cursor: Cursor | None) -> Page:
    """Where the index decides and the order is that of the store: keyset paging, at a cost that does not grow with the page."""
    moment = Moment(cursor.moment if cursor else None)
    total = cursor.total if cursor else None
    if plan.outside and not await context.reads.outside(plan.outside, moment):
        plan = plan.within()
    if query.only_count:
        return Page((), await _count(context, plan, moment))
    descending = query.descending
    back = cursor is not None and cursor.back
    place = cursor.place if cursor else None
    there: list[Row] = []
    first = last = None
    more = True
    # Rows deleted since the first page fall out; read on until the page is full.
    while more and len(there) < query.count:
        wanted = query.count - len(there) + 1
        found = await _segments(context, plan, moment, place, back, descending, wanted)
        more = len(found) == wanted
        found = (found[1:] if back else found[:-1]) if more else found
        if not found:
            break
        place = found[0 if back else -1].place
        current = await _current(context, plan, found, first_page=cursor is None)
        there = current + there if back else there + current
        first = found[0].place if back or first is None else first
        last = found[-1].place if not back or last is None else last
    if cursor is None and query.total != "none":
        # What fits on one page need not be counted.
        total = await _count(context, plan, moment) if more else len(there)
    return Page(tuple(there), total, *_neighbours(moment, total, first, last, more, back, cursor is not None))


def _neighbours(
    moment: Moment, total: int | None, first: tuple | None, last: tuple | None, more: bool, back: bool, inside: bool
) -> tuple[Cursor | None, Cursor | None]:
    """Cursors of the next and the previous page. inside: this page was reached by a cursor."""
    following = last is not None and (more if not back else inside)
    preceding = first is not None and (more if back else inside)
    after = Cursor(moment.time or 0, total, False, last) if following else None
    before = Cursor(moment.time or 0, total, True, first) if preceding else None
    return after, before


async def _count(context: Context, plan: Plan, moment: Moment) -> int:
    return sum(await _each(context, plan, lambda segment: context.reads.count(**segment.asked(), moment=moment)))


async def _each(context: Context, plan: Plan, ask: Callable[[Segment], Awaitable]) -> list:
    """The answers of all segments. The first sets the moment for the others, which are then asked at once; a transaction asks in turn."""
    answers = [await ask(segment) for segment in plan.segments[: None if context.transaction is not None else 1]]
    return answers + await asyncio.gather(*(ask(segment) for segment in plan.segments[len(answers) :]))


async def _segments(
    context: Context, plan: Plan, moment: Moment, place: tuple | None, back: bool, descending: bool, limit: int
) -> list[Row]:
    """The rows next to a place, in the order of the search, of all segments together."""
    bounds = {} if place is None else {"before": place} if back else {"after": place}
    asked = {**bounds, "descending": descending, "limit": limit, "moment": moment}
    parts = await _each(context, plan, lambda segment: context.reads.find(**segment.asked(), **asked))
    if len(parts) == 1:
        return parts[0]
    merged = list(heapq.merge(*parts, key=lambda row: row.place, reverse=descending))
    return merged[-limit:] if back else merged[:limit]


async def _current(context: Context, plan: Plan, rows: Sequence[Row], *, first_page: bool) -> list[Row]:
    """The same rows as they are now, without those deleted or hidden since."""
    if first_page:
        return [row for row in rows if row.body is not None]
    now = await context.reads.load_many([row.key for row in rows])
    result = []
    for row in rows:
        current = now.get(row.key)
        if current is None or current.deleted or current.body is None:
            continue
        if plan.sight.sees(current) and (current.version == row.version or _still_meets(context, plan, current)):
            result.append(current)
    return result


def _still_meets(context: Context, plan: Plan, row: Row) -> bool:
    """A row changed since the first page is shown only if it is still what is asked for."""
    return matches(plan.judge(row.type), opened(context, row, codes_of(list(plan.judges.items()))).index, context.store.vault.hash64)


async def by_rows(context: Context, query: Query, plan: Plan, shown_at: Shown, cursor: Cursor | None) -> Page:
    """Where the index decides and rows show what the order goes by: only those of the page are opened. shown_at: see shown_by."""
    moment = Moment(cursor.moment if cursor else None)
    rows = await shown(context, plan, limit=limits_of(context).candidates, moment=moment)
    places = [(*shown_values(row.intervals, row.updated_ms, shown_at[row.type], query.sort), row.updated_ms, row.key, row) for row in rows]
    return replace(await cut(query, places, moment, cursor, partial(_current, context, plan, first_page=False)), decided="rows")


async def by_decision(context: Context, query: Query, alternatives: Alternatives, plan: Plan, cursor: Cursor | None) -> Page:
    """Where the index cannot decide, or the order is by what rows do not show: all matches are found, ordered, and a page is cut out."""
    moment = Moment(cursor.moment if cursor else None)
    sort_codes = {key.code for key in query.sort}
    limit, seen = limits_of(context).candidates, Seen()
    found = await matching(context, alternatives, plan.sight, limit=limit, moment=moment, reads=sort_codes, seen=seen)
    keys = query.sort or DEFAULT
    places = [(*sort_values(each.index, keys), *each.row.place, each.row) for each in found]
    page = await cut(query, places, moment, cursor, partial(_current, context, plan, first_page=cursor is None))
    return replace(page, decided="bodies", examined=seen.rows)


async def cut(query: Query, places: list[tuple], moment: Moment, cursor: Cursor | None, show: Callable[[list], Awaitable[list]]) -> Page:
    """A page of all matches. places: values of the sort keys, (updated_ms, key), the match.

    show: of some matches those that are still there, as they are now.
    """
    total = cursor.total if cursor and cursor.total is not None else len(places)
    if query.only_count:
        return Page((), total)
    keys = query.sort or DEFAULT
    places = in_order(places, keys)
    back = cursor is not None and cursor.back
    start, stop = _window(places, cursor, keys, query.count)
    rows = await show([place[-1] for place in places[start:stop]])
    while len(rows) < query.count and (start > 0 if back else stop < len(places)):
        wanted = query.count - len(rows)
        least, most = (max(0, start - wanted), start) if back else (stop, min(len(places), stop + wanted))
        extra = await show([place[-1] for place in places[least:most]])
        rows = extra + rows if back else rows + extra
        start, stop = (least, stop) if back else (start, most)
    after = Cursor(moment.time or 0, total, False, places[stop - 1][:-1]) if 0 < stop < len(places) else None
    before = Cursor(moment.time or 0, total, True, places[start][:-1]) if 0 < start < len(places) else None
    return Page(tuple(rows), total, after, before)


def _window(places: Sequence[tuple], cursor: Cursor | None, keys: tuple, count: int) -> tuple[int, int]:
    if cursor is None:
        return 0, min(count, len(places))
    if cursor.back:
        stop = sum(1 for place in places if compare(place[:-1], cursor.place, keys) < 0)
        return max(0, stop - count), stop
    start = sum(1 for place in places if compare(place[:-1], cursor.place, keys) <= 0)
    return start, min(start + count, len(places))
