"""One page of a search, and the places its neighbours begin at.

https://hl7.org/fhir/R4/http.html#paging

All pages of one search are read at the moment of the first, so that a reader meets every entry once while others write; what is shown
is the current content. When that moment is too far back for the database, the reader is told to begin again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import eq
from typing import Any

from fhir_dmp.interactions import search_shown
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.search_plan import Alternatives, Plan
from fhir_dmp.interactions.search_rows import BATCH, Seen, codes_of, limits_of, matching, opened, public_id, shown
from fhir_dmp.interactions.search_stretch import Stretch, of_each, place_in_time
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.predicate import matches
from fhir_dmp.search.query import Query, SortKey
from fhir_dmp.search.sorting import DEFAULT, Shown, compare, in_order, shown_values, sort_values
from fhir_dmp.store.reading import Moment, Opener
from fhir_dmp.store.rows import Row, Unopened


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
    stretch = Stretch(context, plan, moment, query.descending)
    back = cursor is not None and cursor.back
    place = cursor.place if cursor else None
    there: list[Row] = []
    first = last = None
    more = True
    # Rows deleted since the first page fall out; read on until the page is full.
    while more and len(there) < query.count:
        wanted = query.count - len(there) + 1
        found = await (stretch.before(place, wanted) if back else stretch.after(place, wanted))
        more = len(found) == wanted
        beyond = (found.pop(0) if back else found.pop()) if more else None
        if not found:
            break
        begins = beyond.updated_ms if back and beyond else place[0] if place and not back else None
        ends = beyond.updated_ms if not back and beyond else place[0] if place and back else None
        current = await _current(context, plan, found, first_page=cursor is None)
        there = current + there if back else there + current
        first = place_in_time(context, found[0], begins) if back or first is None else first
        last = place_in_time(context, found[-1], ends) if not back or last is None else last
        place = first if back else last
    if cursor is None and query.counts:
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
    return sum(await of_each(context, plan, lambda segment: context.reads.count(**segment.asked(), moment=moment)))


async def _current(context: Context, plan: Plan, rows: Sequence[Row], *, first_page: bool) -> list[Row]:
    """The same rows as they are now, without those deleted or hidden since."""
    if first_page:
        return [row for row in rows if row.body is not None]
    now = await context.reads.load_many([row.key for row in rows], bodies=plan.sight.sees)
    result = []
    for row in rows:
        current = now.get(row.key)
        if current is None or current.deleted or current.body is None:
            continue
        if plan.sight.sees(current) and (current.version == row.version or await _still_meets(context, plan, current)):
            result.append(current)
    return result


async def _opened(context: Context, plan: Plan, opener: Opener | None, rows: Sequence[Row | Unopened]) -> list[Row]:
    """The same rows opened: as they were read just now, with their bodies, else as they are now."""
    if opener is None:
        return await _current(context, plan, rows, first_page=False)
    return [row for row in await context.reads.opened(rows, opener) if row.body is not None]


async def _still_meets(context: Context, plan: Plan, row: Row) -> bool:
    """A row changed since the first page is shown only if it is still what is asked for, as it is shown."""
    judges = list(plan.judges.items())
    codes = codes_of(judges)
    if search_shown.depends(plan.sight, judges):
        (body,) = await search_shown.as_shown(context, plan.sight, [row], codes)
        row = row.but(body=body)
    return matches(plan.judge(row.type), opened(context, row, codes).index, context.store.vault.hash64)


async def by_rows(context: Context, query: Query, plan: Plan, shown_at: Shown, cursor: Cursor | None) -> Page:
    """Where the index decides and rows show what the order goes by: only those of the page are opened. shown_at: see shown_by."""
    moment = Moment(cursor.moment if cursor else None)
    there = await shown(context, plan, limit=limits_of(context).candidates, moment=moment)
    await in_step(context.transaction)
    places = [(shown_values(row.intervals, row.updated_ms, shown_at[row.type], query.sort), row) for row in there.rows]
    show, name = partial(_opened, context, plan, None if there.outside else there.opener), partial(_names, context)
    return replace(await cut(query, places, moment, cursor, show, name), decided="rows")


async def by_decision(context: Context, query: Query, alternatives: Alternatives, plan: Plan, cursor: Cursor | None) -> Page:
    """Where the index cannot decide, or the order is by what rows do not show: all matches are found, ordered, and a page is cut out."""
    moment = Moment(cursor.moment if cursor else None)
    sort_codes = {key.code for key in query.sort}
    limit, seen = limits_of(context).candidates, Seen()
    found = await matching(context, alternatives, plan.sight, limit=limit, moment=moment, reads=sort_codes, seen=seen)
    places = [(sort_values(each.index, query.sort) if query.sort else (each.row.updated_ms,), each.row) for each in found]
    show, name = partial(_current, context, plan, first_page=cursor is None), partial(_names, context)
    return replace(await cut(query, places, moment, cursor, show, name), decided="bodies", examined=seen.rows)


async def _names(context: Context, rows: Sequence[Row]) -> list[str]:
    """Ids of rows, in their order. Only in a sandbox does a closed row not tell its own."""
    if not context.sandbox:
        return [context.store.vault.seal_id(row.key) for row in rows]
    opened_rows: dict[bytes, Row] = {}
    closed = [row.key for row in rows if row.body is None]
    for at in range(0, len(closed), BATCH):
        opened_rows |= await context.reads.load_many(closed[at : at + BATCH])
    return [public_id(context, opened_rows.get(row.key, row)) for row in rows]


async def cut(
    query: Query,
    places: list[tuple[tuple, Any]],
    moment: Moment,
    cursor: Cursor | None,
    show: Callable[[list], Awaitable[list]],
    name: Callable[[list], Awaitable[list[str]]],
) -> Page:
    """A page of all matches. places: (values of the sort keys, the match).

    show: of some matches those that are still there, as they are now. name: their ids, by which they go where the values are the same.
    """
    total = cursor.total if cursor and cursor.total is not None else len(places)
    if query.only_count:
        return Page((), total)
    ordered = _Ordered(places, query.sort or DEFAULT, name)
    back = cursor is not None and cursor.back
    start = 0 if cursor is None or back else await ordered.position(cursor)
    stop = await ordered.position(cursor) if back else min(start + query.count, len(places))
    start = max(0, stop - query.count) if back else start
    rows = await show(await ordered.between(start, stop))
    while len(rows) < query.count and (start > 0 if back else stop < len(places)):
        wanted = query.count - len(rows)
        least, most = (max(0, start - wanted), start) if back else (stop, min(len(places), stop + wanted))
        extra = await show(await ordered.between(least, most))
        rows = extra + rows if back else rows + extra
        start, stop = (least, stop) if back else (start, most)
    after = Cursor(moment.time or 0, total, False, await ordered.place(stop - 1, stop)) if 0 < stop < len(places) else None
    before = Cursor(moment.time or 0, total, True, await ordered.place(start, start - 1)) if 0 < start < len(places) else None
    return Page(tuple(rows), total, after, before)


class _Ordered:
    """All matches in order. Those that the values do not tell apart are put in the order of their ids where a page needs it."""

    def __init__(self, places: list[tuple[tuple, Any]], keys: tuple[SortKey, ...], name: Callable[[list], Awaitable[list[str]]]) -> None:
        self.places, self.keys, self.name = in_order(places, keys), keys, name
        self.named: dict[int, str] = {}  # id of a match by its place, of groups that were put in order

    async def between(self, start: int, stop: int) -> list:
        """The matches from start to stop."""
        values = [place[0] for place in self.places[max(0, start - 1) : stop + 1]]
        at = start
        while at < stop and any(map(eq, values, values[1:])):
            at = (await self.group(at))[1]
        return [match for _, match in self.places[start:stop]]

    async def group(self, at: int) -> tuple[int, int]:
        """Where the group of a match begins and ends, put in order."""
        values, start, stop = self.places[at][0], at, at + 1
        while start > 0 and self.places[start - 1][0] == values:
            start -= 1
        while stop < len(self.places) and self.places[stop][0] == values:
            stop += 1
        if stop - start > 1 and start not in self.named:
            members = self.places[start:stop]
            names = await self.name([match for _, match in members])
            order = sorted(range(len(members)), key=names.__getitem__)
            self.places[start:stop] = [members[each] for each in order]
            self.named |= {start + to: names[each] for to, each in enumerate(order)}
        return start, stop

    async def place(self, at: int, beyond: int) -> tuple:
        """Where a match stands, see Cursor: with its id where the match beyond has the same values, as where the index decides."""
        if self.places[beyond][0] != self.places[at][0]:
            return *self.places[at][0], ""
        await self.group(at)
        return *self.places[at][0], self.named[at]

    async def position(self, cursor: Cursor) -> int:
        """How many matches come before a page that begins after a place, or that ends before it."""
        *values, name = cursor.place
        sides = [compare(place[0], tuple(values), self.keys) for place in self.places]
        start = sum(1 for side in sides if side < 0)
        stop = start + sides.count(0)
        if not name or start == stop:
            return start if cursor.back else stop
        if stop - start == 1:
            names = await self.name([self.places[start][1]])
        else:
            await self.group(start)
            names = [self.named[at] for at in range(start, stop)]
        return start + sum(1 for each in names if (each < name if cursor.back else each <= name))
