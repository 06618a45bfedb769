"""The rows next to a place in an order by time, read by index; those of the same millisecond by id.

https://hl7.org/fhir/R4/search.html#sort

The index keeps rows of one millisecond by their key, which tells nothing of the id. Where such a group lies across the end of a page it is
read whole and put in order; everywhere else a page costs what it shows.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import groupby

from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import Plan, Segment
from fhir_dmp.interactions.search_rows import limits_of, public_id, too_many
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Row

# Before and after the key of every row.
LEAST, MOST = b"", bytes(17)


def place_in_time(context: Context, row: Row, other_ms: int | None) -> tuple[int, str]:
    """Where a row at the end of a page stands, see Cursor. other_ms: time of the row beyond it, None when there is none."""
    return row.updated_ms, public_id(context, row) if row.updated_ms == other_ms else ""


async def of_each(context: Context, plan: Plan, ask: Callable[[Segment], Awaitable]) -> list:
    """The answers of all segments. The first sets the moment for the others, which are then asked at once; a transaction asks in turn."""
    answers = [await ask(segment) for segment in plan.segments[: None if context.transaction is not None else 1]]
    return answers + await asyncio.gather(*(ask(segment) for segment in plan.segments[len(answers) :]))


@dataclass(frozen=True, slots=True)
class Stretch:
    """The rows of a plan at a moment, by time, newest first if descending."""

    context: Context
    plan: Plan
    moment: Moment
    descending: bool

    async def after(self, place: tuple[int, str] | None, wanted: int) -> list[Row]:
        """At most `wanted` rows that come next after a place, None for the first ones, in order."""
        head: list[Row] = []
        if place is not None and place[1]:
            head = [row for row in await self._group(place[0]) if self._name(row) > place[1]]
        if len(head) >= wanted:
            return head[:wanted]
        left = wanted - len(head)
        rows = await self._read({} if place is None else {"after": self.beyond(place[0])}, left)
        if len(rows) == left > 1 and rows[-1].updated_ms == rows[-2].updated_ms:
            last = rows[-1].updated_ms
            rows = [*(row for row in rows if row.updated_ms != last), *await self._group(last)]
        return [*head, *self._settled(rows)][:wanted]

    async def before(self, place: tuple[int, str], wanted: int) -> list[Row]:
        """At most `wanted` rows that come just before a place, in order."""
        tail: list[Row] = []
        if place[1]:
            tail = [row for row in await self._group(place[0]) if self._name(row) < place[1]]
        if len(tail) >= wanted:
            return tail[-wanted:]
        left = wanted - len(tail)
        rows = await self._read({"before": self.ahead(place[0])}, left)
        if len(rows) == left > 1 and rows[0].updated_ms == rows[1].updated_ms:
            first = rows[0].updated_ms
            rows = [*await self._group(first), *(row for row in rows if row.updated_ms != first)]
        return [*self._settled(rows), *tail][-wanted:]

    def beyond(self, updated_ms: int) -> tuple[int, bytes]:
        """The last place of a millisecond, as the store orders."""
        return updated_ms, LEAST if self.descending else MOST

    def ahead(self, updated_ms: int) -> tuple[int, bytes]:
        """The first place of a millisecond."""
        return updated_ms, MOST if self.descending else LEAST

    def _name(self, row: Row) -> str:
        return public_id(self.context, row)

    def _settled(self, rows: list[Row]) -> list[Row]:
        """Rows of one millisecond by id."""
        found: list[Row] = []
        for _, group in groupby(rows, key=lambda row: row.updated_ms):
            members = list(group)
            found += sorted(members, key=self._name) if len(members) > 1 else members
        return found

    async def _group(self, updated_ms: int) -> list[Row]:
        """All rows of one millisecond, by id; 400 beyond what a search may examine."""
        limit = limits_of(self.context).candidates
        at = {"l": updated_ms}
        segments = tuple(replace(each, where={"$and": [each.where, at]} if each.where else at) for each in self.plan.segments)
        rows = await Stretch(self.context, replace(self.plan, given=segments), self.moment, self.descending)._read({}, limit + 1)
        if len(rows) > limit:
            raise too_many(limit)
        return sorted(rows, key=self._name)

    async def _read(self, bounds: dict, limit: int) -> list[Row]:
        asked = {**bounds, "descending": self.descending, "limit": limit, "moment": self.moment}
        parts = await of_each(self.context, self.plan, lambda segment: self.context.reads.find(**segment.asked(), **asked))
        if len(parts) == 1:
            return parts[0]
        merged = list(heapq.merge(*parts, key=lambda row: row.place, reverse=self.descending))
        return merged[-limit:] if "before" in bounds else merged[:limit]
